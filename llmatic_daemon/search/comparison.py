"""Uplift: the LLM's arm compared with the control arm, which a rule writes from the same parents.

Jobs are assigned to the control arm at random, so that the arms differ in their writer alone. Both arms
share one archive and its parents. So the comparison shows which writer produces better candidates now, not
which would have found a better archive by itself.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from llmatic_daemon import domain

#: Minimum number of candidates in each arm for a comparison.
MIN_CANDIDATES = 20
NUM_RESAMPLES = 2_000
#: Bounds of the interval, in percent.
_BOUNDS = (2.5, 97.5)
_SEED = 20_241


def uplift(comparison: domain.Comparison) -> domain.Uplift:
    """Compare both arms. Takes 1 ms, independent of the number of candidates.

    Each interval is valid for one check. Repeated checks that stop at the first finding are wrong more
    often than one time in twenty.
    """
    return domain.Uplift(
        since=comparison.since,
        until=comparison.until,
        control_ratio=comparison.control_ratio,
        writer=figures(comparison.writer),
        control=figures(comparison.control),
        entered=entered_difference(comparison.writer, comparison.control),
        objective=objective_difference(comparison.writer, comparison.control),
    )


def figures(tally: domain.ArmTally) -> domain.ArmFigures:
    """Return a tally in the units of the search."""
    settled, trained = tally.num_settled, tally.num_trained
    return domain.ArmFigures(
        num_settled=settled,
        num_entered=tally.num_entered,
        num_trained=trained,
        entered_ratio=tally.num_entered / settled if settled else None,
        mean_objective=tally.objective_sum / trained / domain.OBJECTIVE_UNITS if trained else None,
    )


def entered_difference(writer: domain.ArmTally, control: domain.ArmTally) -> domain.Difference | None:
    """Compare the shares of the settled candidates that entered the network archive.

    Resampling two counts is one binomial draw. One success and one failure are added to each arm, because
    a share of 0 would always be resampled as 0.

    Returns:
        The difference, or None with fewer than `MIN_CANDIDATES` settled candidates in an arm.

    Source: Efron 1979 (bootstrap); Agresti 2000 (one success and one failure).
    """
    if min(writer.num_settled, control.num_settled) < MIN_CANDIDATES:
        return None
    rng = np.random.default_rng(_SEED)
    resampled = _shares(writer, rng) - _shares(control, rng)
    return _difference(_entered_ratio(writer) - _entered_ratio(control), resampled)


def objective_difference(writer: domain.ArmTally, control: domain.ArmTally) -> domain.Difference | None:
    """Compare the mean objectives of the networks that were trained.

    Each mean is resampled by its standard error (parametric bootstrap). This needs a count, a sum and a sum
    of squares only, not every objective.

    Returns:
        The difference, or None with fewer than `MIN_CANDIDATES` trained networks in an arm.

    Source: Efron 1993, chapter 6.5 (parametric bootstrap).
    """
    if min(writer.num_trained, control.num_trained) < MIN_CANDIDATES:
        return None
    rng = np.random.default_rng(_SEED)
    resampled = _means(writer, rng) - _means(control, rng)
    plain = writer.objective_sum / writer.num_trained - control.objective_sum / control.num_trained
    return _difference(plain / domain.OBJECTIVE_UNITS, resampled)


def _entered_ratio(tally: domain.ArmTally) -> float:
    return tally.num_entered / tally.num_settled


def _shares(tally: domain.ArmTally, rng: Generator) -> NDArray[np.float64]:
    """Draw shares of the candidates that entered: (NUM_RESAMPLES,), in [0, 1]."""
    number = tally.num_settled + 2
    share = (tally.num_entered + 1) / number
    return rng.binomial(number, share, NUM_RESAMPLES) / number


def _means(tally: domain.ArmTally, rng: Generator) -> NDArray[np.float64]:
    """Draw mean objectives: (NUM_RESAMPLES,), in the units of the search."""
    number = tally.num_trained
    # Integers keep the difference of two large squares exact.
    squares = number * tally.objective_squares - tally.objective_sum**2
    deviation = (squares / (number * (number - 1))) ** 0.5
    drawn = rng.standard_t(number - 1, NUM_RESAMPLES)
    means = tally.objective_sum / number + deviation / number**0.5 * drawn
    return np.asarray(means / domain.OBJECTIVE_UNITS)


def _difference(mean: float, resampled: NDArray[np.float64]) -> domain.Difference:
    low, high = (float(bound) for bound in np.percentile(resampled, _BOUNDS))
    return domain.Difference(mean=mean, low=min(low, mean), high=max(high, mean), finding=_found(low, high))


def _found(low: float, high: float) -> domain.Finding:
    if low > 0:
        return domain.Finding.BETTER
    return domain.Finding.WORSE if high < 0 else domain.Finding.OPEN
