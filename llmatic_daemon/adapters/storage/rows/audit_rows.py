"""Audits as rows of the log, and back; runs inside a transaction."""

import math
import sqlite3
from typing import Any

from llmatic_daemon.domain import Accuracies, Audit, Outcome, Verdict

_COLUMNS = (
    "number",
    "num_settled",
    "job",
    "cell",
    "seed",
    "outcome",
    "detail",
    "first_objective",
    "first_test_accuracy",
    "objective",
    "test_accuracy",
    "standard_error",
    "verdict",
    "holder",
    "holder_objective",
    "holder_test_accuracy",
    "place",
    "wait_s",
    "train_s",
)
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM audits"
_ADD = f"INSERT INTO audits ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
_LAST = "SELECT coalesce(max(number), 0) FROM audits"
_PUT_ELITE = """
INSERT OR REPLACE INTO network_elites (cell, job, objective, test_accuracy) VALUES (?, ?, ?, ?)"""


def add(connection: sqlite3.Connection, audit: Audit) -> None:
    """Keep an audit, and who holds its cell; one that was kept already is left as it is.

    A COMMIT that reported an error may be on the disk, and is asked for again.

    Raises:
        ValueError: its number is not the next one, or a number is not finite.
    """
    row = _to_row(audit)
    if connection.execute(f"{_SELECT} WHERE number = ?", (audit.number,)).fetchone() == row:
        return
    (last,) = connection.execute(_LAST).fetchone()
    if audit.number != last + 1:
        raise ValueError(f"the next audit's number must be {last + 1}, got {audit.number}")
    connection.execute(_ADD, row)
    figures = audit.holder_figures
    elite = (audit.cell, audit.holder, figures.objective, figures.test_accuracy)
    connection.execute(_PUT_ELITE, elite)


def read_all(connection: sqlite3.Connection, after: int = 0) -> list[Audit]:
    """Read the audits that follow a number, oldest first."""
    rows = connection.execute(f"{_SELECT} WHERE number > ? ORDER BY number", (after,))
    return [_from_row(row) for row in rows]


def read(connection: sqlite3.Connection, job: int) -> Audit | None:
    """Read the audit of a job; None when it was not audited."""
    row = connection.execute(f"{_SELECT} WHERE job = ?", (job,)).fetchone()
    return _from_row(row) if row else None


def _to_row(audit: Audit) -> tuple[str | int | float, ...]:
    row = (
        audit.number,
        audit.num_settled,
        audit.job,
        audit.cell,
        audit.seed,
        audit.outcome.value,
        audit.detail,
        audit.first.objective,
        audit.first.test_accuracy,
        audit.second.objective,
        audit.second.test_accuracy,
        audit.standard_error,
        audit.verdict.value,
        audit.holder,
        audit.holder_figures.objective,
        audit.holder_figures.test_accuracy,
        audit.device,
        audit.wait_s,
        audit.train_s,
    )
    for name, value in zip(_COLUMNS, row, strict=True):
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{name} of audit {audit.number} must be finite, got {value!r}")
    return row


def _from_row(row: tuple[Any, ...]) -> Audit:
    (
        number,
        num_settled,
        job,
        cell,
        seed,
        outcome,
        detail,
        first_objective,
        first_test_accuracy,
        objective,
        test_accuracy,
        standard_error,
        verdict,
        holder,
        holder_objective,
        holder_test_accuracy,
        place,
        wait_s,
        train_s,
    ) = row
    return Audit(
        number=number,
        num_settled=num_settled,
        job=job,
        cell=cell,
        seed=seed,
        outcome=Outcome(outcome),
        detail=detail,
        first=Accuracies(objective=first_objective, test_accuracy=first_test_accuracy),
        second=Accuracies(objective=objective, test_accuracy=test_accuracy),
        standard_error=standard_error,
        verdict=Verdict(verdict),
        holder=holder,
        holder_figures=Accuracies(objective=holder_objective, test_accuracy=holder_test_accuracy),
        device=place,
        wait_s=wait_s,
        train_s=train_s,
    )
