"""Restore: checked before, whole after, and what was there is kept."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from llmatic_daemon.adapters.storage import schema
from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.adapters.storage.state_folder import StateFolder, database_path, settings_path
from llmatic_daemon.commands.backup import back_up
from llmatic_daemon.commands.restore import restore
from llmatic_daemon.commands.verify import verify
from llmatic_daemon.domain.errors import (
    ConfigurationError,
    LLMaticError,
    StateLocked,
    StateVersionError,
    UserError,
)
from tests.support.finished_search import command, content, other, search, searched, state
from tests.support.old_database import make_database, write_as_version_6

__all__ = ["other", "searched", "state"]


@pytest.fixture
def backups(state: Path, tmp_path: Path) -> Path:
    """A folder of one backup, after which the search went on."""
    back_up(state, tmp_path / "backups", keep=3)
    search(state, 45)
    return tmp_path / "backups"


def num_settled(state: Path) -> int:
    with History(state) as history:
        return history.status().num_settled


def test_restored_search_is_that_of_the_backup_and_goes_on(state: Path, backups: Path):
    before = num_settled(state)

    done = restore(backups, state)

    assert verify(state).faults == ()
    assert num_settled(state) == done.num_settled < before
    assert num_settled(Path(done.replaced)) == before
    assert verify(Path(done.replaced)).faults == ()
    search(state, 50)
    assert verify(state).faults == ()


def test_restore_takes_a_backup_a_folder_of_them_or_a_database(backups: Path, tmp_path: Path):
    (backup,) = backups.iterdir()

    done = [
        restore(source, tmp_path / f"state-{number}")
        for number, source in enumerate([backup, backups, backup / "llmatic.db"])
    ]

    assert {each.source for each in done} == {str(backup)}
    assert {each.replaced for each in done} == {""}
    for number in range(3):
        assert content(tmp_path / f"state-{number}") == ["llmatic.db", "lock", "settings.json"]


def test_folder_with_backups_of_two_searches_asks_for_one_of_them(
    state: Path, other: Path, backups: Path, tmp_path: Path
):
    made = back_up(other, tmp_path / "theirs", keep=1)
    shutil.move(made.folder, backups)
    before = num_settled(state)

    with pytest.raises(UserError, match=r"of another; .* or name the copy"):
        restore(backups, state)

    assert num_settled(state) == before
    assert restore(backups / Path(made.folder).name, tmp_path / "state-2").num_settled


def test_what_was_replaced_can_be_put_back_in_turn(state: Path, backups: Path):
    before = num_settled(state)
    done = restore(backups, state)

    restore(Path(done.replaced), state)

    assert num_settled(state) == before


def test_restore_refuses_while_a_daemon_works_on_the_state(state: Path, backups: Path):
    claimed = StateFolder.claim(state)

    with pytest.raises(StateLocked, match="stop that one, or choose another folder"):
        restore(backups, state)

    claimed.release()


def test_write_ahead_log_of_the_old_search_never_meets_the_new_one(
    state: Path, backups: Path, tmp_path: Path
):
    """The daemon was killed: its last commits are only there. They go where its database goes."""
    database = sqlite3.connect(database_path(state), isolation_level=None)
    database.execute("PRAGMA wal_autocheckpoint = 0")
    database.execute("INSERT INTO refusals (after_edition, why) VALUES (1, 'the last words')")
    killed = tmp_path / "killed"
    shutil.copytree(state, killed)
    database.close()
    assert (killed / "llmatic.db-wal").stat().st_size > 0

    done = restore(backups, killed)

    for folder, words in ((killed, []), (Path(done.replaced), [("the last words",)])):
        with sqlite3.connect(database_path(folder)) as opened:
            query = "SELECT why FROM refusals WHERE ended_at IS NULL"
            assert opened.execute(query).fetchall() == words
        opened.close()
    assert verify(killed).faults == ()


def test_damaged_search_is_kept_as_it_is_and_replaced(state: Path, backups: Path):
    database_path(state).write_bytes(b"damaged")
    (state / "llmatic.db-wal").write_bytes(b"of it")

    done = restore(backups, state)

    assert verify(state).faults == ()
    replaced = Path(done.replaced)
    assert database_path(replaced).read_bytes() == b"damaged"
    assert (replaced / "llmatic.db-wal").read_bytes() == b"of it"
    assert not (state / "llmatic.db-wal").exists()


def test_log_without_its_database_is_set_aside_as_well(state: Path, backups: Path):
    database_path(state).unlink()
    (state / "llmatic.db-wal").write_bytes(b"of a database that is gone")

    done = restore(backups, state)

    assert (Path(done.replaced) / "llmatic.db-wal").exists()
    assert verify(state).faults == ()


# --- what is no backup ---------------------------------------------------------------------------


def spoil_header(database: Path) -> None:
    database.write_bytes(b"no database at all, of some length" * 40)


def spoil_page(database: Path) -> None:
    size = database.stat().st_size
    with database.open("r+b") as file:
        file.seek(size // 4096 // 2 * 4096)
        file.write(b"\xff" * 4096 * 3)


def change(statement: str):
    def spoil(database: Path) -> None:
        connection = sqlite3.connect(database, isolation_level=None)
        connection.execute(statement)
        connection.close()

    return spoil


@pytest.mark.parametrize(
    ("spoil", "error", "says"),
    [
        (spoil_header, ConfigurationError, "must be sound"),
        (spoil_page, ConfigurationError, "must be sound"),
        (change("UPDATE network_elites SET objective = 0.1"), ConfigurationError, "must be sound"),
        (change("PRAGMA application_id = 7"), StateVersionError, "one of another program"),
        (
            change(
                "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) "
                "VALUES ('llmatic', 'm999_later', '')"
            ),
            StateVersionError,
            f"of schema version {schema.VERSION} or older, found 'm999_later'",
        ),
    ],
    ids=["no database", "torn page", "not from its log", "another program", "newer"],
)
def test_restore_of_what_is_unsound_changes_nothing(
    state: Path, backups: Path, spoil, error: type[LLMaticError], says: str
):
    (backup,) = backups.iterdir()
    spoil(database_path(backup))
    before = num_settled(state), content(state)

    with pytest.raises(error, match=says):
        restore(backups, state)

    assert (num_settled(state), content(state)) == before


def test_newer_backup_is_refused_in_one_line_with_exit_code_78(state: Path, backups: Path):
    (backup,) = backups.iterdir()
    change("PRAGMA application_id = 7")(database_path(backup))

    done = command("restore", backups, "--state", state)

    assert done.exit_code == 78
    assert len(done.stderr.splitlines()) == 1


def test_restore_of_nothing_says_what_a_backup_is(tmp_path: Path):
    (tmp_path / "llmatic.db").write_bytes(b"without settings")

    for source in (tmp_path, tmp_path / "llmatic.db", Path(__file__)):
        with pytest.raises(UserError, match="must be a backup, a folder of backups"):
            restore(source, tmp_path / "state")

    assert not (tmp_path / "state").exists()


def test_backup_of_an_older_schema_is_restored_up_to_date(tmp_path: Path, state: Path):
    old = tmp_path / "old"
    old.mkdir()
    write_as_version_6(state, tmp_path / "version-6.db")
    connection = make_database(database_path(old), version=3)
    connection.execute("ATTACH ? AS newer", (str(tmp_path / "version-6.db"),))
    for (table,) in connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '%sqlite%'"
    ).fetchall():
        known = [row[1] for row in connection.execute(f"PRAGMA main.table_info({table})")]
        names = ", ".join(known)
        connection.execute(f"INSERT INTO main.{table} ({names}) SELECT {names} FROM newer.{table}")
    connection.close()
    shutil.copy(settings_path(state), settings_path(old))

    restore(old, tmp_path / "restored")

    with History(tmp_path / "restored") as restored, History(state) as history:
        assert list(restored.log()) == list(history.log())
        assert restored.prompt_credit() == history.prompt_credit()
    assert verify(tmp_path / "restored").faults == ()


# --- killed --------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["snapshot-step:1", "snapshot-inside:1", "restore-inside:1"])
def test_kill_in_a_restore_leaves_the_old_search_whole(state: Path, backups: Path, point: str):
    before = num_settled(state)
    program = "from llmatic_daemon.cli import main; main()"
    words = [sys.executable, "-c", program, "restore", str(backups), "--state", str(state)]

    killed = subprocess.run(words, env={**os.environ, "LLMATIC_FAILPOINT": point}, check=False)

    assert killed.returncode == -signal.SIGKILL
    assert num_settled(state) == before
    assert verify(state).faults == ()
    restore(backups, state)
    assert num_settled(state) < before
    assert [name for name in content(state) if name.startswith(".")] == []
