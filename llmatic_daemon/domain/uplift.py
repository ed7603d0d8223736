"""The control arm: what the LLM adds to a search."""

from dataclasses import dataclass, replace
from enum import StrEnum

from llmatic_daemon.domain.placements import Arm, Placement

# --- what the LLM is worth ------------------------------------------------------------------------

#: Objectives are summed up in these parts of 1, as integers: such a sum knows no order.
OBJECTIVE_UNITS = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmTally:
    """What has become of the candidates of one arm; those that the world has failed are in none."""

    num_settled: int = 0
    #: Of these, entered the network archive.
    num_entered: int = 0
    #: Trained to the end and measured.
    num_trained: int = 0
    #: Of the trained ones: sum of the objectives, and of their squares; in `OBJECTIVE_UNITS`.
    objective_sum: int = 0
    objective_squares: int = 0

    @classmethod
    def of(cls, placement: Placement) -> "ArmTally | None":
        """Count one candidate; None when it says nothing of its arm, as the world has failed it."""
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
        """Add up two of them."""
        return ArmTally(
            num_settled=self.num_settled + other.num_settled,
            num_entered=self.num_entered + other.num_entered,
            num_trained=self.num_trained + other.num_trained,
            objective_sum=self.objective_sum + other.objective_sum,
            objective_squares=self.objective_squares + other.objective_squares,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """A stretch of a search in which the control arm had one and the same share of the jobs."""

    #: In (0, 1].
    control_ratio: float
    #: Number of placements before it, and with its last one; None: it goes on.
    since: int
    until: int | None = None
    writer: ArmTally = ArmTally()
    control: ArmTally = ArmTally()

    def after(self, placement: Placement) -> "Comparison":
        """Return it after one more placement; one that is over stays as it is."""
        one = ArmTally.of(placement)
        if one is None or self.until is not None:
            return self
        if placement.arm is Arm.CONTROL:
            return replace(self, control=self.control + one)
        return replace(self, writer=self.writer + one)


class Finding(StrEnum):
    """What a difference between the arms says of the LLM."""

    #: The interval holds 0.
    OPEN = "not yet distinguishable"
    BETTER = "better"
    WORSE = "worse"


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """What the LLM's arm has over the control arm in one respect; below 0: it has less."""

    mean: float
    #: Bounds of the 95 % bootstrap interval.
    low: float
    high: float
    finding: Finding


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmFigures:
    """How an arm has done; for people."""

    num_settled: int
    #: Of these, entered the network archive; were trained to the end and measured.
    num_entered: int
    num_trained: int
    #: In [0, 1]; None: nothing was settled, or trained.
    entered_ratio: float | None
    mean_objective: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Uplift:
    """What the LLM is worth, as far as a control arm tells."""

    control_ratio: float
    #: Number of placements before the comparison, and with its last one; None: it goes on.
    since: int
    until: int | None
    writer: ArmFigures
    control: ArmFigures
    #: In the share of the settled candidates that entered; None: too few to say.
    entered: Difference | None
    #: In the mean objective of the trained ones; None: too few to say.
    objective: Difference | None
