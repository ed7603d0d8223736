"""Prometheus metrics: counted as things happen; what is a state is read at scrape."""

import math
import time
from collections import Counter
from collections.abc import Callable

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
    Call,
    CommitResult,
    DevicePhase,
    Difference,
    EndpointState,
    Outcome,
    Placement,
    PromptSet,
    SearchStatus,
    Uplift,
)
from llmatic_daemon.domain.events import (
    Audited,
    BackupFinished,
    CallEnded,
    CommitTried,
    DatabaseChecked,
    DeviceChanged,
    DeviceRemoved,
    Event,
    HttpAnswered,
    JobDispatched,
    JobReleased,
    LoopLagMeasured,
    Placed,
    PromptsAdopted,
    PromptsRejected,
    RoutesServed,
    SandboxProbed,
    SlotChanged,
    SlotsResized,
    StateMeasured,
    TrainerReplaced,
)
from llmatic_daemon.domain.sandbox import Layer

#: What is served by HTTP; more is learnt by `serves`.
#: What is asked for beside what there is.
NO_ROUTE = "none"
#: Statuses of those who were denied for their token, origin or host.
DENIALS = (401, 403, 421)


class Metrics:
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
        #: Phase of each slot; phase of each busy device place, and since when.
        self._slots: dict[int, str] = {}
        self._places: dict[str, tuple[DevicePhase, float]] = {}
        #: Unsettled jobs: when each was first dispatched, in seconds since 1970, and those that run.
        self._unsettled: dict[int, float] = {}
        self._running = set[int]()
        #: Networks trained since the start, by cell.
        self._trained = Counter[int]()
        self._num_trained = self._num_in_fullest = 0
        made.describe("build_info", version=version)
        made.put("db_integrity", 1)
        self._read_uplift(None)
        made.learn("endpoint", endpoints)
        made.learn("route", [NO_ROUTE])
        for slot in range(num_slots):
            self._change_slot(slot, "idle")

    # --- who it is told of ------------------------------------------------------------------------

    def watch(
        self, view: Callable[[], SearchStatus], endpoints: Callable[[], tuple[EndpointState, ...]]
    ) -> None:
        """Read the gauges of the search and of the LLM servers from here, at each scrape."""
        self._view, self._endpoints = view, endpoints

    def configured(self, config_hash: str, task: str, training_timeout_s: float) -> None:
        """Export what is searched."""
        self._config = {"config_hash": config_hash, "task": task}
        self._instruments.put("training_timeout_seconds", training_timeout_s)
        self._instruments.put("last_commit_timestamp_seconds", time.time())  # counts from here

    def use(self, prompts: PromptSet) -> None:
        """Export the prompts that are in use from now on, each as 0 at first, and no others."""
        made, ids = self._instruments, frozenset(prompt.id for prompt in prompts.all)
        made.put("prompt_set_loaded_timestamp_seconds", time.time())
        made.describe("config_info", prompt_set_hash=prompts.digest[:12], **self._config)
        made.learn("prompt", sorted(ids))
        made.forget("prompt", self._prompts - ids)
        self._prompts = ids

    # --- what happens -----------------------------------------------------------------------------

    def receive(self, event: Event) -> None:
        """Count an event."""
        made = self._instruments
        match event:
            case SlotChanged(slot=slot, phase=phase):
                self._change_slot(slot, phase)
            case SlotsResized(num_slots=num_slots):
                for slot in range(len(self._slots), num_slots):  # old ones end idle
                    self._change_slot(slot, "idle")
            case JobDispatched(job=job):
                self._unsettled.setdefault(job.number, time.time())
                self._running.add(job.number)
            case JobReleased(job=job, charged=charged):
                self._running.discard(job.number)
                made.count("jobs_total", "charged" if charged else "released")
            case CallEnded(call=call):
                self._count_call(call)
            case CommitTried(result=result, duration_s=duration_s):
                self._count_commit(result, duration_s)
            case Placed(placement=placement):
                self._count_placement(placement)
            case PromptsAdopted(edition=edition):
                made.count("prompt_set_reloads_total", "adopted")
                self.use(edition.prompts)
            case PromptsRejected():
                made.count("prompt_set_reloads_total", "refused")
            case Audited(audit=audit):
                made.count("audits_total", audit.verdict.value)
                made.count("audit_seconds_total", by=audit.train_s)
                made.count("gpu_seconds_total", by=audit.train_s)
            case DeviceChanged(device=device, phase=phase):
                self._change_device(device, phase)
            case DeviceRemoved(device=device):  # what is not there is not idle
                self._places.pop(device, None)
                made.forget("device", [device])
            case TrainerReplaced(device=device, reason=reason):
                made.learn("device", [device])
                made.count("trainer_restarts_total", device, reason.value)
            case SandboxProbed(missing=missing):
                for layer in Layer:
                    made.put("sandbox_layer", layer not in missing, layer.value)
            case BackupFinished(finished_at=finished_at):
                made.put("backup_last_success_timestamp_seconds", finished_at)
            case RoutesServed(routes=routes):  # each as 0 at first
                made.learn("route", routes)
            case HttpAnswered(route=route, status=status):
                made.count("http_requests_total", route or NO_ROUTE, f"{status // 100}xx")
                made.count("auth_failures_total", by=status in DENIALS)
            case StateMeasured():
                made.put("db_size_bytes", event.database_bytes)
                made.put("db_wal_size_bytes", event.wal_bytes)
                made.put("state_filesystem_free_bytes", event.free_bytes)
            case DatabaseChecked(is_sound=is_sound):
                made.put("db_integrity", is_sound)
                made.put("db_checked_timestamp_seconds", time.time())
            case LoopLagMeasured(longest_s=longest_s):
                made.put("event_loop_lag_seconds", longest_s)
            case _:
                pass

    def _change_slot(self, slot: int, phase: str) -> None:
        """Move a slot from one phase to another."""
        made, name, before = self._instruments, str(slot), self._slots.get(slot)
        if before is None:
            made.learn("slot", [name])
        elif phase != before:
            made.put("slot_state", 0, name, before)
        if phase != before:
            made.put("slot_state", 1, name, phase)
        self._slots[slot] = phase

    def _count_commit(self, result: CommitResult, duration_s: float) -> None:
        """Count a try to commit."""
        made = self._instruments
        made.count("commits_total", result.value)
        made.observe("commit_duration_seconds", duration_s)
        if result is CommitResult.KEPT:
            made.observe("phase_duration_seconds", duration_s, "commit")

    def _count_placement(self, placement: Placement) -> None:
        """Count a placement."""
        made = self._instruments
        self._running.discard(placement.job.number)
        self._unsettled.pop(placement.job.number, None)
        made.count("jobs_total", "settled")
        made.put("last_commit_timestamp_seconds", time.time())
        made.count("evaluations_total", placement.outcome.value)
        made.count("gpu_seconds_total", by=placement.durations.train_s)
        if placement.outcome is Outcome.STOPPED:
            rest_s = placement.durations.train_s * (1 / placement.cost - 1)
            made.count("gpu_seconds_saved_total", "look", by=rest_s)
        made.count("llm_stand_ins_total", by=placement.fallback)
        for phase in PHASES:
            if phase != "commit":
                spent_s = getattr(placement.durations, f"{phase}_s")
                made.observe("phase_duration_seconds", spent_s, phase)
        if placement.violation is not None:
            made.count("sandbox_violations_total", placement.violation.value)
        self._count_insertions(placement)
        if placement.prompt in self._prompts:  # another one has been retired since its proposal
            made.count("prompt_selected_total", placement.prompt)
            made.count("prompt_success_total", placement.prompt, by=placement.status.added)

    def _count_insertions(self, placement: Placement) -> None:
        made = self._instruments
        if placement.cell is not None:
            made.count("archive_insertions_total", "network", placement.status.value)
            made.count("archive_out_of_bounds_total", by=placement.clipped)
            self._trained[placement.cell] += 1
            self._num_trained += 1
            self._num_in_fullest = max(self._num_in_fullest, self._trained[placement.cell])
            ratio = self._num_in_fullest / self._num_trained
            made.put("archive_fullest_cell_ratio", ratio)
        if placement.offer is not None:
            made.count("archive_insertions_total", "prompt", placement.offer.status.value)

    def _count_call(self, call: Call) -> None:
        """Count a call of an LLM's endpoint."""
        made = self._instruments
        made.count("llm_requests_total", call.endpoint, call.outcome.value)
        if call.completion is None:
            return
        reason = call.completion.finish_reason
        made.observe("llm_request_duration_seconds", call.duration_s, call.endpoint)
        made.count("llm_tokens_total", "prompt", by=call.completion.num_prompt_tokens)
        made.count("llm_tokens_total", "completion", by=call.completion.num_tokens)
        made.count("llm_finish_total", reason if reason in FINISH_REASONS else "other")

    def _change_device(self, device: str, phase: DevicePhase | None) -> None:
        """Count the time until now, and begin to count another phase."""
        self._instruments.learn("device", [device])
        self._count_busy(device)
        self._places.pop(device, None)
        if phase is not None:
            self._places[device] = (phase, self._clock())

    def _count_busy(self, device: str) -> None:
        """Count what has passed of a phase that may last for hours."""
        if device in self._places:
            phase, since = self._places[device]
            now = self._clock()
            name = "device_place_busy_seconds_total"
            self._instruments.count(name, device, phase.value, by=now - since)
            self._places[device] = (phase, now)

    # --- at scrape --------------------------------------------------------------------------------

    def exposition(self) -> bytes:
        """Write all metrics in Prometheus' text format."""
        if self._view is not None:
            self._read_search(self._view())
        for state in self._endpoints():
            made = self._instruments
            made.put("llm_inflight_requests", state.num_in_flight, state.name)
            made.put("llm_concurrency_limit", state.limit, state.name)
            made.put("llm_circuit_open", state.is_open, state.name)
        for device in tuple(self._places):
            self._count_busy(device)
        return self._instruments.exposition()

    def _read_search(self, now: SearchStatus) -> None:
        made = self._instruments
        for name, cells, filled in (
            ("network", now.network_cells, now.filled_network_cells),
            ("prompt", now.prompt_cells, now.filled_prompt_cells),
        ):
            made.put("archive_cells", cells, name)
            made.put("archive_filled_cells", filled, name)
            made.put("archive_coverage_ratio", filled / cells if cells else 0.0, name)
        for state, num_jobs in (
            ("queued", len(self._unsettled) - len(self._running)),
            ("running", len(self._running)),
            ("settled", now.num_settled),
        ):
            made.put("jobs", num_jobs, state)
        self._read_uplift(now.uplift)
        for prompt in self._prompts:
            made.put("prompt_curiosity", now.curiosity.get(prompt, 0.0), prompt)
        for gauge, value in {
            "ready": now.is_ready,
            "paused": now.is_paused,
            "draining": now.is_draining,
            "slots": now.num_slots,
            "evaluations": now.num_evaluations,
            "settled_jobs": now.num_settled,
            "archive_qd_score": now.qd_score,
            "archive_best_objective": now.best_objective or 0.0,
            "archive_median_objective": now.median_objective or 0.0,
            "oldest_job_timestamp_seconds": min(self._unsettled.values(), default=0.0),
        }.items():
            made.put(gauge, value)

    def _read_uplift(self, uplift: Uplift | None) -> None:
        made = self._instruments
        for kind in UPLIFT_KINDS:
            difference: Difference | None = getattr(uplift, kind, None)
            for bound in BOUNDS:
                made.put("uplift_ratio", getattr(difference, bound, math.nan), kind, bound)
        for arm in ARMS:
            figures: ArmFigures | None = getattr(uplift, arm, None)
            for state in ARM_STATES:
                made.put("arm_candidates", getattr(figures, f"num_{state}", 0), arm, state)
