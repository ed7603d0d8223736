"""Metrics for tests and benchmarks: how to read them, and those of a large daemon."""

from prometheus_client.parser import text_string_to_metric_families

from llmatic_daemon.adapters.metrics.observer import Metrics
from llmatic_daemon.domain import EndpointState, SearchStatus
from llmatic_daemon.domain.events import DeviceChanged
from tests.support.sample_placements import edition

PROMPTS = tuple(f"prompt-{number}" for number in range(31))
ENDPOINTS = ("tgi", "chat")


def large() -> Metrics:
    """Return metrics of 8 slots, 8 device places, 32 prompts, 2 LLM servers and a full archive."""
    made = Metrics("1.2.3", 8, ENDPOINTS)
    snapshot = SearchStatus(
        num_settled=100_000,
        num_evaluations=60_000,
        max_evaluations=None,
        network_cells=100,
        filled_network_cells=100,
        prompt_cells=100,
        filled_prompt_cells=100,
        qd_score=60.0,
        best_objective=0.9,
        best_job=1,
        elapsed_s=1e6,
        train_s=1e6,
        num_slots=8,
        median_objective=0.6,
        curiosity=dict.fromkeys(PROMPTS, 1.5),
    )
    states = tuple(
        EndpointState(name=name, model="codegen", is_open=False, num_in_flight=3, limit=8)
        for name in ENDPOINTS
    )
    made.watch(lambda: snapshot, lambda: states)
    made.configured("abc", "digits", 60.0)
    made.use(edition(1, *PROMPTS).prompts)
    for number in range(1, 9):
        made.receive(DeviceChanged(device=f"cuda:0/{number}", phase=None))
    return made


SNAPSHOT = SearchStatus(
    num_settled=3,
    num_evaluations=2,
    max_evaluations=None,
    network_cells=100,
    filled_network_cells=1,
    prompt_cells=100,
    filled_prompt_cells=4,
    qd_score=0.5,
    best_objective=0.5,
    best_job=1,
    elapsed_s=1.0,
    train_s=2.0,
    num_slots=2,
    is_paused=True,
    median_objective=0.4,
    curiosity={"deepen": 1.5},
)


def samples(made: Metrics) -> dict[tuple[str, ...], float]:
    text = made.exposition().decode()
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
