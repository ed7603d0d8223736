"""Temperatures: bolder after an improvement, calmer after a miss."""


def clamp(temperature: float) -> float:
    """Keep a temperature within [0, 1]."""
    return min(max(temperature, 0.0), 1.0)


def adapted(temperature: float, objective: float | None, window_best: float | None, step: float) -> float:
    """Return the temperature of the individual that is offered after a candidate.

    Args:
        temperature: Of the individual that was used, in [0, 1].
        objective: Of its candidate; None when it could not be trained.
        window_best: Best objective of the last complete window; None before the first.
        step: By how much it changes (0.05 in the paper).

    Returns:
        A step up when at least as good as that window, a step down when worse. As it was before
        the first window is complete: there is nothing yet to be better or worse than.

    Source: Nasir 2024, section 3.2.
    """
    if window_best is None:
        return temperature
    good = objective is not None and objective >= window_best
    return clamp(temperature + (step if good else -step))
