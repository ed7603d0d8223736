"""Multi-fidelity: a cheap first look decides who gets a full training.

Asynchronous successive halving with two rungs (Li 2020, ASHA), and one thing more: the cell of a lifted
network is known before it is trained. So a network whose cell is empty goes on in any case; any other
one must have looked as good, at the same point of its training, as the elite that it is to beat, and be
among the best looks of late.
"""

from dataclasses import dataclass

#: Looks that are remembered, the last ones: what a search was like long ago says little.
NUM_REMEMBERED = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class FidelityRules:
    """Who is looked at, and who goes on; the settings of the same names say more."""

    #: Share of a training after which there is a look; 0: none.
    look_ratio: float
    #: Share of the looks that may go on, in (0, 1]; 1: all that may still win their cells.
    promoted_ratio: float


#: Every network is trained to its end.
NO_LOOKS = FidelityRules(look_ratio=0.0, promoted_ratio=1.0)


def is_promising(
    rules: FidelityRules, look: float, elite_look: float | None, looks: tuple[float, ...]
) -> bool:
    """Tell whether a network whose cell is taken may go on.

    Args:
        rules: Which share may.
        look: Its accuracy, in [0, 1].
        elite_look: Of the elite of its cell; None when that one was never looked at.
        looks: Those of late, without this one.
    """
    if elite_look is not None and look < elite_look:
        return False
    num_better = sum(other > look for other in looks)
    return num_better < rules.promoted_ratio * (len(looks) + 1)


def remembered(looks: tuple[float, ...], look: float) -> tuple[float, ...]:
    """Return the looks of late after one more."""
    return (*looks[-NUM_REMEMBERED + 1 :], look)
