"""Candidates, the networks that are lifted from them, and how a job ends."""

from dataclasses import dataclass, field
from enum import StrEnum

from llmatic_daemon.domain.sandbox import Violation
from llmatic_daemon.domain.task import Task, digest


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A completion's network source: read and vetted, never run here."""

    source: str
    #: Name of the `nn.Module` subclass.
    class_name: str
    #: Of the random generators before the network is built.
    seed: int
    task: Task

    @property
    def digest(self) -> str:
        """Name the source by its content."""
        return digest(self.source.encode())


class Outcome(StrEnum):
    """How a job ended. All but TRAINED, DUPLICATE and STOPPED are causes of a rejection or failure."""

    TRAINED = "trained"
    DUPLICATE = "duplicate"
    #: A first look told that it would not win its cell; its training was ended.
    STOPPED = "stopped"
    #: The completion does not parse.
    NOT_CODE = "not_code"
    #: No class that inherits from nn.Module, or one that triage forbids.
    NO_CLASS = "no_class"
    #: The request does not fit the LLM's context; blames no prompt.
    CONTEXT = "context"
    #: Building or exporting the network raised.
    LIFT_FAILED = "lift_failed"
    #: The graph breaks a rule or a limit.
    INVALID_GRAPH = "invalid_graph"
    #: Tried to leave the sandbox, or broke a resource limit of it.
    SANDBOX = "sandbox"
    NAN = "nan"
    TIMEOUT = "timeout"
    OOM = "oom"
    #: The world failed `max_attempts` times; blames no prompt.
    ERROR = "error"

    @property
    def blames_prompt(self) -> bool:
        """Tell whether the prompt takes part in what happened."""
        return self not in (Outcome.CONTEXT, Outcome.ERROR)

    @property
    def is_reproducible(self) -> bool:
        """Tell whether the same network would end so again: it was trained, and no machine is to blame.

        One that was stopped would, while there are first looks.
        """
        return self not in (Outcome.DUPLICATE, Outcome.ERROR, Outcome.TIMEOUT, Outcome.OOM)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejection:
    """A candidate that never got to training, and why."""

    cause: Outcome
    #: One line for a person.
    detail: str
    #: How it violated the sandbox; None unless the cause is SANDBOX.
    violation: Violation | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Measures:
    """What a lifted graph says about a network."""

    num_parameters: int
    #: Multiply-adds of one forward pass of one image.
    flops: int
    #: Largest number of output features or channels of any layer.
    width: int
    #: Number of layers (convolutions, linear and recurrent layers).
    depth: int

    @property
    def width_to_depth(self) -> float:
        """The paper's first measure."""
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
    #: Operations of the graph in the order in which the source computes them; empty: as numbered.
    order: tuple[int, ...] = field(default=(), repr=False)

    @property
    def digest(self) -> str:
        """Name the network by its canonical graph, weights and order aside."""
        return digest(self.graph)


@dataclass(frozen=True, kw_only=True, slots=True)
class Duplicate:
    """A network that another job has settled before; it is not trained again."""

    #: Job number.
    of: int
    #: What happened then.
    outcome: Outcome
