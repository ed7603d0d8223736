"""Device workers: each trains one network at a time in a child process of its own."""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from itertools import count
from typing import Any

from llmatic_daemon.adapters.processes.child import Child, ChildGone
from llmatic_daemon.domain import (
    Epoch,
    Failure,
    Network,
    Outcome,
    Progress,
    Report,
    StoppedEarly,
    Task,
    Training,
)
from llmatic_daemon.domain.errors import ConfigurationError

#: How long it may take to kill a trainer that is late, in seconds.
_KILL_S = 30.0


class DeviceWorker:
    """Trains one network at a time on a device, in a child process."""

    def __init__(self, name: str, device: str) -> None:
        self.name = name
        self.device = device
        self.child: Child | None = None
        #: Identity of the child's process, which no other process of any daemon has; and whether it has trained.
        self.trainer = ""
        self.has_trained = False
        #: Digests of the networks whose trainings have ended a child since the last training that did not.
        self.fatal: set[str] = set()
        #: Starts the child; done when it is ready, has failed or was cancelled.
        self.opening: asyncio.Task[None] | None = None
        #: Failed starts since the last good one.
        self.num_failed = 0
        self.was_ready = False
        #: When the current phase must have ended, by the monotonic clock; None: no limit.
        self.due: float | None = None

    def set_deadline(self, time_s: float) -> None:
        """Expect the current phase to end within a time, killing included."""
        self.due = time.monotonic() + time_s + _KILL_S

    @property
    def is_opening(self) -> bool:
        """Whether its child is being started."""
        return self.opening is not None and not self.opening.done()

    async def start(self, module: str, configuration: Mapping[str, Any]) -> Task:
        """Start a child and wait until it has loaded the data set.

        Raises:
            ConfigurationError: the child cannot use the configuration.
            ChildGone: the child ended.
            OSError: no process could be started.
        """
        self.child = await Child.start(module, name=f"trainer on {self.name}")
        self.trainer, self.has_trained = secrets.token_hex(6), False
        await self.child.send({**configuration, "device": self.device})
        header, _ = await self.child.receive()
        if "error" in header:
            raise ConfigurationError(header["error"]["detail"])
        ready = header["ready"]
        return Task(**{**ready, "input_shape": tuple(ready["input_shape"])})

    async def train(
        self, network: Network, training: Training, watch: Callable[[Progress], None]
    ) -> tuple[dict[str, Any], list[bytes]]:
        """Send a network, pass its epochs to `watch`, and return the last frame.

        Raises:
            ChildGone: the child ended, or was closed.
        """
        if self.child is None:
            raise ChildGone(f"trainer on {self.name} has been closed")
        self.has_trained = True
        request = {
            "seed": training.seed,
            "epochs": training.epochs,
            "keep_weights": training.keep_weights,
            "measures": asdict(network.measures),
            "order": network.order,
            "rung_ratio": training.rung.ratio if training.rung else None,
        }
        await self.child.send({"train": request}, network.graph, network.weights)
        while True:
            header, blobs = await self.child.receive()
            if "epoch" not in header:
                return header, blobs
            epoch = header["epoch"]
            watch(
                Progress(
                    device=self.name,
                    epoch=epoch["number"],
                    num_epochs=epoch["num_epochs"],
                    accuracy=epoch["accuracy"],
                )
            )
            if header.get("at_rung"):
                assert training.rung is not None
                await self.child.send({"should_continue": training.rung.should_continue(epoch["accuracy"])})

    async def kill(self) -> None:
        """Kill the child, if there is one, with all that it started."""
        if self.child is not None:
            await self.child.kill()  # cancelled here, it is still ours, and `close` waits for it
            self.child = None

    async def end(self) -> None:
        """Cancel a start that is under way, and kill the child."""
        if self.opening is not None:
            self.opening.cancel()
            await asyncio.wait([self.opening])
        await self.kill()


def read_result(
    header: Mapping[str, Any],
    blobs: list[bytes],
    worker: DeviceWorker,
    times: Mapping[str, float],
    *,
    is_trained: bool,
) -> Report | Failure | StoppedEarly:
    """Read the last frame of a training.

    Args:
        header: Holds "report", "failure" or "stopped".
        blobs: The weights, if they are kept.
        worker: Where it was trained.
        times: `wait_s` and `train_s`.
        is_trained: Whether any epoch was asked for.
    """
    device = worker.name
    if "stopped" in header:
        return StoppedEarly(**header["stopped"], device=device, **times)
    if "failure" in header:
        failure = header["failure"]
        cause, detail, cost = Outcome(failure["cause"]), failure["detail"], failure["cost"]
        return Failure(cause=cause, detail=detail, cost=cost, device=device, **times)
    report = header["report"]
    return Report(
        objective=report["objective"],
        test_accuracy=report["test_accuracy"],
        test_loss=report["test_loss"],
        curve=tuple(Epoch(number=n, train_loss=x, accuracy=a) for n, x, a in report["curve"]),
        device=device,
        weights=blobs[0] if blobs else None,
        normalisation=tuple((mean, deviation) for mean, deviation in report["normalisation"])
        if blobs
        else None,
        rung_accuracy=report["rung_accuracy"],
        cost=float(is_trained),
        trainer=worker.trainer,
        wait_s=times["wait_s"],
        train_s=times["train_s"],
    )


def named(devices: Sequence[str]) -> list[DeviceWorker]:
    """Return a worker for each device, numbered from 1 where a device has several."""
    total, seen = Counter(devices), Counter[str]()
    workers = []
    for device in devices:
        seen[device] += 1
        name = f"{device}/{seen[device]}" if total[device] > 1 else device
        workers.append(DeviceWorker(name, device))
    return workers


def choose(
    workers: Sequence[DeviceWorker], devices: Sequence[str]
) -> tuple[list[DeviceWorker], list[DeviceWorker]]:
    """Return the workers that stay (the first ones of each device) and the new ones."""
    missing = Counter(devices)
    staying = []
    for worker in workers:
        if missing[worker.device] > 0:
            missing[worker.device] -= 1
            staying.append(worker)
    new: list[DeviceWorker] = []
    for device in missing.elements():
        name = _free_name(device, [worker.name for worker in (*workers, *new)])
        new.append(DeviceWorker(name, device))
    return staying, new


def _free_name(device: str, taken: Collection[str]) -> str:
    """Return a name for a new worker; names of the others never change."""
    if not any(name.partition("/")[0] == device for name in taken):
        return device
    first = 2 if device in taken else 1
    return next(name for n in count(first) if (name := f"{device}/{n}") not in taken)
