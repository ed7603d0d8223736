"""The queue of trainings for device workers: first come, first served, low priority last."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator

from llmatic_daemon.adapters.processes.devices import DeviceWorker
from llmatic_daemon.domain.errors import LLMaticError


class DeviceQueue:
    """Hands free device workers to those that wait for one."""

    def __init__(self, give_back: Callable[[DeviceWorker], None]) -> None:
        """Start with no free worker.

        Args:
            give_back: Called with a worker that was granted to a caller which was then cancelled.
        """
        self._give_back = give_back
        self._free: deque[DeviceWorker] = deque()
        self._waiters: deque[asyncio.Future[DeviceWorker]] = deque()
        #: Served while no other waiter is left.
        self._low_priority_waiters: deque[asyncio.Future[DeviceWorker]] = deque()
        self._error: BaseException | None = None

    @property
    def is_closed(self) -> bool:
        """Whether all callers are rejected."""
        return self._error is not None

    def check(self) -> None:
        """Raise the error that closed the queue, if there is one."""
        if self._error is not None:
            raise _copied(self._error)

    async def take(self, *, low_priority: bool = False) -> DeviceWorker:
        """Wait for a free worker.

        Raises:
            LLMaticError: the queue was closed, or the waiters were rejected.
        """
        self.check()
        if self._free:
            return self._free.popleft()
        waiter: asyncio.Future[DeviceWorker] = asyncio.get_running_loop().create_future()
        (self._low_priority_waiters if low_priority else self._waiters).append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            # Given a worker and cancelled in the same turn of the loop: the worker goes to the next.
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._give_back(waiter.result())
            raise

    def give(self, worker: DeviceWorker) -> None:
        """Hand a worker to the next waiter, or keep it as free."""
        waiter = next(self._next_waiters(), None)
        if waiter is None:
            self._free.append(worker)
        else:
            waiter.set_result(worker)

    def remove(self, worker: DeviceWorker) -> bool:
        """Remove a free worker; return whether it was free."""
        is_free = worker in self._free
        if is_free:
            self._free.remove(worker)
        return is_free

    def reject(self, error: BaseException) -> None:
        """Raise an error in all current waiters."""
        for waiter in self._next_waiters():
            waiter.set_exception(_copied(error))

    def close(self, error: BaseException) -> None:
        """Raise an error in all waiters, current and future; the first bug has precedence."""
        if self._error is None or isinstance(self._error, LLMaticError):
            self._error = error
        self.reject(error)

    def _next_waiters(self) -> Iterator[asyncio.Future[DeviceWorker]]:
        """Remove the waiters that still wait from their queues, in the order of service."""
        for queue in (self._waiters, self._low_priority_waiters):
            while queue:
                waiter = queue.popleft()
                if not waiter.done():
                    yield waiter


def _copied(error: BaseException) -> BaseException:
    """Return a new error for each waiter; a bug keeps its traceback."""
    return type(error)(str(error)) if isinstance(error, LLMaticError) else error
