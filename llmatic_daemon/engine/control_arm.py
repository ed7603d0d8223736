"""The comparison of the LLM with the control arm while a search runs; each placement continues it."""

from llmatic_daemon.domain import Comparison, Uplift
from llmatic_daemon.domain.events import Event, Placed
from llmatic_daemon.search.comparison import uplift
from llmatic_daemon.search.rules import Rules
from llmatic_daemon.search.variants import strategy_of


def share(rules: Rules) -> float:
    """Return the control arm's share of the jobs, in [0, 1]; 0 for a search that is all by rule."""
    return 0.0 if strategy_of(rules).by_rule else rules.control_ratio


class ControlArm:
    """Follows a comparison.

    Args:
        comparison: As the store has it at the start; None: there never was a control arm.
    """

    def __init__(self, comparison: Comparison | None) -> None:
        self._comparison = comparison
        self._known: Uplift | None = None

    def receive(self, event: Event) -> None:
        """Count a placement; the uplift is computed when it is read."""
        if isinstance(event, Placed) and self._comparison is not None:
            self._comparison = self._comparison.after(event.placement)
            self._known = None

    def uplift(self) -> Uplift | None:
        """Return the uplift so far; None if there never was a control arm."""
        if self._known is None and self._comparison is not None:
            self._known = uplift(self._comparison)
        return self._known
