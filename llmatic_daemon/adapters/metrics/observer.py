"""Prometheus metrics: counted as things happen; what is a state is read at scrape."""

import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable

from llmatic_daemon.adapters.metrics.catalog import (
    ARM_STATES,
    ARMS,
    BOUNDS,
    FINISH_REASONS,
    PHASES,
    UPLIFT_KINDS,
)
from llmatic_daemon.adapters.metrics.registry import Instruments
from llmatic_daemon.domain import (
    ArmFigures,
    Audit,
    Call,
    CommitResult,
    DevicePhase,
    Difference,
    Edition,
    EndpointState,
    Job,
    Outcome,
    Placement,
    PromptSet,
    RestartReason,
    SearchStatus,
    Uplift,
)
from llmatic_daemon.domain.ports import Observer
from llmatic_daemon.domain.sandbox import Layer

#: Label of requests for which there is no route.
NO_ROUTE = "none"


class Metrics(Observer):
    """All metrics of one daemon.

    Args:
        version: Of the daemon.
        num_slots: Slots, each with one series a phase.
        endpoints: Names of the LLM servers; each is exported as 0 from the start.
        clock: Monotonic, in seconds.
    """

    def __init__(
        self,
        version: str,
        num_slots: int,
        endpoints: tuple[str, ...],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._instruments = made = Instruments()
        self._clock = clock
        self._view: Callable[[], SearchStatus] | None = None
        self._endpoints: Callable[[], tuple[EndpointState, ...]] = tuple
        self._config = {"config_hash": "", "task": ""}
        self._prompts = frozenset[str]()
        #: Phase of each slot; phase of each busy device, and since when.
        self._slots: dict[int, str] = {}
        self._devices: dict[str, tuple[DevicePhase, float]] = {}
        #: Unsettled jobs: when each was first dispatched, in seconds since 1970, and those that run.
        self._unsettled: dict[int, float] = {}
        self._running = set[int]()
        #: Networks trained since the start, by cell.
        self._trained = Counter[int]()
        self._num_trained = self._num_in_fullest = 0
        made.build.info({"version": version})
        made.last_commit_timestamp_seconds.set(time.time())
        made.db_integrity.set(1)
        self._read_uplift(None)
        made.learn("endpoint", endpoints)
        self.serves([NO_ROUTE])
        for slot in range(num_slots):
            self.slot_changed(slot, "idle", "")

    # --- who it is told of ------------------------------------------------------------------------

    def watch(
        self, view: Callable[[], SearchStatus], endpoints: Callable[[], tuple[EndpointState, ...]]
    ) -> None:
        """Read the gauges of the search and of the LLM servers from here, at each scrape."""
        self._view, self._endpoints = view, endpoints

    def configured(self, config_hash: str, task: str, training_timeout_s: float) -> None:
        """Export what is searched."""
        self._config = {"config_hash": config_hash, "task": task}
        self._instruments.training_timeout_seconds.set(training_timeout_s)

    def serves(self, routes: Iterable[str]) -> None:
        """Export these HTTP routes, each as 0 at first."""
        self._instruments.learn("route", routes)

    def use(self, prompts: PromptSet) -> None:
        """Export the prompts that are in use from now on, each as 0 at first, and no others."""
        made, ids = self._instruments, frozenset(prompt.id for prompt in prompts.all)
        made.prompt_set_loaded_timestamp_seconds.set(time.time())
        made.config.info({"prompt_set_hash": prompts.digest[:12], **self._config})
        made.learn("prompt", sorted(ids))
        made.forget("prompt", self._prompts - ids)
        self._prompts = ids

    # --- what happens -----------------------------------------------------------------------------

    def slot_changed(self, slot: int, phase: str, detail: str) -> None:
        """Move a slot from one phase to another."""
        made, name, before = self._instruments, str(slot), self._slots.get(slot)
        if before is None:
            made.learn("slot", [name])
        elif phase != before:
            made.slot_state.labels(name, before).set(0)
        if phase != before:
            made.slot_state.labels(name, phase).set(1)
        self._slots[slot] = phase

    def dispatched(self, job: Job) -> None:
        """Note that a job runs."""
        self._unsettled.setdefault(job.number, time.time())
        self._running.add(job.number)

    def released(self, job: Job, charged: bool) -> None:
        """Count an attempt that came to nothing."""
        self._running.discard(job.number)
        self._instruments.attempts.labels("charged" if charged else "released").inc()

    def committed(self, result: CommitResult, duration_s: float) -> None:
        """Count a try to commit."""
        made = self._instruments
        made.commits.labels(result.value).inc()
        made.commit_duration_seconds.observe(duration_s)
        if result is CommitResult.KEPT:
            made.phase_duration_seconds.labels("commit").observe(duration_s)

    def resized(self, num_slots: int) -> None:
        """Export the phases of slots that are new; old ones end idle."""
        for slot in range(len(self._slots), num_slots):
            self.slot_changed(slot, "idle", "")

    def placed(self, placement: Placement) -> None:
        """Count a placement."""
        made = self._instruments
        self._running.discard(placement.job.number)
        self._unsettled.pop(placement.job.number, None)
        made.attempts.labels("settled").inc()
        made.last_commit_timestamp_seconds.set(time.time())
        made.candidates.labels(placement.outcome.value).inc()
        made.gpu_seconds.inc(placement.durations.train_s)
        if placement.outcome is Outcome.STOPPED:
            rest_s = placement.durations.train_s * (1 / placement.cost - 1)
            made.training_seconds_saved.labels("rung").inc(rest_s)
        made.llm_fallbacks.inc(placement.fallback)
        for phase in PHASES:
            if phase != "commit":
                spent_s = getattr(placement.durations, f"{phase}_s")
                made.phase_duration_seconds.labels(phase).observe(spent_s)
        if placement.violation is not None:
            made.sandbox_violations.labels(placement.violation.value).inc()
        self._count_insertions(placement)
        if placement.prompt in self._prompts:  # another one has been retired since its proposal
            made.prompt_selected.labels(placement.prompt).inc()
            made.prompt_success.labels(placement.prompt).inc(placement.status.added)

    def _count_insertions(self, placement: Placement) -> None:
        made = self._instruments
        if placement.cell is not None:
            made.archive_insertions.labels("network", placement.status.value).inc()
            made.archive_out_of_bounds.inc(placement.clipped)
            self._trained[placement.cell] += 1
            self._num_trained += 1
            self._num_in_fullest = max(self._num_in_fullest, self._trained[placement.cell])
            ratio = self._num_in_fullest / self._num_trained
            made.archive_fullest_cell_ratio.set(ratio)
        if placement.offer is not None:
            made.archive_insertions.labels("prompt", placement.offer.status.value).inc()

    def called(self, call: Call) -> None:
        """Count a call of an LLM's endpoint."""
        made = self._instruments
        made.llm_requests.labels(call.endpoint, call.outcome.value).inc()
        if call.completion is None:
            return
        reason = call.completion.finish_reason
        made.llm_request_duration_seconds.labels(call.endpoint).observe(call.duration_s)
        made.llm_tokens.labels("prompt").inc(call.completion.num_prompt_tokens)
        made.llm_tokens.labels("completion").inc(call.completion.num_tokens)
        made.llm_finish.labels(reason if reason in FINISH_REASONS else "other").inc()

    def adopted(self, edition: Edition) -> None:
        """Count a prompt set that was taken."""
        self._instruments.prompt_set_loads.labels("loaded").inc()
        self.use(edition.prompts)

    def refused(self, why: str) -> None:
        """Count a prompt set that was not taken."""
        self._instruments.prompt_set_loads.labels("rejected").inc()

    def audited(self, audit: Audit) -> None:
        """Count an audit."""
        self._instruments.audits.labels(audit.verdict.value).inc()
        self._instruments.audit_seconds.inc(audit.train_s)
        self._instruments.gpu_seconds.inc(audit.train_s)

    def device_changed(self, device: str, phase: DevicePhase | None) -> None:
        """Count the time until now, and begin to count another phase."""
        self._instruments.learn("device", [device])
        self._count_busy(device)
        self._devices.pop(device, None)
        if phase is not None:
            self._devices[device] = (phase, self._clock())

    def device_gone(self, device: str) -> None:
        """Export a device place no more: one that is not there is not idle."""
        self._devices.pop(device, None)
        self._instruments.forget("device", [device])

    def _count_busy(self, device: str) -> None:
        """Count what has passed of a phase that may last for hours."""
        if device in self._devices:
            phase, since = self._devices[device]
            now = self._clock()
            self._instruments.device_busy_seconds.labels(device, phase.value).inc(now - since)
            self._devices[device] = (phase, now)

    def trainer_replaced(self, device: str, reason: RestartReason) -> None:
        """Count a trainer that was given up."""
        self._instruments.learn("device", [device])
        self._instruments.trainer_restarts.labels(device, reason.value).inc()

    def surrounded(self, missing: Collection[Layer]) -> None:
        """Export which layers are around the lifter."""
        for layer in Layer:
            self._instruments.sandbox_layer.labels(layer.value).set(layer not in missing)

    def backed_up(self, finished_at: float) -> None:
        """Take over when the last backup was made, in seconds since 1970."""
        self._instruments.backup_last_success_timestamp_seconds.set(finished_at)

    def answered(self, route: str, status: int, is_denied: bool) -> None:
        """Count an HTTP answer, by its declared route (empty: none) and its status."""
        self._instruments.http_requests.labels(route or NO_ROUTE, f"{status // 100}xx").inc()
        if is_denied:
            self._instruments.auth_failures.inc()

    def sized(self, database_bytes: int, wal_bytes: int, free_bytes: int) -> None:
        """Export how much space the state takes, and how much is left."""
        self._instruments.db_size_bytes.set(database_bytes)
        self._instruments.db_wal_size_bytes.set(wal_bytes)
        self._instruments.state_filesystem_free_bytes.set(free_bytes)

    def checked(self, is_sound: bool) -> None:
        """Export what a check of the database has found."""
        self._instruments.db_integrity.set(is_sound)
        self._instruments.db_checked_timestamp_seconds.set(time.time())

    def lagged(self, longest_s: float) -> None:
        """Export how late the event loop has been."""
        self._instruments.event_loop_lag_seconds.set(longest_s)

    # --- at scrape --------------------------------------------------------------------------------

    def exposition(self) -> bytes:
        """Write all metrics in Prometheus' text format."""
        if self._view is not None:
            self._read_search(self._view())
        for state in self._endpoints():
            made = self._instruments
            made.llm_inflight_requests.labels(state.name).set(state.num_in_flight)
            made.llm_concurrency_limit.labels(state.name).set(state.limit)
            made.llm_circuit_open.labels(state.name).set(state.is_open)
        for device in tuple(self._devices):
            self._count_busy(device)
        return self._instruments.exposition()

    def _read_search(self, now: SearchStatus) -> None:
        made = self._instruments
        for name, cells, filled in (
            ("network", now.network_cells, now.filled_network_cells),
            ("prompt", now.prompt_cells, now.filled_prompt_cells),
        ):
            made.archive_cells.labels(name).set(cells)
            made.archive_filled_cells.labels(name).set(filled)
            made.archive_coverage_ratio.labels(name).set(filled / cells if cells else 0.0)
        for state, num_jobs in (
            ("queued", len(self._unsettled) - len(self._running)),
            ("running", len(self._running)),
            ("settled", now.num_settled),
        ):
            made.jobs.labels(state).set(num_jobs)
        self._read_uplift(now.uplift)
        for prompt in self._prompts:
            made.prompt_curiosity.labels(prompt).set(now.curiosity.get(prompt, 0.0))
        made.ready.set(now.is_ready)
        made.paused.set(now.is_paused)
        made.draining.set(now.is_draining)
        made.slots.set(now.num_slots)
        made.evaluations.set(now.num_evaluations)
        made.settled_jobs.set(now.num_settled)
        made.archive_qd_score.set(now.qd_score)
        made.archive_best_objective.set(now.best_objective or 0.0)
        made.archive_median_objective.set(now.median_objective or 0.0)
        made.oldest_job_timestamp_seconds.set(min(self._unsettled.values(), default=0.0))

    def _read_uplift(self, uplift: Uplift | None) -> None:
        made = self._instruments
        for kind in UPLIFT_KINDS:
            difference: Difference | None = getattr(uplift, kind, None)
            for bound in BOUNDS:
                made.uplift_ratio.labels(kind, bound).set(getattr(difference, bound, math.nan))
        for arm in ARMS:
            figures: ArmFigures | None = getattr(uplift, arm, None)
            for state in ARM_STATES:
                made.arm_candidates.labels(arm, state).set(getattr(figures, f"num_{state}", 0))
