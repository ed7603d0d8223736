"""Experiments for tests: a small file, and runs that end as real ones do when something fails."""

import os
import signal
import sys
import time

from llmatic_daemon.adapters.storage.experiment_store import Finished, Improvement, RunKey
from llmatic_daemon.commands.experiment.plan import PlannedRun
from llmatic_daemon.commands.experiment.pool import perform
from llmatic_daemon.domain.errors import ConfigurationError


def finished(
    run: RunKey = RunKey("one", "nasbench201-cifar10", 0),  # noqa: B008 - frozen
    *points: tuple[float, float, float],
    fingerprint: str = "abc",
) -> Finished:
    """Make a run whose improvements are (cost, objective, test accuracy)."""
    return Finished(
        run=run,
        fingerprint=fingerprint,
        ended_at="2026-01-02T03:04:05+00:00",
        duration_s=1.5,
        reason="enough",
        num_settled=100,
        num_queries=80,
        num_looks=0,
        cost=80.0,
        improvements=tuple(
            Improvement(n + 1, cost, cost * 10, objective, test, 10**7, f"cell {n}")
            for n, (cost, objective, test) in enumerate(points)
        ),
        windows=(),
        elites=(),
    )


def failing_run(job: PlannedRun) -> Finished:
    """Seed 1 raises, seed 2 meets a bug, seed 3 kills its process; the others are done."""
    if job.run.seed == 1:
        raise ConfigurationError("there is\nno table")
    if job.run.seed == 2:
        raise KeyError("a bug")
    if job.run.seed == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return finished(job.run, fingerprint=job.fingerprint)


def what_is_loaded(job: PlannedRun) -> Finished:
    """Name the heavy packages that a real run has imported."""
    done = perform(job)
    heavy = ",".join(sorted({"torch", "torchvision"} & sys.modules.keys()))
    return Finished(
        **{name: getattr(done, name) for name in done.__slots__ if name != "reason"}, reason=heavy
    )


def for_ever(job: PlannedRun) -> Finished:
    """Take longer than anyone waits, but for seed 0."""
    if job.run.seed:
        time.sleep(3600)
    return finished(job.run, fingerprint=job.fingerprint)


TEXT = """\
data_sets = ["nasbench201-cifar10"]
table = "cells.csv"
seeds = 2
processes = 1
budgets = [10, 25]
[variants.plain]
[variants.uniform]
search.tournament_size = 1
"""
