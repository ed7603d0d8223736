"""Prometheus metrics: counted as candidates are placed, read from the search at scrape."""

import time
from collections.abc import Callable, Collection, Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from llmatic_daemon.ports import Observer
from llmatic_daemon.records import (
    AddStatus,
    Audit,
    Call,
    CallOutcome,
    Edition,
    EndpointState,
    Outcome,
    Placement,
    PromptSet,
    Snapshot,
    Verdict,
)
from llmatic_daemon.sandbox import Layer

PHASES = ("idle", "llm", "lift", "wait", "train", "commit")
#: Labels that come from no enum of the records.
TOKEN_KINDS = ("prompt", "completion")
FINISH_REASONS = ("stop", "length", "other")
RELOADS = ("adopted", "refused")
LLM_BUCKETS_S = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0)
BUCKETS_S = (0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)


class Metrics(Observer):
    """All metrics of one daemon, in a registry of its own.

    Args:
        version: Of the daemon.
        num_slots: Slots, each with one series a phase.
        endpoints: Names of the LLM servers; each is exported as 0 from the start.
    """

    def __init__(self, version: str, num_slots: int, endpoints: tuple[str, ...]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, that nobody asks for
        self.registry = CollectorRegistry()
        self._make_counters()
        self._make_llm_counters()
        Info("llmatic_build", "Version of the daemon.", registry=self.registry).info(
            {"version": version}
        )
        self._num_slots = Gauge(
            "llmatic_slots", "Slots that develop candidates.", registry=self.registry
        )
        self._phases: list[str] = []
        self.resized(num_slots)
        self._start_at_zero(endpoints)

    def _make_llm_counters(self) -> None:
        registry = self.registry
        self._calls = Counter(
            "llmatic_llm_requests", "Calls of an LLM's endpoint, by how they ended.",
            ["endpoint", "outcome"], registry=registry,
        )  # fmt: skip
        self._call_durations = Histogram(
            "llmatic_llm_request_duration_seconds", "Time until an endpoint had answered a call.",
            ["endpoint"], buckets=LLM_BUCKETS_S, registry=registry,
        )  # fmt: skip
        self._tokens = Counter(
            "llmatic_llm_tokens", "Tokens of answered requests, and of their answers.", ["kind"],
            registry=registry,
        )  # fmt: skip
        self._finished = Counter(
            "llmatic_llm_finish", "Answers, by why the LLM ended them.", ["reason"],
            registry=registry,
        )  # fmt: skip
        self._stand_ins = Counter(
            "llmatic_llm_stand_ins", "Settled candidates written by rule while no LLM answered.",
            registry=registry,
        )  # fmt: skip
        self._reloads = Counter(
            "llmatic_prompt_set_reloads", "Prompt sets that were read, by what became of them.",
            ["result"], registry=registry,
        )  # fmt: skip
        self._loaded = Gauge(
            "llmatic_prompt_set_loaded_timestamp_seconds", "When prompts were taken last.",
            registry=registry,
        )  # fmt: skip

    def _make_counters(self) -> None:
        registry = self.registry
        self._evaluations = Counter(
            "llmatic_evaluations", "Settled candidates, by what became of them.", ["outcome"],
            registry=registry,
        )  # fmt: skip
        self._insertions = Counter(
            "llmatic_archive_insertions", "Solutions offered to an archive, by what happened.",
            ["archive", "status"], registry=registry,
        )  # fmt: skip
        self._clipped = Counter(
            "llmatic_archive_out_of_bounds", "Networks with a measure outside the bounds.",
            registry=registry,
        )  # fmt: skip
        self._selected = Counter(
            "llmatic_prompt_selected", "Settled candidates of a prompt.", ["prompt"],
            registry=registry,
        )  # fmt: skip
        self._successes = Counter(
            "llmatic_prompt_success", "Candidates of a prompt that entered the network archive.",
            ["prompt"], registry=registry,
        )  # fmt: skip
        self._durations = Histogram(
            "llmatic_phase_duration_seconds", "Time that a settled candidate spent in a phase.",
            ["phase"], buckets=BUCKETS_S, registry=registry,
        )  # fmt: skip
        self._train_s = Counter(
            "llmatic_gpu_seconds", "Time that device places were held.", registry=registry
        )
        self._audits = Counter(
            "llmatic_audits", "Second trainings of elites, by what they said.", ["verdict"],
            registry=registry,
        )  # fmt: skip
        self._audit_s = Counter(
            "llmatic_audit_seconds", "Time that device places were held by audits.",
            registry=registry,
        )  # fmt: skip
        self._slot_state = Gauge(
            "llmatic_slot_state", "1 for the phase that a slot is in.", ["slot", "state"],
            registry=registry,
        )  # fmt: skip
        self._last_commit = Gauge(
            "llmatic_last_commit_timestamp_seconds", "When a placement was committed last.",
            registry=registry,
        )  # fmt: skip

        self._layers = Gauge(
            "llmatic_sandbox_layer", "1 for a layer around the lifter, 0 for one that is missing or not yet known.",
            ["layer"], registry=registry,
        )  # fmt: skip

    def _start_at_zero(self, endpoints: tuple[str, ...]) -> None:
        for outcome in Outcome:
            self._evaluations.labels(outcome.value)
        for status in AddStatus:
            self._insertions.labels("network", status.value)
            self._insertions.labels("prompt", status.value)
        for verdict in Verdict:
            self._audits.labels(verdict.value)
        for endpoint in endpoints:
            for call in CallOutcome:
                self._calls.labels(endpoint, call.value)
            self._call_durations.labels(endpoint)
        for kind in TOKEN_KINDS:
            self._tokens.labels(kind)
        for layer in Layer:
            self._layers.labels(layer.value)
        for reason in FINISH_REASONS:
            self._finished.labels(reason)
        for result in RELOADS:
            self._reloads.labels(result)

    def watch(
        self, view: Callable[[], Snapshot], endpoints: Callable[[], tuple[EndpointState, ...]]
    ) -> None:
        """Read the gauges of the search and of the LLM servers from here, at each scrape."""
        self.registry.register(_Search(view))
        self.registry.register(_Endpoints(endpoints))

    def slot_changed(self, slot: int, phase: str, detail: str) -> None:
        """Move a slot from one phase to another."""
        before = self._phases[slot]
        if phase != before:
            self._phases[slot] = phase
            self._slot_state.labels(str(slot), before).set(0)
            self._slot_state.labels(str(slot), phase).set(1)

    def resized(self, num_slots: int) -> None:
        """Export another number of slots, and the phases of new ones; old ones end idle."""
        self._num_slots.set(num_slots)
        for slot in range(len(self._phases), num_slots):
            self._phases.append("idle")
            for phase in PHASES:
                self._slot_state.labels(str(slot), phase).set(phase == "idle")

    def placed(self, placement: Placement) -> None:
        """Count a placement."""
        self._evaluations.labels(placement.outcome.value).inc()
        self._selected.labels(placement.prompt).inc()
        if placement.cell is not None:
            self._insertions.labels("network", placement.status.value).inc()
            self._clipped.inc(placement.clipped)
            self._successes.labels(placement.prompt).inc(placement.status.added)
        if placement.offer is not None:
            self._insertions.labels("prompt", placement.offer.status.value).inc()
        for phase, spent_s in _phases(placement):
            self._durations.labels(phase).observe(spent_s)
        self._train_s.inc(placement.durations.train_s)
        self._stand_ins.inc(placement.stand_in)
        self._last_commit.set(time.time())

    def called(self, call: Call) -> None:
        """Count a call of an LLM's endpoint."""
        self._calls.labels(call.endpoint, call.outcome.value).inc()
        if call.completion is None:
            return
        reason = call.completion.finish_reason
        self._call_durations.labels(call.endpoint).observe(call.duration_s)
        self._tokens.labels("prompt").inc(call.completion.num_prompt_tokens)
        self._tokens.labels("completion").inc(call.completion.num_tokens)
        self._finished.labels(reason if reason in FINISH_REASONS else "other").inc()

    def adopted(self, edition: Edition) -> None:
        """Count a prompt set that was taken."""
        self._reloads.labels("adopted").inc()
        self.use(edition.prompts)

    def audited(self, audit: Audit) -> None:
        """Count an audit."""
        self._audits.labels(audit.verdict.value).inc()
        self._audit_s.inc(audit.train_s)
        self._train_s.inc(audit.train_s)

    def use(self, prompts: PromptSet) -> None:
        """Export the prompts that are in use from now on, each as 0 at first."""
        self._loaded.set(time.time())
        for prompt in prompts.all:
            self._selected.labels(prompt.id)
            self._successes.labels(prompt.id)

    def refused(self, why: str) -> None:
        """Count a prompt set that was not taken."""
        self._reloads.labels("refused").inc()

    def surrounded(self, missing: Collection[Layer]) -> None:
        """Export which layers are around the lifter."""
        for layer in Layer:
            self._layers.labels(layer.value).set(layer not in missing)

    def exposition(self) -> bytes:
        """Write all metrics in Prometheus' text format."""
        return generate_latest(self.registry)


def _phases(placement: Placement) -> tuple[tuple[str, float], ...]:
    spent = placement.durations
    return (
        ("llm", spent.llm_s),
        ("lift", spent.lift_s),
        ("wait", spent.wait_s),
        ("train", spent.train_s),
        ("total", spent.total_s),
    )


class _Search(Collector):
    """Gauges that are read from the search when Prometheus asks."""

    def __init__(self, view: Callable[[], Snapshot]) -> None:
        self._view = view

    def describe(self) -> Iterator[Metric]:
        """Describe nothing, so that registering does not read the search."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Read the search once."""
        now = self._view()
        cells = GaugeMetricFamily("llmatic_archive_cells", "Cells.", labels=["archive"])
        filled = GaugeMetricFamily(
            "llmatic_archive_filled_cells", "Cells that hold an elite.", labels=["archive"]
        )
        for name, count, full in (
            ("network", now.network_cells, now.filled_network_cells),
            ("prompt", now.prompt_cells, now.filled_prompt_cells),
        ):
            cells.add_metric([name], count)
            filled.add_metric([name], full)
        yield cells
        yield filled
        yield GaugeMetricFamily(
            "llmatic_archive_qd_score", "Sum of the elites' objectives.", now.qd_score
        )
        yield GaugeMetricFamily(
            "llmatic_archive_best_objective", "Highest objective so far.", now.best_objective or 0.0
        )
        yield GaugeMetricFamily(
            "llmatic_evaluations", "Evaluations over all restarts.", now.num_evaluations
        )
        yield GaugeMetricFamily(
            "llmatic_settled_jobs", "Settled candidates over all restarts.", now.num_settled
        )


class _Endpoints(Collector):
    """Gauges that are read from the LLM servers' state when Prometheus asks."""

    def __init__(self, states: Callable[[], tuple[EndpointState, ...]]) -> None:
        self._states = states

    def describe(self) -> Iterator[Metric]:
        """Describe nothing, so that registering reads nothing."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Read all endpoints once."""
        states = self._states()
        for name, (meaning, read) in _ENDPOINT_GAUGES.items():
            family = GaugeMetricFamily(name, meaning, labels=["endpoint"])
            for state in states:
                family.add_metric([state.name], float(read(state)))
            yield family


_ENDPOINT_GAUGES: dict[str, tuple[str, Callable[[EndpointState], float]]] = {
    "llmatic_llm_inflight_requests": ("Calls under way.", lambda state: state.num_in_flight),
    "llmatic_llm_concurrency_limit": ("Calls that may be under way.", lambda state: state.limit),
    "llmatic_llm_circuit_open": ("1 while it is left alone.", lambda state: state.is_open),
}
