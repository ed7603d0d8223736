"""The engine: the order of steps, budgets, and what is said of a candidate."""

import asyncio
import logging
from collections.abc import Callable

import pytest

from llmatic_daemon.core.evolution import fold
from llmatic_daemon.engine import describe
from llmatic_daemon.errors import (
    WriterUnavailable,
)
from llmatic_daemon.records import (
    AddStatus,
    Failure,
    Network,
    Outcome,
    Rejection,
    Report,
)
from tests.engine_house import NEVER, House
from tests.fakes import (
    NUM_SLOTS,
    Clock,
    FakeTrainer,
    FakeWriter,
    Faults,
    Gate,
    evolution,
    network,
    prompts,
    report,
)

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
    engine = house.engine(max_evaluations=1)
    running = asyncio.create_task(engine.run())
    await gate.arrivals()
    used = house.writer.requests[0].prompt

    await engine.take_prompts([p for p in prompts() if p.id != used.id], NUM_SLOTS)
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
