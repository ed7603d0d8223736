"""The engine: the order of steps, budgets, and what is said of a candidate."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from llmatic_daemon.domain import (
    AddStatus,
    Arm,
    Failure,
    Network,
    Operator,
    Outcome,
    Placement,
    Prompt,
    Proposal,
    Rejection,
    Report,
)
from llmatic_daemon.domain.errors import ConfigurationError, WriterUnavailable
from llmatic_daemon.domain.events import Event, Placed
from llmatic_daemon.engine.ledger import Ledger
from llmatic_daemon.engine.pipeline import CandidatePipeline
from llmatic_daemon.search.early_stopping import EarlyStoppingRules
from llmatic_daemon.search.evolution import fold
from llmatic_daemon.search.prompt_book import EMPTY_BOOK
from llmatic_daemon.search.proposals import propose, rng_for
from llmatic_daemon.search.summaries import describe
from tests.support.engine import AT_ONCE, NEVER, EngineHarness
from tests.support.fakes import (
    AXIS_SIZE,
    TASK,
    Barrier,
    Clock,
    ErrorScript,
    FakeObserver,
    FakeTrainer,
    FakeWriter,
    evolution,
    network,
    prompt,
    prompts,
    report,
)

# --- the straight line ---------------------------------------------------------------------------


async def test_candidate_walks_from_the_writer_to_its_place():
    harness = EngineHarness()

    end = await harness.engine(max_evaluations=1).run()

    assert end == "1 evaluations are settled"
    assert [phase for _, phase in harness.observer.phases] == [
        "llm",
        "lift",
        "wait",
        "train",
        "commit",
        "idle",
    ]
    (placement,) = harness.store.memory.placements
    assert placement.outcome is Outcome.TRAINED
    assert placement.status is AddStatus.NEW
    assert harness.observer.placements == [placement]
    assert harness.trainer.trained[0].digest == placement.network_digest
    assert harness.lifter.candidates[0].digest == placement.source_digest


async def test_live_search_equals_the_fold_of_the_store():
    harness = EngineHarness(num_slots=4)

    engine = harness.engine(max_evaluations=60)
    await engine.run()

    assert fold(harness.start, harness.store.memory.placements) == engine.evolution


async def test_child_is_written_from_its_parents_sources():
    harness = EngineHarness(start=evolution(num_initial=1, train_initial=True))

    await harness.engine(max_evaluations=12).run()

    for request, placement in zip(
        harness.writer.requests[1:], harness.store.memory.placements[1:], strict=True
    ):
        stored = harness.store.memory.placements
        sources = [stored[parent - 1].source_digest for parent in placement.parents]
        assert request.parents == tuple(harness.store.memory.sources[str(s)] for s in sources)


async def test_rejection_ends_the_line_before_the_trainer():
    harness = EngineHarness(writer=FakeWriter(text=lambda number: "no code" if number == 1 else _net(number)))

    await harness.engine(max_evaluations=1).run()

    assert harness.outcomes == [Outcome.NOT_CODE, Outcome.TRAINED]
    assert len(harness.lifter.candidates) == 1


async def test_rejection_by_the_lifter_keeps_its_source():
    refused = Rejection(cause=Outcome.LIFT_FAILED, detail="TypeError")
    harness = EngineHarness()
    harness.lifter.result = lambda candidate: (
        refused if len(harness.lifter.candidates) == 1 else network(candidate.source)
    )

    await harness.engine(max_evaluations=1).run()

    assert harness.outcomes == [Outcome.LIFT_FAILED, Outcome.TRAINED]
    assert len(harness.trainer.trained) == 1
    assert harness.store.memory.placements[0].source_digest in harness.store.memory.sources


async def test_failure_in_training_is_placed_with_its_cause():
    harness = EngineHarness(trainer=FakeTrainer(result=_first_fails()))

    await harness.engine(max_evaluations=1).run()

    assert harness.outcomes == [Outcome.NAN, Outcome.TRAINED]


async def test_duplicate_is_settled_without_training():
    harness = EngineHarness(start=evolution(train_initial=True, duplicates="skip"))
    harness.lifter.result = lambda candidate: network(str(max(0, len(harness.lifter.candidates) - 2)))

    await harness.engine(max_evaluations=2).run()

    first, second, _ = harness.store.memory.placements
    assert harness.outcomes == [Outcome.TRAINED, Outcome.DUPLICATE, Outcome.TRAINED]
    assert second.duplicate_of == first.job.number
    assert len(harness.trainer.trained) == 2


async def test_duplicate_is_trained_again_under_the_papers_rules():
    harness = EngineHarness(start=evolution(train_initial=True, duplicates="train"))
    harness.lifter.result = lambda candidate: network("the same")

    await harness.engine(max_evaluations=2).run()

    assert harness.outcomes == [Outcome.TRAINED, Outcome.TRAINED]


async def test_untrained_network_does_not_keep_its_like_from_being_trained():
    harness = EngineHarness(start=evolution(train_initial=False, num_initial=1, duplicates="skip"))
    harness.lifter.result = lambda candidate: network("the same")

    await harness.engine(max_evaluations=2).run()

    assert harness.outcomes == [Outcome.TRAINED, Outcome.TRAINED]


async def test_staleness_counts_what_was_settled_meanwhile():
    barrier = Barrier()
    harness = EngineHarness(num_slots=3, trainer=FakeTrainer(barrier=barrier))
    running = asyncio.create_task(harness.engine(max_evaluations=3).run())
    await barrier.arrivals(3)

    barrier.open()
    await running

    assert [placement.staleness for placement in harness.store.memory.placements] == [0, 1, 2]


async def test_slots_work_side_by_side():
    barrier = Barrier()
    harness = EngineHarness(num_slots=5, writer=FakeWriter(barrier=barrier))
    running = asyncio.create_task(harness.engine(max_evaluations=5).run())

    await barrier.arrivals(5)
    barrier.open()
    await running

    assert len(harness.outcomes) == 5


async def test_prompt_that_changes_meanwhile_is_no_longer_offered():
    barrier = Barrier()
    harness = EngineHarness(writer=FakeWriter(barrier=barrier))
    engine = harness.engine(max_evaluations=1)
    running = asyncio.create_task(engine.run())
    await barrier.arrivals()
    used = harness.writer.requests[0].prompt

    await engine.take_prompts([p for p in prompts() if p.id != used.id], AXIS_SIZE)
    barrier.open()
    await running

    assert harness.store.memory.placements[0].offer is None


# --- other prompts meanwhile ---------------------------------------------------------------------


async def test_search_with_editions_in_between_equals_the_fold_of_its_log():
    harness = EngineHarness(start=evolution(num_initial=5, train_initial=True), num_slots=4)
    engine = harness.engine(max_evaluations=80)

    async with asyncio.TaskGroup() as group:
        editing = _EditingObserver(lambda files: group.create_task(engine.take_prompts(files, AXIS_SIZE)))
        harness.events.subscribe(editing.receive)
        await engine.run()

    editions = harness.store.memory.editions
    assert len(editions) == 12
    assert all(first.num_settled < second.num_settled for first, second in pairwise(editions))
    assert any(edition.emptied for edition in editions)
    bare = replace(harness.start, prompts=EMPTY_BOOK)
    assert fold(bare, [entry async for entry in harness.store.log()]) == engine.evolution


async def test_next_proposal_uses_the_prompts_that_were_just_taken():
    harness = EngineHarness()
    engine = harness.engine(max_evaluations=3)

    await engine.take_prompts([prompt("only", "do this"), *prompts(0)], AXIS_SIZE)
    await engine.run()

    assert {(p.prompt, p.prompt_version) for p in harness.store.memory.placements} == {("only", 1)}
    assert [edition.number for edition in harness.observer.editions] == [2]


async def test_set_that_is_in_use_is_not_taken_again():
    harness = EngineHarness()
    engine = harness.engine()

    assert await engine.take_prompts(prompts(), AXIS_SIZE) is None

    assert harness.observer.editions == []
    assert len(harness.store.memory.editions) == 1


async def test_refused_set_changes_nothing():
    harness = EngineHarness()
    engine = harness.engine()
    before = engine.evolution

    with pytest.raises(ConfigurationError, match="at most 3 mutation prompts"):
        await engine.take_prompts(prompts(4), 3)

    assert engine.evolution == before
    assert harness.store.memory.editions == [before.prompts.edition]
    assert harness.observer.editions == []


# --- requests that are too long ------------------------------------------------------------------


async def test_crossover_that_is_too_long_loses_its_farthest_parent_first():
    harness, asked, placement = await _crossed(max_parents=3)

    assert [len(request.parents) for request in harness.writer.requests] == [4, 3]
    assert placement.operator is Operator.CROSSOVER
    assert placement.parents == asked.parents[:3]
    assert placement.prompt == "crossover"
    assert placement.outcome is Outcome.TRAINED


async def test_crossover_with_one_neighbour_left_becomes_a_mutation_and_is_credited_as_one():
    harness, asked, placement = await _crossed(max_parents=1)

    assert [len(request.parents) for request in harness.writer.requests] == [4, 3, 2, 1]
    assert harness.writer.requests[-1].operator is Operator.MUTATION
    assert harness.writer.requests[-1].seed == asked.seed
    assert placement.operator is Operator.MUTATION
    assert placement.parents == asked.parents[:1]
    assert placement.prompt in [p.id for p in harness.start.prompts.current.mutation]
    assert placement.temperature == harness.start.rules.crossover_temperature
    assert placement.offer is not None
    assert placement.outcome is Outcome.TRAINED


async def test_request_that_cannot_be_shortened_blames_no_prompt():
    harness, asked, placement = await _crossed(max_parents=0)

    assert [len(request.parents) for request in harness.writer.requests] == [4, 3, 2, 1]
    assert placement.outcome is Outcome.CONTEXT
    assert placement.detail == "the request has 1 tokens, endpoint 'fake' accepts 0"
    assert (placement.operator, placement.parents) == (Operator.MUTATION, asked.parents[:1])
    assert (placement.curiosity_change, placement.score_change) == (0.0, 0.0)
    assert (placement.credited_cell, placement.offer) == (None, None)
    assert harness.lifter.candidates[-1].digest != placement.source_digest


async def test_shortened_request_is_the_same_whenever_it_is_tried():
    first, second = [await _crossed(max_parents=1) for _ in range(2)]

    assert first[2] == second[2]


async def test_crossover_that_is_too_long_mutates_by_the_prompts_in_force():
    only = [prompt("only", "do this"), *prompts(0)]

    _, _, placement = await _crossed(max_parents=1, meanwhile=only)

    assert (placement.prompt, placement.prompt_version) == ("only", 1)


async def _crossed(
    max_parents: int, meanwhile: Sequence[Prompt] = ()
) -> tuple[EngineHarness, Proposal, Placement]:
    """Settle a crossover of four parents, after prompts were taken that it had not seen."""
    harness = EngineHarness(
        start=evolution(num_initial=1, train_initial=True, mutation_ratio=0.0, min_neighbours=3)
    )
    harness.lifter.result = lambda candidate: network(
        candidate.source, flops=(number := len(harness.lifter.candidates)) * 500_000_000, ratio=number * 20
    )
    first = harness.engine(max_evaluations=8)
    await first.run()
    harness.start, harness.writer = first.evolution, FakeWriter(max_parents=max_parents)
    ledger = Ledger(harness.start, harness.store, harness.events, retry_policy=AT_ONCE, clock=harness.clock)
    job = await harness.store.dispatch(0)
    asked = propose(harness.start, job, rng_for(harness.start.rules.seed, job))
    if meanwhile:
        await ledger.adopt(meanwhile, AXIS_SIZE)
    await CandidatePipeline(TASK, harness.ports(), ledger, harness.clock).run_job(asked, 0)
    assert (asked.operator, len(asked.parents)) == (Operator.CROSSOVER, 4)
    return harness, asked, harness.store.memory.placements[-1]


# --- budgets -------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_slots", [1, 3, 8])
async def test_max_evaluations_is_never_overshot(num_slots: int):
    harness = EngineHarness(num_slots=num_slots, trainer=FakeTrainer(result=_every_third_fails()))

    engine = harness.engine(max_evaluations=10)
    await engine.run()

    assert engine.evolution.num_evaluations == 10
    assert len(harness.trainer.trained) == len(harness.outcomes)
    assert not harness.store.memory.running


async def test_budgets_count_earlier_runs():
    harness = EngineHarness()
    first = harness.engine(max_evaluations=3)
    await first.run()
    harness.start = first.evolution

    second = harness.engine(max_evaluations=5)
    await second.run()

    assert len(harness.outcomes) == 5


async def test_device_hours_end_the_search():
    harness = EngineHarness()

    end = await harness.engine(max_gpu_hours=5 / 3600).run()

    assert end == "0.1 minutes of device time are used"
    assert len(harness.outcomes) == 3  # of 2 s each


async def test_running_hours_end_the_search_and_go_on_after_a_restart():
    harness = EngineHarness()
    harness.trainer.objective = lambda number: _an_hour_later(harness.clock)
    first = harness.engine(max_hours=3)

    end = await first.run()
    harness.start = first.evolution
    harness.clock = Clock()
    second = harness.engine(max_hours=4)
    await second.run()

    assert end == "3.0 hours have passed"
    assert len(harness.outcomes) == 4
    assert second.elapsed_s == 4 * 3600


async def test_target_accuracy_ends_the_search():
    harness = EngineHarness(trainer=FakeTrainer(objective=lambda number: number / 10))

    end = await harness.engine(target_accuracy=0.3).run()

    assert end == "the target accuracy is reached: 0.3000"
    assert len(harness.outcomes) == 3


async def test_end_of_the_search_does_not_wait_for_a_slot_that_pauses():
    barrier = Barrier()
    harness = EngineHarness(
        num_slots=2,
        retry_policy=NEVER,
        writer=FakeWriter(faults=ErrorScript(WriterUnavailable("no LLM"))),
        trainer=FakeTrainer(barrier=barrier),
    )
    running = asyncio.create_task(harness.engine(max_evaluations=1).run())
    await asyncio.sleep(0)
    barrier.open()

    async with asyncio.timeout(5):
        assert await running == "1 evaluations are settled"


# --- what is said --------------------------------------------------------------------------------


async def test_log_line_tells_a_candidates_whole_life(caplog: pytest.LogCaptureFixture):
    harness = EngineHarness(trainer=FakeTrainer(result=_first_fails()))

    with caplog.at_level(logging.INFO):
        await harness.engine(max_evaluations=1).run()

    failed, trained = (r.getMessage() for r in caplog.records if "candidate" in r.getMessage())
    assert failed.startswith("candidate 1 (initialisation of the initial network, prompt p")
    assert ", T 0.60): nan: loss is not finite; llm 0.0 s" in failed
    assert ": NEW in cell " in trained
    assert "accuracy 0.700, 1000 MFLOPs; llm 0.0 s, training 2.0 s" in trained


async def test_description_names_the_parents():
    harness = EngineHarness(start=evolution(num_initial=1, train_initial=True))

    await harness.engine(max_evaluations=2).run()

    assert describe(harness.store.memory.placements[1]).startswith("candidate 2 (mutation of 1, ")


class _EditingObserver(FakeObserver):
    """Changes the prompts at every seventh candidate: other texts, fewer, more, as before."""

    def __init__(self, take: Callable[[Sequence[Prompt]], object]) -> None:
        super().__init__()
        self._take = take

    def receive(self, event: Event) -> None:
        super().receive(event)
        if isinstance(event, Placed):
            self._edit(event.placement)

    def _edit(self, placement: Placement) -> None:
        turn = placement.number // 7
        if placement.number % 7 == 0:
            files = prompts(16, without=[turn % 5, turn * 3 % 16])
            self._take([replace(p, text=f"{p.text} in way {turn % 3}") for p in files])


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


async def test_control_arm_is_written_by_rule_and_the_rest_by_the_writer():
    harness = EngineHarness(start=evolution(train_initial=True, control_ratio=0.3))
    rewriter = FakeWriter(text="class Rule(nn.Module):\n    number = {}\n".format)

    await harness.engine(rewriter=rewriter, max_evaluations=40).run()

    placements = harness.store.memory.placements
    by_rule = {p.job.number for p in placements if p.by_rule}
    assert 0 < len(by_rule) == len(rewriter.requests) < 40
    sources = harness.store.memory.sources
    assert by_rule == {p.job.number for p in placements if "class Rule" in sources[p.source_digest]}
    assert {p.arm for p in placements if p.by_rule} == {Arm.CONTROL}


async def test_network_is_judged_at_its_first_look_by_the_search_as_it_is_then():
    start = replace(
        evolution(train_initial=True),
        early_stopping_rules=EarlyStoppingRules(rung_ratio=0.25, promoted_ratio=1.0),
    )
    harness = EngineHarness(
        start=start, trainer=FakeTrainer(rung_accuracy=lambda number: [0.5, 0.4, 0.6, 0.5][number - 1])
    )

    await harness.engine(max_trainings=2.25).run()

    outcomes = [Outcome.TRAINED, Outcome.STOPPED, Outcome.TRAINED]
    assert harness.outcomes == outcomes
    assert [p.rung_accuracy for p in harness.store.memory.placements] == [0.5, 0.4, 0.6]
    assert {training.rung.ratio for training in harness.trainer.trainings} == {0.25}


async def test_network_that_is_measured_untrained_is_not_looked_at():
    start = replace(
        evolution(train_initial=False),
        early_stopping_rules=EarlyStoppingRules(rung_ratio=0.25, promoted_ratio=1.0),
    )
    harness = EngineHarness(start=start)

    await harness.engine(max_evaluations=1).run()

    (training,) = harness.trainer.trainings
    assert (training.epochs, training.rung) == (0, None)
