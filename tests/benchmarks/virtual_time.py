"""Simulated time: an event loop whose clock jumps to the next timer, and hands that take their time.

A search of months on eight device places is simulated in seconds, to the instant: whatever would be
waited for is not. Nothing but timers may be waited for: what a thread, a process or a socket needs takes
real time, in which this clock may jump ahead.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from llmatic_daemon.domain import (
    Completion,
    Failure,
    Network,
    Progress,
    Report,
    Request,
    StoppedEarly,
    Task,
    TooLong,
    Training,
)
from llmatic_daemon.domain.ports import Trainer, Writer

Result = TypeVar("Result")


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine in simulated time, which begins at 0."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def now() -> float:
    """Return the time of the loop that runs, in seconds; a clock for the engine."""
    return asyncio.get_running_loop().time()


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time` passes only when nothing is ready to run."""

    def __init__(self) -> None:
        self._selector_that_jumps = _JumpingSelector()
        super().__init__(self._selector_that_jumps)

    def time(self) -> float:
        """Return the simulated time in seconds."""
        return self._selector_that_jumps.now_s

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Wait for its threads as long as it takes: in simulated time, any limit is over at once."""
        await super().shutdown_default_executor()


class _JumpingSelector(selectors.SelectSelector):
    """Lets the time pass that it is asked to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready; else jump, or wait for real when there is no timer."""
        ready = super().select(0)
        if ready or timeout is None:
            return ready or super().select(None)
        self.now_s += max(timeout, 0.0)
        return ready


class PlacedTrainer(Trainer):
    """Trains on so many device places, each for as long as the report of another trainer says.

    Args:
        trainer: Who knows the results, and at once, such as a table.
        num_places: At least 1.
        pace: Says how long a place is held, by the seconds of the report; both in seconds.
    """

    def __init__(
        self, trainer: Trainer, num_places: int, pace: Callable[[float], float] = lambda s: s
    ) -> None:
        self._trainer, self._pace = trainer, pace
        self._places = asyncio.Semaphore(num_places)

    async def task(self) -> Task:
        """Describe the data set."""
        return await self._trainer.task()

    async def wait_until_idle(self) -> None:
        """Wait until a place is free."""
        async with self._places:
            pass

    async def resize(self, places: Sequence[str]) -> None:
        """Do nothing: the places stay as they are."""

    async def train(
        self, network: Network, training: Training, watch: Callable[[Progress], None]
    ) -> Report | Failure | StoppedEarly:
        """Hold a place for as long as the training takes."""
        asked = now()
        async with self._places:
            begun = now()
            result = await self._trainer.train(network, training, watch)
            await asyncio.sleep(self._pace(result.train_s))
        return replace(result, wait_s=begun - asked, train_s=now() - begun)


class LateWriter(Writer):
    """Answers as another writer does, later.

    Args:
        writer: Who knows the answer, and at once.
        latency_s: Of each answer, in seconds.
    """

    def __init__(self, writer: Writer, latency_s: float) -> None:
        self._writer, self._latency_s = writer, latency_s

    async def complete(self, request: Request) -> Completion | TooLong:
        """Answer a request after the latency."""
        await asyncio.sleep(self._latency_s)
        return await self._writer.complete(request)
