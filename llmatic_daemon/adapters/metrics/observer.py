"""Prometheus metrics: counters follow the events, gauges are read at scrape."""

import math
import time
from collections import Counter
from collections.abc import Callable

from llmatic_daemon import domain
from llmatic_daemon.adapters.metrics import catalog
from llmatic_daemon.adapters.metrics.registry import Instruments
from llmatic_daemon.domain import events
from llmatic_daemon.domain.sandbox import Layer

#: Label of requests for which there is no route.
NO_ROUTE = "none"


class Metrics:
    """All metrics of one daemon.

    Args:
        version: Of the daemon.
        num_slots: Slots, each with one series per phase.
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
        self._view: Callable[[], domain.SearchStatus] | None = None
        self._endpoints: Callable[[], tuple[domain.EndpointState, ...]] = tuple
        self._config = {"config_hash": "", "task": ""}
        self._prompts = frozenset[str]()
        #: Phase of each slot; phase of each busy device worker with its start.
        self._slots: dict[int, str] = {}
        self._devices: dict[str, tuple[domain.DevicePhase, float]] = {}
        #: First dispatch of each unsettled job, in seconds since 1970; the running ones.
        self._unsettled: dict[int, float] = {}
        self._running = set[int]()
        #: Networks trained since the start, by cell.
        self._trained = Counter[int]()
        self._num_trained = self._num_in_fullest = 0
        made.build.info({"version": version})
        made.db_integrity.set(1)
        self._read_uplift(None)
        made.learn("endpoint", endpoints)
        made.learn("route", [NO_ROUTE])
        for slot in range(num_slots):
            self._change_slot(slot, "idle")

    # --- sources ------------------------------------------------------------------------

    def watch(
        self,
        view: Callable[[], domain.SearchStatus],
        endpoints: Callable[[], tuple[domain.EndpointState, ...]],
    ) -> None:
        """Set the functions that return the search and the LLM servers at each scrape."""
        self._view, self._endpoints = view, endpoints

    def configured(self, config_hash: str, task: str, training_timeout_s: float) -> None:
        """Export the configuration of the search."""
        self._config = {"config_hash": config_hash, "task": task}
        self._instruments.training_timeout_seconds.set(training_timeout_s)
        self._instruments.last_commit_timestamp_seconds.set(time.time())  # counts from here

    def use(self, prompts: domain.PromptSet) -> None:
        """Export the active prompts, each as 0 at first, and no others."""
        made, ids = self._instruments, frozenset(prompt.id for prompt in prompts.all)
        made.prompt_set_loaded_timestamp_seconds.set(time.time())
        made.config.info({"prompt_set_hash": prompts.digest[:12], **self._config})
        made.learn("prompt", sorted(ids))
        made.forget("prompt", self._prompts - ids)
        self._prompts = ids

    # --- events -----------------------------------------------------------------------------

    def receive(self, event: events.Event) -> None:
        """Count an event."""
        match event:
            case events.SlotChanged(slot=slot, phase=phase):
                self._change_slot(slot, phase)
            case events.SlotsResized(num_slots=num_slots):
                for slot in range(len(self._slots), num_slots):  # old ones end idle
                    self._change_slot(slot, "idle")
            case events.CallEnded(call=call):
                self._count_call(call)
            case events.CommitTried(result=result, duration_s=duration_s):
                self._count_commit(result, duration_s)
            case events.Placed(placement=placement):
                self._count_placement(placement)
            case events.DeviceChanged(device=device, phase=device_phase):
                self._change_device(device, device_phase)
            case _:
                self._count_rare(event)

    def _count_rare(self, event: events.Event) -> None:
        """Count an event that is rarer than changes of slots and candidates."""
        made = self._instruments
        match event:
            case events.JobDispatched(job=job):
                self._unsettled.setdefault(job.number, time.time())
                self._running.add(job.number)
            case events.JobReleased(job=job, charged=charged):
                self._running.discard(job.number)
                made.attempts.labels("charged" if charged else "released").inc()
            case events.PromptsAdopted(edition=edition):
                made.prompt_set_loads.labels("loaded").inc()
                self.use(edition.prompts)
            case events.PromptsRejected():
                made.prompt_set_loads.labels("rejected").inc()
            case events.Audited(audit=audit):
                made.audits.labels(audit.verdict.value).inc()
                made.audit_seconds.inc(audit.train_s)
                made.gpu_seconds.inc(audit.train_s)
            case events.DeviceRemoved(device=device):  # a removed device is not idle
                self._devices.pop(device, None)
                made.forget("device", [device])
            case events.TrainerReplaced(device=device, reason=reason):
                made.learn("device", [device])
                made.trainer_restarts.labels(device, reason.value).inc()
            case events.SandboxProbed(missing=missing):
                for layer in Layer:
                    made.sandbox_layer.labels(layer.value).set(layer not in missing)
            case events.BackupFinished(finished_at=finished_at):
                made.backup_last_success_timestamp_seconds.set(finished_at)
            case events.RoutesServed(routes=routes):
                made.learn("route", routes)
            case events.HttpAnswered(route=route, status=status, is_denied=is_denied):
                made.http_requests.labels(route or NO_ROUTE, f"{status // 100}xx").inc()
                made.auth_failures.inc(is_denied)
            case events.StateMeasured():
                made.db_size_bytes.set(event.database_bytes)
                made.db_wal_size_bytes.set(event.wal_bytes)
                made.state_filesystem_free_bytes.set(event.free_bytes)
            case events.DatabaseChecked(is_sound=is_sound):
                made.db_integrity.set(is_sound)
                made.db_checked_timestamp_seconds.set(time.time())
            case events.LoopLagMeasured(longest_s=longest_s):
                made.event_loop_lag_seconds.set(longest_s)

    def _change_slot(self, slot: int, phase: str) -> None:
        """Move a slot from one phase to another."""
        made, name, before = self._instruments, str(slot), self._slots.get(slot)
        if before is None:
            made.learn("slot", [name])
        elif phase != before:
            made.slot_state.labels(name, before).set(0)
        if phase != before:
            made.slot_state.labels(name, phase).set(1)
        self._slots[slot] = phase

    def _count_commit(self, result: domain.CommitResult, duration_s: float) -> None:
        """Count an attempt to commit."""
        made = self._instruments
        made.commits.labels(result.value).inc()
        made.commit_duration_seconds.observe(duration_s)
        if result is domain.CommitResult.KEPT:
            made.phase_duration_seconds.labels("commit").observe(duration_s)

    def _count_placement(self, placement: domain.Placement) -> None:
        """Count a placement."""
        made = self._instruments
        self._running.discard(placement.job.number)
        self._unsettled.pop(placement.job.number, None)
        made.attempts.labels("settled").inc()
        made.last_commit_timestamp_seconds.set(time.time())
        made.candidates.labels(placement.outcome.value).inc()
        made.gpu_seconds.inc(placement.durations.train_s)
        if placement.outcome is domain.Outcome.STOPPED:
            rest_s = placement.durations.train_s * (1 / placement.cost - 1)
            made.training_seconds_saved.labels("rung").inc(rest_s)
        made.llm_fallbacks.inc(placement.fallback)
        for phase in catalog.PHASES:
            if phase != "commit":
                spent_s = getattr(placement.durations, f"{phase}_s")
                made.phase_duration_seconds.labels(phase).observe(spent_s)
        if placement.violation is not None:
            made.sandbox_violations.labels(placement.violation.value).inc()
        self._count_insertions(placement)
        if placement.prompt in self._prompts:  # it may be retired since the proposal
            made.prompt_selected.labels(placement.prompt).inc()
            made.prompt_success.labels(placement.prompt).inc(placement.status.added)

    def _count_insertions(self, placement: domain.Placement) -> None:
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

    def _count_call(self, call: domain.Call) -> None:
        """Count a call of an LLM endpoint."""
        made = self._instruments
        made.llm_requests.labels(call.endpoint, call.outcome.value).inc()
        if call.completion is None:
            return
        reason = call.completion.finish_reason
        made.llm_request_duration_seconds.labels(call.endpoint).observe(call.duration_s)
        made.llm_tokens.labels("prompt").inc(call.completion.num_prompt_tokens)
        made.llm_tokens.labels("completion").inc(call.completion.num_tokens)
        made.llm_finish.labels(reason if reason in catalog.FINISH_REASONS else "other").inc()

    def _change_device(self, device: str, phase: domain.DevicePhase | None) -> None:
        """Count the time of the last phase, and start the next one."""
        self._instruments.learn("device", [device])
        self._count_busy(device)
        self._devices.pop(device, None)
        if phase is not None:
            self._devices[device] = (phase, self._clock())

    def _count_busy(self, device: str) -> None:
        """Count the elapsed time of the current phase, which may last for hours."""
        if device in self._devices:
            phase, since = self._devices[device]
            now = self._clock()
            self._instruments.device_busy_seconds.labels(device, phase.value).inc(now - since)
            self._devices[device] = (phase, now)

    # --- at scrape --------------------------------------------------------------------------------

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
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

    def _read_search(self, now: domain.SearchStatus) -> None:
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
        made.trainer_deaths.set(now.num_trainer_deaths)
        made.devices_out_of_service.set(len(now.devices_out))
        made.evaluations.set(now.num_evaluations)
        made.settled_jobs.set(now.num_settled)
        made.archive_qd_score.set(now.qd_score)
        made.archive_best_objective.set(now.best_objective or 0.0)
        made.archive_median_objective.set(now.median_objective or 0.0)
        made.oldest_job_timestamp_seconds.set(min(self._unsettled.values(), default=0.0))

    def _read_uplift(self, uplift: domain.Uplift | None) -> None:
        made = self._instruments
        for kind in catalog.UPLIFT_KINDS:
            difference: domain.Difference | None = getattr(uplift, kind, None)
            for bound in catalog.BOUNDS:
                made.uplift_ratio.labels(kind, bound).set(getattr(difference, bound, math.nan))
        for arm in catalog.ARMS:
            figures: domain.ArmFigures | None = getattr(uplift, arm, None)
            for state in catalog.ARM_STATES:
                made.arm_candidates.labels(arm, state).set(getattr(figures, f"num_{state}", 0))
