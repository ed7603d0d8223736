"""The routes of the HTTP listener: metrics, health, the API and its document."""

import json
import time
from collections.abc import Callable, Mapping

from aiohttp import web

from llmatic_daemon.adapters.http import api
from llmatic_daemon.adapters.http.openapi import document
from llmatic_daemon.adapters.http.routes import Handler, Route

_TEXT = "text/plain"
#: Lifetime of a cached exposition: hundreds of scrapers cost no more than twenty a second.
_CACHE_S = 0.05


class _Cached:
    """Caches an exposition."""

    def __init__(self, make: Callable[[], bytes]) -> None:
        self._make = make
        self._made = b""
        self._made_at = -_CACHE_S

    def __call__(self) -> bytes:
        now = time.monotonic()
        if now - self._made_at >= _CACHE_S:
            self._made, self._made_at = self._make(), now
        return self._made


def all_routes(
    sources: api.Sources, exposition: Callable[[], bytes], ready: Callable[[], bool], version: str
) -> tuple[Route, ...]:
    """Return all routes of the listener."""
    cached = _Cached(exposition)

    async def metrics(_: web.Request) -> web.Response:
        # Prometheus names its text format by this version.
        return web.Response(body=cached(), headers={"Content-Type": f"{_TEXT}; version=0.0.4; charset=utf-8"})

    async def healthy(_: web.Request) -> web.Response:
        return web.Response(text="healthy\n")

    async def is_ready(_: web.Request) -> web.Response:
        return web.Response(text="ready\n") if ready() else web.Response(text="not ready\n", status=503)

    described = (
        _text("/metrics", "Metrics in Prometheus' text format.", metrics),
        _text("/-/healthy", "The event loop is running.", healthy),
        _text("/-/ready", "The daemon dispatches jobs and stores results.", is_ready, {503: "Not ready."}),
        *api.routes(sources),
    )
    text = json.dumps(document(described, version)).encode()

    async def openapi(_: web.Request) -> web.Response:
        return web.Response(body=text, content_type="application/json")

    itself = Route(
        path=f"{api.PREFIX}/openapi.json",
        summary="The OpenAPI document of this API.",
        handler=openapi,
        policy="anyone",
    )
    return (*described, itself)


def _text(path: str, summary: str, handler: Handler, faults: Mapping[int, str] | None = None) -> Route:
    return Route(path=path, summary=summary, handler=handler, policy="anyone", produces=_TEXT, faults=faults)
