"""Parameters and routes: the one table behind the router, the OpenAPI document and the tests."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
#: Clients that are allowed: "anyone" on this machine, or only those with the API's "token".
Policy = Literal["anyone", "token"]
#: Parameters that a route has read from a request.
PARAMETERS: web.RequestKey[dict[str, int | None]] = web.RequestKey("parameters", dict)
#: Numbers that fit into SQLite.
MAX_NUMBER = 2**63 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """A number in the path or the query."""

    name: str
    where: Literal["path", "query"]
    meaning: str
    minimum: int = 1
    maximum: int = MAX_NUMBER
    #: None: a path parameter is required, a query parameter has no value by default.
    default: int | None = None

    @property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of the number."""
        schema: dict[str, Any] = {"type": "integer", "minimum": self.minimum, "maximum": self.maximum}
        return schema if self.default is None else {**schema, "default": self.default}

    def parse(self, text: str | None) -> int | None:
        """Return the number that a text holds.

        Raises:
            ValueError: it is not a number in the range; one line.
        """
        if text is None:
            return self.default
        digits = text.isascii() and text.isdigit() and len(text) <= len(str(MAX_NUMBER))
        if not digits or not self.minimum <= int(text) <= self.maximum:
            raise ValueError(
                f"{self.name} must be a whole number from {self.minimum} to {self.maximum}, got {text[:40]!r}"
            )
        return int(text)


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """One path of the API."""

    path: str
    summary: str
    handler: Handler
    policy: Policy
    method: Literal["GET", "POST"] = "GET"
    parameters: tuple[Parameter, ...] = ()
    #: Media type of the response, and its schema if that is JSON.
    produces: str = "application/json"
    schema: Mapping[str, Any] | None = None
    #: Statuses in addition to 200 and those that every route has.
    faults: Mapping[int, str] | None = None
    #: Deprecated: responds with a redirect instead of 200.
    is_moved: bool = False

    def read(self, request: web.Request) -> dict[str, int | None]:
        """Return all parameters of a request.

        Raises:
            ValueError: one of them is unknown, repeated or out of range.
        """
        known = {each.name for each in self.parameters if each.where == "query"}
        for name in request.query:
            if name not in known:
                raise ValueError(
                    f"a query may hold {', '.join(sorted(known)) or 'nothing'}, got {name[:40]!r}"
                )
            if len(request.query.getall(name)) > 1:
                raise ValueError(f"{name} may be given once")
        return {
            each.name: each.parse(
                request.match_info.get(each.name) if each.where == "path" else request.query.get(each.name)
            )
            for each in self.parameters
        }
