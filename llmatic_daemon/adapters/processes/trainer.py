"""The trainers: one warm, trusted child process for each device worker; a dead one is replaced."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llmatic_daemon.adapters.processes.child import ChildGone
from llmatic_daemon.adapters.processes.device_queue import DeviceQueue
from llmatic_daemon.adapters.processes.devices import DeviceWorker, choose, named, read_result
from llmatic_daemon.domain import (
    DevicePhase,
    Failure,
    Network,
    Progress,
    Report,
    RestartReason,
    StoppedEarly,
    Task,
    Training,
)
from llmatic_daemon.domain.errors import ConfigurationError, TrainerUnavailable
from llmatic_daemon.domain.events import DeviceChanged, DeviceRemoved, EventBus, TrainerReplaced
from llmatic_daemon.domain.ports import Trainer

logger = logging.getLogger(__name__)

MODULE = "llmatic_daemon.worker.training.train_server"


class TrainerPool(Trainer):
    """Trains each network on the first free device worker. Use it as an async context manager."""

    def __init__(
        self,
        *,
        devices: Sequence[str],
        configuration: Mapping[str, Any],
        start_timeout_s: float = 600.0,
        grace_s: float = 30.0,
        first_backoff_s: float = 1.0,
        max_backoff_s: float = 60.0,
        module: str = MODULE,
        events: EventBus | None = None,
    ) -> None:
        """Describe the pool; entering it starts the trainers.

        Args:
            devices: Device of each worker, such as ("cuda:0", "cuda:0"); each may stand more than once.
            configuration: Sent to each trainer with its device; it must hold `timeout_s`.
            start_timeout_s: From start to ready; a data set may have to be downloaded in it.
            grace_s: How far beyond `timeout_s` a training may go before its trainer is killed.
            first_backoff_s: Pause after a start that failed; doubled after each further one.
            max_backoff_s: Longest such pause.
            module: What to run; tests run others.
            events: Where the activities of the device workers are published.
        """
        self._configuration = dict(configuration)
        self._training_timeout_s = self._configuration["timeout_s"] + grace_s
        self._start_timeout_s = start_timeout_s
        self._backoff_s = (first_backoff_s, max_backoff_s)
        self._module = module
        self._workers = named(devices)
        #: Ended as soon as the training on them has; until then `resize` can take them back.
        self._leaving: list[DeviceWorker] = []
        self._queue = DeviceQueue(give_back=self._give)
        self._openings: set[asyncio.Task[None]] = set()
        self._endings: set[asyncio.Task[None]] = set()
        self._resizing = asyncio.Lock()
        self._task: Task | None = None
        self._events = events or EventBus()

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the workers; a device that has several is numbered."""
        return tuple(worker.name for worker in self._workers)

    @property
    def pids(self) -> dict[str, int]:
        """Process of each worker that has one now."""
        return {worker.name: worker.child.pid for worker in self._all_workers() if worker.child}

    def overdue(self) -> tuple[str, ...]:
        """Name the workers whose training or start should have ended before now."""
        now = time.monotonic()
        return tuple(worker.name for worker in self._all_workers() if worker.due and worker.due < now)

    def _all_workers(self) -> tuple[DeviceWorker, ...]:
        return (*self._workers, *self._leaving)

    async def __aenter__(self) -> "TrainerPool":
        """Start all trainers, side by side; returns before they are ready."""
        for worker in self._workers:
            self._replace(worker)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()

    async def close(self) -> None:
        """Kill all trainers and wait until they are gone; waiting calls are rejected."""
        self._queue.close(TrainerUnavailable("a trainer must be running, and all have been closed"))
        for opening in self._openings:
            opening.cancel()
        await asyncio.gather(*self._openings, return_exceptions=True)
        await asyncio.gather(*(worker.kill() for worker in self._all_workers()))
        await asyncio.gather(*self._endings)

    async def task(self) -> Task:
        """Describe the data set; waits until a trainer has loaded it."""
        if self._task is None:
            self._give(await self._queue.take())
        assert self._task is not None  # a worker is free only after its child has described the task
        return self._task

    async def wait_until_idle(self) -> None:
        """Wait until a worker is free and no call waits for it; another may take it first."""
        self._give(await self._queue.take(low_priority=True))

    async def train(
        self, network: Network, training: Training, watch: Callable[[Progress], None]
    ) -> Report | Failure | StoppedEarly:
        """Train and measure one network on the first free worker.

        A trainer that dies, hangs or is cancelled is killed and replaced.

        Raises:
            TrainerUnavailable: the trainer died, none could be started, or the pool is closed.
            ConfigurationError: a device could not be set up at all.
        """
        requested = time.monotonic()
        worker = await self._queue.take(low_priority=training.low_priority)
        started = time.monotonic()
        self._show(worker, DevicePhase.AUDIT if training.low_priority else DevicePhase.TRAIN)
        reason: RestartReason | None = RestartReason.CANCELLED
        worker.set_deadline(self._training_timeout_s)
        try:
            async with asyncio.timeout(self._training_timeout_s):
                header, blobs = await worker.train(network, training, watch)
            reason = None
        except (ChildGone, TimeoutError) as error:
            reason = RestartReason.DIED if isinstance(error, ChildGone) else RestartReason.HUNG
            raise TrainerUnavailable(await self._failure_summary(worker, started, error)) from error
        finally:
            # A child whose training was cancelled or broken off would train on for no caller.
            self._give(worker) if reason is None else self._replace(worker, reason)
        times = {"wait_s": started - requested, "train_s": time.monotonic() - started}
        return read_result(header, blobs, worker.name, times, is_trained=training.epochs != 0)

    async def _failure_summary(self, worker: DeviceWorker, started: float, error: Exception) -> str:
        seconds = time.monotonic() - started
        if isinstance(error, ChildGone) or worker.child is None:
            return f"after {seconds:.1f} s of training: {error}"
        return (
            f"a training must end within {self._training_timeout_s:g} s, and trainer on {worker.name} was "
            f"killed after {seconds:.1f} s: {await worker.child.exit_summary()}"
        )

    def _show(self, worker: DeviceWorker, phase: DevicePhase | None) -> None:
        self._events.publish(DeviceChanged(device=worker.name, phase=phase))

    # --- other devices ----------------------------------------------------------------------------

    async def resize(self, devices: Sequence[str]) -> None:
        """Use these devices from now on; a training on a worker that leaves is finished first.

        New workers are ready on return. A leaving worker that is named again stays.

        Args:
            devices: Device of each worker; at least one.

        Raises:
            ConfigurationError: there is none, or a new one cannot be set up.
            TrainerUnavailable: a new one does not start, or the pool is closed. In all these cases
                the workers stay as they were.
        """
        if not devices:
            raise ConfigurationError("training.devices must name at least one device, found none")
        async with self._resizing:
            self._queue.check()
            staying, new = choose(self._all_workers(), devices)
            back = [worker for worker in self._leaving if worker in staying]
            self._leaving = [worker for worker in self._leaving if worker not in staying]
            self._workers += back
            try:
                await self._open_all(new)
            except BaseException:
                for worker in back:
                    self._retire(worker)
                raise
            for worker in [worker for worker in self._workers if worker not in staying]:
                self._retire(worker)
            self._workers += new
            for worker in new:
                self._give(worker)

    async def _open_all(self, workers: Sequence[DeviceWorker]) -> None:
        """Start the children of new workers, side by side: all of them, or none."""
        openings = [asyncio.create_task(self._open_once(worker)) for worker in workers]
        for worker, opening in zip(workers, openings, strict=True):
            worker.opening = opening
            self._openings.add(opening)
            opening.add_done_callback(self._openings.discard)
        try:
            await asyncio.gather(*openings)
            self._queue.check()
        except BaseException as error:
            for worker in workers:
                self._end(worker)
            if isinstance(error, asyncio.CancelledError):
                self._queue.check()  # `close` has cancelled them
            raise

    async def _open_once(self, worker: DeviceWorker) -> None:
        self._show(worker, DevicePhase.START)
        try:
            await self._start(worker)
        except (ChildGone, OSError) as error:
            raise TrainerUnavailable(f"trainer on {worker.name} did not start: {error}") from error

    def _retire(self, worker: DeviceWorker) -> None:
        """Remove a worker: now, or when the training on it has ended."""
        self._workers.remove(worker)
        if self._queue.remove(worker) or worker.is_opening:
            self._end(worker)
        else:
            self._leaving.append(worker)

    def _retire_if_leaving(self, worker: DeviceWorker) -> bool:
        """End a worker that `resize` removed during a training; return whether it did."""
        leaves = worker in self._leaving
        if leaves:
            self._leaving.remove(worker)
            self._end(worker)
        return leaves

    def _end(self, worker: DeviceWorker) -> None:
        """End a worker in a task that `close` awaits."""
        self._events.publish(DeviceRemoved(device=worker.name))
        ending = asyncio.create_task(worker.end())
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    # --- starting ---------------------------------------------------------------------------------

    def _give(self, worker: DeviceWorker) -> None:
        """Hand a worker that has nothing to do to the next waiter, or end it if it is leaving."""
        self._show(worker, None)
        worker.due = None
        if not self._retire_if_leaving(worker):
            self._queue.give(worker)

    def _replace(self, worker: DeviceWorker, reason: RestartReason | None = None) -> None:
        """Kill the child of a worker and start another, in a task that `close` awaits."""
        if self._queue.is_closed:
            return
        if reason is not None:
            self._events.publish(TrainerReplaced(device=worker.name, reason=reason))
        if self._retire_if_leaving(worker):
            return
        opening = worker.opening = asyncio.create_task(self._open(worker))
        self._openings.add(opening)
        opening.add_done_callback(self._finish_opening)

    def _finish_opening(self, opening: asyncio.Task[None]) -> None:
        """Close the queue at a bug: a worker lost without an error would never be missed."""
        self._openings.discard(opening)
        if not opening.cancelled() and (bug := opening.exception()) is not None:
            self._queue.close(bug)

    async def _open(self, worker: DeviceWorker) -> None:
        """Start a worker's child, again and again, until it is ready or the task is cancelled."""
        self._show(worker, DevicePhase.START)
        while True:
            try:
                await self._start(worker)
            except (ChildGone, ConfigurationError, OSError) as error:
                if isinstance(error, ConfigurationError) and not worker.was_ready:
                    self._queue.close(error)  # it never worked: only a person can help
                    worker.due = None
                    return
                await self._back_off(worker, error)
            else:
                worker.num_failed = 0
                self._give(worker)
                return

    async def _start(self, worker: DeviceWorker) -> None:
        """Kill what is left of a worker's child, and start another within the time limit."""
        worker.set_deadline(self._start_timeout_s)
        await worker.kill()
        try:
            async with asyncio.timeout(self._start_timeout_s):
                self._task = await worker.start(self._module, self._configuration)
        except TimeoutError as error:
            raise ChildGone(f"no answer in {self._start_timeout_s:g} s") from error
        worker.was_ready = True

    async def _back_off(self, worker: DeviceWorker, error: Exception) -> None:
        """Pause after a start that failed, longer each time."""
        self._events.publish(TrainerReplaced(device=worker.name, reason=RestartReason.NOT_STARTED))
        first_s, longest_s = self._backoff_s
        doublings = min(worker.num_failed, 32)  # after 17 hours no float holds the number
        pause_s = min(longest_s, first_s * 2**doublings)
        worker.num_failed += 1
        logger.warning(
            "trainer on %s did not start: %s; next try in %g s",
            worker.name,
            error,
            pause_s,
            extra={"action": "start_trainer", "device": worker.name},
        )
        if all(other.num_failed for other in self._workers):
            self._queue.reject(TrainerUnavailable(f"no trainer could be started; {worker.name}: {error}"))
        await worker.kill()
        worker.due = None
        await asyncio.sleep(pause_s)
