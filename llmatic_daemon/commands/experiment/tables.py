"""The tables of an experiment: accuracy by cost, and the cost of passing LLMatic's published mean."""

import csv
import math
import statistics
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from llmatic_daemon.adapters.storage.experiment_store import Finished, Improvement
from llmatic_daemon.commands.experiment import published
from llmatic_daemon.commands.experiment.plan import Plan

#: Resamples and seed of the bootstrap; the same runs give the same interval.
NUM_RESAMPLES, SEED = 10_000, 0
#: Tolerance for costs, which are sums of floats.
_EPSILON = 1e-6

#: Test accuracies of all cells of a data set's table, ascending.
Accuracies = Mapping[str, Sequence[float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reached:
    """Test accuracy of a variant at a cost, of the networks selected on the selection split."""

    data_set: str
    variant: str
    #: In full trainings.
    budget: int
    #: Runs with a trained network by then.
    n: int
    mean: float
    #: None with a single run.
    sd: float | None
    #: 95 % interval of the mean, by bootstrap; None for published results.
    low: float | None = None
    high: float | None = None
    #: Rank of the selected cells in the table, by test accuracy, 1 the best; None without a table.
    median_rank: float | None = None
    best_rank: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Passed:
    """Cost at which a variant passed LLMatic's published mean test accuracy."""

    data_set: str
    variant: str
    threshold: float
    n: int
    #: Share of the runs that passed it.
    share: float
    #: Cost in full trainings at which half of all runs had passed it; None if fewer did.
    median_cost: float | None


def chosen(run: Finished, budget: float) -> Improvement | None:
    """Return the selected network of a run at a cost, or None before the first."""
    at = bisect_right(run.improvements, budget + _EPSILON, key=lambda each: each.cost)
    return run.improvements[at - 1] if at else None


def reached(plan: Plan, runs: Iterable[Finished], accuracies: Accuracies) -> list[Reached]:
    """Return a row for each data set, variant and budget, and for each published result."""
    by_variant = grouped(runs)
    rows = []
    for data_set in plan.data_sets:
        for variant in plan.variants:
            ours = by_variant.get((variant, data_set), [])
            rows += [
                _reached(variant, data_set, budget, found, accuracies.get(data_set))
                for budget in plan.budgets
                if (found := [c for run in ours if (c := chosen(run, budget))])
            ]
        rows += [
            Reached(
                data_set=data_set,
                variant=each.name,
                budget=published.NUM_EVALUATIONS,
                n=0,
                mean=each.mean,
                sd=each.sd,
            )
            for each in published.of(data_set)
        ]
    return rows


def grouped(runs: Iterable[Finished]) -> dict[tuple[str, str], list[Finished]]:
    """Group runs by variant and data set."""
    found: dict[tuple[str, str], list[Finished]] = {}
    for run in runs:
        found.setdefault((run.run.variant, run.run.data_set), []).append(run)
    return found


def _reached(
    variant: str, data_set: str, budget: int, found: Sequence[Improvement], accuracies: Sequence[float] | None
) -> Reached:
    values = [each.test_accuracy for each in found]
    low, high = interval(values)
    ranks = [rank(value, accuracies) for value in values] if accuracies else []
    return Reached(
        data_set=data_set,
        variant=variant,
        budget=budget,
        n=len(values),
        mean=statistics.fmean(values),
        sd=statistics.stdev(values) if len(values) > 1 else None,
        low=low,
        high=high,
        median_rank=statistics.median(ranks) if ranks else None,
        best_rank=min(ranks, default=None),
    )


def rank(value: float, accuracies: Sequence[float]) -> int:
    """Return the rank of an accuracy among ascending ones, 1 the best; equal ones share the better rank."""
    return len(accuracies) - bisect_right(accuracies, value + 1e-9) + 1


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of a mean, estimated by the percentile bootstrap.

    Args:
        values: At least one; a single value is its own interval.

    Source: Efron 1979.
    """
    drawn = np.random.default_rng(SEED).integers(len(values), size=(NUM_RESAMPLES, len(values)))
    means = np.asarray(values)[drawn].mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def passed(plan: Plan, runs: Iterable[Finished]) -> list[Passed]:
    """Return a row for each variant on each data set with a published mean of LLMatic."""
    by_variant, rows = grouped(runs), []
    for data_set in plan.data_sets:
        threshold = published.llmatic_mean(data_set)
        for variant in plan.variants:
            ours = by_variant.get((variant, data_set), [])
            if threshold is not None and ours:
                rows.append(_passed(variant, data_set, ours, threshold))
    return rows


def _passed(variant: str, data_set: str, runs: Sequence[Finished], threshold: float) -> Passed:
    costs = [_cost_of_passing(run, threshold) for run in runs]
    median = statistics.median_low(costs)
    return Passed(
        data_set=data_set,
        variant=variant,
        threshold=threshold,
        n=len(runs),
        share=sum(map(math.isfinite, costs)) / len(runs),
        median_cost=median if math.isfinite(median) else None,
    )


def _cost_of_passing(run: Finished, threshold: float) -> float:
    """Return the cost at which a run first passed a test accuracy; infinite if it never did."""
    better = (each.cost for each in run.improvements if each.test_accuracy > threshold)
    return next(better, math.inf)


# --- files -------------------------------------------------------------------------------------


def write_csv(file: Path, rows: Sequence[Reached] | Sequence[Passed]) -> None:
    """Write rows as CSV; missing values stay empty."""
    names = [each.name for each in fields(rows[0])] if rows else []
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def markdown(name: str, rows: Sequence[Reached], passing: Sequence[Passed]) -> str:
    """Return both tables as Markdown, accuracies in percent."""
    parts = [f"# {name}\n"]
    for data_set in dict.fromkeys(row.data_set for row in rows):
        mine = [row for row in rows if row.data_set == data_set]
        parts += [f"## {data_set}\n", _HEAD, *map(_line, mine), ""]
        later = [row for row in passing if row.data_set == data_set]
        if later:
            goal = f"{100 * later[0].threshold:.2f} %"
            parts += [f"Full trainings until LLMatic's published mean ({goal}) is passed:\n"]
            parts += [_PASSING_HEAD, *map(_passing_line, later), ""]
    return "\n".join([*parts, _NOTES])


_HEAD = """\
| variant | full trainings | runs | test accuracy, % | 95 % interval of the mean | rank: median, best |
|---|---|---|---|---|---|"""
_PASSING_HEAD = """\
| variant | runs | median | share of runs |
|---|---|---|---|"""
_NOTES = """\
Networks are selected by the selection split; the tables report the test accuracy of the selected network.
Mean and standard deviation are over runs, intervals are by 10,000 bootstrap resamples. Ranks are among all
cells of the table, by test accuracy, 1 the best. The median counts runs that never passed as last.
"""


def _line(row: Reached) -> str:
    accuracy = f"{100 * row.mean:.2f}" + (f" ± {100 * row.sd:.2f}" if row.sd is not None else "")
    between = ""
    if row.low is not None and row.high is not None:
        between = f"{100 * row.low:.2f} to {100 * row.high:.2f}"
    ranks = f"{row.median_rank:g}, {row.best_rank}" if row.median_rank is not None else ""
    return f"| {row.variant} | {row.budget} | {row.n or 'as published'} | {accuracy} | {between} | {ranks} |"


def _passing_line(row: Passed) -> str:
    median = f"{row.median_cost:g}" if row.median_cost is not None else "never"
    return f"| {row.variant} | {row.n} | {median} | {100 * row.share:.0f} % |"
