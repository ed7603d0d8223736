"""Sums over all placements, kept with each of them; runs inside a transaction."""

import sqlite3

from llmatic_daemon.domain import Placement

_ADD = """
INSERT INTO tallies (prompt, prompt_version, outcome, arm, num, num_added, score,
  curiosity_change, train_s, best_objective)
VALUES (?, ?, ?, ?, 1, ?, ?, ?, ?, ?)
ON CONFLICT (prompt, prompt_version, outcome, arm) DO UPDATE SET
  num = num + 1, num_added = num_added + excluded.num_added, score = score + excluded.score,
  curiosity_change = curiosity_change + excluded.curiosity_change,
  train_s = train_s + excluded.train_s,
  best_objective = max(coalesce(best_objective, excluded.best_objective),
    coalesce(excluded.best_objective, best_objective))"""
#: What is counted, compared with the log; times aside: their sums depend on the order.
_COUNTED = """
SELECT prompt, prompt_version, outcome,
  CASE WHEN stand_in THEN 'stand_in' WHEN by_rule THEN 'control' ELSE 'writer' END AS arm,
  count(*), sum(status <> 'not_added'), sum(score_change), sum(curiosity_change), max(objective)
FROM placements GROUP BY prompt, prompt_version, outcome, arm"""
_KEPT = """
SELECT prompt, prompt_version, outcome, arm, num, num_added, score, curiosity_change,
  best_objective
FROM tallies"""


def add(connection: sqlite3.Connection, placement: Placement) -> None:
    """Count one more placement."""
    key = (
        placement.prompt,
        placement.prompt_version,
        placement.outcome.value,
        placement.arm.value,
    )
    counted = (
        placement.status.added,
        placement.score_change,
        placement.curiosity_change,
        placement.durations.train_s,
        placement.objective,
    )
    connection.execute(_ADD, (*key, *counted))


def faults(connection: sqlite3.Connection) -> list[str]:
    """Name the sums that the log does not give, one line each."""
    counted = {row[:4]: row[4:] for row in connection.execute(_COUNTED)}
    kept = {row[:4]: row[4:] for row in connection.execute(_KEPT)}
    return [
        f"tally {key}: the log gives {counted.get(key)}, stored is {kept.get(key)}"
        for key in sorted(counted.keys() | kept.keys())
        if counted.get(key) != kept.get(key)
    ]
