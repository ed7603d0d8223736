"""A network that ends its trainer: recorded, tried once more, settled; and what its trainer has measured before."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from signal import SIGKILL, SIGSEGV

import pytest

from llmatic_daemon.domain import (
    Completion,
    Network,
    Outcome,
    Progress,
    Report,
    Request,
    TooLong,
    TrainerDeath,
    Training,
)
from llmatic_daemon.domain.errors import StoreUnavailable, TrainerDied
from llmatic_daemon.engine.engine import Engine
from llmatic_daemon.search.evolution import Evolution, fold
from llmatic_daemon.search.placement import due_for_audit
from tests.support.engine import EngineHarness, until
from tests.support.fakes import FakeTrainer, FakeWriter, FlakyStore, evolution, report


@dataclass
class MortalTrainer(FakeTrainer):
    """Dies with the network of one candidate, so many times; each death begins another process."""

    fatal: int = 3
    num_deaths: int = 2
    signal: int | None = SIGSEGV
    died: int = 0
    hangs_after_death: bool = False

    async def train(self, network: Network, training: Training, watch: Callable[[Progress], None]) -> Report:
        self.trained.append(network)
        self.trainings.append(training)
        process = f"process-{self.died}"
        if b"= %d" % self.fatal in network.graph and self.died < self.num_deaths:
            self.died += 1
            raise TrainerDied(
                f"trainer on fake:0 ended with signal {self.signal}: a last word",
                device="fake:0",
                trainer=process,
                signal=self.signal,
                train_s=2.0,
            )
        if self.died and self.hangs_after_death:
            await asyncio.Event().wait()
        return replace(report(0.5 + len(self.trained) / 100), trainer=process, device="fake:0")


@dataclass
class FewNetworks(FakeWriter):
    """Writes so many networks, and then nothing until its end."""

    barrier_after: int | None = None

    async def complete(self, request: Request) -> Completion | TooLong:
        if self.barrier_after is not None and len(self.requests) >= self.barrier_after:
            await asyncio.Event().wait()
        return await super().complete(request)


class StoreWithFaults(FlakyStore):
    """Refuses the death of a trainer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.attempts: list[int] = []

    async def keep_death(self, death: TrainerDeath, artefacts: object) -> None:
        self.attempts.append(death.number)
        if len(self.attempts) <= 2:
            raise StoreUnavailable("the disk is full")
        await super().keep_death(death, artefacts)  # type: ignore[arg-type]


def harness(**trainer: object) -> EngineHarness:
    return EngineHarness(writer=FewNetworks(), trainer=MortalTrainer(**trainer))  # type: ignore[arg-type]


async def settled(built: EngineHarness, number: int = 5) -> Engine:
    """Let a search settle so many candidates, and end it."""
    if built.writer.barrier_after is None:  # type: ignore[attr-defined]
        built.writer.barrier_after = number  # type: ignore[attr-defined]
    engine = built.engine()
    running = asyncio.create_task(engine.run())
    async with asyncio.timeout(10):
        await engine.settled(number)
        await engine.drain("enough", 0.0)
        await running
    return engine


def deaths(built: EngineHarness) -> list[TrainerDeath]:
    return built.store.memory.deaths


async def test_network_that_ends_two_trainers_is_settled_and_the_search_goes_on():
    built = harness()

    await settled(built)

    assert built.outcomes == [Outcome.TRAINED, Outcome.TRAINED, Outcome.TRAINER_DIED, *[Outcome.TRAINED] * 2]
    placement = built.store.memory.placements[2]
    assert placement.detail == "trainer on fake:0 ended with signal 11: a last word"
    assert (placement.durations.train_s, placement.job.attempt) == (4.0, 1)
    assert [training.fresh for training in built.trainer.trainings] == [
        False,
        False,
        False,
        True,
        False,
        False,
    ]


async def test_death_is_recorded_with_source_graph_seed_and_last_lines():
    built = harness()

    await settled(built, 3)

    first, second = deaths(built)
    placement = built.store.memory.placements[2]
    assert (first.number, second.number, first.num_settled, first.job) == (1, 2, 2, 3)
    assert (first.source_digest, first.network_digest) == (placement.source_digest, placement.network_digest)
    assert (first.seed, first.signal, first.device) == (placement.seed, SIGSEGV, "fake:0")
    assert "a last word" in first.detail
    assert built.store.memory.sources[first.source_digest]
    assert built.store.memory.graphs[first.network_digest]


async def test_network_that_survives_its_second_trainer_is_settled_by_that_training():
    built = harness(num_deaths=1)

    await settled(built)

    assert built.outcomes == [Outcome.TRAINED] * 5
    assert len(deaths(built)) == 1
    assert built.store.memory.placements[2].report.trainer == "process-1"  # type: ignore[union-attr]


async def test_prompt_of_a_network_that_ends_its_trainers_is_not_blamed():
    built = harness()

    await settled(built)

    placement = built.store.memory.placements[2]
    assert (placement.curiosity_change, placement.score_change, placement.offer) == (0.0, 0.0, None)


async def test_same_network_is_known_afterwards_and_its_prompt_is_not_blamed_either():
    start = evolution(train_initial=True, duplicates="skip")
    built = EngineHarness(start=start, writer=FewNetworks(), trainer=MortalTrainer())
    built.writer = FewNetworks(text=lambda n: f"class Net(nn.Module):\n    number = {3 if n == 5 else n}\n")

    await settled(built)

    placement = built.store.memory.placements[4]
    assert (placement.outcome, placement.duplicate_of) == (Outcome.DUPLICATE, 3)
    assert (placement.curiosity_change, placement.score_change) == (0.0, 0.0)
    assert len(built.trainer.trained) == 5  # the fourth candidate's, and the third's twice


async def test_restart_between_two_deaths_leaves_one_attempt():
    built = harness(num_deaths=1, hangs_after_death=True)
    engine = built.engine()
    running = asyncio.create_task(engine.run())
    await until(lambda: len(built.trainer.trained) == 4)
    await engine.drain("the machine goes down", 0.0)
    await running
    log = [entry async for entry in built.store.log()]
    again = EngineHarness(start=fold(built.start, log[1:]), trainer=MortalTrainer(), store=built.store)
    again.writer = FewNetworks(text=lambda n: "class Net(nn.Module):\n    number = 3\n", barrier_after=1)

    await settled(again, 3)

    assert [training.fresh for training in again.trainer.trainings] == [True]
    assert built.outcomes == [Outcome.TRAINED, Outcome.TRAINED, Outcome.TRAINER_DIED]
    assert [death.number for death in deaths(built)] == [1, 2]


async def test_network_that_ended_two_trainers_is_never_trained_again():
    """Even if duplicates are to be trained."""
    start = evolution(train_initial=True, duplicates="train")
    built = EngineHarness(start=start, writer=FewNetworks(), trainer=MortalTrainer())
    built.writer = FewNetworks(text=lambda n: f"class Net(nn.Module):\n    number = {3 if n == 5 else n}\n")

    await settled(built)

    assert built.outcomes[2] is built.outcomes[4] is Outcome.TRAINER_DIED
    assert built.trainer.died == 2
    assert "has ended 2 trainers before" in built.store.memory.placements[4].detail


async def test_elites_of_a_trainer_with_damaged_memory_are_audited_first_in_fresh_trainers():
    """Without any audits by chance; those that another process measured are not."""
    built = harness(num_deaths=2)
    engine = built.engine()
    auditor = built.auditor(engine)

    running = [asyncio.create_task(engine.run()), asyncio.create_task(auditor.run())]
    await until(lambda: len(built.outcomes) == 5 and due_for_audit(engine.evolution) is None)
    await engine.drain("enough", 0.0)
    await asyncio.gather(*running)

    first, second = deaths(built)
    assert (first.suspects, second.suspects) == ((1, 2), ())
    assert {audit.job for audit in built.store.memory.audits} <= {1, 2}
    audits = [training for training in built.trainer.trainings if training.low_priority]
    assert audits
    assert all(training.fresh for training in audits)


@pytest.mark.parametrize("signal", [SIGKILL, None])
async def test_trainer_that_was_killed_or_exited_puts_nothing_in_doubt(signal: int | None):
    built = harness(signal=signal)

    engine = await settled(built)

    assert [death.suspects for death in deaths(built)] == [(), ()]
    assert due_for_audit(engine.evolution) is None


async def test_death_waits_for_a_store_that_is_out_and_is_stored_once(caplog: pytest.LogCaptureFixture):
    built = harness(num_deaths=1)
    built.store = StoreWithFaults()

    with caplog.at_level(logging.INFO):
        await settled(built, 3)

    assert [death.number for death in deaths(built)] == [1]
    assert built.outcomes == [Outcome.TRAINED] * 3
    lines = [
        record.getMessage() for record in caplog.records if "died with the network" in record.getMessage()
    ]
    assert len(lines) == 1
    assert "a last word" in lines[0]


async def test_log_gives_the_same_search_whatever_the_order_of_audit_and_death():
    built = harness(num_deaths=1)
    engine = await settled(built)
    log = [entry async for entry in built.store.log()]

    folded: Evolution = fold(built.start, log[1:])

    assert folded == engine.evolution
    assert folded.num_deaths == 1
