"""The adaptive limit of concurrent calls: one more after answers, half as many after a status 429."""

import asyncio
from collections import deque


class AdaptiveLimit:
    """Semaphore whose size adapts to the server's capacity; a context manager around each call.

    Args:
        most: Upper bound and first value of the limit.

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
        """Number of calls that may run at once."""
        return int(self._limit)

    @property
    def num_in_flight(self) -> int:
        """Number of calls that are running."""
        return self._num_in_flight

    async def __aenter__(self) -> int:
        """Wait for a turn, first come, first served. Return the call's number, for `shrink`."""
        if self._num_in_flight >= self.limit or self._waiting:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._leave()
                elif turn in self._waiting:  # `_wake` may have removed it already
                    self._waiting.remove(turn)
                raise
        else:
            self._num_in_flight += 1
        self._num_started += 1
        return self._num_started

    async def __aexit__(self, *error: object) -> None:
        """Release the turn."""
        self._leave()

    def grow(self) -> None:
        """Raise the limit by one call per round of answers."""
        self._limit = min(self._limit + 1 / self._limit, float(self._most))
        self._wake()

    def shrink(self, call: int) -> None:
        """Halve the limit, once for all calls that were running together.

        Args:
            call: Number of the call that the server rejected with status 429.
        """
        if call > self._last_started:
            self._limit = max(self._limit / 2, 1.0)
            self._last_started = self._num_started

    def allow(self, most: int) -> None:
        """Set the upper bound that the server reports."""
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
