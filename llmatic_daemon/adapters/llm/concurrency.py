"""How many calls an endpoint gets at once: one more after answers, half as many after a refusal."""

import asyncio
from collections import deque
from types import TracebackType


class AdaptiveLimit:
    """A semaphore whose size follows what the server bears; a context manager around each call.

    Args:
        most: Calls at once, at most; the limit begins there.

    Source: additive increase, multiplicative decrease (Chiu 1989).
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = float(most)
        self._num_in_flight = 0
        self._num_started = 0
        self._last_started = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def limit(self) -> int:
        """Calls that may be in flight at once."""
        return int(self._limit)

    @property
    def num_in_flight(self) -> int:
        """Calls that are."""
        return self._num_in_flight

    async def __aenter__(self) -> int:
        """Wait for a turn, first come, first served. Returns the call's number, for `shrink`."""
        if self._num_in_flight >= self.limit or self._waiting:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._leave()
                elif turn in self._waiting:  # else a turn has passed it by meanwhile
                    self._waiting.remove(turn)
                raise
        else:
            self._num_in_flight += 1
        self._num_started += 1
        return self._num_started

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Hand the turn on."""
        self._leave()

    def grow(self) -> None:
        """Allow one more call for each round of answers."""
        self._limit = min(self._limit + 1 / self._limit, float(self._most))
        self._wake()

    def shrink(self, call: int) -> None:
        """Allow half as many calls; once for all that were under way together.

        Args:
            call: Number of the call that the server had no room for.
        """
        if call > self._last_started:
            self._limit = max(self._limit / 2, 1.0)
            self._last_started = self._num_started

    def allow(self, most: int) -> None:
        """Take over what the server says that it bears."""
        self._most = most
        self._limit = min(self._limit, float(most))

    def _leave(self) -> None:
        self._num_in_flight -= 1
        self._wake()

    def _wake(self) -> None:
        while self._waiting and self._num_in_flight < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self._num_in_flight += 1
                turn.set_result(None)
