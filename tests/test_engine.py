"""The engine: the order of steps, budgets, faults of the world, and every way to stop."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from llmatic_daemon.core.budget import Budget
from llmatic_daemon.core.evolution import Evolution, fold
from llmatic_daemon.engine import Engine, Patience, Ports, describe
from llmatic_daemon.errors import (
    LifterUnavailable,
    StoreUnavailable,
    TrainerUnavailable,
    WriterUnavailable,
)
from llmatic_daemon.records import (
    AddStatus,
    Failure,
    Job,
    Network,
    Outcome,
    Rejection,
    Report,
)
from tests.fakes import (
    TASK,
    Clock,
    FakeLifter,
    FakeObserver,
    FakePrompts,
    FakeTrainer,
    FakeWriter,
    Faults,
    FlakyStore,
    Gate,
    evolution,
    network,
    report,
)
from tests.memory_store import Memory

AT_ONCE = Patience(max_attempts=3, retry_s=0.0, max_retry_s=0.0)
NEVER = Patience(max_attempts=3, retry_s=3600.0, max_retry_s=3600.0)


@dataclass
class House:
    """An engine and its fakes; a test replaces the parts that it is about."""

    start: Evolution = field(default_factory=lambda: evolution(train_initial=True))
    writer: FakeWriter = field(default_factory=FakeWriter)
    lifter: FakeLifter = field(default_factory=FakeLifter)
    trainer: FakeTrainer = field(default_factory=FakeTrainer)
    prompts: FakePrompts = field(default_factory=FakePrompts)
    observer: FakeObserver = field(default_factory=FakeObserver)
    store: FlakyStore = field(default_factory=FlakyStore)
    clock: Clock = field(default_factory=Clock)
    num_slots: int = 1
    patience: Patience = AT_ONCE

    def engine(self, **limits: Any) -> Engine:
        ports = Ports(
            writer=self.writer,
            lifter=self.lifter,
            trainer=self.trainer,
            prompts=self.prompts,
            store=self.store,
            observers=(self.observer,),
        )
        return Engine(
            self.start,
            TASK,
            ports,
            num_slots=self.num_slots,
            budget=Budget(**limits),
            patience=self.patience,
            clock=self.clock,
        )

    @property
    def outcomes(self) -> list[Outcome]:
        return [placement.outcome for placement in self.store.memory.placements]


# --- the straight line ---------------------------------------------------------------------------


async def test_candidate_walks_from_the_writer_to_its_place():
    house = House()

    end = await house.engine(max_evaluations=1).run()

    assert end == "1 evaluations are settled"
    assert [phase for _, phase in house.observer.phases] == [
        "llm", "lift", "wait", "train", "commit", "idle",
    ]  # fmt: skip
    (placement,) = house.store.memory.placements
    assert placement.outcome is Outcome.TRAINED
    assert placement.status is AddStatus.NEW
    assert house.observer.placements == [placement]
    assert house.trainer.trained[0].digest == placement.network_digest
    assert house.lifter.candidates[0].digest == placement.source_digest


async def test_live_search_equals_the_fold_of_the_store():
    house = House(num_slots=4)

    engine = house.engine(max_evaluations=60)
    await engine.run()

    assert fold(house.start, house.store.memory.placements) == engine.evolution


async def test_child_is_written_from_its_parents_sources():
    house = House(start=evolution(num_initial=1, train_initial=True))

    await house.engine(max_evaluations=12).run()

    for request, placement in zip(
        house.writer.requests[1:], house.store.memory.placements[1:], strict=True
    ):
        stored = house.store.memory.placements
        sources = [stored[parent - 1].source_digest for parent in placement.parents]
        assert request.parents == tuple(house.store.memory.sources[str(s)] for s in sources)


async def test_rejection_ends_the_line_before_the_trainer():
    house = House(writer=FakeWriter(text=lambda number: "no code" if number == 1 else _net(number)))

    await house.engine(max_evaluations=1).run()

    assert house.outcomes == [Outcome.NOT_CODE, Outcome.TRAINED]
    assert len(house.lifter.candidates) == 1


async def test_rejection_by_the_lifter_keeps_its_source():
    refused = Rejection(cause=Outcome.LIFT_FAILED, detail="TypeError")
    house = House()
    house.lifter.result = lambda candidate: (
        refused if len(house.lifter.candidates) == 1 else network(candidate.source)
    )

    await house.engine(max_evaluations=1).run()

    assert house.outcomes == [Outcome.LIFT_FAILED, Outcome.TRAINED]
    assert len(house.trainer.trained) == 1
    assert house.store.memory.placements[0].source_digest in house.store.memory.sources


async def test_failure_in_training_is_placed_with_its_cause():
    house = House(trainer=FakeTrainer(result=_first_fails()))

    await house.engine(max_evaluations=1).run()

    assert house.outcomes == [Outcome.NAN, Outcome.TRAINED]


async def test_duplicate_is_settled_without_training():
    house = House(start=evolution(train_initial=True, duplicates="skip"))
    house.lifter.result = lambda candidate: network(str(max(0, len(house.lifter.candidates) - 2)))

    await house.engine(max_evaluations=2).run()

    first, second, _ = house.store.memory.placements
    assert house.outcomes == [Outcome.TRAINED, Outcome.DUPLICATE, Outcome.TRAINED]
    assert second.duplicate_of == first.job.number
    assert len(house.trainer.trained) == 2


async def test_staleness_counts_what_was_settled_meanwhile():
    gate = Gate()
    house = House(num_slots=3, trainer=FakeTrainer(gate=gate))
    running = asyncio.create_task(house.engine(max_evaluations=3).run())
    await gate.arrivals(3)

    gate.open()
    await running

    assert [placement.staleness for placement in house.store.memory.placements] == [0, 1, 2]


async def test_slots_work_side_by_side():
    gate = Gate()
    house = House(num_slots=5, writer=FakeWriter(gate=gate))
    running = asyncio.create_task(house.engine(max_evaluations=5).run())

    await gate.arrivals(5)
    gate.open()
    await running

    assert len(house.outcomes) == 5


async def test_prompt_that_changes_meanwhile_is_no_longer_offered():
    gate = Gate()
    house = House(writer=FakeWriter(gate=gate))
    running = asyncio.create_task(house.engine(max_evaluations=1).run())
    await gate.arrivals()
    used = house.writer.requests[0].prompt
    kept = [(p, s) for p, s in zip(*_parts(house.prompts), strict=True) if p != used]
    house.prompts.prompts = type(house.prompts.prompts)(
        mutation=tuple(p for p, _ in kept),
        crossover=house.prompts.prompts.crossover,
        slots=tuple(s for _, s in kept),
    )

    gate.open()
    await running

    assert house.store.memory.placements[0].offer is None


# --- budgets -------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_slots", [1, 3, 8])
async def test_max_evaluations_is_never_overshot(num_slots: int):
    house = House(num_slots=num_slots, trainer=FakeTrainer(result=_every_third_fails()))

    engine = house.engine(max_evaluations=10)
    await engine.run()

    assert engine.evolution.num_evaluations == 10
    assert len(house.trainer.trained) == len(house.outcomes)
    assert not house.store.memory.running


async def test_budgets_count_earlier_runs():
    house = House()
    first = house.engine(max_evaluations=3)
    await first.run()
    house.start = first.evolution

    second = house.engine(max_evaluations=5)
    await second.run()

    assert len(house.outcomes) == 5


async def test_device_hours_end_the_search():
    house = House()

    end = await house.engine(max_gpu_hours=5 / 3600).run()

    assert end == "0.00 device hours are used"
    assert len(house.outcomes) == 3  # of 2 s each


async def test_running_hours_end_the_search_and_go_on_after_a_restart():
    house = House()
    house.trainer.objective = lambda number: _an_hour_later(house.clock)
    first = house.engine(max_hours=3)

    end = await first.run()
    house.start = first.evolution
    house.clock = Clock()
    second = house.engine(max_hours=4)
    await second.run()

    assert end == "3.00 hours have passed"
    assert len(house.outcomes) == 4
    assert second.elapsed_s == 4 * 3600


async def test_target_accuracy_ends_the_search():
    house = House(trainer=FakeTrainer(objective=lambda number: number / 10))

    end = await house.engine(target_accuracy=0.3).run()

    assert end == "the target accuracy is reached: 0.3000"
    assert len(house.outcomes) == 3


async def test_end_of_the_search_does_not_wait_for_a_slot_that_pauses():
    gate = Gate()
    house = House(
        num_slots=2,
        patience=NEVER,
        writer=FakeWriter(faults=Faults(WriterUnavailable("no LLM"))),
        trainer=FakeTrainer(gate=gate),
    )
    running = asyncio.create_task(house.engine(max_evaluations=1).run())
    await asyncio.sleep(0)
    gate.open()

    async with asyncio.timeout(5):
        assert await running == "1 evaluations are settled"


# --- pause, drain, abort -------------------------------------------------------------------------


async def test_pause_starts_no_job_until_resume():
    house = House(num_slots=2)
    engine = house.engine(max_evaluations=3)
    await engine.pause()
    running = asyncio.create_task(engine.run())
    for _ in range(20):
        await asyncio.sleep(0)
    while_paused = list(house.writer.requests)

    await engine.resume()
    await running

    assert while_paused == []
    assert len(house.outcomes) == 3


async def test_pause_lets_jobs_under_way_go_on():
    gate = Gate()
    house = House(trainer=FakeTrainer(gate=gate))
    engine = house.engine()
    running = asyncio.create_task(engine.run())
    await gate.arrivals()

    await engine.pause()
    gate.open()
    await _until(lambda: len(house.outcomes) == 1)
    await engine.drain("stopped", 0.0)
    await running

    assert len(house.outcomes) == 1


async def test_drain_keeps_what_ends_in_time():
    gate = Gate()
    house = House(num_slots=2, trainer=FakeTrainer(gate=gate))
    engine = house.engine()
    running = asyncio.create_task(engine.run())
    await gate.arrivals(2)
    draining = asyncio.create_task(engine.drain("stopped by SIGTERM", 3600.0))
    await asyncio.sleep(0)

    gate.open()
    await draining

    assert await running == "stopped by SIGTERM"
    assert house.outcomes == [Outcome.TRAINED] * 2
    assert not house.store.memory.queue


async def test_drain_gives_back_what_is_late_uncharged():
    gate = Gate()
    house = House(num_slots=2, trainer=FakeTrainer(gate=gate))
    engine = house.engine()
    running = asyncio.create_task(engine.run())
    await gate.arrivals(2)

    await engine.drain("stopped by SIGTERM", 0.0)

    assert await running == "stopped by SIGTERM"
    assert house.outcomes == []
    assert sorted(job.number for job in house.store.memory.queue) == [1, 2]
    assert [job.num_charged for job in house.store.memory.queue] == [0, 0]


async def test_drain_ends_while_the_store_is_out():
    house = House(patience=NEVER)
    house.store.out = True
    engine = house.engine()
    running = asyncio.create_task(engine.run())
    await house.store.refused.wait()

    async with asyncio.timeout(5):
        await engine.drain("stopped by SIGTERM", 0.0)
        await running

    assert house.outcomes == []
    assert [job.number for job in house.store.memory.queue] == [1]


async def test_drain_before_the_start_starts_nothing():
    house = House()
    engine = house.engine()

    await engine.drain("stopped by SIGTERM", 0.0)

    assert await engine.run() == "stopped by SIGTERM"
    assert house.writer.requests == []


async def test_abort_gives_jobs_back_at_once():
    gate = Gate()
    house = House(num_slots=3, writer=FakeWriter(gate=gate))
    engine = house.engine()
    running = asyncio.create_task(engine.run())
    await gate.arrivals(3)

    engine.abort()

    assert await running == "aborted"
    assert len(house.store.memory.queue) == 3
    assert not house.store.memory.running


async def test_abort_keeps_the_result_that_is_being_committed():
    gate = Gate()
    house = House()
    house.store.commit_gate = gate
    engine = house.engine()
    running = asyncio.create_task(engine.run())
    await gate.arrivals()

    engine.abort()
    gate.open()
    await running

    assert house.outcomes == [Outcome.TRAINED]
    assert engine.evolution.num_settled == 1
    assert len(house.observer.placements) == 1


async def test_abort_keeps_the_results_that_wait_to_be_committed():
    """They are trained: to give them back would throw the training away."""
    gate = Gate()
    house = House(num_slots=3)
    house.store.commit_gate = gate
    engine = house.engine()
    running = asyncio.create_task(engine.run())
    await gate.arrivals()
    await _until(lambda: [p for _, p in house.observer.phases].count("commit") == 3)

    engine.abort()
    gate.open()
    await running

    assert house.outcomes == [Outcome.TRAINED] * 3


async def test_settled_job_of_a_cancelled_slot_is_not_revived():
    gate = Gate()
    house = House()
    house.store.commit_gate = gate
    engine = house.engine()
    running = asyncio.create_task(engine.run())
    await gate.arrivals()
    engine.abort()
    engine.abort()
    gate.open()
    await running

    assert house.store.memory.queue == []
    assert await FlakyStore(house.store.memory).dispatch(0) == Job(number=2, attempt=1)


# --- faults of the world -------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["writer", "lifter", "trainer"])
async def test_world_error_blames_nobody(where: str):
    fault = {
        "writer": WriterUnavailable("no LLM"),
        "lifter": LifterUnavailable("no lifter"),
        "trainer": TrainerUnavailable("no trainer"),
    }[where]
    house = House()
    getattr(house, where).faults = Faults(*[fault] * 3)

    await house.engine(max_evaluations=1).run()

    failed = house.store.memory.placements[0]
    assert house.outcomes == [Outcome.ERROR, Outcome.TRAINED]
    assert failed.detail == str(fault)
    assert (failed.curiosity_change, failed.score_change, failed.offer) == (0.0, 0.0, None)
    assert failed.job == Job(number=1, attempt=3, num_charged=2)


async def test_world_error_is_charged_and_the_job_tried_again():
    house = House(trainer=FakeTrainer(faults=Faults(TrainerUnavailable("died"), None)))

    await house.engine(max_evaluations=1).run()

    (placement,) = house.store.memory.placements
    assert placement.job == Job(number=1, attempt=2, num_charged=1)
    assert placement.outcome is Outcome.TRAINED


async def test_failed_job_is_placed_with_the_prompt_that_was_tried():
    house = House(
        start=evolution(num_initial=1, train_initial=True),
        patience=Patience(max_attempts=1, retry_s=0.0, max_retry_s=0.0),
        trainer=FakeTrainer(faults=Faults(None, TrainerUnavailable("died"))),
    )

    await house.engine(max_evaluations=2).run()

    assert house.store.memory.placements[1].outcome is Outcome.ERROR
    assert house.store.memory.placements[1].prompt == house.writer.requests[1].prompt.id


async def test_job_that_ended_the_daemon_too_often_is_placed_as_failed():
    """Otherwise a candidate that kills the daemon would kill it again at each restart."""
    memory = Memory()
    for _ in range(3):
        await FlakyStore(memory).dispatch(0)
    house = House(store=FlakyStore(memory))

    await house.engine(max_evaluations=1).run()

    failed, trained = house.store.memory.placements
    assert (failed.job.number, failed.outcome) == (1, Outcome.ERROR)
    assert failed.detail == "the daemon ended 3 times while it worked on this job"
    assert trained.job.number == 2
    assert len(house.writer.requests) == 1


async def test_pause_after_a_fault_doubles_up_to_its_limit():
    patience = Patience(max_attempts=3, retry_s=1.0, max_retry_s=60.0)

    assert [patience.pause_s(n) for n in (1, 2, 3, 6, 7, 1000)] == [1, 2, 4, 32, 60, 60]


async def test_store_outage_keeps_the_result_until_the_store_is_back():
    house = House()
    full = StoreUnavailable("the disk is full")
    house.store.commit_faults = Faults(full, full, full)

    await house.engine(max_evaluations=1).run()

    assert house.outcomes == [Outcome.TRAINED]
    assert len(house.trainer.trained) == 1


async def test_store_outage_stops_dispatch_until_the_store_is_back():
    house = House()
    full = StoreUnavailable("the disk is full")
    house.store.dispatch_faults = Faults(full, full)

    await house.engine(max_evaluations=1).run()

    assert house.outcomes == [Outcome.TRAINED]
    assert house.store.memory.num_jobs == 1


async def test_fence_refusal_changes_nothing(caplog: pytest.LogCaptureFixture):
    gate = Gate()
    house = House(trainer=FakeTrainer(gate=gate))
    engine = house.engine(max_evaluations=1)
    running = asyncio.create_task(engine.run())
    await gate.arrivals()
    await house.store.release(Job(number=1, attempt=1), charged=False)

    with caplog.at_level(logging.WARNING):
        gate.open()
        await running

    assert [placement.job.attempt for placement in house.store.memory.placements] == [2]
    assert engine.evolution.num_settled == 1
    assert len(house.observer.placements) == 1
    assert "job 1 is not placed" in caplog.text


async def test_bug_in_one_slot_ends_the_engine_and_is_raised():
    gate = Gate()
    house = House(num_slots=3, trainer=FakeTrainer(gate=gate))
    house.lifter.faults = Faults(None, None, ZeroDivisionError("a bug"))
    running = asyncio.create_task(house.engine().run())

    with pytest.raises(ExceptionGroup) as raised:
        await running

    assert raised.group_contains(ZeroDivisionError, match="a bug")
    assert sorted(job.number for job in house.store.memory.queue) == [1, 2]


async def test_bug_in_the_store_is_raised_although_the_slot_was_cancelled():
    gate = Gate()
    house = House()
    house.store.commit_gate = gate
    house.store.commit_faults = Faults(ValueError("a bug"))
    engine = house.engine()
    running = asyncio.create_task(engine.run())
    await gate.arrivals()
    engine.abort()
    gate.open()

    with pytest.raises(ExceptionGroup) as raised:
        await running

    assert raised.group_contains(ValueError, match="a bug")


# --- what is said --------------------------------------------------------------------------------


async def test_log_line_tells_a_candidates_whole_life(caplog: pytest.LogCaptureFixture):
    house = House(trainer=FakeTrainer(result=_first_fails()))

    with caplog.at_level(logging.INFO):
        await house.engine(max_evaluations=1).run()

    failed, trained = (r.getMessage() for r in caplog.records if "candidate" in r.getMessage())
    assert failed.startswith("candidate 1 (initialisation of the initial network, prompt p")
    assert ", T 0.60): nan: loss is not finite; llm 0.0 s" in failed
    assert ": NEW in cell " in trained
    assert "accuracy 0.700, 1000 MFLOPs; llm 0.0 s, training 2.0 s" in trained


async def test_description_names_the_parents():
    house = House(start=evolution(num_initial=1, train_initial=True))

    await house.engine(max_evaluations=2).run()

    assert describe(house.store.memory.placements[1]).startswith("candidate 2 (mutation of 1, ")


def _net(number: int) -> str:
    return f"class Net(nn.Module):\n    number = {number}\n"


def _parts(prompts: FakePrompts) -> tuple[Any, Any]:
    return prompts.prompts.mutation, prompts.prompts.slots


def _first_fails() -> Callable[[Network], Report | Failure]:
    results: list[Report | Failure] = [Failure(cause=Outcome.NAN, detail="loss is not finite")]
    return lambda lifted: results.pop() if results else report(0.7)


def _every_third_fails() -> Callable[[Network], Report | Failure]:
    seen: list[Network] = []

    def result(lifted: Network) -> Report | Failure:
        seen.append(lifted)
        if len(seen) % 3 == 0:
            return Failure(cause=Outcome.OOM, detail="out of memory")
        return report(0.5)

    return result


def _an_hour_later(clock: Clock) -> float:
    clock.now += 3600
    return 0.5


async def _until(true: Callable[[], bool]) -> None:
    """Let the engine run until something is the case."""
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never was")
