"""The HTTP listener on loopback, for GET only: metrics and health."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from llmatic_daemon.errors import ConfigurationError


@asynccontextmanager
async def listening(
    port: int, exposition: Callable[[], bytes], ready: Callable[[], bool]
) -> AsyncIterator[None]:
    """Serve `/metrics`, `/-/healthy` and `/-/ready` on 127.0.0.1 while the context lasts.

    Raises:
        ConfigurationError: the port is taken.
    """

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=exposition(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    async def healthy(_: web.Request) -> web.Response:
        return web.Response(text="healthy\n")

    async def is_ready(_: web.Request) -> web.Response:
        return web.Response(text="ready\n") if ready() else web.Response(status=503)

    application = web.Application(client_max_size=0)
    application.router.add_get("/metrics", metrics)
    application.router.add_get("/-/healthy", healthy)
    application.router.add_get("/-/ready", is_ready)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await _listen(runner, port)
        yield
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, port: int) -> None:
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
    except OSError as error:
        raise ConfigurationError(
            f"metrics.port must be free on 127.0.0.1, got {port}: {error.strerror or error}; "
            "choose another, or 0 for none"
        ) from error
