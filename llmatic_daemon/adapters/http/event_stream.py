"""The event stream: server-sent events for readers, from the last placement that a reader has."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llmatic_daemon.adapters.http.schemas import CandidateSummary, SlotState, plain
from llmatic_daemon.domain import Audit, Placement, TrainerDeath, events

#: Events that a reader may lag behind before it is dropped.
MAX_LAG = 1000
MAX_READERS = 64
HEARTBEAT_S = 15.0
#: Placements of a page when a reader catches up.
_PAGE = 100

#: Reads placements after a number, oldest first, up to a limit.
Replay = Callable[[int, int], Awaitable[Sequence[Placement]]]


class TooManyReaders(Exception):
    """The limit of readers is reached."""


class EventStream:
    """Passes events on to all readers, each with a bounded queue; never waits for one."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self._readers: set[asyncio.Queue[tuple[int, bytes] | None]] = set()
        self._slots: dict[int, SlotState] = {}

    @property
    def slots(self) -> tuple[SlotState, ...]:
        """The current phase of each slot."""
        return tuple(self._slots[slot] for slot in sorted(self._slots))

    @property
    def num_readers(self) -> int:
        """Number of connected readers."""
        return len(self._readers)

    def receive(self, event: events.Event) -> None:
        """Pass an event on; the number of a placement is the id of what is sent."""
        match event:
            case events.SlotChanged(slot=slot, phase=phase, detail=detail):
                self._slots[slot] = SlotState(slot=slot, phase=phase, detail=detail)
                self._send("slot", {"slot": slot, "phase": phase, "detail": detail})
            case events.Placed(placement=placement) if self._readers:
                self._pass(placement.number, _placement(placement))
            case events.PromptsAdopted(edition=edition):
                versions = {prompt.id: prompt.version for prompt in edition.prompts.all}
                self._send("prompts", {"edition": edition.number, "versions": versions})
            case events.Audited(audit=audit):
                self._send("audit", plain(Audit, audit))
            case events.DeathRecorded(death=death):
                self._send("trainer-died", plain(TrainerDeath, death))
            case events.DeviceTakenOut(device=device, reason=reason):
                self._send("device-out", {"device": device, "why": reason})
            case events.PromptsRejected(reason=reason):
                self._send("prompts-rejected", {"why": reason})
                self._send("prompts-refused", {"why": reason})  # deprecated
            case events.PauseChanged(is_paused=is_paused):
                self._send("pause", {"is_paused": is_paused})
            case events.SlotsResized(num_slots=num_slots):
                self._send("slots", {"num_slots": num_slots})

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
            # Not `after`: the log of a restored backup may end before it.
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
        """Disconnect all readers."""
        for queue in self._readers:
            queue.put_nowait(None)

    def _send(self, what: str, facts: dict[str, Any]) -> None:
        if self._readers:
            self._pass(0, _event(what, facts))

    def _pass(self, number: int, event: bytes) -> None:
        for queue in tuple(self._readers):
            if queue.qsize() < MAX_LAG:
                queue.put_nowait((number, event))
            else:
                self._readers.discard(queue)
                queue.put_nowait(None)


async def _queued(queue: "asyncio.Queue[tuple[int, bytes] | None]") -> AsyncIterator[tuple[int, bytes]]:
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
