"""Requests to a writer, its completions, and the calls of an LLM's endpoint."""

from dataclasses import dataclass, field
from enum import StrEnum

from llmatic_daemon.domain.jobs import Operator
from llmatic_daemon.domain.prompts import Prompt
from llmatic_daemon.domain.task import Task, digest


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A request to a writer."""

    operator: Operator
    prompt: Prompt
    #: Sources of the parents, the one to change first.
    parents: tuple[str, ...]
    #: Sampling temperature, in [0.01, 1].
    temperature: float
    seed: int
    task: Task
    #: For a model that continues a file: the text, and the texts at which it stops.
    continuation: str = field(repr=False)
    stops: tuple[str, ...] = field(repr=False)
    #: For a chat model.
    system: str = field(repr=False)
    question: str = field(repr=False)

    @property
    def digest(self) -> str:
        """Digest of everything that an LLM's answer depends on."""
        parts = (self.continuation, self.stops, self.system, self.question, self.temperature)
        return digest(repr((*parts, self.seed)).encode(errors="surrogatepass"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """The answer of a writer."""

    text: str
    writer: str
    #: The endpoint's names of the model and its revision; empty if not reported.
    model: str
    version: str = ""
    #: Name of the endpoint in the settings; empty for a writer without one.
    endpoint: str = ""
    #: "stop", "length" (the token limit cut it), or the server's own word.
    finish_reason: str = "stop"
    #: Tokens of the request and of the answer; 0 if the server does not count them.
    num_prompt_tokens: int = 0
    num_tokens: int = 0
    #: Duration of the successful call, without queueing and earlier tries.
    duration_s: float = 0.0
    #: Whether the fallback wrote it, because no LLM was available; its prompt gets no credit.
    fallback: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class TooLong:
    """A request that does not fit into the LLM's context."""

    endpoint: str
    num_tokens: int
    max_tokens: int

    def __str__(self) -> str:
        return (
            f"the request has {self.num_tokens} tokens, endpoint {self.endpoint!r} accepts {self.max_tokens}"
        )


class CallOutcome(StrEnum):
    """How one call of an LLM's endpoint ended."""

    ANSWERED = "answered"
    #: The request was too long, by its measured length or by the server's error.
    TOO_LONG = "too_long"
    #: The server answered with status 429.
    OVERLOADED = "overloaded"
    #: The connection or the server failed; the call is retried.
    FAILED = "failed"
    TIMEOUT = "timeout"
    #: The server rejected the request, because a setting or a key is wrong.
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One call of an LLM's endpoint, for observers."""

    endpoint: str
    outcome: CallOutcome
    duration_s: float
    #: None unless the outcome is ANSWERED.
    completion: Completion | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointState:
    """The current state of an endpoint, for observers."""

    name: str
    model: str
    #: Whether the circuit breaker is open.
    is_open: bool
    num_in_flight: int
    #: Current limit of concurrent calls.
    limit: int
