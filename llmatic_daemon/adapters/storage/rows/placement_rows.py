"""Placements as rows of the log; runs inside a transaction."""

import sqlite3
from collections.abc import Iterator

from llmatic_daemon.adapters.storage.json_format import PLACEMENTS
from llmatic_daemon.domain import Placement

_SELECT = "SELECT entry FROM placements"
_ADD = "INSERT INTO placements (number, entry) VALUES (?, ?)"
_ADD_PARENT = "INSERT INTO parents (job, position, parent) VALUES (?, ?, ?)"
_LAST = "SELECT coalesce(max(number), 0) FROM placements"


def add(connection: sqlite3.Connection, placement: Placement, entry: str) -> None:
    """Store a placement, and its parents in a table of their own for the lineage.

    Args:
        connection: In a transaction.
        placement: The next one of the log.
        entry: The placement as JSON.

    Raises:
        ValueError: its number is not the next one.
    """
    due = last(connection) + 1
    if placement.number != due:
        raise ValueError(f"the next placement's number must be {due}, got {placement.number}")
    connection.execute(_ADD, (placement.number, entry))
    parents = [(placement.job.number, *parent) for parent in enumerate(placement.parents)]
    connection.executemany(_ADD_PARENT, parents)


def last(connection: sqlite3.Connection) -> int:
    """Return the number of the last placement; 0 before the first."""
    return int(connection.execute(_LAST).fetchone()[0])


def read(connection: sqlite3.Connection, job: int) -> Placement | None:
    """Return the placement of a job, or None if it is not settled."""
    return next(_read(connection, f"{_SELECT} WHERE job = ?", job), None)


def read_page(connection: sqlite3.Connection, after: int, size: int) -> list[Placement]:
    """Return at most `size` placements that follow a number, oldest first; there are no gaps."""
    query = f"{_SELECT} WHERE number > ? AND number <= ? ORDER BY number"
    return list(_read(connection, query, after, after + size))


def _read(connection: sqlite3.Connection, query: str, *values: int) -> Iterator[Placement]:
    return (PLACEMENTS.read(entry) for (entry,) in connection.execute(query, values))
