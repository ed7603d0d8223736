"""The schema: migrations that only grow, and tables that refuse nonsense."""

import asyncio
import errno
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from llmatic_daemon import PACKAGE_ROOT, config
from llmatic_daemon.adapters.storage import copies as snapshots
from llmatic_daemon.adapters.storage import database_file, schema
from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.adapters.storage.sqlite_store import SQLiteStore
from llmatic_daemon.adapters.storage.state_folder import database_path, settings_path
from llmatic_daemon.cli import main
from llmatic_daemon.commands.restore import restore
from llmatic_daemon.commands.verify import verify
from llmatic_daemon.daemon import main as daemon
from llmatic_daemon.domain import Audit, Edition, Epoch, Job, Operator, Outcome, Placement, PromptKind, Report
from llmatic_daemon.domain.errors import StateVersionError, StoreUnavailable
from llmatic_daemon.domain.ports import Entry
from tests.support.fake_daemon import fake_adapters
from tests.support.old_database import make_database, write_as_version_6, write_entry
from tests.support.sample_placements import SampleSearch, edition, failure, success


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.migrate(connection)
    yield connection
    connection.close()


def test_migrate_twice_changes_nothing(database: sqlite3.Connection):
    changes = database.total_changes

    schema.migrate(database)

    assert database.total_changes == changes
    assert schema.applied(database) == (
        "m001_search",
        "m002_writers",
        "m003_audits",
        "m004_growth",
        "m005_comparisons",
        "m006_arms",
        "m007_entries",
        "m008_deaths",
    )
    assert database.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)


def test_migrate_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch):
    def m999_breaks(db):
        db.execute("CREATE TABLE half (a)")
        db.execute("CREATE TABLE search (a)")

    connection = sqlite3.connect(":memory:", isolation_level=None)
    monkeypatch.setattr(schema, "_MIGRATIONS", (*schema._MIGRATIONS, m999_breaks))

    with pytest.raises(sqlite3.OperationalError):
        schema.migrate(connection)

    assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    connection.close()


def test_every_view_can_be_read_and_is_empty_at_first(database: sqlite3.Connection):
    views = database.execute("SELECT name FROM sqlite_master WHERE type = 'view'").fetchall()

    assert {name for (name,) in views} == {"elites", "evaluations", "lineage", "prompt_credit", "totals"}
    for (name,) in views:
        rows = database.execute(f"SELECT * FROM {name}").fetchall()
        assert rows in ([], [(0, 0, 0.0, 0.0, None, None, 0, 0)])


async def test_views_tell_what_the_log_holds(tmp_path: Path):
    store = await SQLiteStore.open(tmp_path)
    await store.adopt(edition(1, "deepen", "unused"))
    search = SampleSearch()
    for _ in range(30):
        placement, artefacts = search.next(await store.dispatch(0))
        await store.commit(placement, artefacts)
        search.settle(placement)
    await store.close()

    database = sqlite3.connect(tmp_path / "llmatic.db")
    trained = [p for p in search.placements if p.outcome is Outcome.TRAINED]

    assert database.execute("SELECT count(*) FROM evaluations").fetchone() == (len(trained),)
    totals = database.execute("SELECT num_settled, num_evaluations FROM totals").fetchone()
    assert totals == (30, len(trained))
    elites = dict(database.execute("SELECT cell, source FROM elites"))
    assert elites.keys() == {p.cell for p in search.placements if p.status.added}
    assert all(source.startswith("# network") for source in elites.values())
    credit = dict(database.execute("SELECT prompt, num_used FROM prompt_credit"))
    assert credit == {"deepen": 30, "join": 0, "unused": 0}
    jobs = {job for (job,) in database.execute("SELECT elite FROM lineage WHERE ancestor = elite")}
    assert jobs == {job for (job,) in database.execute("SELECT job FROM elites")}
    database.close()


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO jobs (number, state, attempt, slot) VALUES (1, 'running', 1, 0)",
        "INSERT INTO jobs (number, state, attempt, slot) VALUES (1, 'asleep', 1, 0)",
        "INSERT INTO centroids VALUES ('network', 0, 0.5, NULL)",
        "INSERT INTO centroids VALUES ('network', 0, 0.5, 9e999)",
        "INSERT INTO network_elites VALUES (0, 1, NULL, 0.5)",
        "INSERT INTO job_events (job, attempt, event) VALUES (1, 1, 'forgotten')",
    ],
)
def test_tables_refuse_nonsense(database: sqlite3.Connection, statement: str):
    with pytest.raises(sqlite3.IntegrityError):
        database.execute(statement)


# --- a database of version 1 -----------------------------------------------------------------------

#: What version 1 kept of a search, references before those who refer to them.
TABLES = (
    "search",
    "centroids",
    "jobs",
    "job_events",
    "sources",
    "graphs",
    "placements",
    "parents",
    "network_elites",
    "prompt_elites",
)
NUM_BEFORE = 60


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder in which a search with one edition has been."""
    folder = tmp_path_factory.mktemp("searched") / "state"
    search(folder, NUM_BEFORE)
    return folder


def search(state: Path, num_evaluations: int, share: float = 0.0) -> None:
    """Let the true daemon with fake adapters search."""
    overrides = {
        "state_dir": str(state),
        "budget": {"max_evaluations": num_evaluations},
        "engine": {"slots": 2},
        "audit": {"share": share},
    }
    settings = config.load(preset="demo", overrides=overrides, environment={})
    asyncio.run(daemon.run(settings, fake_adapters()))


def first_version(path: Path) -> sqlite3.Connection:
    return make_database(path, version=1)


def version_6_of(state: Path) -> Path:
    """Return the database that 0.5.0 would have made of a search, made once beside its folder."""
    path = state.with_name("version-6.db")
    if not path.exists():
        write_as_version_6(state, path)
    return path


def of_version_6(state: Path, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy a search into a database of version 6, and its settings."""
    old.mkdir()
    shutil.copy(version_6_of(state), database_path(old))
    shutil.copy(settings_path(state), settings_path(old))


def copy_tables(connection: sqlite3.Connection, tables: Iterable[str]) -> None:
    """Copy from the attached newer database what the older one has columns for."""
    for table in tables:
        kept = [row[1] for row in connection.execute(f"PRAGMA main.table_info({table})")]
        names = ", ".join(kept)
        connection.execute(f"INSERT INTO main.{table} ({names}) SELECT {names} FROM newer.{table}")


def downgraded(state: Path, old: Path, monkeypatch: pytest.MonkeyPatch) -> sqlite3.Connection:
    """Copy a search with one edition into a database of version 1, and its settings."""
    connection = first_version(database_path(old))
    connection.execute("ATTACH ? AS newer", (str(version_6_of(state)),))
    copy_tables(connection, TABLES)
    connection.execute(
        "INSERT INTO prompts SELECT prompt, slot FROM newer.edition_prompts WHERE slot IS NOT NULL"
    )
    connection.execute("DETACH newer")
    shutil.copy(settings_path(state), settings_path(old))
    return connection


async def _log(state: Path) -> list[Entry]:
    store = await SQLiteStore.open(state)
    try:
        return [entry async for entry in store.log()]
    finally:
        await store.close()


def log(state: Path) -> tuple[list[Edition], list[Placement]]:
    """Read the log, which migrates the database first."""
    entries = asyncio.run(_log(state))
    assert isinstance(entries[0], Edition)
    editions = [entry for entry in entries if isinstance(entry, Edition)]
    return editions, [entry for entry in entries if isinstance(entry, Placement)]


def test_log_of_version_1_is_read_with_one_edition_at_its_head(
    searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    downgraded(searched, tmp_path / "old", monkeypatch).close()

    editions, placements = log(tmp_path / "old")
    (before,), as_they_were = log(searched)

    (edition,) = editions
    assert {p.operator for p in placements} == set(Operator)
    assert placements == [replace(p, finish_reason="") for p in as_they_were]
    assert (edition.number, edition.num_settled, edition.emptied) == (1, 0, ())
    assert edition.prompts.axis_positions == before.prompts.axis_positions
    assert [p.id for p in edition.prompts.all] == [p.id for p in before.prompts.all]
    assert {(p.version, p.text, p.weight) for p in edition.prompts.all} == {(1, "", 1.0)}


def test_migrated_search_verifies_and_its_views_can_be_read(
    searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    old = tmp_path / "old"
    downgraded(searched, old, monkeypatch).close()

    log(old)

    assert verify(old).faults == ()
    with History(old) as history, History(searched) as before:
        credit = {each.prompt: each for each in history.prompt_credit()}
        for each in before.prompt_credit():
            assert credit[each.prompt] == each
        assert history.prompt_elites() == before.prompt_elites()


def test_migrated_search_goes_on_with_its_files_as_new_versions(
    searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Their first texts were not kept, so nobody knows whether they were edited since."""
    old = tmp_path / "old"
    downgraded(searched, old, monkeypatch).close()

    search(old, NUM_BEFORE + 30)

    (first, second), placements = log(old)
    assert (second.number, second.num_settled) == (2, len(log(searched)[1]))
    assert {p.version for p in second.prompts.all} == {2}
    assert second.prompts.axis_positions == first.prompts.axis_positions
    assert second.emptied != ()
    later = placements[second.num_settled :]
    assert len([p for p in later if p.report]) == 30
    assert {p.prompt_version for p in later} == {2}
    assert verify(old).faults == ()


def of_version_2(state: Path, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy a search into a database of version 2, which knew no audits, and its settings."""
    connection = make_database(database_path(old), version=2)
    connection.execute("ATTACH ? AS newer", (str(version_6_of(state)),))
    editions = ("editions", "prompt_versions", "edition_prompts")
    copy_tables(connection, (*TABLES, *editions))
    connection.close()
    shutil.copy(settings_path(state), settings_path(old))


def test_search_of_version_2_goes_on_and_is_audited(
    searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    old = tmp_path / "old"
    of_version_2(searched, old, monkeypatch)
    connection = sqlite3.connect(database_path(old))
    assert schema.applied(connection) == ("m001_search", "m002_writers")
    connection.close()

    before = asyncio.run(_log(old))
    search(old, NUM_BEFORE + 60, share=1.0)

    assert before == asyncio.run(_log(searched))
    assert asyncio.run(_log(old))[: len(before)] == before
    assert verify(old).faults == ()
    with History(old) as history:
        assert history.status().num_audits > 0


def test_empty_database_of_version_1_begins_like_a_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    old = tmp_path / "old"
    first_version(database_path(old)).close()

    assert asyncio.run(_log(old)) == []
    search(old, 12)

    (edition,), _ = log(old)
    assert {p.version for p in edition.prompts.all} == {1}
    assert all(p.text for p in edition.prompts.all)
    assert verify(old).faults == ()


def test_search_of_version_1_without_a_crossover_gets_a_prompt_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    connection = first_version(database_path(tmp_path / "old"))
    connection.execute("INSERT INTO prompts VALUES ('deepen', 1), ('widen', 0)")
    connection.close()

    (edition,), _ = log(tmp_path / "old")

    assert [p.name for p in edition.prompts.all] == ["deepen v1", "widen v1", "crossover v1"]
    assert edition.prompts.axis_positions == (1, 0)


@pytest.mark.parametrize("crossover", ["a known one", "crossover"])
def test_crossover_prompt_of_version_1_that_served_mutation_before_is_no_hindrance(
    searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crossover: str
):
    """Its file said another kind at an earlier start, so it has a slot."""
    with History(searched) as history:
        known = history.prompt_credit()[0].prompt
    crossover = known if crossover == "a known one" else crossover
    old = tmp_path / "old"
    connection = downgraded(searched, old, monkeypatch)
    connection.execute("INSERT OR IGNORE INTO prompts VALUES (?, 99)", (crossover,))
    connection.execute("UPDATE placements SET prompt = ? WHERE operator = 'crossover'", (crossover,))
    connection.close()

    (edition,), _ = log(old)

    assert edition.prompts.crossover.kind is PromptKind.CROSSOVER
    assert crossover in [p.id for p in edition.prompts.mutation]
    search(old, NUM_BEFORE + 1)
    assert verify(old).faults == ()


# --- a database of version 6 -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder in which a search with audits has been."""
    folder = tmp_path_factory.mktemp("audited") / "state"
    search(folder, NUM_BEFORE, share=1.0)
    return folder


def tables(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Read all that a database holds, views included, times and checkpoints aside."""
    with sqlite3.connect(path) as database:
        names = database.execute(
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') "
            "AND name NOT IN ('checkpoints', '_sqlite_migrations') ORDER BY name"
        ).fetchall()
        found = {name: database.execute(f"SELECT * FROM {name}").fetchall() for (name,) in names}
    database.close()
    return found


def test_database_of_version_6_becomes_the_one_that_this_version_writes(
    audited: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Tables, views and times, to the last bit."""
    of_version_6(audited, tmp_path / "old", monkeypatch)

    entries = asyncio.run(_log(tmp_path / "old"))

    now, written = tables(database_path(tmp_path / "old")), tables(database_path(audited))
    assert now.keys() == written.keys()
    for name in now:
        if name not in ("placements", "audits", "editions"):  # JSON may have another order
            assert repr(now[name]) == repr(written[name]), name
    assert repr(entries) == repr(asyncio.run(_log(audited)))
    assert any(isinstance(entry, Audit) for entry in entries)
    assert verify(tmp_path / "old").faults == ()


def test_search_of_version_6_goes_on_although_its_checkpoint_is_not_read(
    audited: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    old = tmp_path / "old"
    of_version_6(audited, old, monkeypatch)
    with sqlite3.connect(database_path(old)) as database:
        database.execute("INSERT INTO milestones VALUES (1, 1, 0, 'rules', '{}', '')")
    database.close()

    search(old, NUM_BEFORE + 30, share=1.0)

    before = asyncio.run(_log(audited))
    assert asyncio.run(_log(old))[: len(before)] == before
    assert verify(old).faults == ()


def test_migration_keeps_every_bit_of_every_number(tmp_path: Path):
    """Also of numbers that are whole, and that an older SQLite library wrote as integers."""
    job = Job(number=1, attempt=2, num_charged=1)
    curve = (Epoch(number=1, train_loss=0.1 + 0.2, accuracy=1e-320),)
    report = Report(
        objective=1.0,
        test_accuracy=5e-324,
        test_loss=1.7976931348623157e308,
        curve=curve,
        device="é\0",
        wait_s=1e15,
        train_s=1 / 3,
        rung_accuracy=0.5,
        cost=1.1,
    )
    full, _ = success(
        1,
        job,
        seed=2**63 - 1,
        report=report,
        elapsed_s=1e22,
        curiosity_change=-1e-320,
        cost=1.1,
        rung_accuracy=0.5,
        rung_ratio=0.1,
        structure=(("é", 2), ("b", 1)),
        fallback=True,
        by_rule=True,
    )
    bare = failure(2, Job(number=2, attempt=1), detail="a\nb", temperature=None, seed=0)
    connection = make_database(database_path(tmp_path))
    connection.execute("INSERT INTO jobs (number, state, attempt, slot) VALUES (1, 'settled', 2, 0)")
    connection.execute("INSERT INTO jobs (number, state, attempt, slot) VALUES (2, 'settled', 1, 0)")
    write_entry(connection, full)
    write_entry(connection, bare)
    connection.execute("UPDATE placements SET train_s = 2, staleness = 3 WHERE number = 2")
    connection.close()

    (first, second) = asyncio.run(_log(tmp_path))

    durations = replace(bare.durations, train_s=2.0)
    assert repr(first) == repr(full)
    assert repr(second) == repr(replace(bare, durations=durations, staleness=3))


def test_placement_of_an_older_version_costs_a_training_if_it_was_trained(tmp_path: Path):
    connection = make_database(database_path(tmp_path))
    connection.execute("INSERT INTO jobs (number, state, attempt, slot) VALUES (1, 'settled', 1, 0)")
    write_entry(connection, success(1, Job(number=1, attempt=1))[0])
    connection.execute("UPDATE placements SET cost = NULL")
    connection.close()

    (placement,) = asyncio.run(_log(tmp_path))

    assert placement.cost == 1.0
    assert placement.report.cost == 1.0


@pytest.mark.parametrize(
    ("path", "bad"),
    [
        ("$.job.number", 9),
        ("$.job", None),
        ("$.operator", "magic"),
        ("$.temperature", 1.5),
        ("$.outcome", None),
        ("$.status", "kept"),
        ("$.staleness", -1),
        ("$.duplicate_of", 7),
        ("$.credited_job", 7),
        ("$.report.objective", 1.5),
        ("$.report.test_accuracy", -0.5),
        ("$.report.test_loss", None),
        ("$.report", None),
        ("$.cell", None),
        ("$.measures.width", None),
        ("$.offer.temperature", 2),
        ("$.offer.status", "kept"),
        ("$.rung_accuracy", 2),
        ("$.fallback", 2),
    ],
)
async def test_entry_that_breaks_a_rule_is_refused(tmp_path: Path, path: str, bad: object):
    store = await SQLiteStore.open(tmp_path)
    placement, artefacts = success(1, await store.dispatch(0))
    await store.commit(placement, artefacts)
    await store.close()
    database = sqlite3.connect(database_path(tmp_path), isolation_level=None)
    database.execute("PRAGMA foreign_keys = ON")

    with pytest.raises(sqlite3.IntegrityError):
        database.execute("UPDATE placements SET entry = json_set(entry, ?, ?)", (path, bad))

    database.close()


def schema_text(database: sqlite3.Connection) -> str:
    """Return what `schema.sql` shows: all tables with their indices, and all views, by name."""
    rows = database.execute(
        "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND tbl_name <> '_sqlite_migrations' "
        "ORDER BY type = 'view', tbl_name, type = 'index', name"
    )
    head = "-- The database's schema for readers, as the migrations make it. A test compares the two.\n"
    return "\n".join([head, *(f"{re.sub(QUOTED, PLAIN, sql)};\n" for (sql,) in rows)])


#: A table that was renamed has its name in quotes.
QUOTED, PLAIN = r'^CREATE TABLE "(\w+)"', r"CREATE TABLE \1"


@pytest.mark.skipif(
    sqlite3.sqlite_version_info < (3, 37), reason="older SQLite libraries make tables without STRICT"
)
def test_schema_for_readers_is_the_one_that_the_migrations_make(database: sqlite3.Connection):
    """After a migration: `LLMATIC_WRITE_SCHEMA=1 pytest -k schema_for_readers` writes the file."""
    file = PACKAGE_ROOT / "adapters" / "storage" / "schema.sql"
    if os.environ.get("LLMATIC_WRITE_SCHEMA"):
        file.write_text(schema_text(database), "utf-8")

    assert file.read_text("utf-8") == schema_text(database)


# --- before a migration ----------------------------------------------------------------------------


def copies(state: Path) -> list[Path]:
    return snapshots.named(state, r"schema-\d+")


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5, 6])
def test_older_database_is_kept_as_it_was_and_brought_up_to_date(
    searched: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    version: int,
):
    old = tmp_path / "old"
    of_version = {v: partial(of_version_3, version=v) for v in (3, 4, 5)}
    make = {1: downgraded, 2: of_version_2, 6: of_version_6, **of_version}[version]
    made = make(searched, old, monkeypatch)
    if made is not None:
        made.close()

    asyncio.run(_log(old))

    (copy,) = copies(old)
    assert copy.name.startswith(f"schema-{version}-")
    assert f"of schema version {version} and is brought up to {schema.VERSION}" in caplog.text
    assert str(copy) in caplog.text
    with sqlite3.connect(database_path(copy)) as kept, sqlite3.connect(database_path(old)) as now:
        assert len(schema.applied(kept)) == version
        assert len(schema.applied(now)) == schema.VERSION
        query = "SELECT number, job, outcome, objective FROM placements ORDER BY number"
        assert kept.execute(query).fetchall() == now.execute(query).fetchall()
    assert verify(old).faults == ()
    asyncio.run(_log(old))
    assert copies(old) == [copy], "a second start has nothing to do"
    kept.close()
    now.close()


def of_version_3(state: Path, old: Path, monkeypatch: pytest.MonkeyPatch, version: int = 3) -> None:
    """Copy a search into a database of version 3, which kept no sums, and its settings.

    Version 4 kept other sums than later ones, which make them anew.
    """
    connection = make_database(database_path(old), version=version)
    connection.execute("ATTACH ? AS newer", (str(version_6_of(state)),))
    tables = (*TABLES, "editions", "prompt_versions", "edition_prompts", "audits")
    copy_tables(connection, (*tables, "tallies") if version == 5 else tables)
    connection.close()
    shutil.copy(settings_path(state), settings_path(old))


@pytest.mark.parametrize("point", ["snapshot-step:1", "snapshot-inside:1", "migration:1"])
def test_kill_in_a_migration_leaves_the_old_database_to_be_migrated_again(
    searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
):
    old = tmp_path / "old"
    downgraded(searched, old, monkeypatch).close()
    words = [sys.executable, "-m", "tests.support.store_child", str(old), "0"]

    killed = subprocess.run(words, env={**os.environ, "LLMATIC_FAILPOINT": point}, check=False)

    assert killed.returncode == -signal.SIGKILL
    with sqlite3.connect(database_path(old)) as left:
        assert schema.applied(left) == ("m001_search",)
    left.close()
    for copy in copies(old):
        with sqlite3.connect(database_path(copy)) as kept:
            assert kept.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        kept.close()
    editions, placements = log(old)
    assert len(editions) == 1
    assert len(placements) == len(log(searched)[1])
    assert verify(old).faults == ()


def test_copy_from_before_a_migration_can_be_restored(
    searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    old = tmp_path / "old"
    of_version_3(searched, old, monkeypatch)
    asyncio.run(_log(old))
    (copy,) = copies(old)

    restore(copy, tmp_path / "restored")

    assert asyncio.run(_log(tmp_path / "restored")) == asyncio.run(_log(searched))


@pytest.mark.parametrize(
    "fault",
    [
        StoreUnavailable("the disk is full; make room, and try again"),
        OSError(errno.ENOSPC, "the disk is full"),  # of a folder, a copy of settings, an fsync
    ],
    ids=type,
)
def test_migration_without_room_for_a_copy_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception
):
    first_version(database_path(tmp_path / "old")).close()

    def full(source: Path, target: Path) -> None:
        raise fault

    monkeypatch.setattr(snapshots, "copy_database", full)

    with pytest.raises(StoreUnavailable, match="disk is full; make room"):
        asyncio.run(_log(tmp_path / "old"))

    connection = sqlite3.connect(database_path(tmp_path / "old"))
    assert schema.applied(connection) == ("m001_search",)
    connection.close()


def test_newer_database_is_refused_in_one_line_with_exit_code_78(tmp_path: Path):
    database_file.ensure(database_path(tmp_path), busy_timeout_s=1.0)
    connection = sqlite3.connect(database_path(tmp_path), isolation_level=None)
    connection.execute(
        "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) "
        "VALUES ('llmatic', 'm999_later', '')"
    )
    connection.close()

    done = CliRunner().invoke(main, ["status", "--state", str(tmp_path)])

    assert done.exit_code == 78
    assert len(done.stderr.splitlines()) == 1
    assert "use the newer llmatic-daemon" in done.stderr
    with pytest.raises(StateVersionError):
        asyncio.run(_log(tmp_path))
    assert copies(tmp_path) == []
