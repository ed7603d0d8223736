"""A finished search behind its listener, to be asked over TCP."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from llmatic_daemon.adapters.http.api import Sources
from llmatic_daemon.adapters.http.app import all_routes
from llmatic_daemon.adapters.http.event_stream import EventStream
from llmatic_daemon.adapters.http.history_reader import Reader
from llmatic_daemon.adapters.http.routes import Route
from llmatic_daemon.adapters.metrics.observer import Metrics
from llmatic_daemon.adapters.storage.sqlite_store import SQLiteStore
from llmatic_daemon.adapters.storage.state_folder import CONTROL_SOCKET
from llmatic_daemon.daemon.http_service import Listener
from llmatic_daemon.domain import EndpointState, SearchStatus, Tessellation
from llmatic_daemon.domain.events import Event, EventBus, HttpAnswered
from tests.support.fakes import TASK
from tests.support.sample_placements import SampleSearch, edition

SNAPSHOT = SearchStatus(
    num_settled=30,
    num_evaluations=24,
    max_evaluations=None,
    network_cells=2,
    filled_network_cells=1,
    prompt_cells=1,
    filled_prompt_cells=1,
    qd_score=0.5,
    best_objective=0.5,
    best_job=1,
    elapsed_s=1.0,
    train_s=2.0,
    num_slots=2,
)
ENDPOINT = EndpointState(name="tgi", model="codegen", is_open=True, num_in_flight=3, limit=8)


@dataclass
class Searched:
    """A state folder, and the search that it holds."""

    folder: Path
    search: SampleSearch = field(default_factory=SampleSearch)

    async def go_on(self, number: int) -> None:
        """Settle more candidates."""
        store = await SQLiteStore.open(self.folder)
        await store.tessellation(_cells)
        await store.adopt(edition(1, "deepen", "widen"))
        for _ in range(number):
            placement, artefacts = self.search.next(await store.dispatch(0))
            await store.commit(placement, artefacts)
            self.search.settle(placement)
        await store.close()


async def _cells() -> Tessellation:
    return Tessellation(network=((0.1, 0.2), (0.3, 0.4)), prompt=((0.5, 0.6),))


class TallyingMetrics(Metrics):
    """Remembers each answer."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.tally: list[tuple[str, int]] = []

    def receive(self, event: Event) -> None:
        super().receive(event)
        if isinstance(event, HttpAnswered):
            self.tally.append((event.route, event.status))


@dataclass
class Asked:
    """A listener that listens, and who asks it."""

    port: int
    listener: Listener
    client: aiohttp.ClientSession
    #: Route and status of each answer so far.
    tally: list[tuple[str, int]]
    #: Replaced by a test that wants another state.
    now: list[SearchStatus]

    async def get(self, path: str, **more: object) -> "tuple[int, object]":
        """Get JSON."""
        async with self.client.get(path, **more) as response:  # type: ignore[arg-type]
            return response.status, await response.json(content_type=None)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@asynccontextmanager
async def asked(folder: Path, hosts: tuple[str, ...] = ()) -> AsyncIterator[Asked]:
    """Let a listener tell of a state folder while the context lasts."""
    port, now = free_port(), [SNAPSHOT]
    metrics = TallyingMetrics("1.2.3", 2, ("tgi",))
    metrics.watch(lambda: now[0], lambda: (ENDPOINT,))
    events = EventBus()
    events.subscribe(metrics.receive)
    listener = Listener(port, hosts, folder, events)
    async with (
        listener.listening(metrics.exposition, lambda: now[0], lambda: (ENDPOINT,), TASK, lambda: "5e7"),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        yield Asked(port, listener, client, metrics.tally, now)


async def raw(port: int, *pieces: bytes, pause_s: float = 0.0) -> bytes:
    """Send bytes, as they are, and read until the other side closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause_s)
        return await reader.read()
    finally:
        writer.close()


def table(folder: Path, exposition: Callable[[], bytes] = bytes) -> tuple[Route, ...]:
    """List the routes without listening."""
    reader = Reader(folder)

    async def replay(after: int, limit: int) -> list[object]:
        return []

    sources = Sources(status=lambda: None, reader=reader, events=EventStream(replay))  # type: ignore[arg-type,return-value]
    return all_routes(sources, exposition, lambda: True, "1.2.3")


async def status_and_body(
    state: Path, method: str, path: str, **options: Any
) -> tuple[int, dict[str, Any] | str]:
    connector = aiohttp.UnixConnector(str(state / CONTROL_SOCKET))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.request(method, f"http://daemon/{path}", **options) as response,
    ):
        is_json = response.content_type == "application/json"
        return response.status, await (response.json() if is_json else response.text())
