"""What the listener answers: one table, from which the router, the OpenAPI document and the tests are made."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
#: Who may ask: "anyone" on this machine, or "token" for those who hold the API's token.
Policy = Literal["anyone", "token"]
#: What a route has read from a request.
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
    #: None: it may be left out, and then there is no such bound; or it must be given, in a path.
    default: int | None = None

    @property
    def schema(self) -> dict[str, Any]:
        """Describe it in JSON Schema."""
        schema: dict[str, Any] = {
            "type": "integer",
            "minimum": self.minimum,
            "maximum": self.maximum,
        }
        return schema if self.default is None else {**schema, "default": self.default}

    def parse(self, text: str | None) -> int | None:
        """Read it.

        Raises:
            ValueError: it is no such number; one line for a person.
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
    """One thing that can be asked for."""

    path: str
    summary: str
    handler: Handler
    policy: Policy
    method: Literal["GET", "POST"] = "GET"
    parameters: tuple[Parameter, ...] = ()
    #: Media type of the answer, and its JSON schema if it is JSON.
    produces: str = "application/json"
    schema: Mapping[str, Any] | None = None
    #: Statuses that it may answer with, beside 200 and those that any route has.
    faults: Mapping[int, str] | None = None

    def read(self, request: web.Request) -> dict[str, int | None]:
        """Read all parameters; what the route does not know is refused.

        Raises:
            ValueError: one of them is not as it must be.
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
