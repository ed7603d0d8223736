"""What the API answers with: small frozen records, their JSON and its schema."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from llmatic_daemon.adapters.storage.history_records import PromptCredit, StoredElite, StoredPromptElite
from llmatic_daemon.domain import (
    AddStatus,
    Arm,
    Durations,
    EndpointState,
    Measures,
    Operator,
    Outcome,
    Placement,
    SearchStatus,
    Task,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotState:
    """What a slot does now."""

    slot: int
    phase: str
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StatusAnswer:
    """The search at this moment, from memory."""

    version: str
    task: Task
    search: SearchStatus
    slots: tuple[SlotState, ...]
    endpoints: tuple[EndpointState, ...]
    #: Hash of the prompt set in use.
    prompt_set: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What became of a settled candidate."""

    #: Position in the log: a cursor.
    number: int
    job: int
    slot: int
    operator: Operator
    prompt: str
    prompt_version: int
    temperature: float | None
    parents: tuple[int, ...]
    #: Who has written it: the writer, a rule for the control arm, or a rule while no LLM answered.
    arm: Arm
    outcome: Outcome
    detail: str
    #: Accuracy of the first look, in [0, 1]; None when there was none.
    rung_accuracy: float | None
    #: In [0, 1]; None when not trained.
    objective: float | None
    test_accuracy: float | None
    measures: Measures | None
    cell: int | None
    status: AddStatus
    durations: Durations

    @classmethod
    def of(cls, placement: Placement) -> "Evaluation":
        """Say the most important of a placement."""
        return cls(
            number=placement.number,
            job=placement.job.number,
            slot=placement.slot,
            operator=placement.operator,
            prompt=placement.prompt,
            prompt_version=placement.prompt_version,
            temperature=placement.temperature,
            parents=placement.parents,
            arm=placement.arm,
            outcome=placement.outcome,
            detail=placement.detail,
            rung_accuracy=placement.rung_accuracy,
            objective=placement.objective,
            test_accuracy=placement.report.test_accuracy if placement.report else None,
            measures=placement.measures,
            cell=placement.cell,
            status=placement.status,
            durations=placement.durations,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluations:
    """A page of settled candidates, newest first."""

    items: tuple[Evaluation, ...]
    #: Cursor of the next page; None: this is the last one.
    next: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkArchive:
    """A page of the network archive, by cell."""

    items: tuple[StoredElite, ...]
    next: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptArchive:
    """A page of the prompt archive, by cell."""

    items: tuple[StoredPromptElite, ...]
    next: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CandidateAnswer:
    """All that is known of a settled candidate."""

    placement: Placement
    #: What the LLM wrote, as text; never trust it. None when there was no candidate in it.
    source: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompts:
    """Every version of every prompt, and what it has brought about."""

    #: Hash of the prompt set in use.
    prompt_set: str
    items: tuple[PromptCredit, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Why something is not answered (RFC 9457)."""

    title: str
    status: int
    detail: str


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def plain(kind: type, answer: Any) -> Any:
    """Turn a record into what JSON knows."""
    return _adapter(kind).dump_python(answer, mode="json")


def encoded(kind: type, answer: Any) -> bytes:
    """Turn a record into JSON."""
    return _adapter(kind).dump_json(answer)


def schema(kind: type) -> dict[str, Any]:
    """Describe a record's JSON; its parts are named under `#/components/schemas`."""
    return _adapter(kind).json_schema(mode="serialization", ref_template="#/components/schemas/{model}")
