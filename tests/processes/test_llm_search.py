"""A whole search that asks an LLM over HTTP: faults of all kinds, outages, ensembles, recordings."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from llmatic_daemon import config
from llmatic_daemon.bootstrap import build_writers
from llmatic_daemon.domain import CallOutcome, Candidate, Network, Outcome, Placement
from llmatic_daemon.domain.ports import Writer
from llmatic_daemon.engine.engine import Engine
from llmatic_daemon.search.evolution import fold
from tests.support.engine import EngineHarness
from tests.support.fake_tgi import FaultPlan, fake_tgi
from tests.support.fakes import FakeObserver, bus_to, evolution, network
from tests.support.llm import forget_environment

#: A tenth of the real pauses and less: what is tested is the order of things, not their length.
QUICK = {
    "timeout_s": 0.3,
    "retry_s": 0.01,
    "max_retry_s": 0.05,
    "breaker_pause_s": 0.05,
    "max_breaker_pause_s": 0.2,
}


START = evolution(train_initial=True)


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_environment(monkeypatch)


def settings(**writer: Any) -> config.Settings:
    asked = {"kind": "tgi", **QUICK} | writer
    return config.load(preset="demo", environment={}, overrides={"writer": asked})


def lifted(candidate: Candidate) -> Network:
    number = int(hashlib.sha256(candidate.source.encode()).hexdigest()[:8], 16)
    return network(candidate.source, flops=200_000_000 + number, ratio=1 + number % 199)


@asynccontextmanager
async def searching(
    writer: Writer, num_slots: int = 4, **limits: Any
) -> AsyncIterator[tuple[EngineHarness, Engine]]:
    harness = EngineHarness(start=START, writer=writer, num_slots=num_slots)
    harness.lifter.result = lifted
    yield harness, harness.engine(**limits)


def blamed(placements: list[Placement]) -> list[Placement]:
    return [p for p in placements if p.curiosity_change or p.score_change or p.offer]


async def test_search_survives_faults_of_all_kinds_without_losing_a_job():
    observer = FakeObserver()
    async with (
        fake_tgi(faults=FaultPlan(share=0.2, seed=4)) as tgi,
        build_writers.writer(settings(url=tgi.url), bus_to(observer)) as writer,
        searching(writer, max_evaluations=200) as (harness, engine),
    ):
        await engine.run()

    memory = harness.store.memory
    assert engine.evolution.num_evaluations == 200
    assert [p.job.number for p in memory.placements if p.outcome is Outcome.ERROR] == []
    assert not memory.running
    assert not memory.queue
    assert sorted(p.job.number for p in memory.placements) == list(range(1, memory.num_jobs + 1))
    assert blamed([p for p in memory.placements if p.fallback]) == []
    outcomes = Counter(call.outcome for call in observer.calls)
    assert outcomes[CallOutcome.FAILED] > 10
    assert outcomes[CallOutcome.TIMEOUT] > 0
    assert outcomes[CallOutcome.OVERLOADED] > 0
    assert fold(harness.start, memory.placements) == engine.evolution


@pytest.mark.parametrize("outage", ["fallback", "wait"])
async def test_outage_in_a_running_search_burns_nothing(outage: str, caplog: pytest.LogCaptureFixture):
    async with (
        fake_tgi() as tgi,
        build_writers.writer(settings(url=tgi.url, on_outage=outage)) as writer,
        searching(writer, max_evaluations=120) as (harness, engine),
    ):
        running = asyncio.create_task(engine.run())
        await _settled(harness, 20)
        tgi.down()
        await (_settled(harness, 60) if outage == "fallback" else asyncio.sleep(0.3))
        await tgi.up()
        await running

    placements = harness.store.memory.placements
    stand_ins = [p for p in placements if p.fallback]
    assert [p for p in placements if p.outcome is Outcome.ERROR] == []
    assert [p for p in placements if p.job.num_charged] == []
    assert blamed(stand_ins) == []
    assert bool(stand_ins) is (outage == "fallback")
    ours = [r for r in caplog.records if r.name.startswith("llmatic_daemon")]
    told = [r for r in ours if getattr(r, "action", "") != "placed"]
    assert len(told) < 10, [r.getMessage() for r in told]


async def test_server_that_hangs_is_an_outage_as_well():
    """As with a shard that is wedged: /info answers, and nothing else does."""
    async with (
        fake_tgi(faults=FaultPlan(*["hang"] * 40)) as tgi,
        build_writers.writer(settings(url=tgi.url, breaker_window_s=0.01)) as writer,
        searching(writer, num_slots=1, max_evaluations=20) as (harness, engine),
    ):
        await engine.run()

    placements = harness.store.memory.placements
    assert [p for p in placements if p.outcome is Outcome.ERROR or p.job.num_charged] == []
    assert any(p.fallback for p in placements)


async def test_each_candidate_records_who_wrote_it():
    async with (
        fake_tgi() as tgi,
        build_writers.writer(settings(url=tgi.url)) as writer,
        searching(writer, max_evaluations=5) as (harness, engine),
    ):
        await engine.run()

    for placement in harness.store.memory.placements:
        assert (placement.writer, placement.endpoint) == ("tgi", "tgi")
        assert placement.model == "Salesforce/codegen-6B-mono"
        assert placement.model_version
        assert placement.finish_reason in ("stop", "length")
        assert placement.num_prompt_tokens > 100
        assert placement.num_tokens > 10
        assert placement.durations.llm_s > 0


async def test_ensemble_asks_its_endpoints_by_weight():
    async with fake_tgi() as small, fake_tgi() as large:
        endpoints = {"small": {"url": small.url, "weight": 3.0}, "large": {"url": large.url}}
        async with (
            build_writers.writer(settings(endpoints=endpoints)) as writer,
            searching(writer, max_evaluations=80) as (harness, engine),
        ):
            await engine.run()

    asked = Counter(placement.endpoint for placement in harness.store.memory.placements)
    assert set(asked) == {"small", "large"}
    assert 0.6 < asked["small"] / asked.total() < 0.9


async def test_crossover_that_does_not_fit_goes_on_with_fewer_parents():
    async with (
        fake_tgi(max_input_tokens=700, max_total_tokens=1100) as tgi,
        build_writers.writer(settings(url=tgi.url)) as writer,
        searching(writer, max_evaluations=60) as (harness, engine),
    ):
        await engine.run()

    placements = harness.store.memory.placements
    assert all(p.num_prompt_tokens <= 700 for p in placements)
    assert {len(p.parents) for p in placements} <= {0, 1, 2, 3}
    assert any(len(p.parents) > 1 for p in placements)


async def test_recorded_search_is_repeated_exactly_without_an_llm(tmp_path: Path):
    recording = tmp_path / "completions.jsonl"
    async with (
        fake_tgi() as tgi,
        build_writers.writer(settings(url=tgi.url, record=str(recording))) as writer,
        searching(writer, num_slots=1, max_evaluations=40) as (first, engine),
    ):
        await engine.run()

    replayed = settings(kind="replay", replay=str(recording))
    async with (
        build_writers.writer(replayed) as writer,
        searching(writer, num_slots=1, max_evaluations=40) as (second, again),
    ):
        await again.run()

    assert again.evolution == engine.evolution
    assert second.store.memory.placements == first.store.memory.placements


async def _settled(harness: EngineHarness, count: int) -> None:
    """Let the search go on until so many are settled."""
    async with asyncio.timeout(30):
        while len(harness.store.memory.placements) < count:  # noqa: ASYNC110 - the fake has no news
            await asyncio.sleep(0.01)
