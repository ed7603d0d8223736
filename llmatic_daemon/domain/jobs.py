"""Jobs, and the proposal of each."""

from dataclasses import dataclass
from enum import StrEnum

from llmatic_daemon.domain.prompts import Prompt


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """The claim of one candidate."""

    #: From 1, without gaps.
    number: int
    #: Number of dispatches of this job, from 1. It fences off late results.
    attempt: int
    #: Number of earlier attempts that count as failed (a crash counts, a graceful stop does not).
    num_charged: int = 0


class Operator(StrEnum):
    """How a candidate is proposed."""

    INITIALISATION = "initialisation"
    MUTATION = "mutation"
    CROSSOVER = "crossover"


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """The next candidate to try, with all data for the credit of its result."""

    job: Job
    operator: Operator
    prompt: Prompt
    #: Temperature of the (prompt, temperature) individual, in [0, 1]; None for a crossover.
    temperature: float | None
    #: Temperature of the request to the writer, in [0.01, 1].
    sampling_temperature: float
    #: Seed of the writer, of the lifted network's initial weights and of its training.
    seed: int
    #: Job numbers and source digests of the parents, the one to change first; the initial network has
    #: neither.
    parents: tuple[int, ...]
    parent_digests: tuple[str, ...]
    #: Cell of the prompt archive whose elite gets the credit, and that elite's job; None: no credit.
    credited_cell: int | None
    credited_job: int | None
    #: Number of placements before the proposal.
    num_settled: int
    #: Accuracies of the parents if the request contains them; in [0, 1].
    results: tuple[float, ...] = ()
    #: Whether a rule writes it even if an LLM is available: in the control arm and in some variants.
    by_rule: bool = False
