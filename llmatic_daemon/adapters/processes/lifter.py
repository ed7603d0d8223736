"""The lifter: warm parent processes that fork a process for each candidate; a dead one is replaced."""

import asyncio
import json
import logging
import os
import pwd
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmatic_daemon.adapters.processes import bubblewrap
from llmatic_daemon.adapters.processes.bubblewrap import NoBubblewrap
from llmatic_daemon.adapters.processes.cgroup import Cgroup, NoCgroup
from llmatic_daemon.adapters.processes.child import Child, ChildGone
from llmatic_daemon.domain import Candidate, Measures, Network, Outcome, Rejection
from llmatic_daemon.domain.errors import ConfigurationError, LifterUnavailable
from llmatic_daemon.domain.frames import Frame
from llmatic_daemon.domain.ports import Lifter
from llmatic_daemon.domain.sandbox import Layer, Sandbox, Violation

logger = logging.getLogger(__name__)

MODULE = "llmatic_daemon.worker.lifting.lift_server"
#: torch needs no GPU to trace, and a candidate may use one thread.
_ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # A source that iterates over a set of names must give the same network in every parent.
    "PYTHONHASHSEED": "0",
    # The sandbox shows files read-only.
    "PYTHONDONTWRITEBYTECODE": "1",
}
#: How long a parent may take to kill its candidate after its input is closed.
_SHUT_DOWN_S = 5.0


class LiftWorker:
    """Lifts one candidate at a time with a warm parent process."""

    def __init__(self, number: int) -> None:
        self.name = f"lifter {number}"
        self.group = f"lifter-{number}"
        self.child: Child | None = None


class ProcessLifter(Lifter):
    """Lifts each candidate with the first free warm parent. Use it as an async context manager."""

    def __init__(
        self,
        *,
        num_parents: int = 1,
        timeout_s: float = 30.0,
        memory_bytes: int = 4 << 30,
        limits: Mapping[str, int] | None = None,
        sandbox: Sandbox | None = None,
        hidden: Sequence[Path] = (),
        start_timeout_s: float = 120.0,
        grace_s: float = 10.0,
        module: str = MODULE,
    ) -> None:
        """Describe the lifter; entering it starts its parents.

        Args:
            num_parents: Number of lifts at the same time.
            timeout_s: Limit of one candidate, from its fork to its result.
            memory_bytes: Address space that a candidate may add to its parent's.
            limits: What a network may cost: `max_parameters`, `max_flops` of one image,
                `max_activation_bytes` of one image; the worker's default for each that is missing.
            sandbox: Settings of the sandbox; None: all layers that the machine offers.
            hidden: Folders that no candidate may see.
            start_timeout_s: From start to ready; importing torch takes seconds.
            grace_s: How far beyond `timeout_s` an answer may be late before the parent is replaced.
            module: What to run; tests run others.
        """
        self._limits = {"time_s": timeout_s, "memory_bytes": memory_bytes, **(limits or {})}
        self._memory_bytes = memory_bytes
        self._sandbox = sandbox or Sandbox()
        self._hidden = tuple(hidden)
        self._probing = asyncio.Lock()
        self._prefix: tuple[str, ...] | None = None
        self._cgroup: Cgroup | None = None
        self._missing: dict[Layer, str] = {}
        #: Missing layers that were logged.
        self._reported: set[Layer] = set()
        self._answer_timeout_s = timeout_s + grace_s
        self._start_timeout_s = start_timeout_s
        self._module = module
        self._workers = [LiftWorker(number) for number in range(num_parents)]
        self._free: asyncio.Queue[LiftWorker] = asyncio.Queue()
        self._warming: list[asyncio.Task[None]] = []
        self._closed = False

    @property
    def pids(self) -> tuple[int, ...]:
        """Processes of the warm parents that run now."""
        return tuple(worker.child.pid for worker in self._workers if worker.child)

    async def __aenter__(self) -> "ProcessLifter":
        """Start all parents, side by side; return before they are warm.

        If a layer is required, wait until they are.

        Raises:
            ConfigurationError: a required layer is missing.
        """
        self._warming = [asyncio.create_task(self._warm_up(worker)) for worker in self._workers]
        if self._sandbox.require:
            try:
                await self.warmed_up()
            except ConfigurationError:
                await self.close()
                raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()

    async def warmed_up(self) -> None:
        """Wait until each parent is warm, or has failed to start."""
        await asyncio.gather(*self._warming)

    async def missing(self) -> Mapping[Layer, str]:
        """Wait until the parents are warm; return the layers that this machine lacks, and why."""
        await self.warmed_up()
        return {layer: self._missing[layer] for layer in Layer if layer in self._missing}

    async def close(self) -> None:
        """Shut down all parents and their candidates, and wait until they are gone."""
        self._closed = True
        for warming in self._warming:
            warming.cancel()
        await asyncio.gather(*self._warming, return_exceptions=True)
        await asyncio.gather(*(self._shut_down(worker) for worker in self._workers))

    async def lift(self, candidate: Candidate) -> Network | Rejection:
        """Build and export one candidate in a process of its own, and check the graph.

        If it is cancelled, the parent is shut down with its candidate; the next lift starts a new one.

        Raises:
            LifterUnavailable: the parent died or cannot start; it is replaced by the next lift.
            ConfigurationError: a new parent lacks a layer that is required.
        """
        if self._closed:
            raise LifterUnavailable("the lifter has been closed")
        worker = await self._free.get()
        try:
            return await self._lift_with(worker, candidate)
        except ChildGone as error:
            raise LifterUnavailable(str(error)) from error
        finally:
            self._free.put_nowait(worker)

    async def _lift_with(self, worker: LiftWorker, candidate: Candidate) -> Network | Rejection:
        child = await self._ready_child(worker)
        answered = False
        try:
            header, blobs = await self._ask(child, candidate)
            answered = True
        finally:
            if not answered:  # died, late or cancelled: nothing of this request may be left
                await self._shut_down(worker)
        return _result(header, blobs)

    async def _ask(self, child: Child, candidate: Candidate) -> Frame:
        try:
            async with asyncio.timeout(self._answer_timeout_s):
                await child.send(self._request(candidate))
                return await child.receive()
        except TimeoutError as error:
            raise LifterUnavailable(
                f"a lift must be answered within {self._answer_timeout_s:g} s, process {child.pid} was not"
            ) from error

    def _request(self, candidate: Candidate) -> dict[str, Any]:
        return {
            "source": candidate.source,
            "class_name": candidate.class_name,
            "seed": candidate.seed,
            "input_shape": candidate.task.input_shape,
            "num_classes": candidate.task.num_classes,
            "limits": self._limits,
        }

    async def _warm_up(self, worker: LiftWorker) -> None:
        """Start a parent before the first lift; if that fails, the next lift tries again."""
        try:
            await self._ready_child(worker)
        except LifterUnavailable as fault:
            logger.warning("%s", fault, extra={"action": "warm-up"})
        finally:
            self._free.put_nowait(worker)

    async def _ready_child(self, worker: LiftWorker) -> Child:
        """Return the warm parent of a worker; start one if there is none."""
        if worker.child is not None:
            return worker.child
        try:
            worker.child = child = await self._start(worker)
        except OSError as error:  # no memory, processes or descriptors left
            raise LifterUnavailable(f"{worker.name} could not be started: {error}") from error
        ready = False
        try:
            async with asyncio.timeout(self._start_timeout_s):
                header, _ = await child.receive()
            self._report_missing(header["missing"])
            self._check_required()
            ready = True
        except TimeoutError as error:
            raise LifterUnavailable(
                f"{worker.name} must be ready within {self._start_timeout_s:g} s of its start"
            ) from error
        except ChildGone as error:
            raise LifterUnavailable(str(error)) from error
        finally:
            if not ready:
                await self._shut_down(worker)
        logger.debug("%s is warm, process %d", worker.name, child.pid)
        return child

    async def _start(self, worker: LiftWorker) -> Child:
        async with self._probing:
            if self._prefix is None:
                self._prefix = await self._probe()
        prefix = self._prefix
        if self._cgroup is not None:
            prefix = (*self._cgroup.prefix(worker.group, self._memory_bytes), *prefix)
        asked = {"user": self._user(), "without": sorted(self._sandbox.without)}
        return await Child.start(
            self._module, json.dumps(asked), name=worker.name, only=_ENVIRONMENT, prefix=prefix
        )

    # --- the sandbox ------------------------------------------------------------------------------

    async def _probe(self) -> tuple[str, ...]:
        """Find the layers around a warm parent that this machine offers."""
        without = self._sandbox.without
        if Layer.CGROUP not in without:
            try:
                self._cgroup = Cgroup.find()
            except NoCgroup as error:
                self._missing[Layer.CGROUP] = str(error)
        if Layer.BUBBLEWRAP not in without:
            try:
                return await bubblewrap.find(self._hidden)
            except NoBubblewrap as error:
                self._missing[Layer.BUBBLEWRAP] = str(error)
        return ()

    def _user(self) -> tuple[int, int] | None:
        """Return the ids of the user that the parent switches to; None if it may not switch."""
        if Layer.USER in self._sandbox.without:
            return None
        if os.geteuid() != 0:
            self._missing[Layer.USER] = "only root may switch users"
            return None
        try:
            entry = pwd.getpwnam(self._sandbox.user)
        except KeyError:
            self._missing[Layer.USER] = f"there is no user {self._sandbox.user!r}"
            return None
        return entry.pw_uid, entry.pw_gid

    def _report_missing(self, missing: Mapping[str, str]) -> None:
        """Log the layers that are missing, once for all parents."""
        self._missing.update((Layer(name), why) for name, why in missing.items())
        if self._missing.keys() - self._reported:
            self._reported |= self._missing.keys()
            what = "; ".join(f"{layer}: {why}" for layer, why in self._missing.items())
            logger.warning("the sandbox lacks %s", what, extra={"action": "sandbox"})

    def _check_required(self) -> None:
        for layer in sorted(self._sandbox.require & self._missing.keys()):
            raise ConfigurationError(
                f"sandbox.require names {layer}, which is missing here: {self._missing[layer]}"
            )

    async def _shut_down(self, worker: LiftWorker) -> None:
        """Shut down a worker's parent and, by closing its input first, what it has forked."""
        if worker.child is not None:
            try:
                await worker.child.shut_down(_SHUT_DOWN_S)
            finally:
                worker.child = None  # killed in any case, even when cancelled here
                if self._cgroup is not None:
                    self._cgroup.end(worker.group)


def _result(header: dict[str, Any], blobs: list[bytes]) -> Network | Rejection:
    if header["outcome"] != "lifted":
        kind = header["violation"]
        return Rejection(
            cause=Outcome(header["outcome"]),
            detail=header["detail"],
            violation=None if kind is None else Violation(kind),
        )
    graph, weights = blobs
    return Network(
        graph=graph,
        weights=weights,
        order=tuple(header["order"]),
        measures=Measures(**header["measures"]),
        lift_s=header["lift_s"],
    )
