"""The circuit breaker of an endpoint: it blocks calls to a failing server, and probes it at intervals."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto


@dataclass(frozen=True, kw_only=True, slots=True)
class BreakerRules:
    """When a breaker opens, and for how long."""

    #: The breaker opens after this many failures within the window without an answer between them.
    num_failures: int
    window_s: float
    #: First time open, in seconds; doubled after each probe that fails.
    pause_s: float
    max_pause_s: float


class _State(Enum):
    CLOSED = auto()
    OPEN = auto()
    #: One call tests the server.
    PROBING = auto()


class Breaker:
    """Circuit breaker: closed while calls may be made; open after too many failures; then half open.

    It opens after `num_failures` failures within the window without an answer between them, so a server
    that answers occasionally stays in use. While half open it admits one probe at a time. Failures of
    calls that began before it opened do not count.

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
        """Whether calls are blocked."""
        return self._state is not _State.CLOSED

    @property
    def open_s(self) -> float:
        """Time that it has been open, in seconds; 0 if it is closed."""
        return self._clock() - self._opened if self.is_open else 0.0

    @property
    def wait_s(self) -> float | None:
        """Time until it admits a call, in seconds; None while a probe is running."""
        if self._state is _State.PROBING:
            return None
        return max(0.0, self._open_until - self._clock()) if self.is_open else 0.0

    def admits(self) -> bool:
        """Return whether a call may be made; after the pause, the first caller makes the probe."""
        if self._state is _State.OPEN and self._clock() >= self._open_until:
            self._state = _State.PROBING
            return True
        return self._state is _State.CLOSED

    def succeeded(self) -> bool:
        """Record an answer, and return whether it closed the breaker."""
        was_open = self.is_open
        self._state, self._pause_s = _State.CLOSED, self._rules.pause_s
        self._failures.clear()
        return was_open

    def failed(self, *, is_probe: bool, is_hopeless: bool = False) -> bool:
        """Record a failure, and return whether it opened the breaker; a hopeless one always does."""
        if self.is_open and not is_probe:
            return False
        now = self._clock()
        self._failures.append(now)
        is_full = len(self._failures) == self._rules.num_failures
        is_enough = is_full and self._failures[0] >= now - self._rules.window_s
        return (is_probe or is_hopeless or is_enough) and self._trip()

    def _trip(self) -> bool:
        """Open the breaker, each time in a row for longer, and return whether it was closed."""
        was_open, now = self.is_open, self._clock()
        if was_open:
            self._pause_s = min(2 * self._pause_s, self._rules.max_pause_s)
        else:
            self._opened = now
        self._state, self._open_until = _State.OPEN, now + self._pause_s
        self._failures.clear()
        return not was_open

    def abandoned(self) -> None:
        """Record that the probe was cancelled: the next call may be a probe."""
        if self._state is _State.PROBING:
            self._state = _State.OPEN
