"""The engine: every way to stop, and the faults of the world."""

import asyncio
import logging
from dataclasses import replace

import pytest

from llmatic_daemon.adapters.storage.memory_store import Memory
from llmatic_daemon.domain import Edition, Job, Outcome, Placement
from llmatic_daemon.domain.errors import (
    EndpointOverloaded,
    LifterUnavailable,
    StoreUnavailable,
    TrainerUnavailable,
    WriterUnavailable,
)
from llmatic_daemon.search.evolution import fold
from llmatic_daemon.search.rules import RetryPolicy
from tests.support.engine import NEVER, EngineHarness, until
from tests.support.fakes import (
    AXIS_SIZE,
    Barrier,
    ErrorScript,
    FakeTrainer,
    FakeWriter,
    FlakyStore,
    evolution,
    prompts,
)

# --- pause, drain, abort -------------------------------------------------------------------------


async def test_pause_starts_no_job_until_resume():
    harness = EngineHarness(num_slots=2)
    engine = harness.engine(max_evaluations=3)
    await engine.pause()
    running = asyncio.create_task(engine.run())
    for _ in range(20):
        await asyncio.sleep(0)
    while_paused = list(harness.writer.requests)

    await engine.resume()
    await running

    assert while_paused == []
    assert len(harness.outcomes) == 3


async def test_pause_lets_jobs_under_way_go_on():
    barrier = Barrier()
    harness = EngineHarness(trainer=FakeTrainer(barrier=barrier))
    engine = harness.engine()
    running = asyncio.create_task(engine.run())
    await barrier.arrivals()

    await engine.pause()
    barrier.open()
    await until(lambda: len(harness.outcomes) == 1)
    await engine.drain("stopped", 0.0)
    await running

    assert len(harness.outcomes) == 1


async def test_drain_keeps_what_ends_in_time():
    barrier = Barrier()
    harness = EngineHarness(num_slots=2, trainer=FakeTrainer(barrier=barrier))
    engine = harness.engine()
    running = asyncio.create_task(engine.run())
    await barrier.arrivals(2)
    draining = asyncio.create_task(engine.drain("stopped by SIGTERM", 3600.0))
    await asyncio.sleep(0)

    barrier.open()
    await draining

    assert await running == "stopped by SIGTERM"
    assert harness.outcomes == [Outcome.TRAINED] * 2
    assert not harness.store.memory.queue


async def test_drain_gives_back_what_is_late_uncharged():
    barrier = Barrier()
    harness = EngineHarness(num_slots=2, trainer=FakeTrainer(barrier=barrier))
    engine = harness.engine()
    running = asyncio.create_task(engine.run())
    await barrier.arrivals(2)

    await engine.drain("stopped by SIGTERM", 0.0)

    assert await running == "stopped by SIGTERM"
    assert harness.outcomes == []
    assert sorted(job.number for job in harness.store.memory.queue) == [1, 2]
    assert [job.num_charged for job in harness.store.memory.queue] == [0, 0]


async def test_drain_ends_while_the_store_is_out():
    harness = EngineHarness(retry_policy=NEVER)
    harness.store.out = True
    engine = harness.engine()
    running = asyncio.create_task(engine.run())
    await harness.store.refused.wait()

    async with asyncio.timeout(5):
        await engine.drain("stopped by SIGTERM", 0.0)
        await running

    assert harness.outcomes == []
    assert [job.number for job in harness.store.memory.queue] == [1]


async def test_drain_before_the_start_starts_nothing():
    harness = EngineHarness()
    engine = harness.engine()

    await engine.drain("stopped by SIGTERM", 0.0)

    assert await engine.run() == "stopped by SIGTERM"
    assert harness.writer.requests == []


async def test_abort_gives_jobs_back_at_once():
    barrier = Barrier()
    harness = EngineHarness(num_slots=3, writer=FakeWriter(barrier=barrier))
    engine = harness.engine()
    running = asyncio.create_task(engine.run())
    await barrier.arrivals(3)

    engine.abort()

    assert await running == "aborted"
    assert len(harness.store.memory.queue) == 3
    assert not harness.store.memory.running


async def test_abort_keeps_the_result_that_is_being_committed():
    barrier = Barrier()
    harness = EngineHarness()
    harness.store.commit_barrier = barrier
    engine = harness.engine()
    running = asyncio.create_task(engine.run())
    await barrier.arrivals()

    engine.abort()
    barrier.open()
    await running

    assert harness.outcomes == [Outcome.TRAINED]
    assert engine.evolution.num_settled == 1
    assert len(harness.observer.placements) == 1


async def test_abort_keeps_the_results_that_wait_to_be_committed():
    """They are trained: to give them back would throw the training away."""
    barrier = Barrier()
    harness = EngineHarness(num_slots=3)
    harness.store.commit_barrier = barrier
    engine = harness.engine()
    running = asyncio.create_task(engine.run())
    await barrier.arrivals()
    await until(lambda: [p for _, p in harness.observer.phases].count("commit") == 3)

    engine.abort()
    barrier.open()
    await running

    assert harness.outcomes == [Outcome.TRAINED] * 3


async def test_settled_job_of_a_cancelled_slot_is_not_revived():
    barrier = Barrier()
    harness = EngineHarness()
    harness.store.commit_barrier = barrier
    engine = harness.engine()
    running = asyncio.create_task(engine.run())
    await barrier.arrivals()
    engine.abort()
    engine.abort()
    barrier.open()
    await running

    assert not harness.store.memory.queue
    assert await FlakyStore(harness.store.memory).dispatch(0) == Job(number=2, attempt=1)


# --- faults of the world -------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["writer", "lifter", "trainer"])
async def test_world_error_blames_nobody(where: str):
    fault = {
        "writer": WriterUnavailable("no LLM"),
        "lifter": LifterUnavailable("no lifter"),
        "trainer": TrainerUnavailable("no trainer"),
    }[where]
    harness = EngineHarness()
    getattr(harness, where).faults = ErrorScript(*[fault] * 3)

    await harness.engine(max_evaluations=1).run()

    failed = harness.store.memory.placements[0]
    assert harness.outcomes == [Outcome.ERROR, Outcome.TRAINED]
    assert failed.detail == str(fault)
    assert (failed.curiosity_change, failed.score_change, failed.offer) == (0.0, 0.0, None)
    assert failed.job == Job(number=1, attempt=3, num_charged=2)


async def test_world_error_is_charged_and_the_job_tried_again():
    harness = EngineHarness(trainer=FakeTrainer(faults=ErrorScript(TrainerUnavailable("died"), None)))

    await harness.engine(max_evaluations=1).run()

    (placement,) = harness.store.memory.placements
    assert placement.job == Job(number=1, attempt=2, num_charged=1)
    assert placement.outcome is Outcome.TRAINED


async def test_failed_job_is_placed_with_the_prompt_that_was_tried():
    harness = EngineHarness(
        start=evolution(num_initial=1, train_initial=True),
        retry_policy=RetryPolicy(max_attempts=1, retry_s=0.0, max_retry_s=0.0),
        trainer=FakeTrainer(faults=ErrorScript(None, TrainerUnavailable("died"))),
    )

    await harness.engine(max_evaluations=2).run()

    assert harness.store.memory.placements[1].outcome is Outcome.ERROR
    assert harness.store.memory.placements[1].prompt == harness.writer.requests[1].prompt.id


async def test_job_that_ended_the_daemon_too_often_is_placed_as_failed():
    """Otherwise a candidate that kills the daemon would kill it again at each restart."""
    memory = Memory()
    for _ in range(3):
        await FlakyStore(memory).dispatch(0)
    harness = EngineHarness(store=FlakyStore(memory))

    await harness.engine(max_evaluations=1).run()

    failed, trained = harness.store.memory.placements
    assert (failed.job.number, failed.outcome) == (1, Outcome.ERROR)
    assert failed.detail == "the daemon ended 3 times while it worked on this job"
    assert trained.job.number == 2
    assert len(harness.writer.requests) == 1


async def test_pause_after_a_fault_doubles_up_to_its_limit():
    retry_policy = RetryPolicy(max_attempts=3, retry_s=1.0, max_retry_s=60.0)

    assert [retry_policy.pause_s(n) for n in (1, 2, 3, 6, 7, 1000)] == [1, 2, 4, 32, 60, 60]


async def test_store_outage_keeps_the_result_until_the_store_is_back():
    harness = EngineHarness()
    full = StoreUnavailable("the disk is full")
    harness.store.commit_faults = ErrorScript(full, full, full)

    await harness.engine(max_evaluations=1).run()

    assert harness.outcomes == [Outcome.TRAINED]
    assert len(harness.trainer.trained) == 1


async def test_store_outage_stops_dispatch_until_the_store_is_back():
    harness = EngineHarness()
    full = StoreUnavailable("the disk is full")
    harness.store.dispatch_faults = ErrorScript(full, full)

    await harness.engine(max_evaluations=1).run()

    assert harness.outcomes == [Outcome.TRAINED]
    assert harness.store.memory.num_jobs == 1


async def test_fence_refusal_changes_nothing(caplog: pytest.LogCaptureFixture):
    barrier = Barrier()
    harness = EngineHarness(trainer=FakeTrainer(barrier=barrier))
    engine = harness.engine(max_evaluations=1)
    running = asyncio.create_task(engine.run())
    await barrier.arrivals()
    await harness.store.release(Job(number=1, attempt=1), charged=False)

    with caplog.at_level(logging.WARNING):
        barrier.open()
        await running

    assert [placement.job.attempt for placement in harness.store.memory.placements] == [2]
    assert engine.evolution.num_settled == 1
    assert len(harness.observer.placements) == 1
    assert "job 1 is not placed" in caplog.text


async def test_bug_in_one_slot_ends_the_engine_and_is_raised():
    barrier = Barrier()
    harness = EngineHarness(num_slots=3, trainer=FakeTrainer(barrier=barrier))
    harness.lifter.faults = ErrorScript(None, None, ZeroDivisionError("a bug"))
    running = asyncio.create_task(harness.engine().run())

    with pytest.raises(ExceptionGroup) as raised:
        await running

    assert raised.group_contains(ZeroDivisionError, match="a bug")
    assert sorted(job.number for job in harness.store.memory.queue) == [1, 2]


async def test_bug_in_the_store_is_raised_although_the_slot_was_cancelled():
    barrier = Barrier()
    harness = EngineHarness()
    harness.store.commit_barrier = barrier
    harness.store.commit_faults = ErrorScript(ValueError("a bug"))
    engine = harness.engine()
    running = asyncio.create_task(engine.run())
    await barrier.arrivals()
    engine.abort()
    barrier.open()

    with pytest.raises(ExceptionGroup) as raised:
        await running

    assert raised.group_contains(ValueError, match="a bug")


async def test_server_without_room_charges_no_attempt():
    harness = EngineHarness(writer=FakeWriter(faults=ErrorScript(*[EndpointOverloaded("no room")] * 5)))

    await harness.engine(max_evaluations=1).run()

    (placement,) = harness.store.memory.placements
    assert placement.outcome is Outcome.TRAINED
    assert (placement.job.attempt, placement.job.num_charged) == (6, 0)


# --- an edition in doubt -------------------------------------------------------------------------


class DoubtfulStore(FlakyStore):
    """Keeps the first edition that it is given, and reports an error nevertheless."""

    async def adopt(self, edition: Edition) -> None:
        is_first = edition not in self.memory.editions
        await super().adopt(edition)
        if is_first:
            raise StoreUnavailable("disk I/O error")


async def test_edition_in_doubt_is_kept_before_anything_follows_it_in_the_log():
    harness = EngineHarness(store=DoubtfulStore())
    engine = harness.engine(max_evaluations=3)
    edited = [replace(prompt, text="now do this") for prompt in prompts(3)]

    with pytest.raises(StoreUnavailable):
        await engine.take_prompts(edited, AXIS_SIZE)
    await engine.run()

    log = [entry async for entry in harness.store.log()]
    assert [type(entry) for entry in log[:3]] == [Edition, Edition, Placement]
    assert fold(harness.start, log[1:]) == engine.evolution
    assert engine.evolution.prompts.current.mutation[0].text == "now do this"


async def test_observers_hear_of_each_claim_and_each_try_to_commit():
    harness = EngineHarness()
    harness.store.commit_faults = ErrorScript(StoreUnavailable("the disk is full"))
    harness.trainer.faults = ErrorScript(TrainerUnavailable("it died"))

    await harness.engine(max_evaluations=1).run()

    assert harness.observer.life == ["dispatched 1", "charged 1", "dispatched 1", "unavailable", "kept"]
