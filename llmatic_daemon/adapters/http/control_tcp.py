"""Control over TCP with the API token; disabled unless a port is set."""

from collections.abc import Collection, Mapping

from aiohttp import web

from llmatic_daemon.adapters.http.control_socket import Verb, handler
from llmatic_daemon.adapters.http.routes import Route


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
