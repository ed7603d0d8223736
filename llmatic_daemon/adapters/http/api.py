"""The read-only API, version 1: status from memory, the past from the database, what happens as a stream."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import web

from llmatic_daemon.adapters.http.event_stream import EventStream, TooManyReaders
from llmatic_daemon.adapters.http.guard import Refused, headers
from llmatic_daemon.adapters.http.history_reader import Reader
from llmatic_daemon.adapters.http.routes import PARAMETERS, Handler, Parameter, Route
from llmatic_daemon.adapters.http.schemas import (
    CandidateAnswer,
    Evaluation,
    Evaluations,
    NetworkArchive,
    PromptArchive,
    Prompts,
    StatusAnswer,
    encoded,
    schema,
)
from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.domain.errors import ConfigurationError, UserError

logger = logging.getLogger(__name__)

PREFIX = "/api/v1"
MAX_PAGE = 500
#: Seconds that one piece of a stream may take to be written to a reader.
_WRITE_S = 10.0

_LIMIT = Parameter(name="limit", where="query", meaning="Items of a page.", maximum=MAX_PAGE, default=100)
_CELL = Parameter(
    name="cursor",
    where="query",
    meaning="Cell to begin with: `next` of the page before.",
    minimum=0,
    default=0,
)
_NUMBER = Parameter(
    name="cursor",
    where="query",
    meaning="Only what was settled before this number: `next` of the page before; left out: the newest.",
)
_JOB = Parameter(name="id", where="path", meaning="Number of its job.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """Where the answers come from."""

    status: Callable[[], StatusAnswer]
    reader: Reader
    events: EventStream


def routes(sources: Sources) -> tuple[Route, ...]:
    """List what the API answers."""
    reader, get = sources.reader, partial(_get, policy="anyone")
    unreadable = {503: "The database cannot be read now."}
    return (
        get(
            "/status",
            "The search at this moment, from memory.",
            StatusAnswer,
            _answering(StatusAnswer, partial(_status, sources)),
        ),
        get(
            "/archives/network",
            "The elites of the network archive, by cell.",
            NetworkArchive,
            _answering(NetworkArchive, partial(_networks, reader)),
            parameters=(_CELL, _LIMIT),
            faults=unreadable,
        ),
        get(
            "/archives/prompt",
            "The individuals of the prompt archive, by cell.",
            PromptArchive,
            _answering(PromptArchive, partial(_individuals, reader)),
            parameters=(_CELL, _LIMIT),
            faults=unreadable,
        ),
        get(
            "/evaluations",
            "Settled candidates, newest first.",
            Evaluations,
            _answering(Evaluations, partial(_evaluations, reader)),
            parameters=(_NUMBER, _LIMIT),
            faults=unreadable,
        ),
        get(
            "/candidates/{id}",
            "All that is known of a settled candidate, and its source.",
            CandidateAnswer,
            _answering(CandidateAnswer, partial(_candidate, reader)),
            parameters=(_JOB,),
            faults=unreadable | {404: "No such job, or it is not settled."},
        ),
        get(
            "/prompts",
            "Every version of every prompt, and what it has brought about.",
            Prompts,
            _answering(Prompts, partial(_prompts, sources)),
            faults=unreadable,
        ),
        Route(
            path=f"{PREFIX}/events",
            policy="anyone",
            produces="text/event-stream",
            summary="What happens, as server-sent events: placement (with its number as id), slot, "
            "slots, pause, prompts, prompts-refused, audit. Last-Event-ID goes on from the log.",
            handler=partial(_events, sources.events),
            faults={503: "Too many readers."},
        ),
    )


def _get(path: str, summary: str, kind: type, handler: Handler, **more: Any) -> Route:
    return Route(path=PREFIX + path, summary=summary, handler=handler, schema=schema(kind), **more)


def _answering(kind: type, answer: Callable[..., Any]) -> Handler:
    """Answer with a record as JSON, from parameters that were read."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            found = await answer(**request[PARAMETERS])
        except UserError as error:
            raise Refused(404, str(error)) from error
        except ConfigurationError as error:
            raise Refused(503, str(error)) from error
        return web.Response(body=encoded(kind, found), content_type="application/json")

    return handle


async def _status(sources: Sources) -> StatusAnswer:
    return sources.status()


async def _networks(reader: Reader, cursor: int, limit: int) -> NetworkArchive:
    found = await reader.ask(lambda history: history.elites_from(cursor, limit + 1))
    rest = found[limit].cell if len(found) > limit else None
    return NetworkArchive(items=found[:limit], next=rest)


async def _individuals(reader: Reader, cursor: int, limit: int) -> PromptArchive:
    found = await reader.ask(lambda history: history.prompt_elites_from(cursor, limit + 1))
    rest = found[limit].cell if len(found) > limit else None
    return PromptArchive(items=found[:limit], next=rest)


async def _evaluations(reader: Reader, cursor: int | None, limit: int) -> Evaluations:
    def page(history: History) -> Evaluations:
        before = min(cursor or history.num_settled() + 1, history.num_settled() + 1)
        after = max(0, before - 1 - limit)
        found = history.page(after, before - 1 - after)
        items = tuple(Evaluation.of(placement) for placement in reversed(found))
        return Evaluations(items=items, next=items[-1].number if after else None)

    return await reader.ask(page)


async def _candidate(reader: Reader, id: int) -> CandidateAnswer:
    def find(history: History) -> CandidateAnswer:
        placement = history.placement(id)
        digest = placement.source_digest
        return CandidateAnswer(placement=placement, source=history.source(digest) if digest else None)

    return await reader.ask(find)


async def _prompts(sources: Sources) -> Prompts:
    credit = await sources.reader.ask(lambda history: history.prompt_credit())
    return Prompts(prompt_set=sources.status().prompt_set, items=credit)


async def _events(stream: EventStream, request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={**headers(), "Content-Type": "text/event-stream"})
    events = stream.read(_last_seen(request))
    try:
        first = await anext(events)
    except TooManyReaders as error:
        raise Refused(503, "too many read the events already; try again later") from error
    try:
        await response.prepare(request)
        await _write(response, first)
        async for event in events:
            await _write(response, event)
    except ConnectionError:
        pass  # gone: it asks again, from where it was
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()  # too slow: `close` would wait for it
    except ConfigurationError as error:  # too late for a status: the stream ends
        logger.error("events cannot be read from the log: %s", error, extra={"action": "http"})
    finally:
        await events.aclose()  # type: ignore[attr-defined]
    return response


async def _write(response: web.StreamResponse, event: bytes) -> None:
    async with asyncio.timeout(_WRITE_S):
        await response.write(event)


def _last_seen(request: web.Request) -> int | None:
    number = Parameter(name="Last-Event-ID", where="query", meaning="", minimum=0)
    try:
        return number.parse(request.headers.get("Last-Event-ID"))
    except ValueError as error:
        raise Refused(400, str(error)) from error
