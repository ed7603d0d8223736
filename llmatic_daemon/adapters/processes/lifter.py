"""The lifter: warm parents that fork a process for each candidate; a dead one is replaced."""

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
from llmatic_daemon.domain.sandbox import Layer, Sandbox

logger = logging.getLogger(__name__)

MODULE = "llmatic_daemon.worker.lifting.lift_server"
#: torch needs no GPU to trace, and one thread is all that a candidate gets.
_ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # A source that walks over a set of names must give the same network in every parent.
    "PYTHONHASHSEED": "0",
    # What is shown is read-only.
    "PYTHONDONTWRITEBYTECODE": "1",
}
#: How long a parent may take to end its candidate after its input is closed.
_DISMISSAL_S = 5.0


class _WarmParent:
    """Room for one lift at a time, and the warm parent that does it."""

    def __init__(self, number: int) -> None:
        self.name = f"lifter {number}"
        self.group = f"lifter-{number}"
        self.child: Child | None = None


class ProcessLifter(Lifter):
    """Hands each candidate to the first free warm parent. Use it as an async context manager."""

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
            num_parents: Lifts at the same time.
            timeout_s: Of one candidate, from its fork to its result.
            memory_bytes: Address space that a candidate may add to its parent's.
            limits: What a network may cost: `max_parameters`, `max_flops` of one image,
                `max_activation_bytes` of one image; the worker's defaults where left out.
            sandbox: Which layers are around each candidate; None: all that the machine offers.
            hidden: Folders that no candidate may see, wherever they lie.
            start_timeout_s: From start to ready; importing torch takes seconds.
            grace_s: How far beyond `timeout_s` an answer may be late before the parent is replaced.
            module: What to run; tests run others.
        """
        self._limits = {
            "time_s": timeout_s,
            "memory_bytes": memory_bytes,
            **(limits or {}),
        }
        self._memory_bytes = memory_bytes
        self._sandbox = sandbox or Sandbox()
        self._hidden = tuple(hidden)
        self._surroundings = asyncio.Lock()
        self._inside: tuple[str, ...] | None = None
        self._cgroup: Cgroup | None = None
        self._missing: dict[Layer, str] = {}
        #: Layers whose absence was said.
        self._told: set[Layer] = set()
        self._patience_s = timeout_s + grace_s
        self._start_timeout_s = start_timeout_s
        self._module = module
        self._places = [_WarmParent(number) for number in range(num_parents)]
        self._free: asyncio.Queue[_WarmParent] = asyncio.Queue()
        self._warming: list[asyncio.Task[None]] = []
        self._closed = False

    @property
    def pids(self) -> tuple[int, ...]:
        """Processes of the warm parents that run now."""
        return tuple(place.child.pid for place in self._places if place.child)

    async def __aenter__(self) -> "ProcessLifter":
        """Start to warm up all parents, side by side; returns before they are ready.

        Where a layer is required it waits for them.

        Raises:
            ConfigurationError: a required layer is missing.
        """
        self._warming = [asyncio.create_task(self._warm_up(place)) for place in self._places]
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
        """End all parents and their candidates, and wait until they are gone."""
        self._closed = True
        for warming in self._warming:
            warming.cancel()
        await asyncio.gather(*self._warming, return_exceptions=True)
        await asyncio.gather(*(self._dismiss(place) for place in self._places))

    async def lift(self, candidate: Candidate) -> Network | Rejection:
        """Build and export one candidate in a process of its own, and check the graph.

        Cancelled, it ends the candidate with its parent; the next lift on this place starts a new one.

        Raises:
            LifterUnavailable: the parent died or cannot start; it is replaced by the next lift.
            ConfigurationError: a new parent lacks a layer that is required.
        """
        if self._closed:
            raise LifterUnavailable("the lifter has been closed")
        place = await self._free.get()
        try:
            return await self._lift_at(place, candidate)
        except ChildGone as error:
            raise LifterUnavailable(str(error)) from error
        finally:
            self._free.put_nowait(place)

    async def _lift_at(self, place: _WarmParent, candidate: Candidate) -> Network | Rejection:
        child = await self._opened(place)
        answered = False
        try:
            header, blobs = await self._ask(child, candidate)
            answered = True
        finally:
            if not answered:  # died, late or cancelled: nothing of this conversation may be left
                await self._dismiss(place)
        return _result(header, blobs)

    async def _ask(self, child: Child, candidate: Candidate) -> Frame:
        try:
            async with asyncio.timeout(self._patience_s):
                await child.send(self._request(candidate))
                return await child.receive()
        except TimeoutError as error:
            raise LifterUnavailable(
                f"a lift must be answered within {self._patience_s:g} s, process {child.pid} was not"
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

    async def _warm_up(self, place: _WarmParent) -> None:
        """Open a place before it is asked for; when that fails, the next lift tries again."""
        try:
            await self._opened(place)
        except LifterUnavailable as fault:
            logger.warning("%s", fault, extra={"action": "warm-up"})
        finally:
            self._free.put_nowait(place)

    async def _opened(self, place: _WarmParent) -> Child:
        """Return the warm parent of a place, started if there is none."""
        if place.child is not None:
            return place.child
        try:
            place.child = child = await self._start(place)
        except OSError as error:  # no memory, processes or descriptors left
            raise LifterUnavailable(f"{place.name} could not be started: {error}") from error
        ready = False
        try:
            async with asyncio.timeout(self._start_timeout_s):
                header, _ = await child.receive()
            self._take_note(header["missing"])
            self._check_required()
            ready = True
        except TimeoutError as error:
            raise LifterUnavailable(
                f"{place.name} must be ready within {self._start_timeout_s:g} s of its start"
            ) from error
        except ChildGone as error:
            raise LifterUnavailable(str(error)) from error
        finally:
            if not ready:
                await self._dismiss(place)
        logger.debug("%s is warm, process %d", place.name, child.pid)
        return child

    async def _start(self, place: _WarmParent) -> Child:
        async with self._surroundings:
            if self._inside is None:
                self._inside = await self._look_around()
        inside = self._inside
        if self._cgroup is not None:
            inside = (*self._cgroup.inside(place.group, self._memory_bytes), *inside)
        asked = {"user": self._user(), "without": sorted(self._sandbox.without)}
        return await Child.start(
            self._module, json.dumps(asked), name=place.name, only=_ENVIRONMENT, inside=inside
        )

    # --- the sandbox ------------------------------------------------------------------------------

    async def _look_around(self) -> tuple[str, ...]:
        """Find what this machine offers to put around a warm parent."""
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
        """Return whom the parent becomes, if we may switch."""
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

    def _take_note(self, missing: Mapping[str, str]) -> None:
        """Name what is missing, once for all parents."""
        self._missing.update((Layer(name), why) for name, why in missing.items())
        if self._missing.keys() - self._told:
            self._told |= self._missing.keys()
            what = "; ".join(f"{layer}: {why}" for layer, why in self._missing.items())
            logger.warning("the sandbox lacks %s", what, extra={"action": "sandbox"})

    def _check_required(self) -> None:
        for layer in sorted(self._sandbox.require & self._missing.keys()):
            raise ConfigurationError(
                f"sandbox.require names {layer}, which is not to be had: {self._missing[layer]}"
            )

    async def _dismiss(self, place: _WarmParent) -> None:
        """End a place's parent and, by closing its input first, whatever it has forked."""
        if place.child is not None:
            try:
                await place.child.dismiss(_DISMISSAL_S)
            finally:
                place.child = None  # killed in any case, even when cancelled here
                if self._cgroup is not None:
                    self._cgroup.end(place.group)


def _result(header: dict[str, Any], blobs: list[bytes]) -> Network | Rejection:
    if header["outcome"] != "lifted":
        return Rejection(cause=Outcome(header["outcome"]), detail=header["detail"])
    graph, weights = blobs
    return Network(
        graph=graph,
        weights=weights,
        order=tuple(header["order"]),
        measures=Measures(**header["measures"]),
        lift_s=header["lift_s"],
    )
