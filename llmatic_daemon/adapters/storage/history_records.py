"""Results of `History`: small frozen records for people."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from llmatic_daemon import domain
from llmatic_daemon.adapters.storage.notes.backup_note import BackupNote
from llmatic_daemon.adapters.storage.state_folder import Holder


@dataclass(frozen=True, kw_only=True, slots=True)
class RunningJob:
    """A job that a slot works on."""

    job: int
    attempt: int
    slot: int
    #: Since it was dispatched; None: the machine was restarted since.
    age_s: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ActivePrompts:
    """The prompt set that a search uses."""

    edition: int
    num_prompts: int
    #: UTC, ISO 8601.
    adopted_at: str
    #: Why the prompts that are in the folder now are not active; None: they are.
    refused: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredStatus(domain.SearchStatus):
    """The status of a search as its state folder holds it, and who works on the folder."""

    #: How many jobs ended in which way, most frequent first.
    outcomes: tuple[tuple[domain.Outcome, int], ...]
    num_queued: int
    running: tuple[RunningJob, ...]
    #: None before the first start has taken any.
    prompts: ActivePrompts | None
    #: Settled candidates that the fallback wrote during an LLM outage.
    num_fallbacks: int
    #: Second trainings, and how many of them found an unstable network.
    num_audits: int
    num_unstable: int
    #: UTC, ISO 8601; None before the first.
    last_settled_at: str | None
    #: The daemon that works on it; None when nobody does.
    holder: Holder | None
    #: Layers of the sandbox that the last daemon's machine lacked, and why; None while it is not known.
    sandbox: dict[str, str] | None
    #: Of the database file, what is only in its write-ahead log aside.
    database_bytes: int = 0
    #: How much of it each settled candidate takes; None before the first.
    bytes_per_candidate: float | None = None
    #: None when the search was never backed up.
    backup: BackupNote | None = None
    #: Of the LLM's arm with the control arm, the last one; None: there never was a control arm.
    comparison: domain.Comparison | None = None
    #: Why each device worker that is out of service was taken out.
    devices_out_reasons: dict[str, str] = field(default_factory=dict)
    #: Since when the search is paused (UTC, ISO 8601); None: it is not.
    paused_since: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptVersion:
    """A text that a prompt has had."""

    prompt: str
    version: int
    kind: domain.PromptKind
    text: str
    #: When a search took it first; UTC, ISO 8601.
    adopted_at: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredElite:
    """What a cell of the network archive holds, with where it came from."""

    cell: int
    job: int
    #: Both in [0, 1]; means of two trainings where there is a verdict.
    objective: float
    test_accuracy: float
    measures: domain.Measures
    operator: domain.Operator
    prompt: str
    temperature: float | None
    train_s: float
    source_digest: str
    network_digest: str
    #: Of its audit; None when it was not audited.
    verdict: domain.Verdict | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Ancestor:
    """One network on the way from the initial one to a network of interest."""

    job: int
    #: Steps from the network of interest, by the shortest way; 0 for itself.
    distance: int
    #: Job numbers; empty for children of the initial network.
    parents: tuple[int, ...]
    operator: domain.Operator
    prompt: str
    temperature: float | None
    objective: float | None
    source_digest: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredPromptElite:
    """What a cell of the prompt archive holds."""

    cell: int
    job: int
    prompt: str
    prompt_version: int
    #: In [0, 1].
    temperature: float
    #: The prompt's collective score when this was offered.
    objective: float
    curiosity: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptCredit:
    """What a version of a prompt has brought about so far."""

    prompt: str
    version: int
    kind: str
    #: On the axis of the prompt archive, last; None for a crossover prompt.
    slot: int | None
    #: Whether the last edition holds it.
    in_use: bool
    num_used: int
    num_trained: int
    #: Entered the network archive.
    num_added: int
    #: The collective score.
    score: float
    curiosity_change: float
    #: Of the most curious of its individuals now; None when the archive holds none.
    curiosity: float | None
    best_objective: float | None


def lineage(ancestors: Sequence[Ancestor]) -> str:
    """Write the line from a network to the initial one, first parents first."""
    known = {ancestor.job: ancestor for ancestor in ancestors}
    steps, job = [], ancestors[0].job if ancestors else None
    while job is not None:
        ancestor = known[job]
        steps.append(f"{job} ({ancestor.prompt})")
        job = ancestor.parents[0] if ancestor.parents else None
    return " <- ".join([*steps, "initial network"])
