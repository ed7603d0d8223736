"""The listener: all routes behind the guard, on loopback."""

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager

from aiohttp import web

from llmatic_daemon.adapters.http import api
from llmatic_daemon.adapters.http.guard import Refused, Tally, guard
from llmatic_daemon.adapters.http.openapi import document
from llmatic_daemon.adapters.http.routes import PARAMETERS, Handler, Route
from llmatic_daemon.adapters.http.server import serving

_TEXT = "text/plain"
#: For how long an exposition is good for all who scrape: hundreds cost no more than twenty a second.
_FRESH_S = 0.05


class _Fresh:
    """Makes an exposition anew when the last one is too old."""

    def __init__(self, make: Callable[[], bytes]) -> None:
        self._make = make
        self._made = b""
        self._made_at = -_FRESH_S

    def __call__(self) -> bytes:
        now = time.monotonic()
        if now - self._made_at >= _FRESH_S:
            self._made, self._made_at = self._make(), now
        return self._made


def all_routes(
    sources: api.Sources,
    exposition: Callable[[], bytes],
    ready: Callable[[], bool],
    version: str,
) -> tuple[Route, ...]:
    """List everything that the listener answers."""
    fresh = _Fresh(exposition)

    async def metrics(_: web.Request) -> web.Response:
        # The version is Prometheus' way to name its text format.
        return web.Response(body=fresh(), headers={"Content-Type": f"{_TEXT}; version=0.0.4; charset=utf-8"})

    async def healthy(_: web.Request) -> web.Response:
        return web.Response(text="healthy\n")

    async def is_ready(_: web.Request) -> web.Response:
        return web.Response(text="ready\n") if ready() else web.Response(text="not ready\n", status=503)

    described = (
        Route(
            path="/metrics",
            summary="Metrics in Prometheus' text format.",
            handler=metrics,
            policy="anyone",
            produces=_TEXT,
        ),
        Route(
            path="/-/healthy",
            summary="The daemon's loop runs.",
            handler=healthy,
            policy="anyone",
            produces=_TEXT,
        ),
        Route(
            path="/-/ready",
            summary="Jobs are dispatched and results are kept.",
            handler=is_ready,
            policy="anyone",
            produces=_TEXT,
            faults={503: "Not now."},
        ),
        *api.routes(sources),
    )
    text = json.dumps(document(described, version)).encode()

    async def openapi(_: web.Request) -> web.Response:
        return web.Response(body=text, content_type="application/json")

    itself = Route(
        path=f"{api.PREFIX}/openapi.json",
        summary="This document.",
        handler=openapi,
        policy="anyone",
    )
    return (*described, itself)


@asynccontextmanager
async def listening(
    port: int,
    routes: tuple[Route, ...],
    *,
    hosts: Collection[str] = (),
    tally: Tally = lambda path, status, is_denied: None,
) -> AsyncIterator[None]:
    """Answer on 127.0.0.1 while the context lasts.

    Args:
        port: To listen on.
        routes: As `all_routes` lists them.
        hosts: Names, beside loopback's, under which a proxy may ask.
        tally: Told of each answer's route and status.

    Raises:
        ConfigurationError: the port is taken.
    """
    application = web.Application(middlewares=[guard(routes, hosts=hosts, tally=tally)])
    for route in routes:
        application.router.add_route(route.method, route.path, _reading(route))
    async with serving(application, port, setting="metrics.port"):
        yield


def _reading(route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Read the parameters before a handler sees the request."""
    handler: Handler = route.handler

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            request[PARAMETERS] = route.read(request)
        except ValueError as error:
            raise Refused(400, str(error)) from error
        return await handler(request)

    return handle
