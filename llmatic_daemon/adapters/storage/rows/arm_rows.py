"""The two arms of each comparison, as sums over its placements; runs inside a transaction."""

import sqlite3
from dataclasses import astuple

from llmatic_daemon.domain import Arm, ArmTally, Comparison, Placement

_LAST = "(SELECT coalesce(max(number), 0) FROM placements)"
_RUNNING = "SELECT control_ratio FROM comparisons WHERE until IS NULL"
_END = f"UPDATE comparisons SET until = {_LAST} WHERE until IS NULL"
_BEGIN = f"INSERT INTO comparisons (control_ratio, since) VALUES (?, {_LAST})"
_SUMS = ("num_settled", "num_entered", "num_trained", "objective_sum", "objective_squares")
_ADD = f"""
INSERT INTO arm_tallies (comparison, arm, {", ".join(_SUMS)})
SELECT number, ?, ?, ?, ?, ?, ? FROM comparisons WHERE until IS NULL
ON CONFLICT (comparison, arm) DO UPDATE SET
  {", ".join(f"{name} = {name} + excluded.{name}" for name in _SUMS)}"""
_LAST_COMPARISON = """
SELECT number, control_ratio, since, until FROM comparisons ORDER BY number DESC LIMIT 1"""
_ARMS = f"SELECT arm, {', '.join(_SUMS)} FROM arm_tallies WHERE comparison = ?"
_STORED = f"SELECT comparison, arm, {', '.join(_SUMS)} FROM arm_tallies"
_STRETCHES = "SELECT number, since, until FROM comparisons ORDER BY number"

#: Number of a comparison; of the placements before it; and of its last one, None while it goes on.
Stretch = tuple[int, int, int | None]


def compare(connection: sqlite3.Connection, control_ratio: float) -> Comparison | None:
    """Begin a comparison, unless one with this share is under way; with a share of 0 just end it."""
    if connection.execute(_RUNNING).fetchone() != (control_ratio,):
        connection.execute(_END)
        if control_ratio:
            connection.execute(_BEGIN, (control_ratio,))
    return read(connection)


def add(connection: sqlite3.Connection, placement: Placement) -> None:
    """Count one more placement, if there is a comparison under way."""
    if one := ArmTally.of(placement):
        connection.execute(_ADD, (placement.arm.value, *astuple(one)))


def read(connection: sqlite3.Connection) -> Comparison | None:
    """Return the last comparison; None when there was none."""
    found = connection.execute(_LAST_COMPARISON).fetchone()
    if found is None:
        return None
    number, control_ratio, since, until = found
    rows = connection.execute(_ARMS, (number,))
    arms = {arm: ArmTally(**dict(zip(_SUMS, sums, strict=True))) for arm, *sums in rows}
    return Comparison(
        control_ratio=control_ratio,
        since=since,
        until=until,
        writer=arms.get(Arm.WRITER, ArmTally()),
        control=arms.get(Arm.CONTROL, ArmTally()),
    )


def stretches(connection: sqlite3.Connection) -> list[Stretch]:
    """Return which placements each comparison counts."""
    return connection.execute(_STRETCHES).fetchall()


def read_all(connection: sqlite3.Connection) -> dict[tuple[int, str], ArmTally]:
    """Return the stored sums of all comparisons, by comparison and arm."""
    return {
        (number, arm): ArmTally(**dict(zip(_SUMS, sums, strict=True)))
        for number, arm, *sums in connection.execute(_STORED)
    }
