"""The listener, put together: who hears what happens for it, and where its answers come from."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from llmatic_daemon import __version__
from llmatic_daemon.adapters.http.api import Sources
from llmatic_daemon.adapters.http.app import all_routes, listening
from llmatic_daemon.adapters.http.event_stream import EventStream
from llmatic_daemon.adapters.http.history_reader import Reader
from llmatic_daemon.adapters.http.schemas import StatusAnswer
from llmatic_daemon.adapters.metrics.observer import Metrics
from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.domain import EndpointState, Placement, SearchStatus, Task
from llmatic_daemon.domain.ports import Observer


class Listener:
    """Metrics, health and the read-only API of one daemon.

    Args:
        port: On 127.0.0.1.
        hosts: Names, beside loopback's, under which a proxy may ask.
        state_dir: Whose past is told.
    """

    def __init__(self, port: int, hosts: Sequence[str], state_dir: Path) -> None:
        self._port = port
        self._hosts = hosts
        self._reader = Reader(state_dir)
        self._events = EventStream(self._replay)

    @property
    def observers(self) -> tuple[Observer, ...]:
        """Who must hear what happens."""
        return (self._events,)

    @asynccontextmanager
    async def listening(
        self,
        metrics: Metrics,
        view: Callable[[], SearchStatus],
        endpoints: Callable[[], tuple[EndpointState, ...]],
        task: Task,
        prompt_set: Callable[[], str],
    ) -> AsyncIterator[None]:
        """Answer while the context lasts.

        Raises:
            ConfigurationError: the port is taken.
        """

        def status() -> StatusAnswer:
            return StatusAnswer(
                version=__version__,
                task=task,
                search=view(),
                slots=self._events.slots,
                endpoints=endpoints(),
                prompt_set=prompt_set(),
            )

        sources = Sources(status=status, reader=self._reader, events=self._events)
        routes = all_routes(sources, metrics.exposition, lambda: view().is_ready, __version__)
        metrics.serves(route.path for route in routes)
        try:
            async with listening(self._port, routes, hosts=self._hosts, tally=metrics.answered):
                try:
                    yield
                finally:
                    self._events.close()
        finally:
            await self._reader.close()

    async def _replay(self, after: int, limit: int) -> Sequence[Placement]:
        def page(history: History) -> Sequence[Placement]:
            return history.page(after, limit)

        return await self._reader.ask(page)
