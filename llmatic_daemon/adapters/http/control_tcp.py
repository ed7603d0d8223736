"""Control over TCP, for those who hold the API's token; off unless a port is set."""

import logging
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from llmatic_daemon.adapters.http.control_request import MAX_BODY_BYTES
from llmatic_daemon.adapters.http.control_socket import Verb, answer
from llmatic_daemon.adapters.http.guard import Tally, guard
from llmatic_daemon.adapters.http.routes import Handler, Route
from llmatic_daemon.adapters.http.server import serving

logger = logging.getLogger(__name__)


def routes(verbs: Mapping[str, Verb], reads: Collection[str] = ()) -> tuple[Route, ...]:
    """List what may be asked with the token: `POST /VERB`, as on the socket.

    Args:
        verbs: By name.
        reads: Verbs that change nothing. All others are logged.
    """
    return tuple(
        Route(
            path=f"/{name}",
            method="POST",
            policy="token",
            summary=f"What the control socket's {name} does.",
            handler=_handler(name, verb, is_read=name in reads),
        )
        for name, verb in verbs.items()
    )


def _handler(name: str, verb: Verb, *, is_read: bool) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        status, said = await answer(request, verb)
        if not is_read:
            what = str(said["error"]) if status != 200 else "done"
            extra = {"action": "control", "verb": name}
            logger.info("%s, asked for with the API's token: %s", name, what, extra=extra)
        return web.json_response(said, status=status)

    return handle


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
    """Answer `POST /VERB` on 127.0.0.1 while the context lasts, with a token and never without.

    Args:
        port: To listen on.
        token: That must come as `Authorization: Bearer TOKEN`; compared in constant time.
        verbs: By name.
        reads: Verbs that change nothing.
        hosts: Names, beside loopback's, under which a proxy may ask.
        tally: Told of each answer's route and status.

    Raises:
        ConfigurationError: the port is taken.
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
