"""What the LLM is worth: its arm against the control arm, which is written by rule from the same parents.

Jobs are drawn for the control arm by chance, so that the arms differ in their writer alone. They do
not search apart: both fill the same archive and take parents from it, and what one has found raises
the bar for the other. The question is who is better to ask next, not who would have come farther alone.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from llmatic_daemon.domain import (
    OBJECTIVE_UNITS,
    ArmFigures,
    ArmTally,
    Comparison,
    Difference,
    Finding,
    Uplift,
)

#: With fewer candidates in one of the arms, nothing is said of a difference.
MIN_CANDIDATES = 20
NUM_RESAMPLES = 2_000
#: Of an interval, in percent.
_BOUNDS = (2.5, 97.5)
_SEED = 20_241


def uplift(comparison: Comparison) -> Uplift:
    """Say what the LLM's arm has over the control arm, as far as it is known.

    The intervals are of one look: who looks each hour and stops at the first verdict is wrong more often
    than one time in twenty. Costs a millisecond, however many candidates there are.
    """
    return Uplift(
        since=comparison.since,
        until=comparison.until,
        control_ratio=comparison.control_ratio,
        writer=figures(comparison.writer),
        control=figures(comparison.control),
        entered=entered_difference(comparison.writer, comparison.control),
        objective=objective_difference(comparison.writer, comparison.control),
    )


def figures(tally: ArmTally) -> ArmFigures:
    """Write a tally in the units of the search."""
    settled, trained = tally.num_settled, tally.num_trained
    return ArmFigures(
        num_settled=settled,
        num_entered=tally.num_entered,
        num_trained=trained,
        entered_ratio=tally.num_entered / settled if settled else None,
        mean_objective=tally.objective_sum / trained / OBJECTIVE_UNITS if trained else None,
    )


def entered_difference(writer: ArmTally, control: ArmTally) -> Difference | None:
    """Compare the shares of the settled candidates that entered the network archive.

    A sample of yes and no is its two counts, so that resampling it is one binomial draw. A share of
    0 would be resampled as 0 each time, and 0 of 20 look certain: each arm gets one more of either.

    Returns:
        None with fewer than `MIN_CANDIDATES` settled candidates in an arm.

    Source: Efron 1979 (bootstrap); Agresti 2000 (one more of either).
    """
    if min(writer.num_settled, control.num_settled) < MIN_CANDIDATES:
        return None
    rng = np.random.default_rng(_SEED)
    resampled = _shares(writer, rng) - _shares(control, rng)
    return _difference(_entered_ratio(writer) - _entered_ratio(control), resampled)


def objective_difference(writer: ArmTally, control: ArmTally) -> Difference | None:
    """Compare the mean objectives of the networks that were trained.

    A mean of 20 or more is resampled by its standard error alone, which a count, a sum and a sum of
    squares tell: the parametric bootstrap. The objectives themselves would be a million one day.

    Returns:
        None with fewer than `MIN_CANDIDATES` trained networks in an arm.

    Source: Efron 1993, chapter 6.5 (parametric bootstrap).
    """
    if min(writer.num_trained, control.num_trained) < MIN_CANDIDATES:
        return None
    rng = np.random.default_rng(_SEED)
    resampled = _means(writer, rng) - _means(control, rng)
    plain = writer.objective_sum / writer.num_trained - control.objective_sum / control.num_trained
    return _difference(plain / OBJECTIVE_UNITS, resampled)


def _entered_ratio(tally: ArmTally) -> float:
    return tally.num_entered / tally.num_settled


def _shares(tally: ArmTally, rng: Generator) -> NDArray[np.float64]:
    """Draw shares of the candidates that entered: (NUM_RESAMPLES,), in [0, 1]."""
    number = tally.num_settled + 2
    share = (tally.num_entered + 1) / number
    return rng.binomial(number, share, NUM_RESAMPLES) / number


def _means(tally: ArmTally, rng: Generator) -> NDArray[np.float64]:
    """Draw mean objectives: (NUM_RESAMPLES,), in the units of the search."""
    number = tally.num_trained
    # Of integers, so that the difference of two large squares is exact.
    squares = number * tally.objective_squares - tally.objective_sum**2
    deviation = (squares / (number * (number - 1))) ** 0.5
    drawn = rng.standard_t(number - 1, NUM_RESAMPLES)
    means = tally.objective_sum / number + deviation / number**0.5 * drawn
    return np.asarray(means / OBJECTIVE_UNITS)


def _difference(mean: float, resampled: NDArray[np.float64]) -> Difference:
    low, high = (float(bound) for bound in np.percentile(resampled, _BOUNDS))
    return Difference(mean=mean, low=min(low, mean), high=max(high, mean), finding=_found(low, high))


def _found(low: float, high: float) -> Finding:
    if low > 0:
        return Finding.BETTER
    return Finding.WORSE if high < 0 else Finding.OPEN
