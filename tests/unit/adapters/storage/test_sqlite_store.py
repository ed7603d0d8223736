"""The store in SQLite against a world that fails: files, disks, locks, cancelled callers."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.adapters.storage.sqlite_store import SQLiteStore
from llmatic_daemon.domain import Artefacts, Identity, Job, Tessellation
from llmatic_daemon.domain.errors import ConfigurationError, StateLocked, StateVersionError, StoreUnavailable
from tests.support.sample_placements import SampleSearch, failure, success


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    store = await SQLiteStore.open(tmp_path / "state", busy_timeout_s=0.05)
    yield store
    await store.close()


async def test_second_store_is_refused_and_the_first_is_named(store: SQLiteStore, tmp_path: Path):
    with pytest.raises(StateLocked, match=f"process {os.getpid()} on"):
        await SQLiteStore.open(tmp_path / "state")

    assert await store.dispatch(0) == Job(number=1, attempt=1)


async def test_database_has_the_promised_pragmas(store: SQLiteStore):
    names = ("journal_mode", "synchronous", "foreign_keys", "user_version", "application_id")

    values = await store._database.read(
        lambda c: [c.execute(f"PRAGMA {name}").fetchone()[0] for name in names]
    )

    assert values == ["wal", 2, 1, 8, 0x4C4C4D61]


async def test_close_leaves_no_thread_and_no_log(tmp_path: Path):
    before = set(threading.enumerate())
    store = await SQLiteStore.open(tmp_path)
    await store.dispatch(0)

    await store.close()

    assert set(threading.enumerate()) == before
    assert sorted(os.listdir(tmp_path)) == ["llmatic.db", "lock"]


async def test_open_that_fails_leaves_no_thread_and_no_lock(tmp_path: Path):
    (tmp_path / "llmatic.db").write_bytes(b"no database at all")
    before = set(threading.enumerate())

    for _ in range(2):
        with pytest.raises(ConfigurationError, match="must be a sound database"):
            await SQLiteStore.open(tmp_path)

    assert set(threading.enumerate()) == before


async def test_newer_schema_is_refused_and_nothing_written(tmp_path: Path):
    await (await SQLiteStore.open(tmp_path)).close()
    with sqlite3.connect(tmp_path / "llmatic.db") as database:
        database.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
            " VALUES ('llmatic', 'm099_future', '2031')"
        )
    database.close()
    before = (tmp_path / "llmatic.db").read_bytes()

    with pytest.raises(StateVersionError, match="found 'm099_future'; use the newer"):
        await SQLiteStore.open(tmp_path)

    assert (tmp_path / "llmatic.db").read_bytes() == before


async def test_database_of_another_program_is_refused_and_nothing_written(tmp_path: Path):
    with sqlite3.connect(tmp_path / "llmatic.db") as database:
        database.execute("CREATE TABLE songs (title)")
    database.close()
    before = (tmp_path / "llmatic.db").read_bytes()

    with pytest.raises(StateVersionError, match="one of another program"):
        await SQLiteStore.open(tmp_path)

    assert (tmp_path / "llmatic.db").read_bytes() == before


@pytest.mark.parametrize("keep", [0, 50, 4096, 20_000])
async def test_truncated_database_is_refused_and_left_as_it_is(tmp_path: Path, keep: int):
    await (await SQLiteStore.open(tmp_path)).close()
    os.truncate(tmp_path / "llmatic.db", keep)
    before = (tmp_path / "llmatic.db").read_bytes()

    with pytest.raises(ConfigurationError, match="restore a backup") as refused:
        await SQLiteStore.open(tmp_path)

    assert "\n" not in str(refused.value)
    assert (tmp_path / "llmatic.db").read_bytes() == before


async def test_damaged_page_is_refused(tmp_path: Path):
    store = await SQLiteStore.open(tmp_path)
    await grow(store, SampleSearch(size=3_000), 20)
    await store.close()
    path = tmp_path / "llmatic.db"
    content = bytearray(path.read_bytes())
    content[len(content) // 2 // 4096 * 4096] ^= 0xFF
    path.write_bytes(content)

    with pytest.raises(ConfigurationError, match="must be a sound database"):
        await SQLiteStore.open(tmp_path)

    assert path.read_bytes() == content


async def test_missing_database_beside_its_log_is_refused(tmp_path: Path):
    """A new database would take the log of the old one away for good."""
    (tmp_path / "llmatic.db-wal").write_bytes(b"x" * 100)

    with pytest.raises(ConfigurationError, match="the file is missing"):
        await SQLiteStore.open(tmp_path)

    assert not (tmp_path / "llmatic.db").exists()


async def test_half_made_database_of_an_earlier_start_is_made_anew(tmp_path: Path):
    (tmp_path / "llmatic.db.new").write_bytes(b"half")

    await (await SQLiteStore.open(tmp_path)).close()

    assert not (tmp_path / "llmatic.db.new").exists()


async def test_database_locked_by_another_is_unavailable_until_it_is_free(store: SQLiteStore, tmp_path: Path):
    other = sqlite3.connect(tmp_path / "state" / "llmatic.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreUnavailable, match="database is locked"):
        await store.dispatch(0)

    other.execute("ROLLBACK")
    other.close()
    assert await store.dispatch(0) == Job(number=1, attempt=1)


async def test_full_disk_stops_commits_and_loses_nothing(store: SQLiteStore):
    placement, artefacts = success(1, await store.dispatch(0), size=200_000)
    (pages,) = await store._database.read(lambda c: c.execute("PRAGMA page_count").fetchone())
    await store._database.read(lambda c: c.execute(f"PRAGMA max_page_count = {pages + 2}").fetchall())

    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="full"):
            await store.commit(placement, artefacts)
    await store._database.read(lambda c: c.execute("PRAGMA max_page_count = 100000").fetchall())

    assert await store.commit(placement, artefacts)
    assert [p async for p in store.log()] == [placement]


async def test_full_file_system_stops_work_until_there_is_room(tmp_path: Path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = mount(disk)
    if not mounted:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        store = await SQLiteStore.open(disk / "state", checkpoint_every=4)
        search = SampleSearch(size=20_000)
        with pytest.raises(StoreUnavailable, match="make room"):
            await grow(store, search, 200)
        (disk / "ballast").unlink()

        await grow(store, search, 20)

        assert [p async for p in store.log()] == search.placements
        await store.close()
    finally:
        subprocess.run(["umount", disk], check=True)  # noqa: ASYNC221


async def test_file_moved_away_stops_work_until_it_is_back(store: SQLiteStore, tmp_path: Path):
    """On the old file, under no name, results would be kept where nobody finds them."""
    path = tmp_path / "state" / "llmatic.db"
    path.rename(tmp_path / "moved")
    with pytest.raises(StoreUnavailable, match="must stay where it is"):
        await store.dispatch(0)
    shutil.copy(tmp_path / "moved", path)
    with pytest.raises(StoreUnavailable, match="found another in its place"):
        await store.dispatch(0)

    (tmp_path / "moved").replace(path)

    assert await store.dispatch(0) == Job(number=1, attempt=1)


async def test_connection_is_opened_anew_after_an_error_of_the_disk(store: SQLiteStore):
    def fail(connection: sqlite3.Connection) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        raise error

    before = store._database._connection

    with pytest.raises(StoreUnavailable, match="disk I/O error"):
        await store._database.write("test", fail)

    assert await store.dispatch(0) == Job(number=1, attempt=1)
    assert store._database._connection is not before


async def test_commit_whose_error_came_after_it_was_kept_is_acknowledged(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
):
    """A COMMIT that reports a failed fsync may be on the disk: asked again, it is not fenced."""
    placement = failure(1, await store.dispatch(0))
    write = store._database.write

    async def write_and_fail(point, work):
        await write(point, work)
        raise StoreUnavailable("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(store._database, "write", write_and_fail)
        with pytest.raises(StoreUnavailable):
            await store.commit(placement, Artefacts())

    assert await store.commit(placement, Artefacts())
    assert not await store.commit(placement, Artefacts())
    assert [p async for p in store.log()] == [placement]


async def test_cancelled_dispatch_gives_its_job_back(store: SQLiteStore):
    waiting = asyncio.create_task(store.dispatch(0))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert await store.dispatch(0) == Job(number=1, attempt=2, num_charged=0)


async def test_cancelled_commit_is_whole_or_not_at_all(store: SQLiteStore):
    placement, artefacts = success(1, await store.dispatch(0))
    waiting = asyncio.create_task(store.commit(placement, artefacts))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert [p async for p in store.log()] == [placement]
    assert await store.commit(placement, artefacts), "its caller never heard of it"


async def test_fenced_commit_is_on_record(store: SQLiteStore):
    job = await store.dispatch(0)
    await store.commit(failure(1, job), Artefacts())
    await store.commit(failure(1, job), Artefacts())

    events = await store._database.read(
        lambda c: c.execute("SELECT event FROM job_events ORDER BY number").fetchall()
    )

    assert [event for (event,) in events] == ["queued", "dispatched", "placed", "fenced"]


async def test_reader_sees_whole_commits_while_the_store_writes(tmp_path: Path):
    store = await SQLiteStore.open(tmp_path, checkpoint_every=5)
    writing = asyncio.create_task(grow(store, SampleSearch(), 60))
    seen = []

    with History(tmp_path) as history:
        while not writing.done():
            seen.append(history.status())
            await asyncio.sleep(0)

    await writing
    await store.close()
    assert [s.num_settled for s in seen] == sorted(s.num_settled for s in seen)
    assert all(sum(n for _, n in s.outcomes) == s.num_settled for s in seen)


async def test_tessellation_that_is_not_finite_is_refused(store: SQLiteStore):
    async def make() -> Tessellation:
        return Tessellation(network=((0.5, float("nan")),), prompt=((0.5, 0.5),))

    with pytest.raises(ValueError, match="centroid 0 of the network archive must be finite"):
        await store.tessellation(make)


async def test_tessellation_is_made_once_for_two_at_a_time(store: SQLiteStore):
    made = []

    async def make() -> Tessellation:
        made.append(1)
        await asyncio.sleep(0)
        return Tessellation(network=((0.5, 0.5),), prompt=((0.5, 0.5),))

    first, second = await asyncio.gather(store.tessellation(make), store.tessellation(make))

    assert first == second
    assert len(made) == 1


async def test_identity_refusal_names_the_folder(store: SQLiteStore, tmp_path: Path):
    await store.identify(Identity(fields=(("seed", "1"),)))

    with pytest.raises(ConfigurationError, match="seed is '2', was '1'; change back") as refused:
        await store.identify(Identity(fields=(("seed", "2"),)))

    assert str(tmp_path / "state") in str(refused.value)


def test_known_schema_needs_no_sqlite_utils(tmp_path: Path):
    """It costs a start 0.3 s and, with pandas about, 50 MB."""
    asyncio.run(_open_and_close(tmp_path))
    code = (
        "import asyncio, sys; from pathlib import Path\n"
        "from llmatic_daemon.adapters.storage.sqlite_store import SQLiteStore\n"
        "asyncio.run(SQLiteStore.open(Path(sys.argv[1])))\n"
        "print('sqlite_utils' in sys.modules)\n"
    )

    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, check=True, text=True)

    assert done.stdout == "False\n"


async def _open_and_close(folder: Path) -> None:
    await (await SQLiteStore.open(folder)).close()


async def grow(store: SQLiteStore, search: SampleSearch, number: int) -> None:
    for _ in range(number):
        placement, artefacts = search.next(await store.dispatch(0))
        assert await store.commit(placement, artefacts)
        search.settle(placement)


def mount(disk: Path) -> bool:
    """Mount a file system of 2 MB with 1 MB of ballast on it."""
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        return False
    (disk / "ballast").write_bytes(b"x" * 2**20)
    return True
