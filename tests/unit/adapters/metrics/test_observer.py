"""What Prometheus is told, and that it can fetch it."""

from collections import Counter
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from llmatic_daemon.adapters.metrics.catalog import TABLE, Metric
from llmatic_daemon.adapters.metrics.observer import Metrics
from llmatic_daemon.adapters.metrics.registry import Instruments
from llmatic_daemon.domain import (
    CommitResult,
    DevicePhase,
    Durations,
    EndpointState,
    Job,
    Outcome,
    RestartReason,
    Verdict,
)
from llmatic_daemon.domain.events import (
    Audited,
    BackupFinished,
    CommitTried,
    DatabaseChecked,
    DeviceChanged,
    DeviceRemoved,
    HttpAnswered,
    JobDispatched,
    JobReleased,
    LoopLagMeasured,
    Placed,
    SlotChanged,
    SlotsResized,
    StateMeasured,
    TrainerReplaced,
)
from llmatic_daemon.domain.sandbox import Violation
from tests.support.fakes import Clock
from tests.support.metrics import SNAPSHOT, large, samples
from tests.support.sample_placements import audit, edition, failure, success

ENDPOINT = EndpointState(name="tgi", model="codegen", is_open=True, num_in_flight=3, limit=8)


def metrics() -> Metrics:
    made = Metrics("1.2.3", 2, ("tgi",))
    made.watch(lambda: SNAPSHOT, lambda: (ENDPOINT,))
    made.configured("abc", "digits", 60.0)
    made.use(edition(1, "deepen", "widen").prompts)
    return made


def exported(made: Metrics) -> Counter[str]:
    """Count the series of each name."""
    families = text_string_to_metric_families(made.exposition().decode())
    return Counter(sample.name for family in families for sample in family.samples)


def test_every_label_is_there_as_zero_from_the_start() -> None:
    found = samples(metrics())

    assert found["llmatic_candidates_total", "oom"] == 0
    assert found["llmatic_prompt_selected_total", "widen"] == 0
    assert found["llmatic_archive_insertions_total", "network", "new"] == 0


def test_placement_is_counted_once() -> None:
    made, job = metrics(), Job(number=1, attempt=1)
    placement, _ = success(1, job)

    made.receive(Placed(placement=placement))
    made.receive(Placed(placement=failure(2, Job(number=2, attempt=1))))

    found = samples(made)
    assert found["llmatic_candidates_total", "trained"] == 1
    assert found["llmatic_candidates_total", "error"] == 1
    assert found["llmatic_phase_duration_seconds_count", "train"] == 2


def test_time_that_a_first_look_saves_is_counted() -> None:
    made = metrics()
    stopped = failure(
        1,
        Job(number=1, attempt=1),
        outcome=Outcome.STOPPED,
        rung_accuracy=0.3,
        cost=0.25,
        durations=Durations(train_s=2.0),
    )

    made.receive(Placed(placement=stopped))

    found = samples(made)
    assert found["llmatic_gpu_seconds_total",] == 2.0
    assert found["llmatic_training_seconds_saved_total", "rung"] == 6.0


def test_audit_is_counted_with_the_time_that_it_took() -> None:
    made = metrics()
    placement, _ = success(1, Job(number=1, attempt=1))
    made.receive(Placed(placement=placement))

    made.receive(Audited(audit=audit(1, placement, verdict=Verdict.UNSTABLE)))

    found = samples(made)
    assert found["llmatic_audits_total", "unstable"] == 1
    assert found["llmatic_audits_total", "stable"] == 0
    assert found["llmatic_audit_seconds_total",] == 0.4
    assert found["llmatic_gpu_seconds_total",] == 0.8
    assert found["llmatic_candidates_total", "trained"] == 1


def test_network_outside_the_bounds_is_counted() -> None:
    made = metrics()
    placement, _ = success(1, Job(number=1, attempt=1))

    made.receive(Placed(placement=replace(placement, clipped=True)))

    assert samples(made)["llmatic_archive_out_of_bounds_total",] == 1


def test_slot_is_in_one_phase_at_a_time() -> None:
    made = metrics()

    made.receive(SlotChanged(slot=1, phase="llm"))
    made.receive(SlotChanged(slot=1, phase="train"))

    found = samples(made)
    phases = {key[2]: value for key, value in found.items() if key[:2] == ("llmatic_slot_state", "1")}
    assert [name for name, value in phases.items() if value] == ["train"]


def test_gauges_are_read_from_the_search_at_scrape() -> None:
    found = samples(metrics())

    assert found["llmatic_evaluations",] == 2
    assert found["llmatic_archive_filled_cells", "prompt"] == 4


def test_all_of_the_table_is_exported_and_nothing_else() -> None:
    made = metrics()
    made.receive(DeviceChanged(device="cuda:0", phase=None))

    found = exported(made)

    declared = {name for metric in TABLE for name in metric.series}
    assert declared | {metric.former for metric in TABLE if metric.former} == {
        name for name in found if name.startswith("llmatic_")
    }
    assert "process_resident_memory_bytes" in found


@pytest.mark.parametrize("metric", [each for each in TABLE if each.former], ids=lambda each: each.former)
def test_renamed_metric_is_exported_under_its_deprecated_name_too(metric: Metric) -> None:
    made = Instruments()
    made.learn("device", ["cuda:0"])
    counter = getattr(made, metric.attribute)
    values = [values[-1] if values else "cuda:0" for values in metric.labels.values()]
    (counter.labels(*values) if values else counter).inc(3.0)
    text = made.exposition().decode()
    found = {
        tuple(sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == metric.former
    }

    old_values = sorted(metric.former_values.get(value, value) for value in values)

    assert found[tuple(old_values)] == 3.0
    assert sum(found.values()) == 3.0
    assert f"# HELP {metric.former} Deprecated, will be removed: use {metric.name}." in text
    assert f"# TYPE {metric.former} counter" in text


def test_metrics_of_0_5_0_are_still_exported() -> None:
    """As its README listed them."""
    gone = {
        "llmatic_evaluations_total",
        "llmatic_device_place_busy_seconds_total",
        "llmatic_llm_stand_ins_total",
        "llmatic_gpu_seconds_saved_total",
        "llmatic_jobs_total",
        "llmatic_prompt_set_reloads_total",
    }

    assert {metric.former for metric in TABLE} - {""} == gone
    assert not gone & {metric.name for metric in TABLE}


def test_series_stay_few() -> None:
    assert sum(exported(large()).values()) < 600


def test_prompt_that_is_not_used_any_more_is_not_exported() -> None:
    made = metrics()

    made.use(edition(2, "widen").prompts)
    placement, _ = success(1, Job(number=1, attempt=1))
    made.receive(Placed(placement=replace(placement, prompt="deepen")))

    assert ("llmatic_prompt_selected_total", "deepen") not in samples(made)
    assert samples(made)["llmatic_prompt_selected_total", "widen"] == 0
    made.use(edition(3, "deepen", "widen").prompts)
    assert samples(made)["llmatic_prompt_selected_total", "deepen"] == 0


def test_state_of_the_search_is_read_at_scrape() -> None:
    found = samples(metrics())

    assert found["llmatic_paused",] == 1
    assert found["llmatic_ready",] == 1
    assert found["llmatic_archive_median_objective",] == 0.4
    assert found["llmatic_archive_coverage_ratio", "prompt"] == 0.04
    assert found["llmatic_prompt_curiosity", "deepen"] == 1.5
    assert found["llmatic_prompt_curiosity", "widen"] == 0


def test_job_is_followed_from_its_claim_to_its_end() -> None:
    made, job = metrics(), Job(number=7, attempt=1)
    made.receive(JobDispatched(job=job))
    first = samples(made)
    made.receive(JobReleased(job=job, charged=True))
    second = samples(made)
    made.receive(JobDispatched(job=replace(job, attempt=2)))
    made.receive(Placed(placement=success(1, replace(job, attempt=2))[0]))
    third = samples(made)

    assert [
        [found["llmatic_jobs", state] for state in ("queued", "running", "settled")]
        for found in (first, second, third)
    ] == [[0, 1, 3], [1, 0, 3], [0, 0, 3]]
    ends = ("llmatic_attempts_total", "charged"), ("llmatic_attempts_total", "settled")
    assert [third[end] for end in ends] == [1, 1]
    oldest = "llmatic_oldest_job_timestamp_seconds"
    assert first[oldest,] == second[oldest,] > third[oldest,] == 0


def test_device_place_is_counted_while_it_is_busy() -> None:
    clock = Clock()
    made = Metrics("1", 1, (), clock)
    made.receive(DeviceChanged(device="cpu/1", phase=DevicePhase.START))
    clock.now += 5.0
    made.receive(DeviceChanged(device="cpu/1", phase=None))
    clock.now += 100.0
    made.receive(DeviceChanged(device="cpu/1", phase=DevicePhase.TRAIN))
    clock.now += 30.0
    during = samples(made)
    clock.now += 10.0

    busy = "llmatic_device_busy_seconds_total"
    assert during[busy, "cpu/1", "train"] == 30
    assert samples(made)[busy, "cpu/1", "train"] == 40
    assert samples(made)[busy, "cpu/1", "start"] == 5
    assert samples(made)[busy, "cpu/1", "audit"] == 0


def test_place_that_is_gone_is_no_idle_one() -> None:
    made = metrics()
    for device in ("cpu/1", "cpu/2"):
        made.receive(DeviceChanged(device=device, phase=DevicePhase.TRAIN))

    made.receive(DeviceRemoved(device="cpu/2"))

    assert not any("cpu/2" in sample for sample in samples(made))
    assert ("llmatic_device_busy_seconds_total", "cpu/1", "train") in samples(made)
    made.receive(DeviceChanged(device="cpu/2", phase=None))
    assert samples(made)["llmatic_device_busy_seconds_total", "cpu/2", "train"] == 0


def test_commit_is_counted_with_its_time() -> None:
    made = metrics()

    made.receive(CommitTried(result=CommitResult.UNAVAILABLE, duration_s=5.0))
    made.receive(CommitTried(result=CommitResult.KEPT, duration_s=0.004))

    found = samples(made)
    assert found["llmatic_commits_total", "kept"] == 1
    assert found["llmatic_commits_total", "unavailable"] == 1
    assert found["llmatic_commit_duration_seconds_count",] == 2
    assert found["llmatic_phase_duration_seconds_sum", "commit"] == 0.004


@pytest.mark.parametrize("kind", Violation)
def test_violation_of_the_sandbox_is_counted_by_its_kind(kind: Violation) -> None:
    made = metrics()
    placement = replace(failure(1, Job(number=1, attempt=1)), outcome=Outcome.SANDBOX, violation=kind)

    made.receive(Placed(placement=placement))

    found = samples(made)
    assert found["llmatic_sandbox_violations_total", kind.value] == 1
    assert sum(found["llmatic_sandbox_violations_total", each.value] for each in Violation) == 1


def test_share_of_the_fullest_cell_follows_the_networks() -> None:
    made = metrics()
    for number, cell in enumerate((1, 1, 2, 1), 1):
        placement, _ = success(number, Job(number=number, attempt=1))
        made.receive(Placed(placement=replace(placement, cell=cell)))

    assert samples(made)["llmatic_archive_fullest_cell_ratio",] == 0.75


def test_what_others_report_is_exported() -> None:
    made = metrics()
    made.receive(HttpAnswered(route="/metrics", status=200, is_denied=False))
    made.receive(HttpAnswered(route="", status=421, is_denied=True))
    made.receive(BackupFinished(finished_at=123.0))
    made.receive(DatabaseChecked(is_sound=False))
    made.receive(LoopLagMeasured(longest_s=0.5))
    made.receive(StateMeasured(database_bytes=1, wal_bytes=2, free_bytes=3))
    made.receive(TrainerReplaced(device="cuda:0", reason=RestartReason.HUNG))

    found = samples(made)
    assert found["llmatic_http_requests_total", "/metrics", "2xx"] == 1
    assert found["llmatic_auth_failures_total",] == 1
    assert found["llmatic_backup_last_success_timestamp_seconds",] == 123
    assert found["llmatic_db_integrity",] == 0
    assert found["llmatic_event_loop_lag_seconds",] == 0.5
    assert found["llmatic_state_filesystem_free_bytes",] == 3
    assert found["llmatic_trainer_restarts_total", "cuda:0", "hung"] == 1
    assert found["llmatic_trainer_restarts_total", "cuda:0", "died"] == 0


def test_config_info_names_the_prompts_in_use() -> None:
    made = metrics()
    prompts = edition(2, "widen").prompts
    made.use(prompts)

    assert samples(made)["llmatic_config_info", "abc", prompts.digest[:12], "digits"] == 1


def test_new_slots_have_their_phases_from_the_start() -> None:
    made = metrics()

    made.receive(SlotsResized(num_slots=4))
    made.receive(SlotChanged(slot=3, phase="train"))
    made.receive(SlotsResized(num_slots=1))
    made.receive(SlotChanged(slot=3, phase="idle"))

    found = samples(made)
    assert (found["llmatic_slot_state", "2", "idle"], found["llmatic_slot_state", "2", "llm"]) == (1, 0)
    assert (found["llmatic_slot_state", "3", "idle"], found["llmatic_slot_state", "3", "train"]) == (1, 0)
