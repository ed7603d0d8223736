"""Budgets: when a search ends."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from llmatic_daemon.search.evolution import Evolution
from llmatic_daemon.search.rules import CountOrNone, Ratio


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """Limits of a search over all its restarts: settings `budget.*`; 0: no limit."""

    max_evaluations: CountOrNone = 0
    max_trainings: Annotated[float, Ge(0)] = 0.0
    max_gpu_hours: Annotated[float, Ge(0)] = 0.0
    max_hours: Annotated[float, Ge(0)] = 0.0
    target_accuracy: Ratio = 0.0

    def used_up(self, evolution: Evolution, elapsed_s: float) -> str | None:
        """Return which limit is reached, in words for a person, or None while there is room."""
        if self.max_evaluations and evolution.num_evaluations >= self.max_evaluations:
            return f"{evolution.num_evaluations} evaluations are settled"
        if self.max_trainings and evolution.cost >= self.max_trainings:
            return f"the cost of {evolution.cost:.1f} full trainings is reached"
        if self.max_gpu_hours and evolution.train_s >= self.max_gpu_hours * 3600:
            return f"{_spoken(evolution.train_s)} of device time are used"
        if self.max_hours and elapsed_s >= self.max_hours * 3600:
            return f"{_spoken(elapsed_s)} have passed"
        best = evolution.best.objective if evolution.best else None
        if self.target_accuracy and best is not None and best >= self.target_accuracy:
            return f"the target accuracy is reached: {best:.4f}"
        return None

    def has_room_for(self, evolution: Evolution, num_running: int) -> bool:
        """Decide whether one more job may start beside those that run, so that no result is useless."""
        evaluations, trainings = self.max_evaluations, self.max_trainings
        return (not evaluations or evolution.num_evaluations + num_running < evaluations) and (
            not trainings or evolution.cost + num_running < trainings
        )


def _spoken(duration_s: float) -> str:
    return f"{duration_s / 3600:.1f} hours" if duration_s >= 3600 else f"{duration_s / 60:.1f} minutes"
