"""Audits: a second training of an elite, and all that it changes."""

from dataclasses import dataclass
from enum import StrEnum

from llmatic_daemon.domain.networks import Outcome
from llmatic_daemon.domain.placements import Elite

# --- what a second training changes ---------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Accuracies:
    """How good a network is, by one training or as the mean of two."""

    #: Accuracy on the split that selects, and on the test split; in [0, 1].
    objective: float
    test_accuracy: float


class Verdict(StrEnum):
    """What two trainings of the same network, by two seeds, say of its figures."""

    STABLE = "stable"
    #: They differ by more than chance allows, or the second training failed.
    UNSTABLE = "unstable"


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """A second training of an elite, and all that it changes: an entry of the search's log."""

    #: Position among the audits, from 1, without gaps.
    number: int
    #: Number of placements before it.
    num_settled: int
    #: The network that was audited, and its cell.
    job: int
    cell: int
    #: Of the initial weights and of the training; another one than the first time.
    seed: int
    #: TRAINED, or why it was not.
    outcome: Outcome
    #: One line for a person; empty when trained.
    detail: str
    #: Of the first training, and of the audit; a training that failed has reached 0.
    first: Accuracies
    second: Accuracies
    #: Of the difference of the two objectives, by the number of images alone; above 0.
    standard_error: float
    verdict: Verdict
    #: Job that holds the cell from now on, and its figures.
    holder: int
    holder_figures: Accuracies
    #: Empty when no place was held; then both times are 0. In seconds.
    device: str
    wait_s: float
    train_s: float

    @property
    def mean(self) -> Accuracies:
        """The figures that count from now on."""
        return Accuracies(
            objective=(self.first.objective + self.second.objective) / 2,
            test_accuracy=(self.first.test_accuracy + self.second.test_accuracy) / 2,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Contender:
    """A network that holds a cell, or would if those before it fell."""

    elite: Elite
    #: Of its training; the mean of two after an audit.
    figures: Accuracies
    #: Drawn to be audited as soon as it holds its cell, and not audited yet.
    wants_audit: bool
