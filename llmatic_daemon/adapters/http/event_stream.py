"""What happens, as a stream: server-sent events for whoever watches, from the log on where one left off."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llmatic_daemon.adapters.http.schemas import CandidateSummary, SlotState, plain
from llmatic_daemon.domain import Audit, Edition, Placement
from llmatic_daemon.domain.ports import Observer

#: Events that a reader may lag behind before it is dropped.
MAX_LAG = 1000
MAX_READERS = 64
HEARTBEAT_S = 15.0
#: Placements of a page when a reader catches up.
_PAGE = 100

#: Reads placements after a number, oldest first, at most as many as the second says.
Replay = Callable[[int, int], Awaitable[Sequence[Placement]]]


class TooManyReaders(Exception):
    """Nobody more can be told."""


class EventStream(Observer):
    """Passes on what happens to all readers, each with a bounded queue; never waits for one."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self._readers: set[asyncio.Queue[tuple[int, bytes] | None]] = set()
        self._slots: dict[int, SlotState] = {}

    @property
    def slots(self) -> tuple[SlotState, ...]:
        """Say what each slot does now."""
        return tuple(self._slots[slot] for slot in sorted(self._slots))

    @property
    def num_readers(self) -> int:
        """Count the readers."""
        return len(self._readers)

    def slot_changed(self, slot: int, phase: str, detail: str) -> None:
        """Tell of a slot."""
        self._slots[slot] = SlotState(slot=slot, phase=phase, detail=detail)
        self._tell("slot", {"slot": slot, "phase": phase, "detail": detail})

    def placed(self, placement: Placement) -> None:
        """Tell of a placement; its number is the event's id."""
        if self._readers:
            self._pass(placement.number, _placement(placement))

    def adopted(self, edition: Edition) -> None:
        """Tell of a prompt set."""
        names = {prompt.id: prompt.version for prompt in edition.prompts.all}
        self._tell("prompts", {"edition": edition.number, "versions": names})

    def audited(self, audit: Audit) -> None:
        """Tell of an audit."""
        self._tell("audit", plain(Audit, audit))

    def refused(self, why: str) -> None:
        """Tell of a prompt set that was not taken."""
        for name in ("prompts-rejected", "prompts-refused"):  # the second is deprecated
            self._tell(name, {"why": why})

    def paused(self, is_paused: bool) -> None:
        """Tell of a pause, or of its end."""
        self._tell("pause", {"is_paused": is_paused})

    def resized(self, num_slots: int) -> None:
        """Tell of another number of slots."""
        self._tell("slots", {"num_slots": num_slots})

    async def read(self, after: int | None) -> AsyncIterator[bytes]:
        """Read events as they are sent, for as long as the reader keeps up.

        Args:
            after: Number of the last placement that the reader has; None: from now on.

        Raises:
            TooManyReaders: there are as many as may be.
            ConfigurationError: the log cannot be read.
        """
        with self._reader() as queue:
            yield b"retry: 2000\n\n"
            replayed = 0
            while after is not None:
                page = await self._replay(after, _PAGE)
                for placement in page:
                    yield _placement(placement)
                    after = replayed = placement.number
                if len(page) < _PAGE or queue not in self._readers:  # it has fallen behind
                    break
            # Not `after`: the log of a backup that was put back may end before it.
            async for number, event in _queued(queue):
                if not number or number > replayed:
                    yield event

    @contextmanager
    def _reader(self) -> "Iterator[asyncio.Queue[tuple[int, bytes] | None]]":
        if len(self._readers) >= MAX_READERS:
            raise TooManyReaders
        queue: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue()
        self._readers.add(queue)
        try:
            yield queue
        finally:
            self._readers.discard(queue)

    def close(self) -> None:
        """Send all readers home."""
        for queue in self._readers:
            queue.put_nowait(None)

    def _tell(self, what: str, facts: dict[str, Any]) -> None:
        if self._readers:
            self._pass(0, _event(what, facts))

    def _pass(self, number: int, event: bytes) -> None:
        for queue in tuple(self._readers):
            if queue.qsize() < MAX_LAG:
                queue.put_nowait((number, event))
            else:
                self._readers.discard(queue)
                queue.put_nowait(None)


async def _queued(
    queue: "asyncio.Queue[tuple[int, bytes] | None]",
) -> AsyncIterator[tuple[int, bytes]]:
    while True:
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                event = await queue.get()
        except TimeoutError:
            yield 0, b": still here\n\n"
            continue
        if event is None:
            return
        yield event


def _placement(placement: Placement) -> bytes:
    return _event("placement", plain(CandidateSummary, CandidateSummary.of(placement)), placement.number)


def _event(what: str, facts: Any, number: int | None = None) -> bytes:
    name = "" if number is None else f"id: {number}\n"
    data = json.dumps(facts, separators=(",", ":"))
    return f"{name}event: {what}\ndata: {data}\n\n".encode()
