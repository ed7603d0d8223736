"""What the LLM is worth, while a daemon runs: the comparison with the control arm goes on with each placement."""

from llmatic_daemon.domain import Comparison, Placement, Uplift
from llmatic_daemon.domain.ports import Observer
from llmatic_daemon.search.comparison import uplift
from llmatic_daemon.search.rules import Rules
from llmatic_daemon.search.variants import strategy_of


def share(rules: Rules) -> float:
    """Say which share of the jobs is the control arm's, in [0, 1]; of a search all by rule it has none."""
    return 0.0 if strategy_of(rules).by_rule else rules.control_ratio


class ControlArm(Observer):
    """Follows a comparison.

    Args:
        comparison: As the store has it at the start; None: there never was a control arm.
    """

    def __init__(self, comparison: Comparison | None) -> None:
        self._comparison = comparison
        self._known: Uplift | None = None

    def slot_changed(self, slot: int, phase: str, detail: str) -> None:
        """Slots are of no interest."""

    def placed(self, placement: Placement) -> None:
        """Count a placement; what it means is worked out when somebody asks."""
        if self._comparison is not None:
            self._comparison = self._comparison.after(placement)
            self._known = None

    def uplift(self) -> Uplift | None:
        """Say what is known now; None: there never was a control arm."""
        if self._known is None and self._comparison is not None:
            self._known = uplift(self._comparison)
        return self._known
