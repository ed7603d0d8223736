"""The writer that calls LLMs: one endpoint or an ensemble, with a fallback during an outage."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Self

from llmatic_daemon.adapters.llm.endpoint import Endpoint, EndpointOut
from llmatic_daemon.domain import Completion, EndpointState, Request, TooLong
from llmatic_daemon.domain.errors import WriterUnavailable
from llmatic_daemon.domain.ports import Writer

logger = logging.getLogger(__name__)

_EXTRA = {"action": "outage"}


class LLMWriter(Writer):
    """Writer that draws an endpoint for each request, by weight; a context manager of its connections.

    Args:
        endpoints: At least one.
        fallback: Writer during an outage of all endpoints; None: requests wait.
    """

    def __init__(self, endpoints: Sequence[Endpoint], *, fallback: Writer | None) -> None:
        self._endpoints = tuple(endpoints)
        self._fallback = fallback
        self._change = asyncio.Event()
        self._num_in_outage = 0
        self._probing: asyncio.Task[None] | None = None
        for endpoint in self._endpoints:
            endpoint.on_change = self._wake_waiting

    async def __aenter__(self) -> Self:
        """Start a task that requests the description of each endpoint."""
        self._probing = asyncio.create_task(self._probe())
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close all connections."""
        if self._probing is not None:
            self._probing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._probing
        for endpoint in self._endpoints:
            await endpoint.close()

    def endpoints(self) -> tuple[EndpointState, ...]:
        """Return the current state of the endpoints."""
        return tuple(endpoint.state for endpoint in self._endpoints)

    async def wait_until_probed(self) -> None:
        """Wait until each endpoint has answered or failed its first request."""
        if self._probing is not None:
            await asyncio.wait([self._probing])

    async def complete(self, request: Request) -> Completion | TooLong:
        """Return the answer to one request.

        A mutation that is too long for one endpoint goes to the others, even if it must wait for them. A
        crossover that is too long is returned, so that the engine can send it with fewer parents.

        Raises:
            WriterUnavailable: each available endpoint has failed this request.
        """
        tried: list[Endpoint] = []
        last: TooLong | WriterUnavailable | None = None
        while True:
            endpoint = self._drawn(request, tried)
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
                tried.append(endpoint)
            elif isinstance(last, TooLong) and len(tried) == len(self._endpoints):
                return last
            elif isinstance(last, WriterUnavailable):
                raise last
            else:
                self._begin_outage()
                if self._fallback is not None:
                    return await self._by_fallback(self._fallback, request)
                await self._wait()

    def _drawn(self, request: Request, tried: Sequence[Endpoint]) -> Endpoint | None:
        """Draw an available endpoint: the same one for the same request and the same candidates."""
        ready = [e for e in self._endpoints if e not in tried and e.breaker.wait_s == 0]
        weights = [endpoint.weight for endpoint in ready]
        return Random(request.seed).choices(ready, weights)[0] if ready else None

    async def _by_fallback(self, fallback: Writer, request: Request) -> Completion | TooLong:
        answer = await fallback.complete(request)
        return replace(answer, fallback=True) if isinstance(answer, Completion) else answer

    async def _wait(self) -> None:
        """Wait until a pause ends or a breaker changes."""
        waits = [endpoint.breaker.wait_s for endpoint in self._endpoints]
        known = [wait_s for wait_s in waits if wait_s is not None]
        change = self._change
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(known, default=None)):
                await change.wait()

    def _wake_waiting(self) -> None:
        self._change.set()
        self._change = asyncio.Event()

    def _begin_outage(self) -> None:
        """Count a request without an endpoint, and log the first one."""
        self._num_in_outage += 1
        if self._num_in_outage == 1:
            what = "the rule-based fallback writes" if self._fallback else "candidates wait"
            logger.warning("no LLM answers: %s until one does", what, extra=_EXTRA)

    def _end_outage(self) -> None:
        if self._num_in_outage:
            what = "candidates by the fallback" if self._fallback else "times a request waited"
            logger.info("an LLM answers again; %d %s", self._num_in_outage, what, extra=_EXTRA)
            self._num_in_outage = 0

    async def _probe(self) -> None:
        for endpoint in self._endpoints:
            try:
                served = await endpoint.describe()
            except WriterUnavailable as error:
                logger.warning("%s; retried with the next request", error, extra=_EXTRA)
            else:
                facts = (endpoint.name, served.model, served.max_input_tokens or "an unknown number of")
                logger.info("endpoint %r serves %s, for requests of %s tokens", *facts, extra=_EXTRA)
