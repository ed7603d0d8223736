"""Lifters in every state of undress: one warm parent for each set of layers that is left out."""

import asyncio
import os
import shutil
import stat
import sys
import threading
from collections import OrderedDict
from collections.abc import Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from llmatic_daemon.adapters.processes.lifter import ProcessLifter
from llmatic_daemon.domain import Candidate, Network
from llmatic_daemon.domain.errors import LifterUnavailable
from llmatic_daemon.domain.sandbox import Layer, Sandbox, Violation

T = TypeVar("T")
#: What the tests may leave out; a machine without a cgroup of ours lacks it anyway.
REMOVABLE = (Layer.BUBBLEWRAP, Layer.USER, Layer.LANDLOCK, Layer.SECCOMP, Layer.RLIMITS)
EVERYTHING = frozenset(Layer)
#: Left out of every run, to see that the others carry: HOSTILE_WITHOUT="bubblewrap user".
WITHOUT = frozenset(map(Layer, os.environ.get("HOSTILE_WITHOUT", "").split()))
MEMORY_BYTES = 1 << 30
PATIENT_S = 30.0
#: For what is expected to use up its time.
SHORT_S = 1.0
MAX_PARAMETERS = 2_000_000
_MAX_OPEN = 3


def _python_for_everybody() -> tuple[str, ...]:
    """Put Python where another user can read it, if it lies in a closed home; hides nothing else.

    Without it, the layer of another user could not be seen alone on such a machine.
    """
    python = Path(sys.base_prefix)
    closed = [place for place in python.parents if not place.stat().st_mode & stat.S_IXOTH]
    program = shutil.which("bwrap")
    if os.geteuid() != 0 or not closed or program is None:
        return ()
    opened = [
        ("--perms", "0755", "--dir", str(p)) for p in reversed(python.parents) if closed[0] in p.parents
    ]
    return (
        program,
        "--dev-bind",
        "/",
        "/",
        "--cap-add",
        "ALL",
        "--perms",
        "0755",
        "--tmpfs",
        str(closed[0]),
        *(word for each in opened for word in each),
        "--ro-bind",
        str(python),
        str(python),
        "--",
    )


class Ended:
    """What became of one program."""

    def __init__(
        self, outcome: str, detail: str, network: Network | None = None, violation: Violation | None = None
    ) -> None:
        self.outcome, self.detail, self.network, self.violation = outcome, detail, network, violation

    def __str__(self) -> str:
        return f"{self.outcome}: {self.detail}"

    __repr__ = __str__  # what a failed assertion shows


class TimedLifter(ProcessLifter):
    """Gives each candidate a time of its own."""

    time_s = PATIENT_S
    #: Put around the parent where there is nothing else around it.
    opened: tuple[str, ...] = ()

    async def _probe(self) -> tuple[str, ...]:
        return await super()._probe() or self.opened

    def _request(self, candidate: Candidate) -> dict[str, Any]:
        request = super()._request(candidate)
        return {**request, "limits": {**request["limits"], "time_s": self.time_s}}


class Slot:
    """One lifter with one warm parent, and the loop that it lives in."""

    def __init__(self, loop: asyncio.AbstractEventLoop, without: frozenset[Layer]) -> None:
        self._loop = loop
        self.without = without | WITHOUT
        self.lifter = TimedLifter(
            timeout_s=PATIENT_S,
            memory_bytes=MEMORY_BYTES,
            limits={"max_parameters": MAX_PARAMETERS},
            sandbox=Sandbox(without=self.without),
        )
        if Layer.BUBBLEWRAP in self.without and Layer.USER not in self.without:
            self.lifter.opened = _python_for_everybody()
        self.wait_for(self._open())

    async def _open(self) -> None:
        await self.lifter.__aenter__()
        await self.lifter.warmed_up()

    def lift(self, candidate: Candidate, time_s: float = PATIENT_S) -> Ended:
        """Lift one candidate; the end of its parent is an end too."""
        self.lifter.time_s = time_s
        try:
            result = self.wait_for(self.lifter.lift(candidate))
        except LifterUnavailable as error:
            return Ended("error", str(error))
        if isinstance(result, Network):
            return Ended("lifted", str(result.measures), result)
        return Ended(result.cause.value, result.detail, violation=result.violation)

    def begin(self, candidate: Candidate, time_s: float) -> "Future[Any]":
        """Start to lift, and do not wait."""
        self.lifter.time_s = time_s
        return asyncio.run_coroutine_threadsafe(self.lifter.lift(candidate), self._loop)

    def missing(self) -> frozenset[Layer]:
        """Name the layers that this machine does not offer."""
        return frozenset(self.wait_for(self.lifter.missing()))

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=120)

    def close(self) -> None:
        self.wait_for(self.lifter.close())


class Slots:
    """Keeps the last few open, because a start takes seconds."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._open: OrderedDict[frozenset[Layer], Slot] = OrderedDict()

    def without(self, layers: frozenset[Layer] = frozenset()) -> Slot:
        """Return a slot whose candidates lack these layers."""
        if layers not in self._open:
            while len(self._open) >= _MAX_OPEN:
                self._open.popitem(last=False)[1].close()
            self._open[layers] = Slot(self._loop, layers)
        self._open.move_to_end(layers)
        return self._open[layers]

    def close(self) -> None:
        for slot in self._open.values():
            slot.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
