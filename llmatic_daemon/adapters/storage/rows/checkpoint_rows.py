"""The last checkpoint as a row; runs inside a transaction."""

import sqlite3

from llmatic_daemon.adapters.storage.json_format import SEARCHES
from llmatic_daemon.domain import Checkpoint

_DELETE = "DELETE FROM checkpoints"
_ADD = """
INSERT INTO checkpoints (num_settled, num_editions, num_audits, num_deaths, rules_digest, search)
VALUES (?, ?, ?, ?, ?, ?)"""
_LAST = """
SELECT num_settled, num_editions, num_audits, num_deaths, rules_digest, search FROM checkpoints
WHERE num_settled <= (SELECT coalesce(max(number), 0) FROM placements)
  AND num_editions <= (SELECT coalesce(max(number), 0) FROM editions)
  AND num_audits <= (SELECT coalesce(max(number), 0) FROM audits)
  AND num_deaths <= (SELECT coalesce(max(number), 0) FROM deaths)"""


def put(connection: sqlite3.Connection, checkpoint: Checkpoint) -> None:
    """Store a checkpoint, and delete the last one."""
    assert checkpoint.search is not None
    entries = (checkpoint.num_editions, checkpoint.num_audits, checkpoint.num_deaths)
    search = SEARCHES.write(checkpoint.search)
    connection.execute(_DELETE)
    connection.execute(_ADD, (checkpoint.num_settled, *entries, checkpoint.rules_digest, search))


def read(connection: sqlite3.Connection) -> Checkpoint | None:
    """Return the checkpoint, or None if there is none that this version reads and the log reaches."""
    row = connection.execute(_LAST).fetchone()
    if row is None:
        return None
    num_settled, num_editions, num_audits, num_deaths, rules_digest, text = row
    try:
        search = SEARCHES.read(text)
    except ValueError:  # of another version: the log gives the same search
        return None
    return Checkpoint(
        num_settled=num_settled,
        num_editions=num_editions,
        num_audits=num_audits,
        num_deaths=num_deaths,
        rules_digest=rules_digest,
        search=search,
    )
