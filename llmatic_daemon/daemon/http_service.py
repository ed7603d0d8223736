"""The HTTP listener of a daemon: metrics, health and the read-only API."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from llmatic_daemon import __version__
from llmatic_daemon.adapters.http.api import Sources
from llmatic_daemon.adapters.http.app import all_routes
from llmatic_daemon.adapters.http.event_stream import EventStream
from llmatic_daemon.adapters.http.history_reader import Reader
from llmatic_daemon.adapters.http.schemas import StatusAnswer
from llmatic_daemon.adapters.http.server import listening
from llmatic_daemon.domain import EndpointState, Placement, SearchStatus, Task
from llmatic_daemon.domain.events import EventBus


class Listener:
    """Serves what happens and what the log of a search holds.

    Args:
        port: On 127.0.0.1.
        hosts: Host headers that are accepted, in addition to those of loopback.
        state_dir: Whose log is read.
        events: Feeds the event stream; each answer is published to it.
    """

    def __init__(self, port: int, hosts: Sequence[str], state_dir: Path, events: EventBus) -> None:
        self._port = port
        self._hosts = hosts
        self._reader = Reader(state_dir)
        self._events = events
        self.stream = EventStream(self._replay)
        events.subscribe(self.stream.receive)

    @asynccontextmanager
    async def listening(
        self,
        exposition: Callable[[], bytes],
        view: Callable[[], SearchStatus],
        endpoints: Callable[[], tuple[EndpointState, ...]],
        task: Task,
        prompt_set: Callable[[], str],
    ) -> AsyncIterator[None]:
        """Answer while the context lasts.

        Args:
            exposition: Returns the metrics in Prometheus' text format.
            view: Returns the search in numbers.
            endpoints: Returns the state of each LLM server.
            task: The data set that is searched.
            prompt_set: Returns the digest of the active prompt set.

        Raises:
            ConfigurationError: the port is taken.
        """

        def status() -> StatusAnswer:
            return StatusAnswer(
                version=__version__,
                task=task,
                search=view(),
                slots=self.stream.slots,
                endpoints=endpoints(),
                prompt_set=prompt_set(),
            )

        sources = Sources(status=status, reader=self._reader, events=self.stream)
        routes = all_routes(sources, exposition, lambda: view().is_ready, __version__)
        listener = listening(
            self._port, routes, setting="metrics.port", hosts=self._hosts, events=self._events
        )
        try:
            async with listener:
                try:
                    yield
                finally:
                    self.stream.close()
        finally:
            await self._reader.close()

    async def _replay(self, after: int, limit: int) -> Sequence[Placement]:
        return await self._reader.ask(lambda history: history.page(after, limit))
