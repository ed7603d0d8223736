"""The engine gets more and fewer slots while it works; no job is lost or begun by a slot too many."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from llmatic_daemon.domain import Failure, Network, Outcome, Progress, Report, Training
from llmatic_daemon.engine.engine import Engine
from tests.support.engine import EngineHarness, until
from tests.support.fakes import ErrorScript, FakeTrainer, report


@dataclass
class SteppedTrainer(FakeTrainer):
    """Ends one training at each `step`, the oldest one first."""

    waiting: list[asyncio.Future[None]] = field(default_factory=list)

    async def train(
        self, network: Network, training: Training, watch: Callable[[Progress], None]
    ) -> Report | Failure:
        ended = asyncio.get_running_loop().create_future()
        self.waiting.append(ended)
        await ended
        return report(0.5)

    def step(self) -> None:
        self.waiting.pop(0).set_result(None)


class Works:
    """An engine at work, whose trainings end when a test says so."""

    def __init__(self, num_slots: int) -> None:
        self.trainer = SteppedTrainer()
        self.harness = EngineHarness(num_slots=num_slots, trainer=self.trainer)
        self.engine: Engine = self.harness.engine()

    async def train(self, num_networks: int) -> None:
        """Wait until so many are being trained, and see that there are not more."""
        await until(lambda: len(self.trainer.waiting) == num_networks)
        await still()
        assert len(self.trainer.waiting) == num_networks

    def working_slots(self) -> list[int]:
        latest = dict(self.harness.observer.phases)
        return sorted(slot for slot, phase in latest.items() if phase != "idle")


async def still() -> None:
    """Let all happen that can."""
    for _ in range(50):
        await asyncio.sleep(0)


@asynccontextmanager
async def working(num_slots: int) -> AsyncIterator[Works]:
    """Let an engine work on as many networks as it has slots."""
    works = Works(num_slots)
    running = asyncio.create_task(works.engine.run())
    await works.train(num_slots)
    yield works
    await works.engine.drain("stopped", 0.0)
    await running
    assert not works.harness.store.memory.running


async def test_more_slots_start_at_once():
    async with working(1) as works:
        await works.engine.resize(3)
        await works.train(3)

        assert works.working_slots() == [0, 1, 2]
        assert works.engine.num_slots == 3
        assert works.harness.observer.sizes == [3]


async def test_fewer_slots_end_after_their_jobs():
    async with working(3) as works:
        await works.engine.resize(1)
        await works.train(3)

        for num_left in (3, 2, 1, 1):  # the first that ends is slot 0, which stays
            works.trainer.step()
            await works.train(num_left)

        assert works.harness.outcomes == [Outcome.TRAINED] * 4
        assert works.working_slots() == [0]
        assert works.engine.num_slots == 1


async def test_shrunk_below_those_at_work_and_grown_again_every_slot_is_there_once():
    async with working(3) as works:
        await works.engine.resize(1)
        await works.engine.resize(4)
        await works.train(4)
        for _ in range(6):
            works.trainer.step()
            await works.train(4)

        assert works.working_slots() == [0, 1, 2, 3]


async def test_slot_that_has_ended_is_started_anew():
    async with working(2) as works:
        await works.engine.resize(1)
        works.trainer.step()
        works.trainer.step()
        await works.train(1)

        await works.engine.resize(2)
        await works.train(2)


async def test_shrunk_while_paused_only_those_that_are_left_start_on_resume():
    works = Works(3)
    await works.engine.pause()
    running = asyncio.create_task(works.engine.run())
    await still()

    await works.engine.resize(1)
    await works.engine.resume()
    await works.train(1)

    assert works.working_slots() == [0]
    await works.engine.drain("stopped", 0.0)
    await running


async def test_grown_while_paused_starts_no_job_until_resume():
    async with working(1) as works:
        await works.engine.pause()
        await works.engine.resize(3)
        await works.train(1)

        await works.engine.resume()
        await works.train(3)


async def test_grown_while_draining_starts_nothing():
    works = Works(1)
    running = asyncio.create_task(works.engine.run())
    await works.train(1)
    draining = asyncio.create_task(works.engine.drain("stopped", 3600.0))
    await still()

    await works.engine.resize(5)
    await works.train(1)
    works.trainer.step()
    await draining
    await running
    await works.engine.resize(7)  # when all is over, too

    assert works.harness.outcomes == [Outcome.TRAINED]


async def test_drain_waits_for_slots_that_were_added():
    async with working(1) as works:
        await works.engine.resize(2)
        await works.train(2)
        draining = asyncio.create_task(works.engine.drain("stopped", 3600.0))
        await still()
        works.trainer.step()
        await still()
        assert not draining.done()

        works.trainer.step()
        await draining

        assert works.harness.outcomes == [Outcome.TRAINED] * 2


@pytest.mark.parametrize("num_turns", range(12))
async def test_resized_in_the_turn_in_which_a_slot_ends_it_is_there_once(num_turns: int):
    """Whichever comes first: the slot's end, or the wish that it stays."""
    async with working(2) as works:
        await works.engine.resize(1)
        works.trainer.step()
        works.trainer.step()
        for _ in range(num_turns):
            await asyncio.sleep(0)

        await works.engine.resize(2)
        await works.train(2)

        assert works.working_slots() == [0, 1]


async def test_resized_before_the_start_it_starts_with_what_is_wished():
    works = Works(1)
    await works.engine.resize(2)
    running = asyncio.create_task(works.engine.run())

    await works.train(2)

    await works.engine.drain("stopped", 0.0)
    await running


async def test_grown_after_a_bug_starts_nothing():
    harness = EngineHarness(num_slots=1)
    harness.lifter.faults = ErrorScript(ZeroDivisionError("a bug"))
    engine = harness.engine()
    with pytest.raises(ExceptionGroup):
        await engine.run()

    await engine.resize(2)

    assert harness.store.memory.num_jobs == 1


async def test_no_slot_at_all_is_refused():
    works = Works(1)

    with pytest.raises(ValueError, match="at least 1 slot, got 0"):
        await works.engine.resize(0)

    assert works.engine.num_slots == 1
