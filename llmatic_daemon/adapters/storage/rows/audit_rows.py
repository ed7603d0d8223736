"""Audits as rows of the log; runs inside a transaction."""

import sqlite3

from llmatic_daemon.adapters.storage.json_format import AUDITS
from llmatic_daemon.domain import Audit

_SELECT = "SELECT entry FROM audits"
_ADD = "INSERT INTO audits (number, entry) VALUES (?, ?)"
_LAST = "SELECT coalesce(max(number), 0) FROM audits"
_PUT_ELITE = """
INSERT OR REPLACE INTO network_elites (cell, job, objective, test_accuracy) VALUES (?, ?, ?, ?)"""


def add(connection: sqlite3.Connection, audit: Audit) -> None:
    """Store an audit, and the elite of its cell; do nothing if this very audit is stored.

    A COMMIT that reported an error may be on the disk, and the caller tries again.

    Raises:
        ValueError: its number is not the next one, or a number is not finite.
    """
    entry = AUDITS.write(audit)
    if connection.execute(f"{_SELECT} WHERE number = ?", (audit.number,)).fetchone() == (entry,):
        return
    (last,) = connection.execute(_LAST).fetchone()
    if audit.number != last + 1:
        raise ValueError(f"the next audit's number must be {last + 1}, got {audit.number}")
    connection.execute(_ADD, (audit.number, entry))
    figures = audit.holder_figures
    elite = (audit.cell, audit.holder, figures.objective, figures.test_accuracy)
    connection.execute(_PUT_ELITE, elite)


def read_all(connection: sqlite3.Connection, after: int = 0) -> list[Audit]:
    """Return the audits that follow a number, oldest first."""
    rows = connection.execute(f"{_SELECT} WHERE number > ? ORDER BY number", (after,))
    return [AUDITS.read(entry) for (entry,) in rows]


def read(connection: sqlite3.Connection, job: int) -> Audit | None:
    """Return the audit of a job, or None if it was not audited."""
    row = connection.execute(f"{_SELECT} WHERE job = ?", (job,)).fetchone()
    return AUDITS.read(row[0]) if row else None
