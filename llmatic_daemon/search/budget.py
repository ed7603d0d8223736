"""Budgets: when a search has had enough."""

from dataclasses import dataclass

from llmatic_daemon.search.evolution import Evolution


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """Limits of a search over all its restarts; None: no limit."""

    #: Evaluations: candidates that were trained and measured.
    max_evaluations: int | None = None
    #: All that was trained, looks included, in full trainings.
    max_trainings: float | None = None
    #: Time that device places were held, added up.
    max_gpu_hours: float | None = None
    #: Running time.
    max_hours: float | None = None
    #: Objective, in [0, 1].
    target_accuracy: float | None = None

    def used_up(self, evolution: Evolution, elapsed_s: float) -> str | None:
        """Say which limit is reached, in words for a person; None while there is room."""
        if self.max_evaluations is not None and evolution.num_evaluations >= self.max_evaluations:
            return f"{evolution.num_evaluations} evaluations are settled"
        if self.max_trainings is not None and evolution.cost >= self.max_trainings:
            return f"the cost of {evolution.cost:.1f} full trainings is reached"
        if self.max_gpu_hours is not None and evolution.train_s >= self.max_gpu_hours * 3600:
            return f"{_spoken(evolution.train_s)} of device time are used"
        if self.max_hours is not None and elapsed_s >= self.max_hours * 3600:
            return f"{_spoken(elapsed_s)} have passed"
        best = evolution.best.objective if evolution.best else None
        if self.target_accuracy is not None and best is not None and best >= self.target_accuracy:
            return f"the target accuracy is reached: {best:.4f}"
        return None

    def has_room_for(self, evolution: Evolution, num_running: int) -> bool:
        """Tell whether one more job may start beside those that run: none is started in vain."""
        evaluations, trainings = self.max_evaluations, self.max_trainings
        return (evaluations is None or evolution.num_evaluations + num_running < evaluations) and (
            trainings is None or evolution.cost + num_running < trainings
        )


def _spoken(duration_s: float) -> str:
    return f"{duration_s / 3600:.1f} hours" if duration_s >= 3600 else f"{duration_s / 60:.1f} minutes"
