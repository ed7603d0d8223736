"""One LLM server: its client behind a concurrency limit, retries and a circuit breaker."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from llmatic_daemon.adapters.llm.circuit_breaker import Breaker, BreakerRules
from llmatic_daemon.adapters.llm.concurrency import AdaptiveLimit
from llmatic_daemon.domain import Call, CallOutcome, Completion, EndpointState, Request, TooLong
from llmatic_daemon.domain.errors import (
    EndpointFailed,
    EndpointOverloaded,
    EndpointRefused,
    EndpointTimeout,
    WriterUnavailable,
)
from llmatic_daemon.domain.events import CallEnded, EventBus

if TYPE_CHECKING:
    from tenacity import AsyncRetrying

logger = logging.getLogger(__name__)

#: A server that says who it is does so at once.
_DESCRIBE_TIMEOUT_S = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """What a server says of itself."""

    model: str
    #: Revision of the model, or the server's version; empty when it does not say.
    version: str = ""
    #: Tokens that a request may have, beside those that are to be written; None: it does not say.
    max_input_tokens: int | None = None
    #: Requests that it takes at once; None: it does not say.
    max_concurrency: int | None = None


class Client(Protocol):
    """Speaks one protocol to one server; one call at a time, each tried once."""

    async def describe(self) -> Served:
        """Ask the server who it is.

        Raises:
            WriterUnavailable: one of its kinds in `errors`.
        """
        ...

    async def generate(self, request: Request, served: Served) -> Completion | TooLong:
        """Have one completion written.

        Raises:
            WriterUnavailable: one of its kinds in `errors`.
        """
        ...

    async def close(self) -> None:
        """Close its connections."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class CallPolicy:
    """How often and how long an endpoint is asked."""

    #: Of one call, from its first byte to its last.
    timeout_s: float
    #: Tries of one request.
    max_tries: int
    #: The pause before the n-th further try is drawn from [0, retry_s * 2^(n - 1)], at most max_retry_s.
    retry_s: float
    max_retry_s: float
    breaker: BreakerRules


class EndpointOut(WriterUnavailable):
    """The breaker is open: it was not asked, or not asked again."""


class Endpoint:
    """A server that is asked as much as it bears, and left alone while it fails."""

    def __init__(
        self,
        name: str,
        client: Client,
        persistence: CallPolicy,
        *,
        max_concurrency: int,
        weight: float = 1.0,
        events: EventBus | None = None,
        changed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.weight = weight
        self._client = client
        self._persistence = persistence
        self._most = max_concurrency
        self._limit = AdaptiveLimit(max_concurrency)
        self.breaker = Breaker(persistence.breaker, clock)
        self._events = events or EventBus()
        #: Told whenever the breaker may admit a call again.
        self.changed = changed
        self._clock = clock
        self._served: Served | None = None
        #: One for all that wait for it.
        self._describing: asyncio.Task[Served] | None = None
        #: Set while the breaker is open.
        self._is_out = asyncio.Event()
        self._num_failed = 0

    @property
    def state(self) -> EndpointState:
        """The endpoint at this moment."""
        return EndpointState(
            name=self.name,
            model=self._served.model if self._served else "",
            is_open=self.breaker.is_open,
            num_in_flight=self._limit.num_in_flight,
            limit=self._limit.limit,
        )

    async def describe(self) -> Served:
        """Learn who serves there; asked once, and again after each loss of the connection.

        Raises:
            WriterUnavailable: it does not say.
        """
        if self._served is not None:
            return self._served
        if self._describing is None:
            self._describing = asyncio.create_task(self._ask_who_serves())
            self._describing.add_done_callback(self._described)
        return await asyncio.shield(self._describing)

    async def _ask_who_serves(self) -> Served:
        with _timed(self.name, _DESCRIBE_TIMEOUT_S):
            async with asyncio.timeout(_DESCRIBE_TIMEOUT_S):
                served = await self._client.describe()
        self._limit.allow(min(self._most, served.max_concurrency or self._most))
        self._served = served
        return served

    def _described(self, task: asyncio.Task[Served]) -> None:
        self._describing = None
        if not task.cancelled():
            task.exception()  # each of those who wait has it; there may be none left

    async def complete(self, request: Request) -> Completion | TooLong:
        """Answer one request, with as many tries as it takes.

        Raises:
            EndpointOut: the breaker is open, or opened meanwhile.
            WriterUnavailable: all tries failed, or another try is in vain.
        """
        async for attempt in self._tries():
            with attempt:
                return await self._try(request)
        raise AssertionError("the last try returns or raises")

    async def close(self) -> None:
        """Close its connections."""
        if self._describing is not None:
            self._describing.cancel()
        await self._client.close()

    def _tries(self) -> "AsyncRetrying":
        import tenacity  # 0.05 s, for those who ask an LLM

        persistence = self._persistence
        return tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(_is_passing),
            stop=tenacity.stop_after_attempt(persistence.max_tries),
            wait=tenacity.wait_random_exponential(persistence.retry_s, persistence.max_retry_s),
            sleep=self._pause,
            reraise=True,
        )

    async def _pause(self, pause_s: float) -> None:
        """Wait before the next try; not when there will be none, as the breaker has opened."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._is_out.wait()

    async def _try(self, request: Request) -> Completion | TooLong:
        async with self._limit as number:
            if not self.breaker.admits():
                raise EndpointOut(f"endpoint {self.name!r} is held back: too many calls failed")
            is_probe = self.breaker.is_open
            try:
                return await self._call(request, number, is_probe=is_probe)
            finally:
                if is_probe:
                    self._after_probe()

    async def _call(self, request: Request, number: int, *, is_probe: bool) -> Completion | TooLong:
        started = self._clock()
        try:
            served = await self.describe()
            with _timed(self.name, self._persistence.timeout_s):
                async with asyncio.timeout(self._persistence.timeout_s):
                    answer = await self._client.generate(request, served)
        except WriterUnavailable as error:
            self._tell(_OUTCOMES[type(error)], self._clock() - started)
            self._after_fault(error, number, is_probe=is_probe)
            raise
        duration_s = self._clock() - started
        if isinstance(answer, TooLong):  # perhaps by our own estimate: no sign of life
            self._tell(CallOutcome.TOO_LONG, duration_s)
            return replace(answer, endpoint=self.name)
        self._after_answer()
        answer = replace(answer, endpoint=self.name, duration_s=duration_s)
        self._tell(CallOutcome.ANSWERED, duration_s, answer)
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
            self.changed()

    def _after_fault(self, error: WriterUnavailable, number: int, *, is_probe: bool) -> None:
        """Ask less at once after a 429; count what says that the server is out.

        A server that has no room for a single call is as good as out.

        Raises:
            EndpointOut: that was one too many.
        """
        if isinstance(error, EndpointOverloaded):
            has_room = self._limit.limit > 1
            self._limit.shrink(number)
            if has_room:
                return
        elif not isinstance(error, EndpointRefused):
            self._served = None  # it may come back as another one
        self._num_failed += 1
        if self.breaker.failed(is_probe=is_probe, is_hopeless=_is_hopeless(error)):
            self._is_out.set()
            self._complain(error)
        if self.breaker.is_open:
            self.changed()
            raise EndpointOut(str(error)) from error

    def _after_probe(self) -> None:
        """Let another call be the probe when this one came to no end; those who wait hear of it."""
        self.breaker.abandoned()
        self.changed()

    def _complain(self, error: WriterUnavailable) -> None:
        level = logging.ERROR if isinstance(error, EndpointRefused) else logging.WARNING
        logger.log(
            level,
            "endpoint %r is held back after %d failed calls, and probed now and then: %s",
            self.name,
            self._num_failed,
            error,
            extra=_EXTRA,
        )

    def _tell(self, outcome: CallOutcome, duration_s: float, completion: Completion | None = None) -> None:
        call = Call(endpoint=self.name, outcome=outcome, duration_s=duration_s, completion=completion)
        self._events.publish(CallEnded(call=call))


_EXTRA = {"action": "endpoint"}
_OUTCOMES = {
    EndpointOverloaded: CallOutcome.OVERLOADED,
    EndpointFailed: CallOutcome.FAILED,
    EndpointTimeout: CallOutcome.TIMEOUT,
    EndpointRefused: CallOutcome.REFUSED,
}


def _is_passing(error: BaseException) -> bool:
    return isinstance(error, EndpointOverloaded | EndpointFailed)


def _is_hopeless(error: WriterUnavailable) -> bool:
    """Tell whether every other request would be refused as well: for a key or an address."""
    return isinstance(error, EndpointRefused) and error.concerns_all


@contextlib.contextmanager
def _timed(name: str, limit_s: float) -> Iterator[None]:
    """Say which endpoint took how long; a time-out of the transport reads the same."""
    try:
        yield
    except TimeoutError as error:
        raise EndpointTimeout(
            f"endpoint {name!r} must answer within {limit_s:g} s, got nothing whole"
        ) from error
