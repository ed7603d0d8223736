"""Reports to the service manager: READY once jobs can be dispatched, then a status line every few seconds."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from llmatic_daemon.adapters.system.notify import ServiceManager
from llmatic_daemon.domain import SearchStatus
from llmatic_daemon.domain.events import Event, Placed, SlotChanged

#: Between two status lines, in seconds.
INTERVAL_S = 5.0
#: How long the first probe of the LLM servers may delay READY, in seconds.
_PROBE_TIMEOUT_S = 10.0
#: What a start may take if a database is migrated, or a data set is downloaded, in seconds.
START_S = 3600.0
#: What it takes to close everything once no job runs any more, in seconds.
CLOSING_S = 30.0


class ServiceStatus:
    """The state of a search in one line for a person.

    Args:
        clock: Monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._phases: dict[int, str] = {}
        self._last_commit: float | None = None

    def receive(self, event: Event) -> None:
        """Note the phase of a slot, and the time of a commit."""
        match event:
            case SlotChanged(slot=slot, phase=phase):
                self._phases[slot] = phase
            case Placed():
                self._last_commit = self._clock()

    def line(self, now: SearchStatus) -> str:
        """Return how busy the slots are, the best accuracy, and the age of the last commit."""
        phases = list(self._phases.values())
        num_busy = len(phases) - phases.count("idle")
        parts = [
            f"{num_busy} of {now.num_slots} slots busy, {phases.count('wait')} wait for a device",
            f"{now.num_evaluations} evaluations",
            "no elite yet"
            if now.best_objective is None
            else f"best {now.best_objective:.4f} (candidate {now.best_job})",
            "no commit since the start"
            if self._last_commit is None
            else f"last commit {self._clock() - self._last_commit:.0f} s ago",
        ]
        return f"{_state(now)}{'; '.join(parts)}"


def _state(now: SearchStatus) -> str:
    """Return the prefix of a search that is not simply running."""
    if now.is_draining:
        return "draining: "
    if now.is_paused:
        return "paused: "
    return "" if now.is_ready else "the store is unavailable: "


async def report_status(
    manager: ServiceManager,
    line: Callable[[], str],
    *,
    listening: asyncio.Event,
    wait_until_probed: Callable[[], Awaitable[None]],
) -> None:
    """Report READY as soon as it is true, then the status line until cancelled.

    Args:
        manager: Receives the reports.
        line: Returns the status line.
        listening: Set when control commands can be sent.
        wait_until_probed: Returns when each LLM server has been asked once; waited for with a limit.
    """
    await listening.wait()
    with suppress(TimeoutError):
        async with asyncio.timeout(_PROBE_TIMEOUT_S):
            await wait_until_probed()
    manager.ready()
    while manager.is_there:
        manager.show(line())
        await asyncio.sleep(INTERVAL_S)
