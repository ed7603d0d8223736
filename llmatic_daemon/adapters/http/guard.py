"""Access control: the middleware denies by default, for every method and route.

A loopback address alone does not protect a listener: any page that is open in a browser on this machine can
send requests to it. Therefore the Host must be allowed (DNS rebinding), an Origin must be our own (scripts of
other sites), and cross-site requests are denied, GET included. There are no cookies and no CORS.
"""

import hmac
import logging
from collections.abc import Collection, Iterable
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from llmatic_daemon.adapters.http.routes import Route
from llmatic_daemon.domain.events import EventBus, HttpAnswered

logger = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
MAX_BODY_BYTES = 64 << 10
#: Statuses of requests denied because of their token, origin or host.
DENIALS = (401, 403, 421)

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class RequestRejected(Exception):
    """The request is rejected; the response is problem+json."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def problem(status: int, detail: str) -> web.Response:
    """Return an error response as RFC 9457 defines it."""
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
    events: EventBus | None = None,
) -> Middleware:
    """Return the middleware that checks every request.

    Args:
        routes: The routes that exist; any other path is 404, whatever the router finds.
        hosts: Allowed Host headers in addition to loopback, such as a proxy's name.
        token: For routes of the policy "token"; None or empty: these reject every request.
        events: Where each response is published, with its route (empty: none).
    """
    known: dict[tuple[str, str], Route] = {(each.method, each.path): each for each in routes}
    allowed = frozenset(host.lower() for host in (*LOOPBACK, *hosts))

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        path = resource.canonical if resource else ""
        try:
            _check_origin(request, allowed)
            route = _route(request, known.get((request.method, path)))
            _check_body(request)
            if route.policy == "token":
                _check_token(request, token)
            response = await handler(request)
        except RequestRejected as error:
            response = problem(error.status, error.detail)
            if error.status in DENIALS:
                where = f"{request.method} {path or '(no route)'}"
                logger.warning("denied: %s: %s", where, error.detail, extra={"action": "http"})
        except Exception:
            logger.exception("%s %s failed", request.method, path, extra={"action": "http"})
            response = problem(500, "internal error of the daemon; see its log")
        if not response.prepared:
            response.headers.update(_HEADERS)
        if events is not None:
            is_denied = response.status in DENIALS
            events.publish(HttpAnswered(route=path, status=response.status, is_denied=is_denied))
        return response

    return check


def headers() -> dict[str, str]:
    """Return the security headers; a streamed response must set them itself."""
    return dict(_HEADERS)


def _host_of(authority: str) -> str:
    """Return the host without its port: `localhost:9464`, `[::1]:9464`."""
    name, colon, port = authority.rpartition(":")
    return name.lower() if colon and port.isdigit() else authority.lower()


def _check_origin(request: web.Request, allowed: Collection[str]) -> None:
    hosts = request.headers.getall("Host", [])
    if len(hosts) != 1 or _host_of(hosts[0]) not in allowed:
        raise RequestRejected(
            421, "expected a Host header that names loopback or one of metrics.allowed_hosts"
        )
    origins = request.headers.getall("Origin", [])
    if any(origin not in (f"http://{hosts[0]}", f"https://{hosts[0]}") for origin in origins):
        raise RequestRejected(403, "requests from other sites are denied")
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise RequestRejected(403, "requests from other sites are denied")


def _route(request: web.Request, route: Route | None) -> Route:
    error = request.match_info.http_exception
    if error is not None and error.status == HTTPStatus.METHOD_NOT_ALLOWED:
        raise RequestRejected(405, "method not allowed: use GET to read and POST to change")
    if route is None:
        raise RequestRejected(404, "no such path; /api/v1/openapi.json lists the paths")
    return route


def _check_body(request: web.Request) -> None:
    if request.method == "GET" and request.body_exists:
        raise RequestRejected(400, "a GET must have no body")
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise RequestRejected(413, f"expected a body of at most {MAX_BODY_BYTES} bytes")


def _check_token(request: web.Request, token: str | None) -> None:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    # The header may be invalid UTF-8, and an empty token must match nothing.
    is_equal = hmac.compare_digest(given.strip().encode(errors="surrogateescape"), (token or "").encode())
    if scheme.lower() != "bearer" or not token or not is_equal:
        raise RequestRejected(401, "expected the API token: Authorization: Bearer ...")
