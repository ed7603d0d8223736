"""Audits: which elites are trained a second time, the verdict, and the holder of a cell afterwards."""

import math
from collections.abc import Collection, Set
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from annotated_types import Interval
from immutables import Map

from llmatic_daemon.domain import Accuracies, Audit, Contender, Failure, Outcome, Rejection, Report, Verdict
from llmatic_daemon.domain.text import without_surrogates
from llmatic_daemon.search.rules import Ratio

#: Number of networks that are kept for each cell, its elite included; they replace an elite that falls.
NUM_CONTENDERS = 3
#: Seeds of audits begin above those of proposals, so that an audit never repeats the first seed.
_FIRST_SEED = 2**31
#: Accuracies of a training that failed.
_NOTHING = Accuracies(objective=0.0, test_accuracy=0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditRules:
    """How many elites are audited, and how far two accuracies may differ: settings `audit.*`."""

    #: Of new elites; 0: nothing is audited.
    ratio: Ratio
    #: Standard errors of the difference.
    threshold: Annotated[float, Interval(gt=0, le=100)]


#: Nothing is audited.
NO_AUDITS = AuditRules(ratio=0.0, threshold=4.0)


# --- contenders of a cell ------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Contenders:
    """The best few networks of each cell, and the elites that are due for an audit.

    Their number is bounded by the cells, not by the evaluations. A network that is dropped never holds its
    cell again, because it was worse than NUM_CONTENDERS others of that cell.
    """

    #: By falling objective; among equals, the oldest first. The first one holds the cell.
    ranked: Map[int, tuple[Contender, ...]] = Map()
    #: Cells whose elite is to be audited, and its job.
    due: Map[int, int] = Map()

    def of(self, cell: int) -> tuple[Contender, ...]:
        """Return the contenders of a cell, its elite first."""
        return self.ranked.get(cell, ())

    def find(self, cell: int, job: int) -> Contender | None:
        """Return a network of a cell, or None if it was dropped."""
        return next((each for each in self.of(cell) if each.elite.job == job), None)

    def joined_by(self, cell: int, contender: Contender) -> "Contenders":
        """Return the contenders after one more network of a cell."""
        known, objective = self.of(cell), contender.figures.objective
        if len(known) == NUM_CONTENDERS and objective <= known[-1].figures.objective:
            return self
        return self._with(cell, (*self.of(cell), contender))

    def left_to(self, cell: int, contender: Contender) -> "Contenders":
        """Return the contenders after one network has become the only one of a cell."""
        return Contenders(
            ranked=self.ranked.set(cell, (contender,)), due=_with_due(self.due, cell, contender)
        )

    def after(self, audit: Audit) -> "Contenders":
        """Return the contenders after an audit, whose mean replaces the first accuracies."""
        revised = tuple(
            replace(each, figures=audit.mean, wants_audit=False, is_audited=True, is_suspect=False)
            if each.elite.job == audit.job
            else each
            for each in self.of(audit.cell)
        )
        return self._with(audit.cell, revised)

    def measured_by(self, trainer: str) -> tuple[int, ...]:
        """Return the jobs whose only accuracy is of one trainer's process, ascending."""
        everyone = (each for ranked in self.ranked.values() for each in ranked)
        return tuple(
            sorted(
                each.elite.job for each in everyone if each.elite.trainer == trainer and not each.is_audited
            )
        )

    def doubted(self, jobs: Collection[int]) -> "Contenders":
        """Return the contenders after the accuracies of some are in doubt; one that was audited is not."""
        ranked, due = self.ranked, self.due
        for cell, contenders in self.ranked.items():
            if any(each.elite.job in jobs for each in contenders):
                revised = tuple(_doubted(each) if each.elite.job in jobs else each for each in contenders)
                ranked, due = ranked.set(cell, revised), _with_due(due, cell, revised[0])
        return Contenders(ranked=ranked, due=due)

    def _with(self, cell: int, contenders: tuple[Contender, ...]) -> "Contenders":
        # The sort is stable, so a network must be better to overtake another one.
        ranked = sorted(contenders, key=lambda each: -each.figures.objective)
        return Contenders(
            ranked=self.ranked.set(cell, tuple(ranked[:NUM_CONTENDERS])),
            due=_with_due(self.due, cell, ranked[0]),
        )


#: Before the first placement.
NO_CONTENDERS = Contenders()


def _doubted(contender: Contender) -> Contender:
    return contender if contender.is_audited else replace(contender, wants_audit=True, is_suspect=True)


def _with_due(due: Map[int, int], cell: int, holder: Contender) -> Map[int, int]:
    if holder.wants_audit:
        return due if due.get(cell) == holder.elite.job else due.set(cell, holder.elite.job)
    return due.delete(cell) if cell in due else due


# --- selection of audits -------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Due:
    """An elite that is to be trained again, and the seed."""

    cell: int
    contender: Contender
    #: In [2^31, 2^32).
    seed: int


def is_drawn(rules: AuditRules, search_seed: int, job: int) -> bool:
    """Return whether a candidate is audited as soon as it is an elite; independent of all others."""
    return rules.ratio > 0 and _draw(search_seed, job)[0] < rules.ratio


def next_due(contenders: Contenders, search_seed: int, skipped_audits: Set[int] = frozenset()) -> Due | None:
    """Return the elite to audit next, except some jobs, or None: suspects first, then the oldest."""
    jobs = {cell: job for cell, job in contenders.due.items() if job not in skipped_audits}
    if not jobs:
        return None
    cell = min(jobs, key=lambda each: (not contenders.of(each)[0].is_suspect, jobs[each]))
    contender = contenders.of(cell)[0]
    _, seed = _draw(search_seed, contender.elite.job)
    return Due(cell=cell, contender=contender, seed=seed)


def _draw(search_seed: int, job: int) -> tuple[float, int]:
    """Draw a number in [0, 1) and a seed for a job, from attempt 0, which no proposal uses."""
    rng = np.random.default_rng([search_seed, job, 0, 1])
    return float(rng.random()), _FIRST_SEED + int(rng.integers(2**31))


# --- verdict -------------------------------------------------------------------------------------


def standard_error(first: float, second: float, num_images: int) -> float:
    """Estimate the standard error of the difference of two accuracies.

    One success and one failure are added to each, so that accuracies of 0 and 1 have an error too.

    Args:
        first: In [0, 1].
        second: In [0, 1].
        num_images: Number of images of both measurements.

    Returns:
        A number above 0. It covers the choice of images only. The seed adds variance, so the threshold of
        an audit is larger than 2.

    Source: Agresti 2000 (Agresti & Caffo, The American Statistician 54).
    """
    shares = ((accuracy * num_images + 1) / (num_images + 2) for accuracy in (first, second))
    return math.sqrt(sum(share * (1 - share) / (num_images + 2) for share in shares))


def judge(
    contenders: Contenders,
    rules: AuditRules,
    due: Due,
    result: Report | Failure | Rejection,
    *,
    number: int,
    num_settled: int,
    num_images: int,
) -> Audit:
    """Decide everything that a second training changes.

    If the second training or its lift fails, its accuracy counts as 0, because the first result cannot be
    reproduced.

    Args:
        contenders: Current contenders, which may have changed since the audit began.
        rules: Rules of the search.
        due: The audited elite.
        result: Result of the second training.
        number: Number of the audit.
        num_settled: Number of placements before it.
        num_images: Size of the split that selects, at least 1.

    Raises:
        ValueError: an accuracy is not finite.
    """
    first, second = due.contender.figures, _figures(result)
    error = standard_error(first.objective, second.objective, num_images)
    apart = abs(first.objective - second.objective) > rules.threshold * error
    failed = not isinstance(result, Report)
    audit = Audit(
        number=number,
        num_settled=num_settled,
        job=due.contender.elite.job,
        cell=due.cell,
        seed=due.seed,
        outcome=Outcome.TRAINED if isinstance(result, Report) else result.cause,
        detail="" if isinstance(result, Report) else without_surrogates(result.detail),
        first=first,
        second=second,
        standard_error=error,
        verdict=Verdict.UNSTABLE if failed or apart else Verdict.STABLE,
        holder=due.contender.elite.job,
        holder_figures=first,
        device="" if isinstance(result, Rejection) else result.device,
        wait_s=0.0 if isinstance(result, Rejection) else result.wait_s,
        train_s=0.0 if isinstance(result, Rejection) else result.train_s,
    )
    holder = contenders.after(audit).of(due.cell)[0]
    return replace(audit, holder=holder.elite.job, holder_figures=holder.figures)


def _figures(result: Report | Failure | Rejection) -> Accuracies:
    if not isinstance(result, Report):
        return _NOTHING
    if not math.isfinite(result.objective):
        raise ValueError(f"an objective must be finite, got {result.objective!r}")
    return Accuracies(objective=result.objective, test_accuracy=result.test_accuracy)
