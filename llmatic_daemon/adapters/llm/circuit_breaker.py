"""The circuit breaker of an endpoint: asks no server that fails, and tries it again now and then."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto


@dataclass(frozen=True, kw_only=True, slots=True)
class BreakerRules:
    """When a breaker opens, and for how long."""

    #: Opens after so many failures within the window with no answer between them.
    num_failures: int
    window_s: float
    #: For how long at first; doubled after each probe that fails.
    pause_s: float
    max_pause_s: float


class _State(Enum):
    CLOSED = auto()
    OPEN = auto()
    #: One call is under way to find out.
    PROBING = auto()


class Breaker:
    """Closed while calls may be made; open after too many failures; then one probe at a time.

    Too many are so many failures within the window with no answer between them: a server that
    answers now and then stays in use. What a call meets that began before it opened changes
    nothing, unless it is an answer.

    Source: Nygard 2007 (Release It!).
    """

    def __init__(self, rules: BreakerRules, clock: Callable[[], float] = time.monotonic) -> None:
        self._rules = rules
        self._clock = clock
        self._state = _State.CLOSED
        #: Times of the failures since the last answer.
        self._failures: deque[float] = deque(maxlen=rules.num_failures)
        self._pause_s = rules.pause_s
        self._opened = 0.0
        self._open_until = 0.0

    @property
    def is_open(self) -> bool:
        """Whether calls are held back."""
        return self._state is not _State.CLOSED

    @property
    def open_s(self) -> float:
        """Since when it has been open, in seconds; 0 when it is closed."""
        return self._clock() - self._opened if self.is_open else 0.0

    @property
    def wait_s(self) -> float | None:
        """Time until it admits a call, in seconds; None: when the probe under way has ended."""
        if self._state is _State.PROBING:
            return None
        return max(0.0, self._open_until - self._clock()) if self.is_open else 0.0

    def admits(self) -> bool:
        """Ask for one call; when the pause is over, the first that asks gets it, as the probe."""
        if self._state is _State.OPEN and self._clock() >= self._open_until:
            self._state = _State.PROBING
            return True
        return self._state is _State.CLOSED

    def succeeded(self) -> bool:
        """Note an answer. Returns whether that has closed it."""
        was_open = self.is_open
        self._state, self._pause_s = _State.CLOSED, self._rules.pause_s
        self._failures.clear()
        return was_open

    def failed(self, *, is_probe: bool, is_hopeless: bool = False) -> bool:
        """Note a failure; a hopeless one is enough. Returns whether that has opened it."""
        if self.is_open and not is_probe:
            return False
        now = self._clock()
        self._failures.append(now)
        is_full = len(self._failures) == self._rules.num_failures
        is_enough = is_full and self._failures[0] >= now - self._rules.window_s
        return (is_probe or is_hopeless or is_enough) and self._trip()

    def _trip(self) -> bool:
        """Open it, for longer each time in a row. Returns whether it was closed."""
        was_open, now = self.is_open, self._clock()
        if was_open:
            self._pause_s = min(2 * self._pause_s, self._rules.max_pause_s)
        else:
            self._opened = now
        self._state, self._open_until = _State.OPEN, now + self._pause_s
        self._failures.clear()
        return not was_open

    def abandoned(self) -> None:
        """Note that the probe came to no end: the next call may be one."""
        if self._state is _State.PROBING:
            self._state = _State.OPEN
