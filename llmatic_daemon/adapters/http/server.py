"""The HTTP server, with limits on connections and on the time that a client may take."""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from llmatic_daemon.adapters.http.guard import MAX_BODY_BYTES, RequestRejected, guard
from llmatic_daemon.adapters.http.routes import PARAMETERS, Route
from llmatic_daemon.domain.errors import ConfigurationError
from llmatic_daemon.domain.events import EventBus, RoutesServed

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 512
#: Time from a connection, or the previous response, until the next request is complete.
TIMEOUT_S = 15.0


class Timeouts:
    """Aborts connections of clients that send or read too slowly, or are idle."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._clocks: dict[Any, asyncio.TimerHandle] = {}

    def start(self, connection: Any) -> None:
        """Start the timeout of a connection."""
        loop = asyncio.get_running_loop()
        self._clocks[connection] = loop.call_later(self._timeout_s, self._end, connection)

    def stop(self, connection: Any) -> None:
        """Stop the timeout of a connection: a request is complete."""
        clock = self._clocks.pop(connection, None)
        if clock is not None:
            clock.cancel()

    def _end(self, connection: Any) -> None:
        del self._clocks[connection]
        transport = connection.transport  # None: it is closed already
        if transport is not None:
            transport.abort()  # `close` would wait for the slow reader

    def middleware(self) -> Middleware:
        """Return the middleware that stops the timeout while a request is handled."""

        @web.middleware
        async def turn(request: web.Request, handler: Handler) -> web.StreamResponse:
            self.stop(request.protocol)
            try:
                return await handler(request)
            finally:
                self.start(request.protocol)

        return turn


class _Closed(asyncio.Protocol):
    """Closes a connection beyond the limit."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


@asynccontextmanager
async def listening(
    port: int,
    routes: Sequence[Route],
    *,
    setting: str,
    hosts: Collection[str] = (),
    token: str = "",
    events: EventBus | None = None,
) -> AsyncIterator[None]:
    """Serve routes behind the guard on 127.0.0.1 while the context is open.

    Args:
        port: TCP port.
        routes: All of them.
        setting: Name of the port's setting, for the error message.
        hosts: Allowed Host headers in addition to loopback.
        token: For routes of the policy "token": expected as `Authorization: Bearer TOKEN`.
        events: Where the routes and each response are published.

    Raises:
        ConfigurationError: the port is in use.
    """
    checks = guard(routes, hosts=hosts, token=token, events=events)
    application = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[checks])
    for route in routes:
        handle = _reading(route) if route.method == "GET" else route.handler
        application.router.add_route(route.method, route.path, handle)
    if events is not None:
        events.publish(RoutesServed(routes=tuple(route.path for route in routes)))
    async with serving(application, port, setting=setting):
        yield


def _reading(route: Route) -> Handler:
    """Return a handler that reads the parameters first."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            request[PARAMETERS] = route.read(request)
        except ValueError as error:
            raise RequestRejected(400, str(error)) from error
        return await route.handler(request)

    return handle


@asynccontextmanager
async def serving(
    application: web.Application,
    port: int,
    *,
    setting: str,
    timeout_s: float = TIMEOUT_S,
    max_connections: int = MAX_CONNECTIONS,
) -> AsyncIterator[None]:
    """Serve an application on 127.0.0.1 while the context is open.

    Args:
        application: With routes and middlewares; the timeout middleware is inserted first.
        port: TCP port.
        setting: Name of the port's setting, for the error message.
        timeout_s: Time that a client may take to send a request, or to read a response.
        max_connections: At the same time; further ones are closed.

    Raises:
        ConfigurationError: the port is in use.
    """
    timeouts = Timeouts(timeout_s)
    application.middlewares.insert(0, timeouts.middleware())
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    server = runner.server
    assert server is not None

    def connect() -> asyncio.BaseProtocol:
        if len(server.connections) >= max_connections:
            return _Closed()
        connection = server()
        timeouts.start(connection)
        return connection

    try:
        listener = await _listen(connect, port, setting)
        try:
            yield
        finally:
            listener.close()
    finally:
        await runner.cleanup()


async def _listen(connect: Any, port: int, setting: str) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    try:
        return await loop.create_server(connect, "127.0.0.1", port, backlog=256)
    except OSError as error:
        raise ConfigurationError(
            f"{setting}: expected a free port on 127.0.0.1, got {port} ({error.strerror or error}); "
            "choose another, or 0 to disable it"
        ) from error
