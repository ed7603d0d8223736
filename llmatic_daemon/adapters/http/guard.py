"""Who is let in: deny by default, for every method and route, before anything is answered.

A listener on loopback is not safe by its address alone: any page that a browser on this machine has open can
ask it. So the Host must be one of ours (DNS rebinding), an Origin must be our own (other sites' scripts), and
what a browser says to be cross-site is refused, for GET too. No cookies, no CORS.
"""

import hmac
import logging
from collections.abc import Callable, Collection, Iterable
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from llmatic_daemon.adapters.http.routes import Route

logger = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
MAX_BODY_BYTES = 64 << 10
#: Statuses of requests denied because of their token, origin or host.
DENIALS = (401, 403, 421)
#: Receives each answer's route (empty: none), its status, and whether the request was denied.
Tally = Callable[[str, int, bool], None]

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Refused(Exception):
    """A request that is not answered; becomes problem+json."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def problem(status: int, detail: str) -> web.Response:
    """Say why not, as RFC 9457 has it."""
    body = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    response = web.json_response(body, status=status, content_type="application/problem+json")
    if status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def guard(
    routes: Iterable[Route],
    *,
    hosts: Collection[str] = (),
    token: str | None = None,
    tally: Tally = lambda path, status, is_denied: None,
) -> Middleware:
    """Make the middleware that stands before all routes.

    Args:
        routes: All that there are; what is not among them is not found, whatever the router says.
        hosts: Names, beside loopback's, under which this listener may be asked: a proxy's.
        token: For routes of the policy "token"; None or empty: nobody gets in there.
        tally: Told of each answer.
    """
    known: dict[tuple[str, str], Route] = {(each.method, each.path): each for each in routes}
    allowed = frozenset(host.lower() for host in (*LOOPBACK, *hosts))

    @web.middleware
    async def stand(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        path = resource.canonical if resource else ""
        try:
            _check_origin(request, allowed)
            route = _route(request, known.get((request.method, path)))
            _check_body(request)
            if route.policy == "token":
                _check_token(request, token)
            response = await handler(request)
        except Refused as refused:
            response = problem(refused.status, refused.detail)
            if refused.status in DENIALS:
                where = f"{request.method} {path or 'of nothing'}"
                logger.warning("denied: %s: %s", where, refused.detail, extra={"action": "http"})
        except Exception:
            logger.exception("%s %s failed", request.method, path, extra={"action": "http"})
            response = problem(500, "this is a bug of the daemon; see its log")
        if not response.prepared:
            response.headers.update(_HEADERS)
        tally(path, response.status, response.status in DENIALS)
        return response

    return stand


def headers() -> dict[str, str]:
    """Return what each answer says to browsers; a stream must say so itself."""
    return dict(_HEADERS)


def _host_of(authority: str) -> str:
    """Leave the port out: `localhost:9464`, `[::1]:9464`."""
    name, colon, port = authority.rpartition(":")
    return name.lower() if colon and port.isdigit() else authority.lower()


def _check_origin(request: web.Request, allowed: Collection[str]) -> None:
    hosts = request.headers.getall("Host", [])
    if len(hosts) != 1 or _host_of(hosts[0]) not in allowed:
        raise Refused(421, "the Host must be this machine's loopback, or one of metrics.hosts")
    origins = request.headers.getall("Origin", [])
    if any(origin not in (f"http://{hosts[0]}", f"https://{hosts[0]}") for origin in origins):
        raise Refused(403, "other sites may not ask")
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise Refused(403, "other sites may not ask")


def _route(request: web.Request, route: Route | None) -> Route:
    error = request.match_info.http_exception
    if error is not None and error.status == HTTPStatus.METHOD_NOT_ALLOWED:
        raise Refused(
            405,
            "this can only be asked for otherwise: what can be read by GET, what changes by POST",
        )
    if route is None:
        raise Refused(404, "there is nothing here; the README lists what there is")
    return route


def _check_body(request: web.Request) -> None:
    if request.method == "GET" and request.body_exists:
        raise Refused(400, "a GET has no body")
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise Refused(413, f"a body may have {MAX_BODY_BYTES} bytes")


def _check_token(request: web.Request, token: str | None) -> None:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    # What came may be no UTF-8; and an empty token is none.
    good = hmac.compare_digest(given.strip().encode(errors="surrogateescape"), (token or "").encode())
    if scheme.lower() != "bearer" or not token or not good:
        raise Refused(401, "this needs the API's token: Authorization: Bearer ...")
