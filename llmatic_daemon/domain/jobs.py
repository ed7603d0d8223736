"""Jobs, and what is proposed for each."""

from dataclasses import dataclass
from enum import StrEnum

from llmatic_daemon.domain.prompts import Prompt

# --- one candidate, from claim to completion -----------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A claim to develop one candidate."""

    #: From 1, without gaps.
    number: int
    #: From 1; how often this job has been dispatched. The fence against late results.
    attempt: int
    #: How many attempts before this one count as failed (a crash counts, a graceful stop does not).
    num_charged: int = 0


class Operator(StrEnum):
    """How a candidate is made."""

    INITIALISATION = "initialisation"
    MUTATION = "mutation"
    CROSSOVER = "crossover"


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """What is to be tried next, and all that is needed to give credit for its result."""

    job: Job
    operator: Operator
    prompt: Prompt
    #: Of the (prompt, temperature) individual that is used, in [0, 1]; None for a crossover.
    temperature: float | None
    #: As sent to the writer, in [0.01, 1].
    sampling_temperature: float
    #: For the writer, the lifted network's initial weights and its training.
    seed: int
    #: Job numbers and source digests of the parents, the one to be changed first; the initial
    #: network has neither.
    parents: tuple[int, ...]
    parent_digests: tuple[str, ...]
    #: Cell of the prompt archive whose elite is to be credited, and that elite's job; None: nobody.
    credited_cell: int | None
    credited_job: int | None
    #: Number of placements that the proposal had seen.
    num_settled: int
    #: Accuracies of the parents, where the writer is told of them; in [0, 1].
    results: tuple[float, ...] = ()
    #: Written by rule although an LLM may be there: for the control arm, and by what compares with us.
    by_rule: bool = False
