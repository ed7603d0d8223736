"""The schema: migrations that only grow, and tables that refuse nonsense."""

import sqlite3
from pathlib import Path

import pytest

from llmatic_daemon.adapters import schema
from llmatic_daemon.adapters.placement_rows import COLUMNS
from llmatic_daemon.adapters.store import SQLiteStore
from llmatic_daemon.records import Outcome
from tests.sample_placements import SampleSearch, edition


@pytest.fixture
def database() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.migrate(connection)
    return connection


def test_migrate_twice_changes_nothing(database: sqlite3.Connection):
    changes = database.total_changes

    schema.migrate(database)

    assert database.total_changes == changes
    assert schema.applied(database) == ("m001_search", "m002_writers")
    assert database.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)


def test_migrate_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch):
    def m003_breaks(db):
        db.execute("CREATE TABLE half (a)")
        db.execute("CREATE TABLE search (a)")

    connection = sqlite3.connect(":memory:", isolation_level=None)
    monkeypatch.setattr(schema, "_MIGRATIONS", (*schema._MIGRATIONS, m003_breaks))

    with pytest.raises(sqlite3.OperationalError):
        schema.migrate(connection)

    assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    connection.close()


def test_placements_have_a_column_for_each_fact(database: sqlite3.Connection):
    columns = [row[1] for row in database.execute("PRAGMA table_info(placements)")]

    assert sorted(columns) == sorted([*COLUMNS, "settled_at"])


def test_every_view_can_be_read_and_is_empty_at_first(database: sqlite3.Connection):
    views = database.execute("SELECT name FROM sqlite_master WHERE type = 'view'").fetchall()

    assert {name for (name,) in views} == {
        "elites", "evaluations", "lineage", "prompt_credit", "totals",
    }  # fmt: skip
    for (name,) in views:
        rows = database.execute(f"SELECT * FROM {name}").fetchall()
        assert rows in ([], [(0, 0, 0.0, 0.0, None, None)])


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
