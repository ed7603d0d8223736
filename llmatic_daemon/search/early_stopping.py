"""Early stopping: a rung, early in each training, decides whether the training continues.

This is asynchronous successive halving with two rungs (ASHA), extended by the archive: the cell of a lifted
network is known before its training. A training continues if the cell is empty. Otherwise the network must
be as accurate as its cell's elite was at the same rung, and rank among the best of the recent rungs.

Source: Li 2020 (ASHA).
"""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval

#: Number of recent accuracies at the rung; older ones are not comparable, because the search improves.
NUM_REMEMBERED = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class EarlyStoppingRules:
    """When a training is judged, and which ones go on: settings `fidelity.*`."""

    #: Share of a training after which there is a rung; 0: none.
    rung_ratio: Annotated[float, Interval(ge=0, lt=1)]
    #: Share of the networks at the rung that may go on; 1: all that may still win their cells.
    promoted_ratio: Annotated[float, Interval(gt=0, le=1)]


#: Every network is trained to its end.
NO_EARLY_STOPPING = EarlyStoppingRules(rung_ratio=0.0, promoted_ratio=1.0)


def is_promising(
    rules: EarlyStoppingRules,
    rung_accuracy: float,
    elite_rung_accuracy: float | None,
    rung_accuracies: tuple[float, ...],
) -> bool:
    """Return whether the training of a network continues if its cell has an elite.

    Args:
        rules: Rules with the share of trainings that continue.
        rung_accuracy: Accuracy of the network at the rung, in [0, 1].
        elite_rung_accuracy: Accuracy of its cell's elite at the same rung; None if unknown.
        rung_accuracies: Recent accuracies at the rung, without this one.
    """
    if elite_rung_accuracy is not None and rung_accuracy < elite_rung_accuracy:
        return False
    num_better = sum(other > rung_accuracy for other in rung_accuracies)
    return num_better < rules.promoted_ratio * (len(rung_accuracies) + 1)


def remembered(rung_accuracies: tuple[float, ...], rung_accuracy: float) -> tuple[float, ...]:
    """Return the recent accuracies at the rung after one more."""
    return (*rung_accuracies[-NUM_REMEMBERED + 1 :], rung_accuracy)
