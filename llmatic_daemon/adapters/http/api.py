"""The read-only API, version 1: status from memory, history from the database, events as a stream."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import web

from llmatic_daemon.adapters.http import schemas
from llmatic_daemon.adapters.http.event_stream import EventStream, TooManyReaders
from llmatic_daemon.adapters.http.guard import RequestRejected, headers
from llmatic_daemon.adapters.http.history_reader import Reader
from llmatic_daemon.adapters.http.routes import PARAMETERS, Parameter, Route
from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.domain.errors import ConfigurationError, UserError

logger = logging.getLogger(__name__)

PREFIX = "/api/v1"
MAX_PAGE = 500
#: Seconds within which a reader must accept one piece of a stream.
_WRITE_TIMEOUT_S = 10.0

_LIMIT = Parameter(name="limit", where="query", meaning="Items per page.", maximum=MAX_PAGE, default=100)
_CELL = Parameter(
    name="cursor",
    where="query",
    meaning="First cell of the page: `next` of the previous page.",
    minimum=0,
    default=0,
)
_NUMBER = Parameter(
    name="cursor",
    where="query",
    meaning="Only candidates settled before this number: `next` of the previous page. Default: the newest.",
)
_UNREADABLE = {503: "The database cannot be read at the moment."}
_JOB = Parameter(name="id", where="path", meaning="Job number of the candidate.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """Sources of the responses."""

    status: Callable[[], schemas.StatusAnswer]
    reader: Reader
    events: EventStream


def routes(sources: Sources) -> tuple[Route, ...]:
    """Return the routes of the API."""
    reader, page = sources.reader, (_CELL, _LIMIT)
    return (
        _get(
            "/status",
            "Current status of the search, from memory.",
            schemas.StatusAnswer,
            partial(_status, sources),
            faults={},
        ),
        _get(
            "/archives/network",
            "The elites of the network archive, by cell.",
            schemas.NetworkArchive,
            partial(_archive, reader, schemas.NetworkArchive, History.elites_from),
            page,
        ),
        _get(
            "/archives/prompt",
            "The individuals of the prompt archive, by cell.",
            schemas.PromptArchive,
            partial(_archive, reader, schemas.PromptArchive, History.prompt_elites_from),
            page,
        ),
        _get(
            "/candidates",
            "Settled candidates, newest first.",
            schemas.Candidates,
            partial(_candidates, reader),
            (_NUMBER, _LIMIT),
        ),
        Route(
            path=f"{PREFIX}/evaluations",
            summary=f"Deprecated: redirects to `{PREFIX}/candidates`.",
            handler=_redirected,
            policy="anyone",
            parameters=(_NUMBER, _LIMIT),
            is_moved=True,
        ),
        _get(
            "/candidates/{id}",
            "All stored facts of a settled candidate, and its source.",
            schemas.CandidateAnswer,
            partial(_candidate, reader),
            (_JOB,),
            _UNREADABLE | {404: "The job does not exist or is not settled."},
        ),
        _get(
            "/prompts",
            "Every version of every prompt, with its results.",
            schemas.Prompts,
            partial(_prompts, sources),
        ),
        Route(
            path=f"{PREFIX}/events",
            policy="anyone",
            produces="text/event-stream",
            summary="Server-sent events: placement (its number is the id), slot, slots, pause, prompts, "
            "prompts-rejected (deprecated name: prompts-refused), audit, trainer-died, device-out. "
            "`Last-Event-ID` continues from the log.",
            handler=partial(_events, sources.events),
            faults={503: "Too many readers are connected."},
        ),
    )


def _get(
    path: str,
    summary: str,
    kind: type,
    answer: Callable[..., Any],
    parameters: tuple[Parameter, ...] = (),
    faults: Mapping[int, str] = _UNREADABLE,
) -> Route:
    """Return a route that responds with a record as JSON."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            found = await answer(**request[PARAMETERS])
        except UserError as error:
            raise RequestRejected(404, str(error)) from error
        except ConfigurationError as error:
            raise RequestRejected(503, str(error)) from error
        return web.Response(body=schemas.encoded(kind, found), content_type="application/json")

    return Route(
        path=PREFIX + path,
        summary=summary,
        handler=handle,
        policy="anyone",
        schema=schemas.schema(kind),
        parameters=parameters,
        faults=faults,
    )


async def _status(sources: Sources) -> schemas.StatusAnswer:
    return sources.status()


async def _archive(
    reader: Reader, kind: Callable[..., Any], read: Callable[..., Any], cursor: int, limit: int
) -> Any:
    found = await reader.ask(lambda history: read(history, cursor, limit + 1))
    rest = found[limit].cell if len(found) > limit else None
    return kind(items=found[:limit], next=rest)


async def _redirected(request: web.Request) -> web.StreamResponse:
    query = request.rel_url.raw_query_string
    location = f"{PREFIX}/candidates" + (f"?{query}" if query else "")
    return web.Response(status=308, headers={"Location": location})


async def _candidates(reader: Reader, cursor: int | None, limit: int) -> schemas.Candidates:
    def page(history: History) -> schemas.Candidates:
        before = min(cursor or history.num_settled() + 1, history.num_settled() + 1)
        after = max(0, before - 1 - limit)
        found = history.page(after, before - 1 - after)
        items = tuple(schemas.CandidateSummary.of(placement) for placement in reversed(found))
        return schemas.Candidates(items=items, next=items[-1].number if after else None)

    return await reader.ask(page)


async def _candidate(reader: Reader, id: int) -> schemas.CandidateAnswer:
    def find(history: History) -> schemas.CandidateAnswer:
        placement = history.placement(id)
        digest = placement.source_digest
        return schemas.CandidateAnswer(placement=placement, source=history.source(digest) if digest else None)

    return await reader.ask(find)


async def _prompts(sources: Sources) -> schemas.Prompts:
    credit = await sources.reader.ask(lambda history: history.prompt_credit())
    return schemas.Prompts(prompt_set=sources.status().prompt_set, items=credit)


async def _events(stream: EventStream, request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={**headers(), "Content-Type": "text/event-stream"})
    events = stream.read(_last_seen(request))
    try:
        first = await anext(events)
    except TooManyReaders as error:
        raise RequestRejected(503, "too many readers of the events; try again later") from error
    try:
        await response.prepare(request)
        await _write(response, first)
        async for event in events:
            await _write(response, event)
    except ConnectionError:
        pass  # the reader reconnects with the number of its last event
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()  # `close` would wait for the slow reader
    except ConfigurationError as error:  # too late for a status: the stream ends
        logger.error("cannot read events from the log: %s", error, extra={"action": "http"})
    finally:
        await events.aclose()  # type: ignore[attr-defined]
    return response


async def _write(response: web.StreamResponse, event: bytes) -> None:
    async with asyncio.timeout(_WRITE_TIMEOUT_S):
        await response.write(event)


def _last_seen(request: web.Request) -> int | None:
    number = Parameter(name="Last-Event-ID", where="query", meaning="", minimum=0)
    try:
        return number.parse(request.headers.get("Last-Event-ID"))
    except ValueError as error:
        raise RequestRejected(400, str(error)) from error
