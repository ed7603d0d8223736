"""The last milestone as a row, and back; runs inside a transaction."""

import sqlite3

from llmatic_daemon.domain import Checkpoint

_FORGET = "DELETE FROM milestones"
_ADD = """
INSERT INTO milestones (num_settled, num_editions, num_audits, rules_digest, search)
VALUES (?, ?, ?, ?, ?)"""
_LAST = """
SELECT num_settled, num_editions, num_audits, rules_digest, search FROM milestones
WHERE num_settled <= (SELECT coalesce(max(number), 0) FROM placements)
  AND num_editions <= (SELECT coalesce(max(number), 0) FROM editions)
  AND num_audits <= (SELECT coalesce(max(number), 0) FROM audits)"""


def put(connection: sqlite3.Connection, checkpoint: Checkpoint) -> None:
    """Keep a milestone, and forget the last one."""
    connection.execute(_FORGET)
    position = (checkpoint.num_settled, checkpoint.num_editions, checkpoint.num_audits)
    connection.execute(_ADD, (*position, checkpoint.rules_digest, checkpoint.search))


def read(connection: sqlite3.Connection) -> Checkpoint | None:
    """Read the milestone; None when there is none, or when it has seen more than the log holds."""
    row = connection.execute(_LAST).fetchone()
    if row is None:
        return None
    num_settled, num_editions, num_audits, rules_digest, search = row
    return Checkpoint(
        num_settled=num_settled,
        num_editions=num_editions,
        num_audits=num_audits,
        rules_digest=rules_digest,
        search=search,
    )
