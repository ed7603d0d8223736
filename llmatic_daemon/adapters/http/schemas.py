"""Responses of the API: small frozen records, their JSON and its schema."""

from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import SchemaSerializer, core_schema

from llmatic_daemon import domain
from llmatic_daemon.adapters.storage.history_records import PromptCredit, StoredElite, StoredPromptElite

#: Fields that were renamed, and the deprecated name under which JSON holds them too until the next version.
FORMER_FIELDS = {
    "rung_accuracy": "look",
    "rung_ratio": "look_ratio",
    "fallback": "stand_in",
    "device": "place",
    "num_fallbacks": "num_stand_ins",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotState:
    """Current activity of a slot."""

    slot: int
    phase: str
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StatusAnswer:
    """The search at this moment, from memory."""

    version: str
    task: domain.Task
    search: domain.SearchStatus
    slots: tuple[SlotState, ...]
    endpoints: tuple[domain.EndpointState, ...]
    #: Hash of the active prompt set.
    prompt_set: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CandidateSummary:
    """Result of a settled candidate."""

    #: Position in the log; also the cursor of a page.
    number: int
    job: int
    slot: int
    operator: domain.Operator
    prompt: str
    prompt_version: int
    temperature: float | None
    parents: tuple[int, ...]
    #: Source of the candidate: the writer, the control arm, or the fallback during an LLM outage.
    arm: domain.Arm
    outcome: domain.Outcome
    detail: str
    #: Accuracy at the early-stopping rung, in [0, 1]; None without one.
    rung_accuracy: float | None
    #: In [0, 1]; None if not trained.
    objective: float | None
    test_accuracy: float | None
    measures: domain.Measures | None
    cell: int | None
    status: domain.AddStatus
    durations: domain.Durations

    @classmethod
    def of(cls, placement: domain.Placement) -> "CandidateSummary":
        """Return the summary of a placement."""
        own: dict[str, Any] = {
            "job": placement.job.number,
            "test_accuracy": placement.report.test_accuracy if placement.report else None,
        }
        return cls(
            **own,
            **{each.name: getattr(placement, each.name) for each in fields(cls) if each.name not in own},
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidates:
    """A page of settled candidates, newest first."""

    items: tuple[CandidateSummary, ...]
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
    """All stored facts of a settled candidate."""

    placement: domain.Placement
    #: Untrusted text that the LLM wrote; None if its answer held no candidate.
    source: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompts:
    """Every version of every prompt, with its results."""

    #: Hash of the active prompt set.
    prompt_set: str
    items: tuple[PromptCredit, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Reason for an error response (RFC 9457)."""

    title: str
    status: int
    detail: str


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    adapter = TypeAdapter[Any](kind)
    _add_names(adapter.core_schema)
    adapter.serializer = SchemaSerializer(adapter.core_schema)
    return adapter


def _add_names(part: Any) -> None:
    """Add the deprecated names to all records of a schema, and its own names to each named tuple.

    A deprecated name is a computed field with the same value. Pydantic writes named tuples as arrays.
    """
    parts = part if isinstance(part, list) else list(part.values()) if isinstance(part, dict) else ()
    if isinstance(part, dict) and part.get("type") == "dataclass-args":
        part["computed_fields"] = [
            core_schema.computed_field(
                field["name"],
                field["schema"],
                alias=FORMER_FIELDS[field["name"]],
                metadata={"pydantic_js_updates": {"deprecated": True}},
            )
            for field in part["fields"]
            if field["name"] in FORMER_FIELDS
        ]
    if isinstance(part, dict) and part.get("type") == "named-tuple":
        named = {field["name"]: core_schema.typed_dict_field(field["schema"]) for field in part["fields"]}
        part["serialization"] = core_schema.plain_serializer_function_ser_schema(
            part["cls"]._asdict, return_schema=core_schema.typed_dict_schema(named)
        )
    for each in parts:
        _add_names(each)


def plain(kind: type, answer: Any) -> Any:
    """Return a record as dicts, lists, numbers and strings."""
    return _adapter(kind).dump_python(answer, mode="json", by_alias=True)


def encoded(kind: type, answer: Any) -> bytes:
    """Return a record as JSON."""
    return _adapter(kind).dump_json(answer, by_alias=True)


def schema(kind: type) -> dict[str, Any]:
    """Return the JSON schema of a record; its parts are named under `#/components/schemas`."""
    return _adapter(kind).json_schema(mode="serialization", ref_template="#/components/schemas/{model}")
