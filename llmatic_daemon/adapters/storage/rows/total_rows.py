"""Sums over all placements, kept with each of them; runs inside a transaction."""

import sqlite3
from dataclasses import astuple, dataclass

from llmatic_daemon.domain import Placement

_ADD = """
INSERT INTO tallies (prompt, prompt_version, outcome, arm, num, num_added, score,
  curiosity_change, best_objective, train_s)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (prompt, prompt_version, outcome, arm) DO UPDATE SET
  num = num + 1, num_added = num_added + excluded.num_added, score = score + excluded.score,
  curiosity_change = curiosity_change + excluded.curiosity_change,
  train_s = train_s + excluded.train_s,
  best_objective = max(coalesce(best_objective, excluded.best_objective),
    coalesce(excluded.best_objective, best_objective))"""
_STORED = """
SELECT prompt, prompt_version, outcome, arm, num, num_added, score, curiosity_change, best_objective
FROM tallies"""


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over placements; times are not compared: their sums depend on the order."""

    num: int
    num_added: int
    score: float
    curiosity_change: float
    best_objective: float | None

    def plus(self, other: "Sums") -> "Sums":
        """Return the sums over both."""
        bests = [best for best in (self.best_objective, other.best_objective) if best is not None]
        return Sums(
            self.num + other.num,
            self.num_added + other.num_added,
            self.score + other.score,
            self.curiosity_change + other.curiosity_change,
            max(bests, default=None),
        )


def key_of(placement: Placement) -> tuple[str, int, str, str]:
    """Return what a placement is counted under: prompt, its version, outcome, arm."""
    return (placement.prompt, placement.prompt_version, placement.outcome.value, placement.arm.value)


def sums_of(placement: Placement) -> Sums:
    """Return the sums over one placement."""
    return Sums(
        1,
        int(placement.status.added),
        placement.score_change,
        placement.curiosity_change,
        placement.objective,
    )


def add(connection: sqlite3.Connection, placement: Placement) -> None:
    """Count one more placement."""
    values = (*key_of(placement), *astuple(sums_of(placement)), placement.durations.train_s)
    connection.execute(_ADD, values)


def read(connection: sqlite3.Connection) -> dict[tuple[str, int, str, str], Sums]:
    """Return the stored sums, by what they are counted under."""
    return {
        (prompt, version, outcome, arm): Sums(*sums)
        for prompt, version, outcome, arm, *sums in connection.execute(_STORED)
    }
