"""What the service manager is told of a search: that it is ready, and a line every few seconds."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from llmatic_daemon.adapters.system.notify import ServiceManager
from llmatic_daemon.domain import Placement, SearchStatus
from llmatic_daemon.domain.ports import Observer

#: Between two lines, in seconds.
EVERY_S = 5.0
#: How long the first words with the LLM servers may hold up the news that we are ready, in seconds.
_GREETING_S = 10.0
#: What a start may take where a database is brought up to date, or a data set is downloaded, in seconds.
START_S = 3600.0
#: What it takes to close everything once no job is under way any more, in seconds.
CLOSING_S = 30.0


class ServiceStatus(Observer):
    """How the search stands, in one line for a person.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._phases: dict[int, str] = {}
        self._last_commit: float | None = None

    def slot_changed(self, slot: int, phase: str, detail: str) -> None:
        """Note what a slot does."""
        self._phases[slot] = phase

    def placed(self, placement: Placement) -> None:
        """Note when it was."""
        self._last_commit = self._clock()

    def line(self, now: SearchStatus) -> str:
        """Say how busy the slots are, what is best, and how old the last commit is."""
        phases = list(self._phases.values())
        num_busy = len(phases) - phases.count("idle")
        parts = [
            f"{num_busy} of {now.num_slots} slots busy, {phases.count('wait')} wait for a place",
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
    """Name what is out of the ordinary."""
    if now.is_draining:
        return "draining: "
    if now.is_paused:
        return "paused: "
    return "" if now.is_ready else "the store takes nothing: "


async def attend(
    manager: ServiceManager,
    line: Callable[[], str],
    *,
    listening: asyncio.Event,
    wait_until_probed: Callable[[], Awaitable[None]],
) -> None:
    """Say that we are ready as soon as that is true, and then how the search stands, for ever.

    Args:
        manager: Is told.
        line: How the search stands.
        listening: Set when whoever wants something of us can ask.
        wait_until_probed: Returns when each LLM server has been asked once; waited for within reason.
    """
    await listening.wait()
    with suppress(TimeoutError):
        async with asyncio.timeout(_GREETING_S):
            await wait_until_probed()
    manager.ready()
    while manager.is_there:
        manager.show(line())
        await asyncio.sleep(EVERY_S)
