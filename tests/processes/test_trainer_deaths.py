"""A network that ends its trainers among 200 candidates: trainers in processes of their own, a store on disk."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.adapters.storage.sqlite_store import SQLiteStore
from llmatic_daemon.domain import Candidate, Identity, Network, Outcome, Placement
from llmatic_daemon.domain.errors import NoDeviceWorker, first_error
from llmatic_daemon.domain.ports import Ports
from llmatic_daemon.engine.engine import Engine
from llmatic_daemon.search.budget import Budget
from llmatic_daemon.search.evolution import fold
from tests.support.engine import AT_ONCE
from tests.support.fakes import TASK, FakeLifter, FakeWriter, evolution, network
from tests.support.sample_placements import edition
from tests.support.trainer import trainer_pool

NUM_CANDIDATES = 200
FATAL = 77


class NumberedLifter(FakeLifter):
    """Lifts the n-th network to a graph that the trainer measures, or that ends it."""

    def __init__(self, *fatal: int) -> None:
        super().__init__()
        self._fatal = fatal

    async def lift(self, candidate: Candidate) -> Network:
        number = int(candidate.source.split("= ")[1])
        graph = f"{'segv' if number in self._fatal else 'measured'} {number}".encode()
        made = network(candidate.source, flops=10**6 * (1 + number % 37), ratio=1 + number % 11)
        return replace(made, graph=graph)


async def searched(folder: Path, *fatal: int, devices: int = 2) -> None:
    """Settle NUM_CANDIDATES candidates; which network the n-th one is depends on n alone."""
    start = evolution(train_initial=True)
    store = await SQLiteStore.open(folder)
    try:
        await store.identify(Identity(fields=(("task", TASK.name),)))
        await store.adopt(start.prompts.edition or edition(1))
        async with trainer_pool(*["cpu"] * devices) as pool:
            ports = Ports(
                writer=FakeWriter(text="class Net(nn.Module):\n    number = {}\n".format),
                lifter=NumberedLifter(*fatal),
                trainer=pool,
                store=store,
            )
            engine = Engine(start, TASK, ports, num_slots=3, budget=Budget(), retry_policy=AT_ONCE)
            running = asyncio.create_task(engine.run())
            waiting = asyncio.create_task(engine.settled(NUM_CANDIDATES))
            await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            await engine.drain("enough", 10.0)
            await running
    finally:
        await store.close()


def by_network(folder: Path) -> Mapping[str, Placement]:
    with History(folder) as history:
        return {
            history.source(each.source_digest): each for each in history.placements() if each.source_digest
        }


async def test_network_that_ends_its_trainers_is_settled_and_changes_no_other_result(tmp_path: Path):
    await searched(tmp_path / "fatal", FATAL)
    await searched(tmp_path / "without")
    fatal, without = by_network(tmp_path / "fatal"), by_network(tmp_path / "without")
    both = fatal.keys() & without.keys()

    assert len(both) >= NUM_CANDIDATES - 3
    (source,) = [each for each in both if each.endswith(f"= {FATAL}\n")]
    assert fatal[source].outcome is Outcome.TRAINER_DIED
    for each in both - {source}:
        assert fatal[each].outcome is without[each].outcome is Outcome.TRAINED
        assert fatal[each].objective == without[each].objective
    with History(tmp_path / "fatal") as history:
        first, second = history.deaths(fatal[source].job.number)
        status, log = history.status(), list(history.log())
        assert history.check() == ()
    assert first.trainer != second.trainer
    assert {first.source_digest, second.source_digest} == {fatal[source].source_digest}
    assert status.num_trainer_deaths == 2
    assert dict(status.outcomes)[Outcome.TRAINER_DIED] == 1
    assert fold(evolution(train_initial=True), log[1:]).num_deaths == 2


async def test_search_ends_when_no_device_worker_is_left_and_remembers_the_networks(tmp_path: Path):
    with pytest.raises(BaseExceptionGroup) as caught:
        await searched(tmp_path, 5, 6, 7, 8, devices=1)

    assert isinstance(first_error(caught.value), NoDeviceWorker)
    with History(tmp_path) as history:
        assert history.status().num_trainer_deaths >= 3
        assert history.check() == ()
