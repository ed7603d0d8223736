"""The server: bounded in connections, and in the time that a client may take to ask and to read."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from llmatic_daemon.domain.errors import ConfigurationError

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 512
#: From a connection, or the end of an answer's making, until the whole next request is there.
PATIENCE_S = 15.0


class Timeouts:
    """Ends connections whose client keeps us waiting: slow heads, slow readers, idle ones."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._clocks: dict[Any, asyncio.TimerHandle] = {}

    def wait(self, connection: Any) -> None:
        """Begin to wait for a client."""
        loop = asyncio.get_running_loop()
        self._clocks[connection] = loop.call_later(self._patience_s, self._end, connection)

    def heard(self, connection: Any) -> None:
        """Stop waiting: a whole request has come."""
        clock = self._clocks.pop(connection, None)
        if clock is not None:
            clock.cancel()

    def _end(self, connection: Any) -> None:
        del self._clocks[connection]
        transport = connection.transport  # None: it has ended
        if transport is not None:
            transport.abort()  # `close` would wait for a reader that does not read

    def middleware(self) -> Middleware:
        """Wait for clients only while it is their turn."""

        @web.middleware
        async def turn(request: web.Request, handler: Handler) -> web.StreamResponse:
            self.heard(request.protocol)
            try:
                return await handler(request)
            finally:
                self.wait(request.protocol)

        return turn


class _Turned(asyncio.Protocol):
    """Nobody is at home for one connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


@asynccontextmanager
async def serving(
    application: web.Application,
    port: int,
    *,
    setting: str,
    patience_s: float = PATIENCE_S,
    max_connections: int = MAX_CONNECTIONS,
) -> AsyncIterator[None]:
    """Serve an application on 127.0.0.1 while the context lasts.

    Args:
        application: With its routes and middlewares; one more is put before them.
        port: To listen on.
        setting: That gave the port, for the message.
        patience_s: Seconds that a client may take to send a request, or to read an answer.
        max_connections: At once; further ones are closed at once.

    Raises:
        ConfigurationError: the port is taken.
    """
    retry_policy = Timeouts(patience_s)
    application.middlewares.insert(0, retry_policy.middleware())
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    server = runner.server
    assert server is not None

    def connect() -> asyncio.BaseProtocol:
        if len(server.connections) >= max_connections:
            return _Turned()
        connection = server()
        retry_policy.wait(connection)
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
            f"{setting} must be free on 127.0.0.1, got {port}: {error.strerror or error}; "
            "choose another, or 0 for none"
        ) from error
