"""Placements: all that one settled candidate changes."""

from dataclasses import dataclass, field
from enum import StrEnum

from llmatic_daemon.domain.completions import Completion
from llmatic_daemon.domain.jobs import Job, Operator, Proposal
from llmatic_daemon.domain.networks import Candidate, Duplicate, Measures, Network, Outcome, Rejection
from llmatic_daemon.domain.sandbox import Violation
from llmatic_daemon.domain.trainings import Failure, Report, StoppedEarly


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One candidate at the end of its life, with all that it became on the way."""

    proposal: Proposal
    slot: int
    result: Report | Rejection | Failure | Duplicate | StoppedEarly
    completion: Completion | None = None
    candidate: Candidate | None = None
    network: Network | None = None
    #: Since the job was claimed, in seconds.
    total_s: float = 0.0


class CommitResult(StrEnum):
    """What came of a try to commit a placement."""

    KEPT = "kept"
    #: The fence refused it: its job was settled, or dispatched anew, before.
    FENCED = "fenced"
    #: The store could not be written.
    UNAVAILABLE = "unavailable"


# --- what one candidate changes ------------------------------------------------------------------


class Arm(StrEnum):
    """Who has written a candidate, for the comparison of the two."""

    #: The configured writer: an LLM, where there is one.
    WRITER = "writer"
    #: A rule, from the same parents: what an LLM must beat to be worth its while.
    CONTROL = "control"
    #: A rule, in the place of an LLM that did not answer.
    FALLBACK = "stand_in"


class AddStatus(StrEnum):
    """What happened to a solution that was offered to an archive."""

    NEW = "new"
    IMPROVED = "improved"
    NOT_ADDED = "not_added"

    @property
    def added(self) -> bool:
        """Tell whether the solution is now its cell's elite."""
        return self is not AddStatus.NOT_ADDED


@dataclass(frozen=True, kw_only=True, slots=True)
class Durations:
    """Where a candidate's time went, in seconds."""

    llm_s: float = 0.0
    lift_s: float = 0.0
    wait_s: float = 0.0
    train_s: float = 0.0
    total_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptOffer:
    """A (prompt, temperature) individual as offered to the prompt archive."""

    #: Temperature of the individual offered, in [0, 1].
    temperature: float
    cell: int
    status: AddStatus
    #: The prompt's collective score at this moment: the individual's objective.
    objective: float
    #: What the newcomer starts with, when added.
    curiosity: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """All that one settled candidate changes: the database row, the log line, the metric, the message."""

    #: Position in the log, from 1, without gaps.
    number: int
    job: Job
    slot: int
    operator: Operator
    prompt: str
    prompt_version: int
    #: Of the individual that was used; None for a crossover.
    temperature: float | None
    #: Of the writer, the initial weights and the training: what a candidate is made again with.
    seed: int
    #: Job numbers.
    parents: tuple[int, ...]
    #: Of the completion, see there; empty and 0 when there was none.
    writer: str
    endpoint: str
    model: str
    model_version: str
    finish_reason: str
    num_prompt_tokens: int
    num_tokens: int
    fallback: bool
    outcome: Outcome
    #: One line for a person; empty when trained.
    detail: str
    source_digest: str | None
    network_digest: str | None
    #: The job that settled the same network before; for DUPLICATE only.
    duplicate_of: int | None
    measures: Measures | None
    report: Report | None
    #: Set when the candidate was offered to the network archive.
    cell: int | None
    status: AddStatus
    #: A measure lay outside the archive's bounds.
    clipped: bool
    #: Credit to the individual that was selected: its cell and job, and what it gets.
    credited_cell: int | None
    credited_job: int | None
    curiosity_change: float
    #: Credit to the prompt.
    score_change: float
    offer: PromptOffer | None
    #: How many others were settled between proposal and settling.
    staleness: int
    durations: Durations
    #: Running time of the search so far, over all restarts, in seconds.
    elapsed_s: float
    #: See `Proposal.by_rule`.
    by_rule: bool = False
    #: Accuracy of the first look, in [0, 1]; None when there was none. The setting after which share
    #: of the training it was: looks at another point are not compared.
    rung_accuracy: float | None = None
    rung_ratio: float = 0.0
    #: Of all that was trained for it, in full trainings.
    cost: float = 0.0
    #: How often each operation occurs, by name; kept for the variant that compares structures.
    structure: tuple[tuple[str, int], ...] = ()
    #: How the candidate violated the sandbox; None unless the outcome is SANDBOX.
    violation: Violation | None = None

    @property
    def arm(self) -> Arm:
        """Say who has written it."""
        if self.fallback:
            return Arm.FALLBACK
        return Arm.CONTROL if self.by_rule else Arm.WRITER

    @property
    def objective(self) -> float | None:
        """Accuracy on the split that selects; None when not trained."""
        return self.report.objective if self.report else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Elite:
    """What a cell of the network archive holds."""

    job: int
    source_digest: str
    measures: Measures
    #: See `Placement`.
    rung_accuracy: float | None = None
    rung_ratio: float = 0.0
    #: See `Placement.structure`.
    structure: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptElite:
    """What a cell of the prompt archive holds: a (prompt, temperature) individual."""

    #: The job after which it was offered.
    job: int
    prompt: str
    prompt_version: int
    temperature: float
    curiosity: float


# --- what goes into the store, beside a placement -------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Artefacts:
    """The content that a placement names by digest."""

    source: str | None = None
    graph: bytes | None = field(default=None, repr=False)
