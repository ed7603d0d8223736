"""Temperatures: higher after an improvement, lower after a failure."""


def clamp(temperature: float) -> float:
    """Return a temperature limited to [0, 1]."""
    return min(max(temperature, 0.0), 1.0)


def adapted(temperature: float, objective: float | None, window_best: float | None, step: float) -> float:
    """Return the temperature of the individual that is offered after a candidate.

    Args:
        temperature: Temperature of the individual that was used, in [0, 1].
        objective: Objective of its candidate; None if it could not be trained.
        window_best: Best objective of the last complete window; None before the first.
        step: Size of the change (0.05 in the paper).

    Returns:
        The temperature plus the step if the objective is at least `window_best`, else minus the step. Before
        the first window is complete, the temperature is unchanged.

    Source: Nasir 2024, section 3.2.
    """
    if window_best is None:
        return temperature
    good = objective is not None and objective >= window_best
    return clamp(temperature + (step if good else -step))
