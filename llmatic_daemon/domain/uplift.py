"""Uplift: what the LLM adds to a search, measured against the control arm."""

from dataclasses import dataclass, replace
from enum import StrEnum

from llmatic_daemon.domain.placements import Arm, Placement

#: Objectives are summed as integers in these units, so the sum does not depend on the order.
OBJECTIVE_UNITS = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmTally:
    """Counts and sums of one arm's candidates, without those that failed for external reasons."""

    num_settled: int = 0
    #: Number that entered the network archive.
    num_entered: int = 0
    #: Number that were trained to the end.
    num_trained: int = 0
    #: Sum of the objectives, and of their squares; in `OBJECTIVE_UNITS`.
    objective_sum: int = 0
    objective_squares: int = 0

    @classmethod
    def of(cls, placement: Placement) -> "ArmTally | None":
        """Return the tally of one candidate, or None if it does not count for an arm."""
        if placement.arm is Arm.FALLBACK or not placement.outcome.blames_prompt:
            return None
        objective = placement.objective
        units = 0 if objective is None else int(objective * OBJECTIVE_UNITS)
        return cls(
            num_settled=1,
            num_entered=int(placement.status.added),
            num_trained=int(objective is not None),
            objective_sum=units,
            objective_squares=units * units,
        )

    def __add__(self, other: "ArmTally") -> "ArmTally":
        """Return the sum of two tallies."""
        return ArmTally(
            num_settled=self.num_settled + other.num_settled,
            num_entered=self.num_entered + other.num_entered,
            num_trained=self.num_trained + other.num_trained,
            objective_sum=self.objective_sum + other.objective_sum,
            objective_squares=self.objective_squares + other.objective_squares,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """A period of a search with one control ratio."""

    #: In (0, 1].
    control_ratio: float
    #: Number of placements before the period, and at its end; None: it is not over.
    since: int
    until: int | None = None
    writer: ArmTally = ArmTally()
    control: ArmTally = ArmTally()

    def after(self, placement: Placement) -> "Comparison":
        """Return the comparison after one more placement; if it is over, unchanged."""
        one = ArmTally.of(placement)
        if one is None or self.until is not None:
            return self
        if placement.arm is Arm.CONTROL:
            return replace(self, control=self.control + one)
        return replace(self, writer=self.writer + one)


class Finding(StrEnum):
    """Whether the LLM's arm is better than the control arm."""

    #: The interval contains 0.
    OPEN = "not yet distinguishable"
    BETTER = "better"
    WORSE = "worse"


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """The LLM's arm minus the control arm, in one quantity."""

    mean: float
    #: Bounds of the 95 % bootstrap interval.
    low: float
    high: float
    finding: Finding


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmFigures:
    """The results of an arm, for people."""

    num_settled: int
    #: Number that entered the network archive, and that were trained to the end.
    num_entered: int
    num_trained: int
    #: In [0, 1]; None: no candidate was settled, or trained.
    entered_ratio: float | None
    mean_objective: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Uplift:
    """The comparison of both arms."""

    control_ratio: float
    #: Number of placements before the comparison, and at its end; None: it is not over.
    since: int
    until: int | None
    writer: ArmFigures
    control: ArmFigures
    #: Difference of the shares that entered the archive; None: too few candidates.
    entered: Difference | None
    #: Difference of the mean objectives; None: too few trained networks.
    objective: Difference | None
