"""Each entry of the log as one JSON text; the columns that SQL reads are generated from it."""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from llmatic_daemon.adapters.storage.migrations import STRICT
from llmatic_daemon.adapters.storage.migrations.m001_search import VIEWS
from llmatic_daemon.adapters.storage.migrations.m003_audits import AUDITED_VIEWS
from llmatic_daemon.adapters.storage.migrations.m004_growth import GROWN_VIEWS

if TYPE_CHECKING:
    from sqlite_utils import Database

#: Name, type, path in the entry, and constraints. SQL filters, joins and orders by these; views show them.
_PLACEMENT_COLUMNS = (
    ("job INTEGER", "job.number", "NOT NULL UNIQUE REFERENCES jobs (number)"),
    ("operator TEXT", "operator", "NOT NULL CHECK (operator IN ('initialisation', 'mutation', 'crossover'))"),
    ("prompt TEXT", "prompt", "NOT NULL"),
    ("prompt_version INTEGER", "prompt_version", "NOT NULL"),
    ("temperature REAL", "temperature", "CHECK (temperature BETWEEN 0 AND 1)"),
    ("writer TEXT", "writer", "NOT NULL"),
    ("model TEXT", "model", "NOT NULL"),
    ("outcome TEXT", "outcome", "NOT NULL"),
    ("duplicate_of INTEGER", "duplicate_of", "REFERENCES placements (job)"),
    ("num_parameters INTEGER", "measures.num_parameters", ""),
    ("flops INTEGER", "measures.flops", ""),
    ("width INTEGER", "measures.width", ""),
    ("depth INTEGER", "measures.depth", ""),
    ("objective REAL", "report.objective", "CHECK (objective BETWEEN 0 AND 1)"),
    ("test_accuracy REAL", "report.test_accuracy", "CHECK (test_accuracy BETWEEN 0 AND 1)"),
    ("test_loss REAL", "report.test_loss", ""),
    ("cell INTEGER", "cell", ""),
    ("status TEXT", "status", "NOT NULL CHECK (status IN ('new', 'improved', 'not_added'))"),
    ("credited_job INTEGER", "credited_job", "REFERENCES placements (job)"),
    ("source_digest TEXT", "source_digest", "REFERENCES sources (digest)"),
    ("network_digest TEXT", "network_digest", "REFERENCES graphs (digest)"),
    ("elapsed_s REAL", "elapsed_s", "NOT NULL"),
)
_AUDIT_COLUMNS = (
    ("num_settled INTEGER", "num_settled", "NOT NULL CHECK (num_settled >= 0)"),
    ("job INTEGER", "job", "NOT NULL UNIQUE REFERENCES placements (job)"),
    ("cell INTEGER", "cell", "NOT NULL CHECK (cell >= 0)"),
    ("outcome TEXT", "outcome", "NOT NULL"),
    ("first_objective REAL", "first.objective", "NOT NULL CHECK (first_objective BETWEEN 0 AND 1)"),
    ("objective REAL", "second.objective", "NOT NULL CHECK (objective BETWEEN 0 AND 1)"),
    ("test_accuracy REAL", "second.test_accuracy", "NOT NULL CHECK (test_accuracy BETWEEN 0 AND 1)"),
    ("standard_error REAL", "standard_error", "NOT NULL CHECK (standard_error > 0)"),
    ("verdict TEXT", "verdict", "NOT NULL CHECK (verdict IN ('stable', 'unstable'))"),
    ("holder INTEGER", "holder", "NOT NULL REFERENCES placements (job)"),
    ("train_s REAL", "train_s", "NOT NULL"),
)
_EDITION_COLUMNS = (("num_settled INTEGER", "num_settled", "NOT NULL CHECK (num_settled >= 0)"),)


def _generated(columns: tuple[tuple[str, str, str], ...], kind: str = "VIRTUAL") -> str:
    """Define columns. VIRTUAL: they take no space, and SQLite parses the entry to read one."""
    return "\n".join(
        f"  {name} GENERATED ALWAYS AS (json_extract(entry, '$.{path}')) {kind} {rules}".rstrip() + ","
        for name, path, rules in columns
    )


_TABLES = f"""
CREATE TABLE new_placements ( -- the log: what each settled job changed
  number INTEGER PRIMARY KEY,
  settled_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
{_generated(_PLACEMENT_COLUMNS)}
  train_s REAL GENERATED ALWAYS AS (coalesce(json_extract(entry, '$.durations.train_s'), 0.0)) VIRTUAL,
  entry TEXT NOT NULL, -- JSON of domain.Placement
  CHECK ((num_parameters IS NULL) + (flops IS NULL) + (width IS NULL) + (depth IS NULL) IN (0, 4)),
  CHECK ((objective IS NULL) + (test_accuracy IS NULL) + (test_loss IS NULL) IN (0, 3)),
  CHECK (json_extract(entry, '$.fallback') IN (0, 1)),
  CHECK (json_extract(entry, '$.staleness') >= 0),
  CHECK (json_extract(entry, '$.rung_accuracy') BETWEEN 0 AND 1),
  CHECK (json_extract(entry, '$.offer.temperature') BETWEEN 0 AND 1),
  CHECK (json_extract(entry, '$.offer.status') IN ('new', 'improved', 'not_added')),
  CHECK ((outcome = 'trained') <= (objective IS NOT NULL)),
  CHECK (status = 'not_added' OR (cell IS NOT NULL AND objective IS NOT NULL))
) {STRICT};

CREATE TABLE new_audits ( -- of the log: second trainings of elites, by another seed
  number INTEGER PRIMARY KEY,
  audited_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
{_generated(_AUDIT_COLUMNS, "STORED")}
  entry TEXT NOT NULL -- JSON of domain.Audit
) {STRICT};

CREATE TABLE new_editions ( -- of the log: the prompt sets that the search has used
  number INTEGER PRIMARY KEY,
  adopted_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
{_generated(_EDITION_COLUMNS, "STORED")}
  entry TEXT NOT NULL -- JSON of domain.Edition
) {STRICT};

CREATE TABLE checkpoints ( -- the search after this part of its log; the last one only
  num_settled INTEGER NOT NULL CHECK (num_settled >= 0),
  num_editions INTEGER NOT NULL CHECK (num_editions >= 0),
  num_audits INTEGER NOT NULL CHECK (num_audits >= 0),
  num_deaths INTEGER NOT NULL CHECK (num_deaths >= 0),
  rules_digest TEXT NOT NULL,
  search TEXT NOT NULL, -- JSON of domain.SavedSearch
  kept_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) {STRICT};
"""
#: The next start folds the whole log once: another version wrote the checkpoint that there is.
_DROP_CHECKPOINTS = "DROP TABLE milestones"
_INDEX = """
CREATE INDEX placements_network ON placements (network_digest) WHERE network_digest IS NOT NULL"""
_NEW_VIEWS = {
    "evaluations": VIEWS["evaluations"],
    "elites": AUDITED_VIEWS["elites"],
    "lineage": VIEWS["lineage"],
    **GROWN_VIEWS,
}
_PARENTS = """
(SELECT json_group_array(parent) FROM
  (SELECT parent FROM parents WHERE parents.job = placements.job ORDER BY position)) AS parents"""

_DEFAULTS = {"num_charged": 0, "by_rule": False, "rung_ratio": 0.0, "structure": []}

_Row = dict[str, Any]


def m007_entries(db: "Database") -> None:
    """Write each entry of the log as JSON; floats stay the same to the last bit."""
    connection = db.conn
    for name in _NEW_VIEWS:
        connection.execute(f"DROP VIEW {name}")
    db.executescript(_TABLES)
    placements = _rows(connection, f"SELECT *, {_PARENTS} FROM placements ORDER BY number")
    _fill(connection, "placements", "settled_at", ((row, _placement(row)) for row in placements))
    audits = _rows(connection, "SELECT * FROM audits ORDER BY number")
    _fill(connection, "audits", "audited_at", ((row, _audit(row)) for row in audits))
    _fill(connection, "editions", "adopted_at", _editions(connection))
    connection.execute(_DROP_CHECKPOINTS)
    connection.execute(_INDEX)
    for name, query in _NEW_VIEWS.items():
        db.create_view(name, query)


def _rows(connection: sqlite3.Connection, query: str) -> Iterator[_Row]:
    cursor = connection.execute(query)
    names = [column[0] for column in cursor.description]
    return (dict(zip(names, row, strict=True)) for row in cursor)


def _fill(
    connection: sqlite3.Connection, table: str, time: str, entries: Iterator[tuple[_Row, _Row]]
) -> None:
    """Copy a table's rows into its new form, and give that the table's name."""
    rows = ((row["number"], _json(entry), row[time]) for row, entry in entries)
    connection.executemany(f"INSERT INTO new_{table} (number, entry, {time}) VALUES (?, ?, ?)", rows)
    connection.execute(f"DROP TABLE {table}")
    connection.execute(f"ALTER TABLE new_{table} RENAME TO {table}")


def _json(entry: _Row) -> str:
    return json.dumps(_without_defaults(entry), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _without_defaults(entry: _Row) -> _Row:
    """Leave out what reading restores, as in the entries that are written from now on."""
    return {
        name: _without_defaults(value) if isinstance(value, dict) else value
        for name, value in entry.items()
        if value is not None and value != _DEFAULTS.get(name)
    }


def _placement(row: _Row) -> _Row:
    if row["cost"] is None:  # an older version did not count it
        row["cost"] = float(row["objective"] is not None)
    return {
        **_picked(row, "number"),
        "job": {"number": row["job"], **_picked(row, "attempt", "num_charged")},
        **_picked(row, "slot", "operator", "prompt", "prompt_version", "temperature", "seed"),
        "parents": json.loads(row["parents"]),
        **_picked(row, "writer", "endpoint", "model", "model_version", "finish_reason"),
        **_picked(row, "num_prompt_tokens", "num_tokens"),
        "fallback": bool(row["stand_in"]),
        **_picked(row, "outcome", "detail", "source_digest", "network_digest", "duplicate_of"),
        "measures": _measures(row),
        "report": _report(row),
        **_picked(row, "cell", "status"),
        "clipped": bool(row["clipped"]),
        **_picked(row, "credited_cell", "credited_job", "curiosity_change", "score_change"),
        "offer": _offer(row),
        "staleness": row["staleness"],
        "durations": _picked(row, "llm_s", "lift_s", "wait_s", "train_s", "total_s"),
        "elapsed_s": row["elapsed_s"],
        "by_rule": bool(row["by_rule"]),
        "rung_accuracy": row["look"],
        "rung_ratio": row["look_ratio"],
        "cost": row["cost"],
        "structure": json.loads(row["structure"] or "[]"),
    }


def _picked(row: _Row, *names: str) -> _Row:
    return {name: row[name] for name in names}


def _measures(row: _Row) -> _Row | None:
    return None if row["flops"] is None else _picked(row, "num_parameters", "flops", "width", "depth")


def _report(row: _Row) -> _Row | None:
    if row["objective"] is None:
        return None
    return {
        **_picked(row, "objective", "test_accuracy", "test_loss"),
        "curve": json.loads(row["curve"]),
        "device": row["place"],
        "wait_s": row["held_wait_s"],
        "train_s": row["held_train_s"],
        "normalisation": None,
        "rung_accuracy": row["look"],
        "cost": row["cost"],
    }


def _offer(row: _Row) -> _Row | None:
    names = ("temperature", "cell", "status", "objective", "curiosity")
    return None if row["offer_cell"] is None else {name: row[f"offer_{name}"] for name in names}


def _audit(row: _Row) -> _Row:
    accuracies = {
        name: {kind: row[f"{prefix}{kind}"] for kind in ("objective", "test_accuracy")}
        for name, prefix in (("first", "first_"), ("second", ""), ("holder_figures", "holder_"))
    }
    facts = ("number", "num_settled", "job", "cell", "seed", "outcome", "detail", "standard_error")
    return {
        **_picked(row, *facts, "verdict", "holder", "wait_s", "train_s"),
        **accuracies,
        "device": row["place"],
    }


def _editions(connection: sqlite3.Connection) -> Iterator[tuple[_Row, _Row]]:
    members: dict[int, list[_Row]] = defaultdict(list)
    for member in _rows(
        connection,
        "SELECT edition, slot, prompt AS id, kind, text, weight, version FROM edition_prompts "
        "JOIN prompt_versions USING (prompt, version) ORDER BY edition, prompt",
    ):
        members[member["edition"]].append(member)
    for row in _rows(connection, "SELECT * FROM editions ORDER BY number"):
        mutation = [each for each in members[row["number"]] if each["slot"] is not None]
        (crossover,) = (each for each in members[row["number"]] if each["slot"] is None)
        prompts = {
            "mutation": list(map(_prompt, mutation)),
            "crossover": _prompt(crossover),
            "axis_positions": [each["slot"] for each in mutation],
        }
        emptied = json.loads(row["emptied"])
        yield row, {**_picked(row, "number", "num_settled"), "prompts": prompts, "emptied": emptied}


def _prompt(member: _Row) -> _Row:
    return _picked(member, "id", "kind", "text", "weight", "version")
