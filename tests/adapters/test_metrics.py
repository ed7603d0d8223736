"""What Prometheus is told, and that it can fetch it."""

import socket
from dataclasses import replace

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from llmatic_daemon.adapters.http import listening
from llmatic_daemon.adapters.metrics import Metrics
from llmatic_daemon.errors import ConfigurationError
from llmatic_daemon.records import EndpointState, Job, Snapshot, Verdict
from tests.sample_placements import audit, edition, failure, success

SNAPSHOT = Snapshot(
    num_settled=3, num_evaluations=2, max_evaluations=None, network_cells=100,
    filled_network_cells=1, prompt_cells=100, filled_prompt_cells=4, qd_score=0.5,
    best_objective=0.5, best_job=1, elapsed_s=1.0, train_s=2.0,
    num_slots=2,
)  # fmt: skip


ENDPOINT = EndpointState(name="tgi", model="codegen", is_open=True, num_in_flight=3, limit=8)


def metrics() -> Metrics:
    made = Metrics("1.2.3", 2, ("tgi",))
    made.watch(lambda: SNAPSHOT, lambda: (ENDPOINT,))
    made.use(edition(1, "deepen", "widen").prompts)
    return made


def samples(made: Metrics) -> dict[tuple[str, ...], float]:
    text = made.exposition().decode()
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_label_is_there_as_zero_from_the_start() -> None:
    found = samples(metrics())

    assert found["llmatic_evaluations_total", "oom"] == 0
    assert found["llmatic_prompt_selected_total", "widen"] == 0
    assert found["llmatic_archive_insertions_total", "network", "new"] == 0


def test_placement_is_counted_once() -> None:
    made, job = metrics(), Job(number=1, attempt=1)
    placement, _ = success(1, job)

    made.placed(placement)
    made.placed(failure(2, Job(number=2, attempt=1)))

    found = samples(made)
    assert found["llmatic_evaluations_total", "trained"] == 1
    assert found["llmatic_evaluations_total", "error"] == 1
    assert found["llmatic_phase_duration_seconds_count", "train"] == 2


def test_audit_is_counted_with_the_time_that_it_took() -> None:
    made = metrics()
    placement, _ = success(1, Job(number=1, attempt=1))
    made.placed(placement)

    made.audited(audit(1, placement, verdict=Verdict.UNSTABLE))

    found = samples(made)
    assert found["llmatic_audits_total", "unstable"] == 1
    assert found["llmatic_audits_total", "stable"] == 0
    assert found["llmatic_audit_seconds_total",] == 0.4
    assert found["llmatic_gpu_seconds_total",] == 0.8
    assert found["llmatic_evaluations_total", "trained"] == 1


def test_network_outside_the_bounds_is_counted() -> None:
    made = metrics()
    placement, _ = success(1, Job(number=1, attempt=1))

    made.placed(replace(placement, clipped=True))

    assert samples(made)["llmatic_archive_out_of_bounds_total",] == 1


def test_slot_is_in_one_phase_at_a_time() -> None:
    made = metrics()

    made.slot_changed(1, "llm", "")
    made.slot_changed(1, "train", "")

    found = samples(made)
    phases = {
        key[2]: value for key, value in found.items() if key[:2] == ("llmatic_slot_state", "1")
    }
    assert [name for name, value in phases.items() if value] == ["train"]


def test_gauges_are_read_from_the_search_at_scrape() -> None:
    found = samples(metrics())

    assert found["llmatic_evaluations",] == 2
    assert found["llmatic_archive_filled_cells", "prompt"] == 4


def test_series_stay_few() -> None:
    made = Metrics("1", 8, ("tgi", "chat"))
    made.watch(lambda: SNAPSHOT, lambda: (ENDPOINT,))
    made.use(edition(1, *(f"prompt-{number}" for number in range(32))).prompts)

    assert len(samples(made)) < 600


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_metrics_and_health_are_served_on_loopback() -> None:
    made, port = metrics(), free_port()
    async with (
        listening(port, made.exposition, lambda: False),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        scraped = await client.get("/metrics")
        ready = await client.get("/-/ready")
        posted = await client.post("/metrics")

        assert "llmatic_evaluations_total" in await scraped.text()
        assert (scraped.status, ready.status, posted.status) == (200, 503, 405)


async def test_taken_port_names_the_setting() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ConfigurationError, match=r"metrics\.port must be free"):
            async with listening(other.getsockname()[1], metrics().exposition, lambda: True):
                pass


def test_new_slots_have_their_phases_from_the_start() -> None:
    made = metrics()

    made.resized(4)
    made.slot_changed(3, "train", "")
    made.resized(1)
    made.slot_changed(3, "idle", "")

    found = samples(made)
    assert found["llmatic_slots",] == 1
    assert (found["llmatic_slot_state", "2", "idle"], found["llmatic_slot_state", "2", "llm"]) == (
        1,
        0,
    )
    assert (
        found["llmatic_slot_state", "3", "idle"],
        found["llmatic_slot_state", "3", "train"],
    ) == (1, 0)
