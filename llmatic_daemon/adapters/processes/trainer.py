"""The trainers: one warm, trusted child process for each device worker; a dead one is replaced."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llmatic_daemon.adapters.processes.child import ChildGone
from llmatic_daemon.adapters.processes.device_queue import DeviceQueue
from llmatic_daemon.adapters.processes.devices import DeviceWorker, choose, named, read_result
from llmatic_daemon.adapters.processes.trainer_starter import TrainerStarter
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
from llmatic_daemon.domain.errors import ConfigurationError, NoDeviceWorker, TrainerDied, TrainerUnavailable
from llmatic_daemon.domain.events import (
    DeviceChanged,
    DeviceRemoved,
    DeviceTakenOut,
    EventBus,
    TrainerReplaced,
)
from llmatic_daemon.domain.ports import Trainer

logger = logging.getLogger(__name__)

MODULE = "llmatic_daemon.worker.training.train_server"
#: Networks in a row that end the trainers of a device worker before it is taken out of service.
MAX_FATAL = 3


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
        self._events = events or EventBus()
        self._training_timeout_s = configuration["timeout_s"] + grace_s
        self._starter = TrainerStarter(
            module,
            configuration,
            timeout_s=start_timeout_s,
            backoff_s=(first_backoff_s, max_backoff_s),
            events=self._events,
        )
        self._workers = named(devices)
        #: Ended as soon as the training on them has; until then `resize` can take them back.
        self._leaving: list[DeviceWorker] = []
        #: Names of those that were taken out of service.
        self._out: set[str] = set()
        self._queue = DeviceQueue(give_back=self._give)
        self._openings: set[asyncio.Task[None]] = set()
        self._endings: set[asyncio.Task[None]] = set()
        self._resizing = asyncio.Lock()

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the workers; a device that has several is numbered."""
        return tuple(worker.name for worker in self._workers)

    @property
    def pids(self) -> dict[str, int]:
        """Process of each worker that has one now."""
        return {worker.name: worker.child.pid for worker in self._all_workers() if worker.child}

    def out_of_service(self) -> tuple[str, ...]:
        """Name the workers that start no trainer any more, because theirs died with MAX_FATAL networks in a row."""
        return tuple(sorted(self._out))

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
        if self._starter.task is None:
            self._give(await self._queue.take())
        assert self._starter.task is not None  # a worker is free only after its child has described it
        return self._starter.task

    async def wait_until_idle(self) -> None:
        """Wait until a worker is free and no call waits for it; another may take it first."""
        self._give(await self._queue.take(low_priority=True))

    async def train(
        self, network: Network, training: Training, watch: Callable[[Progress], None]
    ) -> Report | Failure | StoppedEarly:
        """Train and measure one network on the first free worker.

        A trainer that dies, hangs or is cancelled is killed and replaced.

        Raises:
            TrainerDied: the trainer ended by itself.
            TrainerUnavailable: the trainer hung, none could be started, or the pool is closed.
            NoDeviceWorker: all workers have been taken out of service.
            ConfigurationError: a device could not be set up at all.
        """
        requested = time.monotonic()
        worker = await self._take(training)
        started = time.monotonic()
        self._show(worker, DevicePhase.AUDIT if training.low_priority else DevicePhase.TRAIN)
        reason: RestartReason | None = RestartReason.CANCELLED
        worker.set_deadline(self._training_timeout_s)
        try:
            async with asyncio.timeout(self._training_timeout_s):
                header, blobs = await worker.train(network, training, watch)
            reason = None
            worker.fatal.clear()
        except ChildGone as error:
            reason = RestartReason.DIED
            worker.fatal.add(network.digest)
            raise _death(worker, time.monotonic() - started, error) from error
        except TimeoutError as error:
            reason = RestartReason.HUNG
            raise TrainerUnavailable(await self._hang_summary(worker, started)) from error
        finally:
            # A child whose training was cancelled or broken off would train on for no caller.
            self._give(worker) if reason is None else self._replace(worker, reason)
        times = {"wait_s": started - requested, "train_s": time.monotonic() - started}
        return read_result(header, blobs, worker, times, is_trained=training.epochs != 0)

    async def _take(self, training: Training) -> DeviceWorker:
        """Wait for a worker; start another trainer on it if one is asked for that has trained nothing."""
        worker = await self._queue.take(low_priority=training.low_priority)
        if not (training.fresh and worker.has_trained):
            return worker
        self._events.publish(TrainerReplaced(device=worker.name, reason=RestartReason.FRESH))
        try:
            await self._starter.start_once(worker)
        except BaseException:
            self._replace(worker)
            raise
        return worker

    async def _hang_summary(self, worker: DeviceWorker, started: float) -> str:
        ended = await worker.child.exit_summary() if worker.child else "its trainer has been closed"
        return (
            f"a training must end within {self._training_timeout_s:g} s, and trainer on {worker.name} was "
            f"killed after {time.monotonic() - started:.1f} s: {ended}"
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
            self._out.clear()  # a person has looked at the devices
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
        openings = [asyncio.create_task(self._starter.start_once(worker)) for worker in workers]
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
        if len(worker.fatal) >= MAX_FATAL:
            self._take_out(worker)
            return
        opening = worker.opening = asyncio.create_task(self._open(worker))
        self._openings.add(opening)
        opening.add_done_callback(self._finish_opening)

    def _take_out(self, worker: DeviceWorker) -> None:
        """Start no trainer on a worker any more; without any worker left, reject all trainings."""
        why = f"device worker {worker.name}: its trainers died with {len(worker.fatal)} networks in a row"
        remedy = "check its driver, memory and kernels ('llmatic-daemon doctor --kernels'), then restart the daemon"
        logger.error(
            "%s; it is out of service: %s", why, remedy, extra={"action": "take_out", "device": worker.name}
        )
        self._workers.remove(worker)
        self._out.add(worker.name)
        self._end(worker)
        self._events.publish(DeviceTakenOut(device=worker.name, reason=f"{why}; {remedy}"))
        if not self._workers:
            self._queue.close(NoDeviceWorker(f"{why}, and no other one is left; {remedy}"))

    def _finish_opening(self, opening: asyncio.Task[None]) -> None:
        """Close the queue at a bug: a worker lost without an error would never be missed."""
        self._openings.discard(opening)
        if not opening.cancelled() and (bug := opening.exception()) is not None:
            self._queue.close(bug)

    async def _open(self, worker: DeviceWorker) -> None:
        """Start a worker's child, again and again, until it is ready or the task is cancelled."""
        while True:
            try:
                await self._starter.start(worker)
            except (ChildGone, ConfigurationError, OSError) as error:
                if isinstance(error, ConfigurationError) and not worker.was_ready:
                    self._queue.close(error)  # it never worked: only a person can help
                    worker.due = None
                    return
                self._note_failed_start(worker, error)
                await self._starter.back_off(worker, error)
            else:
                worker.num_failed = 0
                self._give(worker)
                return

    def _note_failed_start(self, worker: DeviceWorker, error: Exception) -> None:
        """Count a failed start; reject all that wait if no worker has started since."""
        worker.num_failed += 1
        if all(other.num_failed for other in self._workers):
            self._queue.reject(TrainerUnavailable(f"no trainer could be started; {worker.name}: {error}"))


def _death(worker: DeviceWorker, train_s: float, error: ChildGone) -> TrainerDied:
    return TrainerDied(
        f"after {train_s:.1f} s of training: {error}",
        device=worker.name,
        trainer=worker.trainer,
        signal=error.signal,
        train_s=train_s,
    )
