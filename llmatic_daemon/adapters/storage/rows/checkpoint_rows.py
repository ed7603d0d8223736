"""The last milestone as a row, and back; runs inside a transaction."""

import sqlite3

from llmatic_daemon.domain import Milestone

_FORGET = "DELETE FROM milestones"
_ADD = """
INSERT INTO milestones (num_settled, num_editions, num_audits, rules_digest, search)
VALUES (?, ?, ?, ?, ?)"""
_LAST = """
SELECT num_settled, num_editions, num_audits, rules_digest, search FROM milestones
WHERE num_settled <= (SELECT coalesce(max(number), 0) FROM placements)
  AND num_editions <= (SELECT coalesce(max(number), 0) FROM editions)
  AND num_audits <= (SELECT coalesce(max(number), 0) FROM audits)"""


def put(connection: sqlite3.Connection, milestone: Milestone) -> None:
    """Keep a milestone, and forget the last one."""
    connection.execute(_FORGET)
    position = (milestone.num_settled, milestone.num_editions, milestone.num_audits)
    connection.execute(_ADD, (*position, milestone.rules_digest, milestone.search))


def read(connection: sqlite3.Connection) -> Milestone | None:
    """Read the milestone; None when there is none, or when it has seen more than the log holds."""
    row = connection.execute(_LAST).fetchone()
    if row is None:
        return None
    num_settled, num_editions, num_audits, rules_digest, search = row
    return Milestone(
        num_settled=num_settled,
        num_editions=num_editions,
        num_audits=num_audits,
        rules_digest=rules_digest,
        search=search,
    )
