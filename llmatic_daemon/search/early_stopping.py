"""Multi-fidelity: a cheap first look decides who gets a full training.

Asynchronous successive halving with two rungs (Li 2020, ASHA), and one thing more: the cell of a lifted
network is known before it is trained. So a network whose cell is empty goes on in any case; any other
one must have looked as good, at the same point of its training, as the elite that it is to beat, and be
among the best looks of late.
"""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval

#: Looks that are remembered, the last ones: what a search was like long ago says little.
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
    """Tell whether a network whose cell is taken may go on.

    Args:
        rules: Which share may.
        rung_accuracy: Its accuracy, in [0, 1].
        elite_rung_accuracy: Of the elite of its cell; None when that one was never looked at.
        rung_accuracies: Those of late, without this one.
    """
    if elite_rung_accuracy is not None and rung_accuracy < elite_rung_accuracy:
        return False
    num_better = sum(other > rung_accuracy for other in rung_accuracies)
    return num_better < rules.promoted_ratio * (len(rung_accuracies) + 1)


def remembered(rung_accuracies: tuple[float, ...], rung_accuracy: float) -> tuple[float, ...]:
    """Return the looks of late after one more."""
    return (*rung_accuracies[-NUM_REMEMBERED + 1 :], rung_accuracy)
