"""All lifters keep the promises of `tests/contracts/lifter_contract.py`."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from llmatic_daemon.adapters.nasbench.lookup import CellLifter
from llmatic_daemon.adapters.processes.lifter import ProcessLifter
from llmatic_daemon.domain.nasbench_cells import every_cell
from llmatic_daemon.domain.ports import Lifter
from tests.contracts.lifter_contract import LifterContract
from tests.support.fake_daemon import RandomLifter
from tests.support.fakes import FakeLifter
from tests.support.nasbench_table import TABLE

#: Different as networks too: no two of them have the same canonical form.
CELLS = [str(c) for c in every_cell() if len(set(c.operations)) == 1 and "none" not in c.operations]


class TestFakeLifter(LifterContract):
    @pytest.fixture
    def lifter(self) -> Lifter:
        return FakeLifter()


class TestRandomLifter(LifterContract):
    @pytest.fixture
    def lifter(self) -> Lifter:
        return RandomLifter()


class TestCellLifter(LifterContract):
    broken = "|no_such_operation~0|"

    @pytest.fixture
    def lifter(self) -> Lifter:
        return CellLifter(TABLE)

    def source(self, number: int) -> str:
        return CELLS[number]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def process_lifter() -> AsyncIterator[Lifter]:
    """One for all tests: a start costs as much as ten lifts."""
    async with ProcessLifter(num_parents=2) as lifter:
        yield lifter


@pytest.mark.asyncio(loop_scope="module")
class TestProcessLifter(LifterContract):
    @pytest.fixture
    def lifter(self, process_lifter: Lifter) -> Lifter:
        return process_lifter
