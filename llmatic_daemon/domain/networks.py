"""Candidates, the networks lifted from them, and the outcomes of jobs."""

from dataclasses import dataclass, field
from enum import StrEnum

from llmatic_daemon.domain.sandbox import Violation
from llmatic_daemon.domain.task import Task, digest


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """The network source of a completion, parsed and checked, but never run by the daemon."""

    source: str
    #: Name of the `nn.Module` subclass.
    class_name: str
    #: Seed of the random generators before the network is built.
    seed: int
    task: Task

    @property
    def digest(self) -> str:
        """Digest of the source."""
        return digest(self.source.encode())


class Outcome(StrEnum):
    """How a job ended. All but TRAINED, DUPLICATE and STOPPED are causes of a rejection or failure."""

    TRAINED = "trained"
    DUPLICATE = "duplicate"
    #: Early stopping ended the training, because the network would not win its cell.
    STOPPED = "stopped"
    #: The completion does not parse.
    NOT_CODE = "not_code"
    #: No class that inherits from nn.Module, or one with a forbidden import.
    NO_CLASS = "no_class"
    #: The request does not fit the LLM's context; the prompt is not blamed.
    CONTEXT = "context"
    #: Building or exporting the network raised.
    LIFT_FAILED = "lift_failed"
    #: The graph violates a rule or a limit.
    INVALID_GRAPH = "invalid_graph"
    #: The candidate violated the sandbox or one of its resource limits.
    SANDBOX = "sandbox"
    NAN = "nan"
    TIMEOUT = "timeout"
    OOM = "oom"
    #: The network ended its trainer, in a fresh process too; neither prompt nor endpoint is blamed.
    TRAINER_DIED = "trainer_died"
    #: External failures used up `max_attempts`; the prompt is not blamed.
    ERROR = "error"

    @property
    def blames_prompt(self) -> bool:
        """Whether the outcome counts for the prompt."""
        return self not in (Outcome.CONTEXT, Outcome.ERROR, Outcome.TRAINER_DIED)

    @property
    def is_reproducible(self) -> bool:
        """Whether the same network would have the same outcome again, on any machine.

        STOPPED is reproducible while early stopping is enabled.
        """
        return self not in (Outcome.DUPLICATE, Outcome.ERROR, Outcome.TIMEOUT, Outcome.OOM)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejection:
    """A candidate that was rejected before training, and why."""

    cause: Outcome
    #: One line for a person.
    detail: str
    #: How it violated the sandbox; None unless the cause is SANDBOX.
    violation: Violation | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Measures:
    """Measures of a network, computed from its lifted graph."""

    num_parameters: int
    #: Multiply-adds of one forward pass of one image.
    flops: int
    #: Largest number of output features or channels of any layer.
    width: int
    #: Number of layers (convolutions, linear and recurrent layers).
    depth: int

    @property
    def width_to_depth(self) -> float:
        """First measure of the paper."""
        return self.width / max(1, self.depth)


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """A lifted network: a graph of allow-listed operations and its initial weights."""

    #: Canonical JSON, UTF-8: two sources of the same network give the same bytes.
    graph: bytes = field(repr=False)
    #: Safetensors.
    weights: bytes = field(repr=False)
    measures: Measures
    lift_s: float
    #: Operations of the graph in the order of the source; empty: in the order of their numbers.
    order: tuple[int, ...] = field(default=(), repr=False)

    @property
    def digest(self) -> str:
        """Digest of the canonical graph, without weights and order."""
        return digest(self.graph)


@dataclass(frozen=True, kw_only=True, slots=True)
class Duplicate:
    """A network that an earlier job has settled; it is not trained again."""

    #: Number of the earlier job.
    of: int
    #: Outcome of the earlier job.
    outcome: Outcome
