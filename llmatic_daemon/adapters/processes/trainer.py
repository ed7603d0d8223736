"""The trainers: one warm, trusted child for each device place; a dead one is replaced."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from llmatic_daemon.adapters.processes.child import Child, ChildGone
from llmatic_daemon.adapters.processes.devices import Place, chosen, named
from llmatic_daemon.domain import (
    DevicePhase,
    Epoch,
    Failure,
    Network,
    Outcome,
    Progress,
    Report,
    RestartReason,
    StoppedEarly,
    Task,
    Training,
)
from llmatic_daemon.domain.errors import ConfigurationError, LLMaticError, TrainerUnavailable
from llmatic_daemon.domain.events import DeviceChanged, DeviceRemoved, EventBus, TrainerReplaced
from llmatic_daemon.domain.ports import Trainer

logger = logging.getLogger(__name__)

MODULE = "llmatic_daemon.worker.training.train_server"


class TrainerPool(Trainer):
    """Hands each network to the first free place. Use it as an async context manager."""

    def __init__(
        self,
        *,
        places: Sequence[str],
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
            places: Device of each place, such as ("cuda:0", "cuda:0"); "cpu" may stand more than once.
            configuration: What each trainer is told, its device aside; `timeout_s` must be in it.
            start_timeout_s: From start to ready; a data set may have to be downloaded in it.
            grace_s: How far beyond `timeout_s` a training may go before its trainer is killed.
            first_backoff_s: Pause after a start that failed; doubled after each further one.
            max_backoff_s: Longest such pause.
            module: What to run; tests run others.
            events: Where the activities of the device workers are published.
        """
        self._configuration = dict(configuration)
        self._patience_s = self._configuration["timeout_s"] + grace_s
        self._start_timeout_s = start_timeout_s
        self._backoff_s = (first_backoff_s, max_backoff_s)
        self._module = module
        self._places = named(places)
        #: Ended as soon as the training on them has; until then they may be wished for again.
        self._leaving: list[Place] = []
        self._free: deque[Place] = deque()
        #: Who waits for a place, and who does so only while nobody of those does.
        self._waiters: deque[asyncio.Future[Place]] = deque()
        self._spare_waiters: deque[asyncio.Future[Place]] = deque()
        self._openings: set[asyncio.Task[None]] = set()
        self._endings: set[asyncio.Task[None]] = set()
        self._resizing = asyncio.Lock()
        self._task: Task | None = None
        self._bug: BaseException | None = None
        #: Why nobody gets a place any more.
        self._fault: LLMaticError | None = None
        self._events = events or EventBus()

    @property
    def places(self) -> tuple[str, ...]:
        """Names of the places; a device that has several is numbered."""
        return tuple(place.name for place in self._places)

    @property
    def pids(self) -> dict[str, int]:
        """Process of each place that has one now."""
        places = (*self._places, *self._leaving)
        return {place.name: place.child.pid for place in places if place.child}

    def overdue(self) -> tuple[str, ...]:
        """Name the places whose training or start should have ended, or been ended, before now."""
        now = time.monotonic()
        return tuple(place.name for place in (*self._places, *self._leaving) if place.due and place.due < now)

    async def __aenter__(self) -> "TrainerPool":
        """Start all trainers, side by side; returns before they are ready."""
        for place in self._places:
            self._replace(place)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()

    async def close(self) -> None:
        """End all trainers and wait until they are gone; whoever waits for a place is refused."""
        self._fault = TrainerUnavailable("a trainer must be running, and all have been closed")
        self._refuse(self._fault)
        for opening in self._openings:
            opening.cancel()
        await asyncio.gather(*self._openings, return_exceptions=True)
        await asyncio.gather(*(place.kill() for place in (*self._places, *self._leaving)))
        await asyncio.gather(*self._endings)

    async def task(self) -> Task:
        """Describe the data set; waits until a trainer has loaded it."""
        if self._task is None:
            self._give(await self._take())
        assert self._task is not None  # a place is free only after its child has told the task
        return self._task

    async def wait_until_idle(self) -> None:
        """Wait until a place is free and nobody waits for it; another may take it first."""
        self._give(await self._take(low_priority=True))

    async def train(
        self, network: Network, training: Training, watch: Callable[[Progress], None]
    ) -> Report | Failure | StoppedEarly:
        """Train and measure one network on the first free place.

        A trainer that dies, hangs or is cancelled is killed and replaced.

        Raises:
            TrainerUnavailable: the trainer died, none could be started, or the pool is closed.
            ConfigurationError: a place could not be set up at all.
        """
        asked = time.monotonic()
        place = await self._take(low_priority=training.low_priority)
        held = time.monotonic()
        self._show(place, DevicePhase.AUDIT if training.low_priority else DevicePhase.TRAIN)
        fault: RestartReason | None = RestartReason.CANCELLED
        place.hold(self._patience_s)
        try:
            async with asyncio.timeout(self._patience_s):
                said, blobs = await _converse(place, network, training, watch)
            fault = None
        except (ChildGone, TimeoutError) as error:
            is_gone = isinstance(error, ChildGone)
            fault = RestartReason.DIED if is_gone else RestartReason.HUNG
            raise TrainerUnavailable(await self._obituary(place, held, error)) from error
        finally:
            # Cancelled or broken off, the child still trains for nobody.
            self._give(place) if fault is None else self._replace(place, fault)
        times = {"wait_s": held - asked, "train_s": time.monotonic() - held}
        return _result(said, blobs, place.name, times, is_trained=training.epochs != 0)

    async def resize(self, places: Sequence[str]) -> None:
        """Train on these devices from now on; who trains on a place that goes finishes first.

        New places are there on return. One that still trains, and is wished for again, stays.

        Args:
            places: Device of each place; at least one.

        Raises:
            ConfigurationError: there is none, or a new one cannot be set up.
            TrainerUnavailable: a new one does not start, or the pool is closed. In all these cases
                the places stay as they were.
        """
        if not places:
            raise ConfigurationError("training.places must name at least one device, found none")
        async with self._resizing:
            self._check()
            staying, new = chosen([*self._places, *self._leaving], places)
            back = [place for place in self._leaving if place in staying]
            self._leaving = [place for place in self._leaving if place not in staying]
            self._places += back
            try:
                await self._open_all(new)
            except BaseException:
                for place in back:
                    self._retire(place)
                raise
            for place in [place for place in self._places if place not in staying]:
                self._retire(place)
            self._places += new
            for place in new:
                self._give(place)

    async def _obituary(self, place: Place, held: float, error: Exception) -> str:
        seconds = time.monotonic() - held
        if isinstance(error, ChildGone) or place.child is None:
            return f"after {seconds:.1f} s of training: {error}"
        return (
            f"a training must end within {self._patience_s:g} s, and trainer on {place.name} was "
            f"killed after {seconds:.1f} s: {await place.child.epitaph()}"
        )

    def _show(self, place: Place, phase: DevicePhase | None) -> None:
        self._events.publish(DeviceChanged(device=place.name, phase=phase))

    # --- who gets which place ---------------------------------------------------------------------

    async def _take(self, *, low_priority: bool = False) -> Place:
        """Wait for a free place; first come, first served, and those who want a spare one last."""
        self._check()
        if self._free:
            return self._free.popleft()
        waiter: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        (self._spare_waiters if low_priority else self._waiters).append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            # Given a place and cancelled in the same turn of the loop: the place goes to the next.
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._give(waiter.result())
            raise

    def _check(self) -> None:
        """Refuse whoever asks of a pool that is closed, or was never good."""
        if self._bug is not None:
            raise self._bug
        if self._fault is not None:
            raise type(self._fault)(str(self._fault))

    def _give(self, place: Place) -> None:
        self._show(place, None)
        place.due = None
        if self._lets_go(place):
            return
        for waiter in self._called_up():
            if not waiter.done():
                waiter.set_result(place)
                return
        self._free.append(place)

    def _refuse(self, fault: LLMaticError) -> None:
        """Tell all who wait that nothing will come soon."""
        for waiter in self._called_up():
            if not waiter.done():
                waiter.set_exception(type(fault)(str(fault)))

    def _called_up(self) -> Iterator[asyncio.Future[Place]]:
        """Take those who wait out of their queues, in the order in which they are served."""
        for queue in (self._waiters, self._spare_waiters):
            while queue:
                yield queue.popleft()

    # --- coming and going -------------------------------------------------------------------------

    async def _open_all(self, places: Sequence[Place]) -> None:
        """Start the children of new places, side by side: all of them, or none."""
        openings = [asyncio.create_task(self._open_once(place)) for place in places]
        for place, opening in zip(places, openings, strict=True):
            place.opening = opening
            self._openings.add(opening)
            opening.add_done_callback(self._openings.discard)
        try:
            await asyncio.gather(*openings)
            self._check()
        except BaseException as error:
            for place in places:
                self._end(place)
            if self._fault is not None and isinstance(error, asyncio.CancelledError):
                self._check()  # it is `close` that has cancelled them
            raise

    async def _open_once(self, place: Place) -> None:
        self._show(place, DevicePhase.START)
        place.hold(self._start_timeout_s)
        try:
            async with asyncio.timeout(self._start_timeout_s):
                self._task = await self._start(place)
        except (ChildGone, OSError) as error:  # a TimeoutError is an OSError
            why = self._why(error)
            raise TrainerUnavailable(f"trainer on {place.name} did not start: {why}") from error
        place.was_ready = True

    def _retire(self, place: Place) -> None:
        """Take a place out of service: at once, or when the training on it has ended."""
        self._places.remove(place)
        if place in self._free:
            self._free.remove(place)
            self._end(place)
        elif place.is_opening:
            self._end(place)
        else:
            self._leaving.append(place)

    def _lets_go(self, place: Place) -> bool:
        """End a place that was wished away while somebody trained on it; tell whether it was."""
        leaves = place in self._leaving
        if leaves:
            self._leaving.remove(place)
            self._end(place)
        return leaves

    def _end(self, place: Place) -> None:
        """End a place in a task that `close` awaits."""
        self._events.publish(DeviceRemoved(device=place.name))
        ending = asyncio.create_task(place.end())
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    # --- starting ---------------------------------------------------------------------------------

    def _replace(self, place: Place, why: RestartReason | None = None) -> None:
        """Kill what a place has and start anew, in a task that `close` awaits."""
        if self._fault is not None:
            return
        if why is not None:
            self._events.publish(TrainerReplaced(device=place.name, reason=why))
        if self._lets_go(place):
            return
        opening = place.opening = asyncio.create_task(self._open(place))
        self._openings.add(opening)
        opening.add_done_callback(self._has_opened)

    def _has_opened(self, opening: asyncio.Task[None]) -> None:
        """Let a bug of ours end the search: a place that is silently gone would never be missed."""
        self._openings.discard(opening)
        bug = None if opening.cancelled() else opening.exception()
        if bug is None:
            return
        self._bug = bug
        for waiter in self._called_up():
            if not waiter.done():
                waiter.set_exception(bug)

    async def _open(self, place: Place) -> None:
        """Start a place's child, again and again, until it is ready or told to stop."""
        self._show(place, DevicePhase.START)
        while True:
            place.hold(self._start_timeout_s)
            await place.kill()
            try:
                async with asyncio.timeout(self._start_timeout_s):
                    self._task = await self._start(place)
            except ConfigurationError as error:
                if not place.was_ready:  # it never worked: only a person can help
                    self._fault = error
                    self._refuse(error)
                    place.due = None
                    return
                await self._back_off(place, error)
            except (ChildGone, OSError) as error:  # a TimeoutError is an OSError
                await self._back_off(place, error)
            else:
                place.num_failed, place.was_ready = 0, True
                self._give(place)
                return

    async def _start(self, place: Place) -> Task:
        """Start a child and wait until it has loaded the data set."""
        place.child = await Child.start(self._module, name=f"trainer on {place.name}")
        await place.child.send({**self._configuration, "device": place.device})
        said, _ = await place.child.receive()
        if "error" in said:
            raise ConfigurationError(said["error"]["detail"])
        ready = said["ready"]
        return Task(**{**ready, "input_shape": tuple(ready["input_shape"])})

    async def _back_off(self, place: Place, error: Exception) -> None:
        """Pause after a start that failed, longer each time."""
        self._events.publish(TrainerReplaced(device=place.name, reason=RestartReason.NOT_STARTED))
        first_s, longest_s = self._backoff_s
        doublings = min(place.num_failed, 32)  # after 17 hours no float holds the number
        pause_s = min(longest_s, first_s * 2**doublings)
        place.num_failed += 1
        why = self._why(error)
        logger.warning(
            "trainer on %s did not start: %s; next try in %g s",
            place.name,
            why,
            pause_s,
            extra={"action": "start_trainer", "place": place.name},
        )
        if all(other.num_failed for other in self._places):
            self._refuse(TrainerUnavailable(f"no trainer could be started; {place.name}: {why}"))
        await place.kill()
        place.due = None
        await asyncio.sleep(pause_s)

    def _why(self, error: Exception) -> str:
        """Tell why a start failed."""
        is_late = isinstance(error, TimeoutError)
        return f"no answer in {self._start_timeout_s:g} s" if is_late else str(error)


# --- one conversation -----------------------------------------------------------------------------


async def _converse(
    place: Place, network: Network, training: Training, watch: Callable[[Progress], None]
) -> tuple[dict[str, Any], list[bytes]]:
    """Send a network, pass its epochs on, and return the last frame."""
    if place.child is None:
        raise ChildGone(f"trainer on {place.name} has been closed")
    asked = {
        "seed": training.seed,
        "epochs": training.epochs,
        "keep_weights": training.keep_weights,
        "measures": asdict(network.measures),
        "order": network.order,
        "rung_ratio": training.rung.ratio if training.rung else None,
    }
    await place.child.send({"train": asked}, network.graph, network.weights)
    while True:
        said, blobs = await place.child.receive()
        if "epoch" not in said:
            return said, blobs
        watch(_progress(place.name, said["epoch"]))
        if said.get("at_rung"):
            assert training.rung is not None
            await place.child.send(
                {"should_continue": training.rung.should_continue(said["epoch"]["accuracy"])}
            )


def _progress(place: str, epoch: Mapping[str, Any]) -> Progress:
    return Progress(
        device=place,
        epoch=epoch["number"],
        num_epochs=epoch["num_epochs"],
        accuracy=epoch["accuracy"],
    )


def _result(
    said: Mapping[str, Any],
    blobs: list[bytes],
    place: str,
    times: Mapping[str, float],
    *,
    is_trained: bool,
) -> Report | Failure | StoppedEarly:
    if "stopped" in said:
        return StoppedEarly(**said["stopped"], device=place, **times)
    if "failure" in said:
        failure = said["failure"]
        cause = Outcome(failure["cause"])
        spent = failure["cost"]
        return Failure(cause=cause, detail=failure["detail"], device=place, cost=spent, **times)
    report = said["report"]
    return Report(
        objective=report["objective"],
        test_accuracy=report["test_accuracy"],
        test_loss=report["test_loss"],
        curve=tuple(Epoch(number=n, train_loss=x, accuracy=a) for n, x, a in report["curve"]),
        device=place,
        weights=blobs[0] if blobs else None,
        normalisation=tuple((mean, deviation) for mean, deviation in report["normalisation"])
        if blobs
        else None,
        rung_accuracy=report["rung_accuracy"],
        cost=float(is_trained),
        **times,
    )
