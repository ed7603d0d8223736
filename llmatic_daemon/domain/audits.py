"""Audits: a second training of an elite, and everything that it changes."""

from dataclasses import dataclass
from enum import StrEnum

from llmatic_daemon.domain.networks import Outcome
from llmatic_daemon.domain.placements import Elite


@dataclass(frozen=True, kw_only=True, slots=True)
class Accuracies:
    """The accuracies of a network, by one training or as the mean of two."""

    #: Accuracy on the split that selects, and on the test split; in [0, 1].
    objective: float
    test_accuracy: float


class Verdict(StrEnum):
    """Whether two trainings of the same network, by two seeds, agree."""

    STABLE = "stable"
    #: The accuracies differ by more than the threshold, or the second training failed.
    UNSTABLE = "unstable"


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """A second training of an elite, and everything that it changes: an entry of the search's log."""

    #: Position among the audits, from 1, without gaps.
    number: int
    #: Number of placements before it.
    num_settled: int
    #: Job of the audited network, and its cell.
    job: int
    cell: int
    #: Seed of the initial weights and of the training; differs from the first one.
    seed: int
    #: TRAINED, or why the training failed.
    outcome: Outcome
    #: One line for a person; empty if trained.
    detail: str
    #: Accuracies of the first training and of the audit; 0 if the training failed.
    first: Accuracies
    second: Accuracies
    #: Standard error of the difference of both objectives, by the number of images alone; above 0.
    standard_error: float
    verdict: Verdict
    #: Job that holds the cell after the audit, and its accuracies.
    holder: int
    holder_figures: Accuracies
    #: Empty if no device was used; then both times, in seconds, are 0.
    device: str
    wait_s: float
    train_s: float

    @property
    def mean(self) -> Accuracies:
        """The accuracies that count after the audit."""
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
    #: Whether it has been trained a second time.
    is_audited: bool = False
    #: Whether the trainer that measured it died later of damaged memory; audited before all others.
    is_suspect: bool = False
