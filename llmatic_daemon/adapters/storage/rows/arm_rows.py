"""The two arms of each comparison, as sums over its placements; runs inside a transaction."""

import sqlite3
from dataclasses import astuple

from llmatic_daemon.domain import OBJECTIVE_UNITS, Arm, ArmTally, Comparison, Placement

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
_KEPT = f"SELECT comparison, arm, {', '.join(_SUMS)} FROM arm_tallies"
#: The words of `Placement.arm` and `ArmTally.of` in SQL.
_COUNTED = f"""
WITH counted AS (
  SELECT number, CASE WHEN by_rule THEN 'control' ELSE 'writer' END AS arm, status, objective,
    CAST(objective * {OBJECTIVE_UNITS} AS INTEGER) AS units
  FROM placements WHERE NOT stand_in AND outcome NOT IN ('context', 'error')
)
SELECT comparisons.number, arm, count(*), sum(status <> 'not_added'), count(objective),
  coalesce(sum(units), 0), coalesce(sum(units * units), 0)
FROM comparisons JOIN counted
  ON counted.number > since AND counted.number <= coalesce(until, counted.number)
GROUP BY comparisons.number, arm"""


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


def faults(connection: sqlite3.Connection) -> list[str]:
    """Name the sums that the log does not give, one line each."""
    counted = {row[:2]: row[2:] for row in connection.execute(_COUNTED)}
    kept = {row[:2]: row[2:] for row in connection.execute(_KEPT)}
    return [
        f"arm {key}: the log gives {counted.get(key)}, stored is {kept.get(key)}"
        for key in sorted(counted.keys() | kept.keys())
        if counted.get(key) != kept.get(key)
    ]
