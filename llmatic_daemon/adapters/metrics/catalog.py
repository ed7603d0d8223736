"""All metrics that the daemon exports: name, type, labels and meaning of each, in one table.

The registry is made from it, the README's table is checked against it, and alerts and dashboards may
name nothing else. Names follow prometheus.io: base units, `_total` for counters, timestamps, not ages.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from llmatic_daemon.domain import AddStatus, CallOutcome, CommitResult, Outcome, Verdict
from llmatic_daemon.domain import DevicePhase as Place
from llmatic_daemon.domain import RestartReason as Restart
from llmatic_daemon.domain.sandbox import Layer, Violation

Kind = Literal["counter", "gauge", "histogram", "info"]

#: Label values that come from no enum of the records.
SLOT_PHASES = ("idle", "llm", "lift", "wait", "train", "commit")
PHASES = ("llm", "lift", "wait", "train", "commit", "total")
ARCHIVES = ("network", "prompt")
JOB_STATES = ("queued", "running", "settled")
JOB_ENDS = ("settled", "released", "charged")
TOKEN_KINDS = ("prompt", "completion")
FINISH_REASONS = ("stop", "length", "other")
RELOADS = ("adopted", "refused")
STATUSES = ("2xx", "4xx", "5xx")
ARMS = ("writer", "control")
ARM_STATES = ("settled", "entered", "trained")
UPLIFT_KINDS = ("entered", "objective")
BOUNDS = ("low", "mean", "high")

PHASE_BUCKETS_S = (0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
LLM_BUCKETS_S = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0)
COMMIT_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


@dataclass(frozen=True, slots=True)
class Label:
    """A label, and the values that are exported as 0 from the start; none: they are learnt."""

    name: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Metric:
    """One family of series."""

    #: As it is exported: a counter's ends in `_total`, an info's in `_info`.
    name: str
    kind: Kind
    #: One sentence for a person.
    meaning: str
    labels: tuple[Label, ...] = ()
    #: Upper bounds of a histogram's buckets.
    buckets: tuple[float, ...] = ()

    @property
    def stem(self) -> str:
        """The name without the ending that the client adds."""
        return self.name.removesuffix("_total").removesuffix("_info")

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the labels, in the order in which values are given."""
        return tuple(label.name for label in self.labels)

    @property
    def series(self) -> tuple[str, ...]:
        """Names under which Prometheus keeps it."""
        if self.kind != "histogram":
            return (self.name,)
        return tuple(f"{self.name}_{part}" for part in ("bucket", "count", "sum"))


def _values(enum: type[StrEnum]) -> tuple[str, ...]:
    return tuple(member.value for member in enum)


_ENDPOINT, _PROMPT, _SLOT, _DEVICE = map(Label, ("endpoint", "prompt", "slot", "device"))
_ARCHIVE = Label("archive", ARCHIVES)


def _counter(name: str, meaning: str, *labels: Label) -> Metric:
    return Metric(f"llmatic_{name}_total", "counter", meaning, labels)


def _gauge(name: str, meaning: str, *labels: Label) -> Metric:
    return Metric(f"llmatic_{name}", "gauge", meaning, labels)


def _info(name: str, meaning: str, *labels: Label) -> Metric:
    return Metric(f"llmatic_{name}_info", "info", meaning, labels)


def _histogram(name: str, meaning: str, buckets: tuple[float, ...], *labels: Label) -> Metric:
    return Metric(f"llmatic_{name}_seconds", "histogram", meaning, labels, buckets)


def _state() -> Iterator[Metric]:
    yield _info("build", "Version of the daemon.", Label("version"))
    yield _info(
        "config",
        "What is searched: data set, digest of the settings, digest of the prompts.",
        *map(Label, ("config_hash", "prompt_set_hash", "task")),
    )
    yield _gauge("ready", "1 while jobs are dispatched and results kept.")
    yield _gauge("paused", "1 while a person has paused the search.")
    yield _gauge("draining", "1 once no job is started any more.")
    yield _gauge("slots", "Slots that develop candidates.")
    yield _gauge("slot_state", "1 for the phase that a slot is in.", _SLOT, Label("state", SLOT_PHASES))
    yield _gauge(
        "jobs",
        "Jobs known to this process, by state; settled: over all restarts.",
        Label("state", JOB_STATES),
    )
    yield _gauge(
        "oldest_job_timestamp_seconds",
        "When the oldest unsettled job was first dispatched by this process; 0: there is none.",
    )
    yield _counter(
        "jobs",
        "Attempts, by how they ended: settled, released (nobody's fault), charged (the world failed it).",
        Label("outcome", JOB_ENDS),
    )


def _devices() -> Iterator[Metric]:
    yield _counter(
        "device_place_busy_seconds",
        "Time that a device place spent starting a trainer, training, auditing.",
        _DEVICE,
        Label("phase", _values(Place)),
    )
    yield _counter(
        "trainer_restarts", "Trainers that were replaced, by why.", _DEVICE, Label("reason", _values(Restart))
    )
    yield _counter("gpu_seconds", "Time that settled candidates and audits held device places.")
    yield _counter(
        "gpu_seconds_saved",
        "Time that full trainings would have taken more, by what saved it: look (ended after the first look).",
        Label("stage", ("look",)),
    )
    yield _counter(
        "audits", "Second trainings of elites, by what they said.", Label("verdict", _values(Verdict))
    )
    yield _counter("audit_seconds", "Time that device places were held by audits.")


def _search() -> Iterator[Metric]:
    yield _counter(
        "evaluations", "Settled candidates, by what became of them.", Label("outcome", _values(Outcome))
    )
    yield _gauge("evaluations", "Evaluations over all restarts.")
    yield _gauge("settled_jobs", "Settled candidates over all restarts.")
    yield _histogram(
        "phase_duration",
        "Time that a settled candidate spent in a phase.",
        PHASE_BUCKETS_S,
        Label("phase", PHASES),
    )
    yield _gauge("archive_cells", "Cells.", _ARCHIVE)
    yield _gauge("archive_filled_cells", "Cells that hold an elite.", _ARCHIVE)
    yield _gauge("archive_coverage_ratio", "Share of the cells that hold an elite.", _ARCHIVE)
    yield _gauge("archive_qd_score", "Sum of the elites' objectives.")
    yield _gauge("archive_best_objective", "Highest objective so far.")
    yield _gauge("archive_median_objective", "Median of the elites' objectives.")
    yield _gauge(
        "archive_fullest_cell_ratio",
        "Share of the networks trained since the start that fell into the fullest cell.",
    )
    yield _counter(
        "archive_insertions",
        "Solutions offered to an archive, by what happened.",
        _ARCHIVE,
        Label("status", _values(AddStatus)),
    )
    yield _counter("archive_out_of_bounds", "Networks with a measure outside the bounds.")


def _llm() -> Iterator[Metric]:
    yield _counter(
        "llm_requests",
        "Calls of an LLM's endpoint, by how they ended.",
        _ENDPOINT,
        Label("outcome", _values(CallOutcome)),
    )
    yield _histogram(
        "llm_request_duration", "Time until an endpoint had answered a call.", LLM_BUCKETS_S, _ENDPOINT
    )
    yield _counter(
        "llm_tokens", "Tokens of answered requests, and of their answers.", Label("kind", TOKEN_KINDS)
    )
    yield _counter("llm_finish", "Answers, by why the LLM ended them.", Label("reason", FINISH_REASONS))
    yield _counter("llm_stand_ins", "Settled candidates written by rule while no LLM answered.")
    yield _gauge("llm_inflight_requests", "Calls under way.", _ENDPOINT)
    yield _gauge("llm_concurrency_limit", "Calls that may be under way.", _ENDPOINT)
    yield _gauge("llm_circuit_open", "1 while it is left alone.", _ENDPOINT)
    yield _gauge(
        "arm_candidates",
        "Candidates of the last comparison, by arm: settled, and of these entered the network archive, trained to the end.",
        Label("arm", ARMS),
        Label("state", ARM_STATES),
    )
    yield _gauge(
        "uplift_ratio",
        "What the LLM's arm has over the control arm: in the share that entered, in the mean objective; with the bounds of its 95 % interval. NaN: too few to say.",
        Label("kind", UPLIFT_KINDS),
        Label("bound", BOUNDS),
    )


def _prompts() -> Iterator[Metric]:
    yield _counter("prompt_selected", "Settled candidates of a prompt in use.", _PROMPT)
    yield _counter(
        "prompt_success", "Candidates of a prompt in use that entered the network archive.", _PROMPT
    )
    yield _gauge("prompt_curiosity", "Highest curiosity of a prompt's individuals; 0: it has none.", _PROMPT)
    yield _counter(
        "prompt_set_reloads", "Prompt sets that were read, by what became of them.", Label("result", RELOADS)
    )
    yield _gauge("prompt_set_loaded_timestamp_seconds", "When prompts were taken last.")


def _storage() -> Iterator[Metric]:
    yield _counter(
        "commits",
        "Tries to commit a placement, by what came of them.",
        Label("result", _values(CommitResult)),
    )
    yield _histogram("commit_duration", "Time that a try to commit a placement took.", COMMIT_BUCKETS_S)
    yield _gauge(
        "last_commit_timestamp_seconds",
        "When a placement was committed last; before the first: when this process started.",
    )
    yield _gauge("db_size_bytes", "Size of the database.")
    yield _gauge("db_wal_size_bytes", "Size of its write-ahead log.")
    yield _gauge("db_integrity", "1 while no check of the database has found damage.")
    yield _gauge("db_checked_timestamp_seconds", "When the database was checked last; 0: not yet.")
    yield _gauge("state_filesystem_free_bytes", "Space that is left to us where the state folder lies.")
    yield _gauge(
        "backup_last_success_timestamp_seconds", "When a backup was made and verified last; 0: never."
    )


def _safety() -> Iterator[Metric]:
    yield _gauge(
        "sandbox_layer",
        "1 for a layer around the lifter, 0 for one that is missing or not yet known.",
        Label("layer", _values(Layer)),
    )
    yield _counter(
        "sandbox_violations",
        "Candidates that broke the sandbox's rules, by how.",
        Label("kind", _values(Violation)),
    )
    yield _counter(
        "http_requests",
        "Answered HTTP requests, by route and class of status.",
        Label("route"),
        Label("status", STATUSES),
    )
    yield _counter("auth_failures", "HTTP requests that were denied for their token, host or origin.")
    yield _gauge("event_loop_lag_seconds", "Longest delay of the event loop in the last 15 s.")
    yield _gauge("training_timeout_seconds", "Time limit of one training.")


TABLE: tuple[Metric, ...] = tuple(
    sorted(
        (*_state(), *_devices(), *_search(), *_llm(), *_prompts(), *_storage(), *_safety()),
        key=lambda metric: metric.name,
    )
)
