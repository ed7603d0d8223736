"""Control over TCP with the API token; disabled unless a port is set."""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from llmatic_daemon.adapters.http.control_request import MAX_BODY_BYTES
from llmatic_daemon.adapters.http.control_socket import Verb, handler
from llmatic_daemon.adapters.http.guard import Tally, guard
from llmatic_daemon.adapters.http.routes import Route
from llmatic_daemon.adapters.http.server import serving


def routes(verbs: Mapping[str, Verb], reads: Collection[str] = ()) -> tuple[Route, ...]:
    """Return the routes `POST /VERB`, as on the socket; each needs the token.

    Args:
        verbs: By name.
        reads: Verbs that change nothing; all others are logged.
    """
    return tuple(
        Route(
            path=f"/{name}",
            method="POST",
            policy="token",
            summary=f"The command {name} of the control socket.",
            handler=handler(name, verb, _holder, is_read=name in reads),
        )
        for name, verb in verbs.items()
    )


def _holder(_: web.Request) -> tuple[str, dict[str, int]]:
    return "with the API token", {}


@asynccontextmanager
async def listening(
    port: int,
    token: str,
    verbs: Mapping[str, Verb],
    *,
    reads: Collection[str] = (),
    hosts: Collection[str] = (),
    tally: Tally = lambda path, status, is_denied: None,
) -> AsyncIterator[None]:
    """Serve `POST /VERB` on 127.0.0.1 while the context is open; every request needs the token.

    Args:
        port: TCP port.
        token: Expected as `Authorization: Bearer TOKEN`; compared in constant time.
        verbs: By name.
        reads: Verbs that change nothing.
        hosts: Allowed Host headers in addition to loopback.
        tally: Receives each response.

    Raises:
        ConfigurationError: the port is in use.
    """
    table = routes(verbs, reads)
    application = web.Application(
        client_max_size=MAX_BODY_BYTES,
        middlewares=[guard(table, hosts=hosts, token=token, tally=tally)],
    )
    for route in table:
        application.router.add_route(route.method, route.path, route.handler)
    async with serving(application, port, setting="control.port"):
        yield
