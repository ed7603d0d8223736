"""The writer that asks LLMs: one endpoint or an ensemble of them, and what happens while all are out."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from types import TracebackType
from typing import Self

from llmatic_daemon.adapters.llm.endpoint import Endpoint, EndpointOut
from llmatic_daemon.domain import Completion, EndpointState, Request, TooLong
from llmatic_daemon.domain.errors import WriterUnavailable
from llmatic_daemon.domain.ports import Writer

logger = logging.getLogger(__name__)

_EXTRA = {"action": "outage"}


class LLMWriter(Writer):
    """Draws an endpoint for each request, by weight; a context manager around its connections.

    Args:
        endpoints: At least one.
        fallback: Writes while no endpoint may be asked; None: requests wait for one.
    """

    def __init__(self, endpoints: Sequence[Endpoint], *, fallback: Writer | None) -> None:
        self._endpoints = tuple(endpoints)
        self._fallback = fallback
        self._news = asyncio.Event()
        self._num_in_outage = 0
        self._greeting: asyncio.Task[None] | None = None
        for endpoint in self._endpoints:
            endpoint.on_change = self._tell_waiting

    async def __aenter__(self) -> Self:
        """Ask each endpoint who it is, beside whatever follows."""
        self._greeting = asyncio.create_task(self._greet())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close all connections."""
        if self._greeting is not None:
            self._greeting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._greeting
        for endpoint in self._endpoints:
            await endpoint.close()

    def endpoints(self) -> tuple[EndpointState, ...]:
        """Return the endpoints as they are now."""
        return tuple(endpoint.state for endpoint in self._endpoints)

    async def wait_until_probed(self) -> None:
        """Wait until each endpoint has been asked who it is, whatever it answered."""
        if self._greeting is not None:
            await asyncio.wait([self._greeting])

    async def complete(self, request: Request) -> Completion | TooLong:
        """Answer one request.

        A mutation that is too long for one endpoint goes to the others, also when it has to wait
        for them; a crossover comes back, to be asked with fewer parents.

        Raises:
            WriterUnavailable: each endpoint that may be asked has failed this request.
        """
        passed: list[Endpoint] = []
        last: TooLong | WriterUnavailable | None = None
        while True:
            endpoint = self._drawn(request, passed)
            if endpoint is not None:
                try:
                    answer = await endpoint.complete(request)
                except EndpointOut:
                    continue
                except WriterUnavailable as error:
                    answer, last = None, error
                if answer is not None:
                    if isinstance(answer, Completion):
                        self._end_outage()
                        return answer
                    if len(request.parents) > 1:
                        return answer
                    last = answer
                passed.append(endpoint)
            elif isinstance(last, TooLong) and len(passed) == len(self._endpoints):
                return last
            elif isinstance(last, WriterUnavailable):
                raise last
            else:
                self._begin_outage()
                if self._fallback is not None:
                    return await self._by_fallback(self._fallback, request)
                await self._wait()

    def _drawn(self, request: Request, passed: Sequence[Endpoint]) -> Endpoint | None:
        """Draw one of those that may be asked: the same one for the same request and choice."""
        ready = [e for e in self._endpoints if e not in passed and e.breaker.wait_s == 0]
        weights = [endpoint.weight for endpoint in ready]
        return Random(request.seed).choices(ready, weights)[0] if ready else None

    async def _by_fallback(self, fallback: Writer, request: Request) -> Completion | TooLong:
        answer = await fallback.complete(request)
        return replace(answer, fallback=True) if isinstance(answer, Completion) else answer

    async def _wait(self) -> None:
        """Wait until a pause is over or a breaker has changed."""
        waits = [endpoint.breaker.wait_s for endpoint in self._endpoints]
        known = [wait_s for wait_s in waits if wait_s is not None]
        news = self._news
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(known, default=None)):
                await news.wait()

    def _tell_waiting(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def _begin_outage(self) -> None:
        """Say once what becomes of the requests."""
        self._num_in_outage += 1
        if self._num_in_outage == 1:
            what = "the offline rewriter stands in" if self._fallback else "candidates wait"
            logger.warning("no LLM answers: %s until one does", what, extra=_EXTRA)

    def _end_outage(self) -> None:
        if self._num_in_outage:
            what = "were written by rule" if self._fallback else "turns were waited"
            logger.info("an LLM answers again; %d %s", self._num_in_outage, what, extra=_EXTRA)
            self._num_in_outage = 0

    async def _greet(self) -> None:
        for endpoint in self._endpoints:
            try:
                served = await endpoint.describe()
            except WriterUnavailable as error:
                logger.warning("%s; asked again when it is needed", error, extra=_EXTRA)
            else:
                limit = served.max_input_tokens or "an unknown number of"
                logger.info(
                    "endpoint %r serves %s, for requests of %s tokens",
                    endpoint.name,
                    served.model,
                    limit,
                    extra=_EXTRA,
                )
