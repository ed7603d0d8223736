"""Device places: room to train one network at a time; which of them stay when others are wished for."""

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import count

from llmatic_daemon.adapters.processes.child import Child

#: How long it may take to kill a trainer that is late, in seconds.
_KILL_S = 30.0


class Place:
    """Room to train one network at a time, and the child that does it."""

    def __init__(self, name: str, device: str) -> None:
        self.name = name
        self.device = device
        self.child: Child | None = None
        #: Starts its child; done when it has, or was told to stop.
        self.opening: asyncio.Task[None] | None = None
        #: Starts that failed since the last good one.
        self.num_failed = 0
        self.was_ready = False
        #: When what it is at must be over, by the monotonic clock; None: it may last.
        self.due: float | None = None

    def hold(self, time_s: float) -> None:
        """Begin something that is over within a time, if all is as it should be."""
        self.due = time.monotonic() + time_s + _KILL_S

    @property
    def is_opening(self) -> bool:
        """Tell whether its child is being started."""
        return self.opening is not None and not self.opening.done()

    async def kill(self) -> None:
        """End the child, if there is one, with all that it started."""
        if self.child is not None:
            await self.child.kill()  # cancelled here, it is still ours, and `close` waits for it
            self.child = None

    async def end(self) -> None:
        """Stop its start, if it is under way, and end the child."""
        if self.opening is not None:
            self.opening.cancel()
            await asyncio.wait([self.opening])
        await self.kill()


def named(devices: Sequence[str]) -> list[Place]:
    """Make places, named for their device, and numbered from 1 where a device has several."""
    total, seen = Counter(devices), Counter[str]()
    places = []
    for device in devices:
        seen[device] += 1
        name = f"{device}/{seen[device]}" if total[device] > 1 else device
        places.append(Place(name, device))
    return places


def chosen(places: Sequence[Place], devices: Sequence[str]) -> tuple[list[Place], list[Place]]:
    """Choose places for other devices: those that stay, the first ones of each, and new ones."""
    missing = Counter(devices)
    staying = []
    for place in places:
        if missing[place.device] > 0:
            missing[place.device] -= 1
            staying.append(place)
    new: list[Place] = []
    for device in missing.elements():
        new.append(Place(_free_name(device, [place.name for place in (*places, *new)]), device))
    return staying, new


def _free_name(device: str, taken: Collection[str]) -> str:
    """Name a place that comes later; names of those that are there never change."""
    if not any(name.partition("/")[0] == device for name in taken):
        return device
    first = 2 if device in taken else 1
    return next(name for n in count(first) if (name := f"{device}/{n}") not in taken)
