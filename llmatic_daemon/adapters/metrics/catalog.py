"""All metrics that the daemon exports, each declared once: name, type, labels, meaning, deprecated name.

The registry and the reference are made from these declarations. Alerts and dashboards use only names that stand
here. Names follow prometheus.io: base units, `_total` for counters, timestamps instead of ages.
"""

# ruff: noqa: RUF009  # `_family` returns `dataclasses.field`, which ruff does not see

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Literal, cast

from prometheus_client import Counter, Gauge, Histogram, Info

from llmatic_daemon import domain
from llmatic_daemon.domain.sandbox import Layer, Violation

Kind = Literal["counter", "gauge", "histogram", "info"]

PREFIX = "llmatic_"

#: Label values that come from no enum of the domain.
SLOT_PHASES = ("idle", "llm", "lift", "wait", "train", "commit")
PHASES = ("llm", "lift", "wait", "train", "commit", "total")
ARCHIVES = ("network", "prompt")
JOB_STATES = ("queued", "running", "settled")
ATTEMPT_OUTCOMES = ("settled", "released", "charged")
TOKEN_KINDS = ("prompt", "completion")
FINISH_REASONS = ("stop", "length", "other")
LOADS = ("loaded", "rejected")
STATUSES = ("2xx", "3xx", "4xx", "5xx")
ARMS = ("writer", "control")
ARM_STATES = ("settled", "entered", "trained")
UPLIFT_KINDS = ("entered", "objective")
BOUNDS = ("low", "mean", "high")
#: Values of a label that only the running daemon knows.
LEARNT = ()

PHASE_BUCKETS_S = (0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
LLM_BUCKETS_S = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0)
COMMIT_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)

_SUFFIXES: dict[type, tuple[Kind, str]] = {
    Counter: ("counter", "_total"),
    Gauge: ("gauge", ""),
    Histogram: ("histogram", ""),
    Info: ("info", "_info"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """One family of series."""

    #: Attribute of `Families`: the name without prefix and suffix.
    attribute: str
    kind: Kind
    #: As it is exported: a counter's ends in `_total`, an info's in `_info`.
    name: str
    #: One sentence for a person.
    meaning: str
    #: Values of each label that are exported as 0 from the start; none: known only at run time.
    labels: Mapping[str, tuple[str, ...]]
    #: Upper bounds of a histogram's buckets.
    buckets: tuple[float, ...]
    #: Deprecated name, under which a counter is exported too until the next version; empty: it has none.
    former: str
    #: Old values of labels under the deprecated name, by the new ones.
    former_values: Mapping[str, str]

    @property
    def series(self) -> tuple[str, ...]:
        """Names under which Prometheus stores it."""
        if self.kind != "histogram":
            return (self.name,)
        return tuple(f"{self.name}_{part}" for part in ("bucket", "count", "sum"))


def _family(
    meaning: str,
    *,
    buckets: tuple[float, ...] = (),
    former: str = "",
    former_values: Mapping[str, str] = MappingProxyType({}),
    **labels: Iterable[str],
) -> Any:
    return field(
        metadata={
            "meaning": meaning,
            "buckets": buckets,
            "former": f"{PREFIX}{former}_total" if former else "",
            "former_values": former_values,
            "labels": {name: tuple(map(str, values)) for name, values in labels.items()},
        }
    )


@dataclass(kw_only=True)
class Families:
    """The metrics by their names without `llmatic_`, `_total` and `_info`."""

    # State of the daemon
    build: Info = _family("Version of the daemon.", version=LEARNT)
    config: Info = _family(
        "Configuration of the search: data set, hash of the settings, hash of the prompts.",
        config_hash=LEARNT,
        prompt_set_hash=LEARNT,
        task=LEARNT,
    )
    ready: Gauge = _family("1 while the daemon dispatches jobs and stores results.")
    paused: Gauge = _family("1 while the search is paused by a command.")
    draining: Gauge = _family("1 once the daemon starts no more jobs.")
    slots: Gauge = _family("Candidates that are developed at the same time.")
    slot_state: Gauge = _family("1 for the current phase of a slot.", slot=LEARNT, state=SLOT_PHASES)
    jobs: Gauge = _family("Jobs of this process, by state; settled: over all restarts.", state=JOB_STATES)
    oldest_job_timestamp_seconds: Gauge = _family(
        "When this process first dispatched its oldest unsettled job; 0: there is none."
    )
    attempts: Counter = _family(
        "Attempts, by how they ended: settled, released (not counted against the job), charged (counted).",
        outcome=ATTEMPT_OUTCOMES,
        former="jobs",
    )

    # Devices
    device_busy_seconds: Counter = _family(
        "Time that a device worker spent starting a trainer, training, auditing.",
        device=LEARNT,
        phase=domain.DevicePhase,
        former="device_place_busy_seconds",
    )
    trainer_restarts: Counter = _family(
        "Trainers that were replaced, by reason.", device=LEARNT, reason=domain.RestartReason
    )
    trainer_deaths: Gauge = _family("Trainers that died while they trained a network, over all restarts.")
    devices_out_of_service: Gauge = _family(
        "Device workers that start no trainer any more, because theirs died with three networks in a row."
    )
    gpu_seconds: Counter = _family("Time that settled candidates and audits occupied device workers.")
    training_seconds_saved: Counter = _family(
        "Training time saved, by cause: rung (early stopping ended the training).",
        stage=("rung",),
        former="gpu_seconds_saved",
        former_values={"rung": "look"},
    )
    audits: Counter = _family("Second trainings of elites, by verdict.", verdict=domain.Verdict)
    audit_seconds: Counter = _family("Time that audits occupied device workers.")
    training_timeout_seconds: Gauge = _family("Time limit of one training.")

    # Search
    candidates: Counter = _family(
        "Settled candidates of this process, by outcome.", outcome=domain.Outcome, former="evaluations"
    )
    evaluations: Gauge = _family("Evaluations (trained and measured candidates) over all restarts.")
    settled_jobs: Gauge = _family("Settled candidates over all restarts.")
    phase_duration_seconds: Histogram = _family(
        "Time that a settled candidate spent in a phase.", buckets=PHASE_BUCKETS_S, phase=PHASES
    )
    archive_cells: Gauge = _family("Cells of an archive.", archive=ARCHIVES)
    archive_filled_cells: Gauge = _family("Cells that hold an elite.", archive=ARCHIVES)
    archive_coverage_ratio: Gauge = _family("Share of the cells that hold an elite.", archive=ARCHIVES)
    archive_qd_score: Gauge = _family("QD-score: sum of the elites' objectives.")
    archive_best_objective: Gauge = _family("Highest objective so far.")
    archive_median_objective: Gauge = _family("Median of the elites' objectives.")
    archive_fullest_cell_ratio: Gauge = _family(
        "Share of the networks trained since the start that belong to the most frequent cell."
    )
    archive_insertions: Counter = _family(
        "Solutions offered to an archive, by result.", archive=ARCHIVES, status=domain.AddStatus
    )
    archive_out_of_bounds: Counter = _family("Networks with a measure outside the bounds.")

    # LLM
    llm_requests: Counter = _family(
        "Calls of an LLM endpoint, by outcome.", endpoint=LEARNT, outcome=domain.CallOutcome
    )
    llm_request_duration_seconds: Histogram = _family(
        "Time until an endpoint had answered a call.", buckets=LLM_BUCKETS_S, endpoint=LEARNT
    )
    llm_tokens: Counter = _family("Tokens of answered requests and of their answers.", kind=TOKEN_KINDS)
    llm_finish: Counter = _family("Answers, by the LLM's reason to end them.", reason=FINISH_REASONS)
    llm_fallbacks: Counter = _family(
        "Settled candidates written by the fallback (the rule-based writer) during an LLM outage.",
        former="llm_stand_ins",
    )
    llm_inflight_requests: Gauge = _family("Calls in flight.", endpoint=LEARNT)
    llm_concurrency_limit: Gauge = _family("Calls that may be in flight.", endpoint=LEARNT)
    llm_circuit_open: Gauge = _family(
        "1 while the circuit breaker keeps an endpoint from being called.", endpoint=LEARNT
    )
    arm_candidates: Gauge = _family(
        "Candidates of the latest comparison, by arm: settled, and of these entered the network archive, "
        "trained to the end.",
        arm=ARMS,
        state=ARM_STATES,
    )
    uplift_ratio: Gauge = _family(
        "Advantage of the LLM's arm over the control arm: in the share that entered, in the mean objective; "
        "with the bounds of its 95 % interval. NaN: too few candidates.",
        kind=UPLIFT_KINDS,
        bound=BOUNDS,
    )

    # Prompts
    prompt_selected: Counter = _family("Settled candidates of an active prompt.", prompt=LEARNT)
    prompt_success: Counter = _family(
        "Candidates of an active prompt that entered the network archive.", prompt=LEARNT
    )
    prompt_curiosity: Gauge = _family(
        "Highest curiosity of a prompt's individuals; 0: it has none.", prompt=LEARNT
    )
    prompt_set_loads: Counter = _family(
        "Changed prompt sets that were read, by result.",
        result=LOADS,
        former="prompt_set_reloads",
        former_values={"loaded": "adopted", "rejected": "refused"},
    )
    prompt_set_loaded_timestamp_seconds: Gauge = _family("When the active prompts were loaded.")

    # Storage
    commits: Counter = _family("Attempts to commit a placement, by result.", result=domain.CommitResult)
    commit_duration_seconds: Histogram = _family(
        "Duration of an attempt to commit a placement.", buckets=COMMIT_BUCKETS_S
    )
    last_commit_timestamp_seconds: Gauge = _family(
        "When a placement was last committed; before the first: when this process started."
    )
    db_size_bytes: Gauge = _family("Size of the database.")
    db_wal_size_bytes: Gauge = _family("Size of the database's write-ahead log.")
    db_integrity: Gauge = _family("1 while no check of the database has found damage.")
    db_checked_timestamp_seconds: Gauge = _family("When the database was last checked; 0: not yet.")
    state_filesystem_free_bytes: Gauge = _family("Free space on the file system of the state folder.")
    backup_last_success_timestamp_seconds: Gauge = _family(
        "When a backup was last made and verified; 0: never."
    )

    # Safety
    sandbox_layer: Gauge = _family(
        "1 for an active layer of the sandbox, 0 for one that is missing or not yet known.", layer=Layer
    )
    sandbox_violations: Counter = _family(
        "Candidates that violated the sandbox's rules, by kind.", kind=Violation
    )
    http_requests: Counter = _family(
        "Answered HTTP requests, by route and class of status.", route=LEARNT, status=STATUSES
    )
    auth_failures: Counter = _family("HTTP requests denied because of their token, host or origin.")
    event_loop_lag_seconds: Gauge = _family("Longest delay of the event loop in the last 15 s.")


def _table() -> Iterable[Metric]:
    for each in fields(Families):
        kind, suffix = _SUFFIXES[cast(type, each.type)]
        yield Metric(attribute=each.name, kind=kind, name=f"{PREFIX}{each.name}{suffix}", **each.metadata)


TABLE: tuple[Metric, ...] = tuple(sorted(_table(), key=lambda metric: metric.name))
