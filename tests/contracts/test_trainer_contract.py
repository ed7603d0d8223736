"""All trainers keep the promises of `tests/contracts/trainer_contract.py`."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from llmatic_daemon.adapters.nasbench.lookup import TableTrainer
from llmatic_daemon.adapters.processes.trainer import TrainerPool
from llmatic_daemon.domain import Network
from llmatic_daemon.domain.nasbench_cells import every_cell
from llmatic_daemon.domain.ports import Trainer
from tests.benchmarks.virtual_time import PlacedTrainer
from tests.contracts.trainer_contract import TrainerContract
from tests.support.fake_daemon import RandomTrainer
from tests.support.fakes import FakeTrainer, network
from tests.support.nasbench_table import TABLE
from tests.support.trainer import CONFIGURATION, lifted_network, tiny_network, trainer_pool

CELLS = [str(cell).encode() for cell in every_cell()]


class FakeNetworks:
    def a_network(self, number: int = 0) -> Network:
        return network(f"net {number}")


class TableNetworks:
    def a_network(self, number: int = 0) -> Network:
        cell = CELLS[100 + number]
        return Network(graph=cell, weights=cell, measures=network().measures, lift_s=0.0)


class TestFakeTrainer(FakeNetworks, TrainerContract):
    @pytest.fixture
    def trainer(self) -> Trainer:
        return FakeTrainer()


class TestRandomTrainer(FakeNetworks, TrainerContract):
    @pytest.fixture
    def trainer(self) -> Trainer:
        return RandomTrainer(failure_ratio=0.0)


class TestTableTrainer(TableNetworks, TrainerContract):
    @pytest.fixture
    def trainer(self) -> Trainer:
        return TableTrainer(TABLE)


class TestPlacedTrainer(TableNetworks, TrainerContract):
    @pytest.fixture
    def trainer(self) -> Trainer:
        return PlacedTrainer(TableTrainer(TABLE), 2, lambda train_s: 0.0)


class TestTrainerPool(TrainerContract):
    """The pool with quick processes that only pretend to train."""

    def a_network(self, number: int = 0) -> Network:
        return tiny_network(weights=bytes([number]))

    @pytest.fixture
    async def trainer(self) -> AsyncIterator[Trainer]:
        async with trainer_pool() as pool:
            yield pool


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def real_pool() -> AsyncIterator[Trainer]:
    """One for all tests: a start costs as much as ten trainings."""
    async with TrainerPool(devices=("cpu",), configuration=CONFIGURATION) as pool:
        yield pool


@pytest.mark.asyncio(loop_scope="module")
class TestRealTrainerPool(TrainerContract):
    epochs = 4

    def a_network(self, number: int = 0) -> Network:
        return lifted_network(f"nn.Flatten(), nn.Linear(64, {8 + number}), nn.Linear({8 + number}, 10)")

    @pytest.fixture
    def trainer(self, real_pool: Trainer) -> Trainer:
        return real_pool
