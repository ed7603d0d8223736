"""One LLM server: a client with a concurrency limit, retries and a circuit breaker."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from llmatic_daemon.adapters.llm.circuit_breaker import Breaker, BreakerRules
from llmatic_daemon.adapters.llm.concurrency import AdaptiveLimit
from llmatic_daemon.domain import Call, CallOutcome, Completion, EndpointState, Request, TooLong, errors
from llmatic_daemon.domain.events import CallEnded, EventBus

if TYPE_CHECKING:
    from tenacity import AsyncRetrying

logger = logging.getLogger(__name__)

#: Time limit of `describe`, which every server answers at once.
_DESCRIBE_TIMEOUT_S = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """A server's description of itself; None: not reported."""

    model: str
    #: Revision of the model, or the server's version; empty if not reported.
    version: str = ""
    #: Maximum number of tokens of a request, in addition to those of the answer.
    max_input_tokens: int | None = None
    #: Maximum number of concurrent requests.
    max_concurrency: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientOptions:
    """What a client sends with each request, and how it is authorised; a protocol may ignore some."""

    #: API key; None: the server needs none. Never one from the environment or the user's files.
    token: str | None = field(default=None, repr=False)
    #: Empty: the first that the server lists.
    model: str = ""
    #: Request a chat; else the model continues a file.
    chat: bool = False
    #: Tokens of a completion.
    max_new_tokens: int
    #: Tokens of a request; 0: what the server says.
    max_input_tokens: int = 0
    #: In (0, 1].
    top_p: float = 1.0
    #: Regular expression that the server holds each completion to; empty: none.
    grammar: str = ""
    #: Further fields of each request.
    extra_body: Mapping[str, Any] = field(default_factory=dict)


class Client(Protocol):
    """Client for one server by one protocol; it does not retry."""

    async def describe(self) -> Served:
        """Request the server's description.

        Raises:
            WriterUnavailable: one of its subclasses in `errors`.
        """
        ...

    async def generate(self, request: Request, served: Served) -> Completion | TooLong:
        """Request one completion.

        Raises:
            WriterUnavailable: one of its subclasses in `errors`.
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class CallPolicy:
    """The timeout and the retries of an endpoint's calls."""

    #: Time limit of one call, from its first byte to its last.
    timeout_s: float
    #: Maximum number of tries of one request.
    max_tries: int
    #: The pause before the n-th retry is drawn from [0, retry_s * 2^(n - 1)], at most max_retry_s.
    retry_s: float
    max_retry_s: float
    breaker: BreakerRules


class EndpointOut(errors.WriterUnavailable):
    """The circuit breaker is open, so the endpoint was not called, or not called again."""


class Endpoint:
    """A server with its client, its retry policy, its concurrency limit and its circuit breaker."""

    def __init__(
        self,
        name: str,
        client: Client,
        policy: CallPolicy,
        *,
        max_concurrency: int,
        weight: float = 1.0,
        events: EventBus | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.weight = weight
        self._client = client
        self._policy = policy
        self._most = max_concurrency
        self._limit = AdaptiveLimit(max_concurrency)
        self.breaker = Breaker(policy.breaker, clock)
        self._events = events or EventBus()
        #: Called whenever the breaker may admit a call again.
        self.on_change: Callable[[], None] = lambda: None
        self._clock = clock
        self._served: Served | None = None
        #: One task, shared by all waiting calls.
        self._describing: asyncio.Task[Served] | None = None
        #: Set while the breaker is open.
        self._is_out = asyncio.Event()
        self._num_failed = 0

    @property
    def state(self) -> EndpointState:
        """The current state of the endpoint."""
        return EndpointState(
            name=self.name,
            model=self._served.model if self._served else "",
            is_open=self.breaker.is_open,
            num_in_flight=self._limit.num_in_flight,
            limit=self._limit.limit,
        )

    async def describe(self) -> Served:
        """Return the server's description, requested once and again after each failed call.

        Raises:
            WriterUnavailable: the server does not answer, or does not describe itself.
        """
        if self._served is not None:
            return self._served
        if self._describing is None:
            self._describing = asyncio.create_task(self._request_description())
            self._describing.add_done_callback(self._described)
        return await asyncio.shield(self._describing)

    async def _request_description(self) -> Served:
        with _timed(self.name, _DESCRIBE_TIMEOUT_S):
            async with asyncio.timeout(_DESCRIBE_TIMEOUT_S):
                served = await self._client.describe()
        self._limit.allow(min(self._most, served.max_concurrency or self._most))
        self._served = served
        return served

    def _described(self, task: asyncio.Task[Served]) -> None:
        self._describing = None
        if not task.cancelled():
            task.exception()  # waiting calls raise it; if none is left, asyncio must not log it

    async def complete(self, request: Request) -> Completion | TooLong:
        """Return the answer to one request, after retries if needed.

        Raises:
            EndpointOut: the breaker is open, or opened meanwhile.
            WriterUnavailable: all tries failed, or a retry is useless.
        """
        async for attempt in self._tries():
            with attempt:
                return await self._try(request)
        raise AssertionError("the last try returns or raises")

    async def close(self) -> None:
        """Close the connections."""
        if self._describing is not None:
            self._describing.cancel()
        await self._client.close()

    def _tries(self) -> "AsyncRetrying":
        import tenacity  # takes 0.05 s, and only searches with an LLM need it

        policy = self._policy
        return tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type((errors.EndpointOverloaded, errors.EndpointFailed)),
            stop=tenacity.stop_after_attempt(policy.max_tries),
            wait=tenacity.wait_random_exponential(policy.retry_s, policy.max_retry_s),
            sleep=self._pause,
            reraise=True,
        )

    async def _pause(self, pause_s: float) -> None:
        """Wait before the next try; return at once if the breaker opens, as there will be none."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._is_out.wait()

    async def _try(self, request: Request) -> Completion | TooLong:
        async with self._limit as number:
            if not self.breaker.admits():
                raise EndpointOut(f"endpoint {self.name!r} is not called: its circuit breaker is open")
            is_probe = self.breaker.is_open
            try:
                return await self._call(request, number, is_probe=is_probe)
            finally:
                if is_probe:
                    self.breaker.abandoned()  # if this probe was cancelled, another one is allowed
                    self.on_change()

    async def _call(self, request: Request, number: int, *, is_probe: bool) -> Completion | TooLong:
        started = self._clock()
        try:
            served = await self.describe()
            with _timed(self.name, self._policy.timeout_s):
                async with asyncio.timeout(self._policy.timeout_s):
                    answer = await self._client.generate(request, served)
        except errors.WriterUnavailable as error:
            self._report(_OUTCOMES[type(error)], self._clock() - started)
            self._after_fault(error, number, is_probe=is_probe)
            raise
        duration_s = self._clock() - started
        if isinstance(answer, TooLong):  # perhaps estimated here, so it does not close the breaker
            self._report(CallOutcome.TOO_LONG, duration_s)
            return replace(answer, endpoint=self.name)
        self._after_answer()
        answer = replace(answer, endpoint=self.name, duration_s=duration_s)
        self._report(CallOutcome.ANSWERED, duration_s, answer)
        return answer

    def _after_answer(self) -> None:
        self._limit.grow()
        open_s = self.breaker.open_s
        if self.breaker.succeeded():
            logger.info(
                "endpoint %r answers again, after %.0f s and %d failed calls",
                self.name,
                open_s,
                self._num_failed,
                extra=_EXTRA,
            )
            self._num_failed = 0
            self._is_out.clear()
            self.on_change()

    def _after_fault(self, error: errors.WriterUnavailable, number: int, *, is_probe: bool) -> None:
        """Halve the concurrency limit after a status 429; count any other failure.

        Status 429 counts as a failure if the limit is a single call.

        Raises:
            EndpointOut: the breaker is open.
        """
        if isinstance(error, errors.EndpointOverloaded):
            has_room = self._limit.limit > 1
            self._limit.shrink(number)
            if has_room:
                return
        elif not isinstance(error, errors.EndpointRefused):
            self._served = None  # another server may answer next time
        self._num_failed += 1
        is_hopeless = isinstance(error, errors.EndpointRefused) and error.concerns_all
        if self.breaker.failed(is_probe=is_probe, is_hopeless=is_hopeless):
            self._is_out.set()
            self._complain(error)
        if self.breaker.is_open:
            self.on_change()
            raise EndpointOut(str(error)) from error

    def _complain(self, error: errors.WriterUnavailable) -> None:
        level = logging.ERROR if isinstance(error, errors.EndpointRefused) else logging.WARNING
        logger.log(
            level,
            "endpoint %r: circuit breaker open after %d failed calls, probing it from time to time: %s",
            self.name,
            self._num_failed,
            error,
            extra=_EXTRA,
        )

    def _report(self, outcome: CallOutcome, duration_s: float, completion: Completion | None = None) -> None:
        call = Call(endpoint=self.name, outcome=outcome, duration_s=duration_s, completion=completion)
        self._events.publish(CallEnded(call=call))


_EXTRA = {"action": "endpoint"}
_OUTCOMES = {
    errors.EndpointOverloaded: CallOutcome.OVERLOADED,
    errors.EndpointFailed: CallOutcome.FAILED,
    errors.EndpointTimeout: CallOutcome.TIMEOUT,
    errors.EndpointRefused: CallOutcome.REFUSED,
}


@contextlib.contextmanager
def _timed(name: str, limit_s: float) -> Iterator[None]:
    """Name the endpoint and the limit in every TimeoutError, including those of the transport."""
    try:
        yield
    except TimeoutError as error:
        raise errors.EndpointTimeout(
            f"endpoint {name!r} must answer within {limit_s:g} s, got no complete answer"
        ) from error
