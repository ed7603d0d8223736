"""Deaths of trainers as rows of the log; runs inside a transaction."""

import sqlite3

from llmatic_daemon.adapters.storage.json_format import DEATHS
from llmatic_daemon.domain import TrainerDeath

_SELECT = "SELECT entry FROM deaths"
_ADD = "INSERT INTO deaths (number, entry) VALUES (?, ?)"
_LAST = "SELECT coalesce(max(number), 0) FROM deaths"


def is_stored(connection: sqlite3.Connection, death: TrainerDeath) -> bool:
    """Return whether this very death is stored: a COMMIT that reported an error may be on the disk."""
    row = connection.execute(f"{_SELECT} WHERE number = ?", (death.number,)).fetchone()
    return row is not None and DEATHS.read(row[0]) == death


def add(connection: sqlite3.Connection, death: TrainerDeath) -> None:
    """Store a death.

    Raises:
        ValueError: its number is not the next one, or a number is not finite.
    """
    (last,) = connection.execute(_LAST).fetchone()
    if death.number != last + 1:
        raise ValueError(f"the next death's number must be {last + 1}, got {death.number}")
    connection.execute(_ADD, (death.number, DEATHS.write(death)))


def read_all(connection: sqlite3.Connection, after: int = 0) -> list[TrainerDeath]:
    """Return the deaths that follow a number, oldest first."""
    rows = connection.execute(f"{_SELECT} WHERE number > ? ORDER BY number", (after,))
    return [DEATHS.read(entry) for (entry,) in rows]


def of_job(connection: sqlite3.Connection, job: int) -> list[TrainerDeath]:
    """Return the deaths during trainings of a job's network, oldest first."""
    rows = connection.execute(f"{_SELECT} WHERE job = ? ORDER BY number", (job,))
    return [DEATHS.read(entry) for (entry,) in rows]
