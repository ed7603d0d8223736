"""Requests to a writer, its completions, and the calls of an LLM's endpoint."""

from dataclasses import dataclass, field
from enum import StrEnum

from llmatic_daemon.domain.jobs import Operator
from llmatic_daemon.domain.prompts import Prompt
from llmatic_daemon.domain.task import Task, digest


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a writer is asked."""

    operator: Operator
    prompt: Prompt
    #: Sources of the parents, the one to be changed first.
    parents: tuple[str, ...]
    #: Sampling temperature as sent, in [0.01, 1].
    temperature: float
    seed: int
    task: Task
    #: For a model that continues a file: the text, and where it is to stop.
    continuation: str = field(repr=False)
    stops: tuple[str, ...] = field(repr=False)
    #: For a chat model.
    system: str = field(repr=False)
    question: str = field(repr=False)

    @property
    def digest(self) -> str:
        """Name the request by all that an LLM could answer it by."""
        parts = (self.continuation, self.stops, self.system, self.question, self.temperature)
        return digest(repr((*parts, self.seed)).encode(errors="surrogatepass"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """What a writer answered."""

    text: str
    writer: str
    #: What the endpoint calls the model, and its revision; empty when it does not say.
    model: str
    version: str = ""
    #: Name of the endpoint in the settings; empty for a writer without one.
    endpoint: str = ""
    #: "stop", "length" (the token limit cut it), or the server's own word.
    finish_reason: str = "stop"
    #: Of the request, where the server counts them, and of the answer.
    num_prompt_tokens: int = 0
    num_tokens: int = 0
    #: Of the call that was answered, waiting for its turn and earlier tries aside.
    duration_s: float = 0.0
    #: Written by rule while no LLM answered: its prompt earns no credit.
    fallback: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class TooLong:
    """A request that does not fit into the context of the LLM; it was not sent."""

    endpoint: str
    num_tokens: int
    max_tokens: int

    def __str__(self) -> str:
        return f"the request has {self.num_tokens} tokens, endpoint {self.endpoint!r} takes {self.max_tokens}"


class CallOutcome(StrEnum):
    """How one call of an LLM's endpoint ended."""

    ANSWERED = "answered"
    #: Measured before it was sent, or refused for its length.
    TOO_LONG = "too_long"
    #: The server had no room (429).
    OVERLOADED = "overloaded"
    #: Broken on its way or in the server: tried again.
    FAILED = "failed"
    TIMEOUT = "timeout"
    #: The server understood, and will not have it: a setting or a key is wrong.
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One call of an LLM's endpoint, for those who watch."""

    endpoint: str
    outcome: CallOutcome
    duration_s: float
    #: Of an answer only.
    completion: Completion | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointState:
    """An endpoint at this moment, for those who watch."""

    name: str
    model: str
    #: Whether calls are held back because too many have failed.
    is_open: bool
    num_in_flight: int
    #: Calls that may be in flight at once, as adapted to what the server bears.
    limit: int
