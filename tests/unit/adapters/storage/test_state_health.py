"""How a state folder is found to be, with true files."""

import threading
from pathlib import Path

from llmatic_daemon.adapters.storage import state_health
from llmatic_daemon.adapters.storage.sqlite_store import SQLiteStore
from llmatic_daemon.adapters.storage.state_folder import database_path


async def _database(folder: Path) -> Path:
    store = await SQLiteStore.open(folder)
    await store.close()
    return database_path(folder)


async def test_sizes_are_those_of_the_files(tmp_path):
    database = await _database(tmp_path / "state")
    database.with_name(f"{database.name}-wal").write_bytes(b"12345")

    size, wal_size, free = state_health.sizes(database)

    assert size == database.stat().st_size > 0
    assert wal_size == 5
    assert free > 0


def test_folder_that_is_gone_has_no_space():
    assert state_health.sizes(Path("/no/such/folder/state.db")) == (0, 0, 0)


async def test_sound_database_shows_no_damage(tmp_path):
    assert state_health.damage_of(await _database(tmp_path / "state"), threading.Event()) == ""


async def test_damage_is_named(tmp_path):
    database = await _database(tmp_path / "state")
    with database.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 4096)

    assert state_health.damage_of(database, threading.Event())


def test_database_that_cannot_be_read_now_is_not_called_damaged(tmp_path):
    missing = tmp_path / "missing.db"

    assert state_health.damage_of(missing, threading.Event()) is None


async def test_check_that_is_stopped_says_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(state_health, "_INSTRUCTIONS", 1)
    stop = threading.Event()
    stop.set()

    assert state_health.damage_of(await _database(tmp_path / "state"), stop) is None
