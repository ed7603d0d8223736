"""The runs of an experiment in parallel processes; a failing run does not disturb the others."""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from datetime import UTC, datetime

from llmatic_daemon.adapters.storage.experiment_store import Failed, Finished
from llmatic_daemon.commands.experiment import summary
from llmatic_daemon.commands.experiment.plan import PlannedRun
from llmatic_daemon.commands.experiment.simulation import simulate
from llmatic_daemon.domain.errors import LLMaticError

#: A search that proposes only duplicates never uses its budget up; it ends after this many.
MAX_IDLE = 1000

Perform = Callable[[PlannedRun], Finished]


def perform(job: PlannedRun) -> Finished:
    """Run one search and return its results."""
    done = asyncio.run(simulate(job.settings, max_idle=MAX_IDLE))
    spent = summary.costs(done.placements)
    return Finished(
        run=job.run,
        fingerprint=job.fingerprint,
        ended_at=_now(),
        duration_s=done.duration_s,
        reason=done.end,
        num_settled=len(done.placements),
        num_queries=done.num_queries,
        num_looks=done.num_looks,
        cost=spent[-1] if spent else 0.0,
        improvements=tuple(summary.improvements(done)),
        windows=tuple(summary.windows(done, job.settings.search.window_size)),
        elites=tuple(summary.elites(done)),
    )


def carry_out(
    jobs: Iterable[PlannedRun], num_processes: int, perform: Perform = perform
) -> Generator[Finished | Failed, None, None]:
    """Run searches in parallel; yield each result as soon as it is there.

    If a process dies, all running searches are repeated, each alone. This finds the search that kills
    its process; only that one fails. Closing the iterator kills the processes at once.

    Args:
        jobs: Searches, in their order.
        num_processes: At least 1.
        perform: Runs one search; replaced by tests.
    """
    waiting, suspects = deque(jobs), list[PlannedRun]()
    while waiting:
        yield from _in_processes(waiting, num_processes, perform, suspects)
        for suspect in suspects:
            alone = list[PlannedRun]()
            yield from _in_processes(deque([suspect]), 1, perform, alone)
            if alone:
                yield _failed(suspect, "its process died")
        suspects.clear()


def _in_processes(
    waiting: deque[PlannedRun], num_processes: int, perform: Perform, suspects: list[PlannedRun]
) -> Iterator[Finished | Failed]:
    """Run the waiting searches until none is left or a process dies; then list the running ones."""
    running: dict[Future[Finished], PlannedRun] = {}
    with _pool(min(num_processes, len(waiting))) as pool:
        while waiting or running:
            try:
                while waiting and len(running) < num_processes:
                    running[pool.submit(perform, waiting[0])] = waiting[0]
                    waiting.popleft()
            except BrokenProcessPool:
                suspects += running.values()
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job = running.pop(future)
                try:
                    yield future.result()
                except BrokenProcessPool:
                    suspects.append(job)
                except LLMaticError as error:
                    yield _failed(job, str(error))
                except Exception as error:  # a bug in one variant; reported at the end
                    yield _failed(job, f"{type(error).__name__}: {error}")
            if suspects:
                suspects += running.values()
                return


@contextlib.contextmanager
def _pool(num_processes: int) -> Iterator[ProcessPoolExecutor]:
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        num_processes, mp_context=multiprocessing.get_context("spawn"), initializer=_initialise_process
    )
    try:
        yield pool
    finally:
        for child in set(multiprocessing.active_children()) - others:
            child.kill()
        pool.shutdown(cancel_futures=True)  # its thread alone joins the killed processes


def _initialise_process() -> None:
    """Ignore Ctrl-C, which the parent handles, and exit when the parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _failed(job: PlannedRun, reason: str) -> Failed:
    line = " ".join(reason.split())
    return Failed(run=job.run, fingerprint=job.fingerprint, ended_at=_now(), reason=line)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
