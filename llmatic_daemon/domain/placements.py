"""Placements: everything that one settled candidate changes."""

from dataclasses import dataclass, field
from enum import StrEnum

from llmatic_daemon.domain.completions import Completion
from llmatic_daemon.domain.jobs import Job, Operator, Proposal
from llmatic_daemon.domain.networks import Candidate, Duplicate, Measures, Network, Outcome, Rejection
from llmatic_daemon.domain.sandbox import Violation
from llmatic_daemon.domain.trainings import Failure, Report, StoppedEarly


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One finished candidate, with the results of all steps."""

    proposal: Proposal
    slot: int
    result: Report | Rejection | Failure | Duplicate | StoppedEarly
    completion: Completion | None = None
    candidate: Candidate | None = None
    network: Network | None = None
    #: Time since the job was claimed, in seconds.
    total_s: float = 0.0


class CommitResult(StrEnum):
    """The result of committing a placement."""

    KEPT = "kept"
    #: Rejected, because its job was already settled or dispatched again.
    FENCED = "fenced"
    #: The store could not be written.
    UNAVAILABLE = "unavailable"


# --- the placement and its parts -----------------------------------------------------------------


class Arm(StrEnum):
    """The arm of a candidate in the comparison of writers."""

    #: The configured writer, usually an LLM.
    WRITER = "writer"
    #: The rule-based writer, from the same parents, as the baseline.
    CONTROL = "control"
    #: The rule-based writer, because no LLM was available.
    FALLBACK = "stand_in"


class AddStatus(StrEnum):
    """The result of offering a solution to an archive."""

    NEW = "new"
    IMPROVED = "improved"
    NOT_ADDED = "not_added"

    @property
    def added(self) -> bool:
        """Whether the solution is now its cell's elite."""
        return self is not AddStatus.NOT_ADDED


@dataclass(frozen=True, kw_only=True, slots=True)
class Durations:
    """Durations of a candidate's steps, in seconds."""

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
    #: Current collective score of the prompt, the individual's objective.
    objective: float
    #: First curiosity of the individual, if added.
    curiosity: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Everything that one settled candidate changes; source of its database row, log line and metrics."""

    #: Position in the log, from 1, without gaps.
    number: int
    job: Job
    slot: int
    operator: Operator
    prompt: str
    prompt_version: int
    #: Temperature of the individual that was used; None for a crossover.
    temperature: float | None
    #: Seed of the writer, the initial weights and the training, with which a candidate is reproduced.
    seed: int
    #: Job numbers.
    parents: tuple[int, ...]
    #: See `Completion`; empty and 0 if there was none.
    writer: str
    endpoint: str
    model: str
    model_version: str
    finish_reason: str
    num_prompt_tokens: int
    num_tokens: int
    fallback: bool
    outcome: Outcome
    #: One line for a person; empty if trained.
    detail: str
    source_digest: str | None
    network_digest: str | None
    #: Job that settled the same network before; None unless DUPLICATE.
    duplicate_of: int | None
    measures: Measures | None
    report: Report | None
    #: None unless the candidate was offered to the network archive.
    cell: int | None
    status: AddStatus
    #: Whether a measure was outside the archive's bounds.
    clipped: bool
    #: Credit of the selected individual: its cell, its job and its curiosity change.
    credited_cell: int | None
    credited_job: int | None
    curiosity_change: float
    #: Change of the prompt's collective score.
    score_change: float
    offer: PromptOffer | None
    #: Number of other candidates settled since the proposal.
    staleness: int
    durations: Durations
    #: Running time of the search so far, over all restarts, in seconds.
    elapsed_s: float
    #: See `Proposal.by_rule`.
    by_rule: bool = False
    #: Accuracy at the rung, in [0, 1]; None if there was none. Share of the training before the rung;
    #: accuracies at another rung ratio are not compared.
    rung_accuracy: float | None = None
    rung_ratio: float = 0.0
    #: Cost of its training, in full trainings.
    cost: float = 0.0
    #: Number of each operation, by name; stored for the variant that compares structures.
    structure: tuple[tuple[str, int], ...] = ()
    #: How the candidate violated the sandbox; None unless the outcome is SANDBOX.
    violation: Violation | None = None

    @property
    def arm(self) -> Arm:
        """The arm of the candidate."""
        if self.fallback:
            return Arm.FALLBACK
        return Arm.CONTROL if self.by_rule else Arm.WRITER

    @property
    def objective(self) -> float | None:
        """Accuracy on the split that selects; None if not trained."""
        return self.report.objective if self.report else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Elite:
    """The elite of a cell in the network archive."""

    job: int
    source_digest: str
    measures: Measures
    #: See `Placement`.
    rung_accuracy: float | None = None
    rung_ratio: float = 0.0
    #: See `Placement.structure`.
    structure: tuple[tuple[str, int], ...] = ()
    #: See `Report.trainer`.
    trainer: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptElite:
    """The elite of a cell in the prompt archive: a (prompt, temperature) individual."""

    #: Job after which it was offered.
    job: int
    prompt: str
    prompt_version: int
    temperature: float
    curiosity: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Artefacts:
    """The content that a placement references by digest, for the store."""

    source: str | None = None
    graph: bytes | None = field(default=None, repr=False)
