"""Each entry of the log as one JSON text; the columns that SQL reads are generated from it."""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from llmatic_daemon.adapters.storage.migrations import script

if TYPE_CHECKING:
    from sqlite_utils import Database

_INDEX = """
CREATE INDEX placements_network ON placements (network_digest) WHERE network_digest IS NOT NULL"""
_PARENTS = """
(SELECT json_group_array(parent) FROM
  (SELECT parent FROM parents WHERE parents.job = placements.job ORDER BY position)) AS parents"""

_DEFAULTS = {"num_charged": 0, "by_rule": False, "rung_ratio": 0.0, "structure": []}

_Row = dict[str, Any]


def m007_entries(db: "Database") -> None:
    """Write each entry of the log as JSON; floats stay the same to the last bit."""
    connection = db.conn
    db.executescript(script("m007_entries"))
    placements = _rows(connection, f"SELECT *, {_PARENTS} FROM placements ORDER BY number")
    _fill(connection, "placements", "settled_at", ((row, _placement(row)) for row in placements))
    audits = _rows(connection, "SELECT * FROM audits ORDER BY number")
    _fill(connection, "audits", "audited_at", ((row, _audit(row)) for row in audits))
    _fill(connection, "editions", "adopted_at", _editions(connection))
    connection.execute(_INDEX)


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
