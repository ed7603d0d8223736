"""The watchdog is fed while all moves, and by nothing else."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from llmatic_daemon.adapters.storage.memory_store import MemoryStore
from llmatic_daemon.adapters.storage.sqlite_store import SQLiteStore
from llmatic_daemon.adapters.system.notify import ServiceManager
from llmatic_daemon.daemon import watchdog
from llmatic_daemon.domain.ports import SearchStore
from tests.support.fakes import FakeTrainer


class CountingManager(ServiceManager):
    """Counts how often it is fed."""

    def __init__(self, watchdog_us: int) -> None:
        super().__init__({"WATCHDOG_USEC": str(watchdog_us)})
        self.num_fed = 0
        self._fed = asyncio.Event()

    def feed(self) -> None:
        self.num_fed += 1
        self._fed.set()

    async def is_fed_again(self) -> None:
        self._fed.clear()
        await self._fed.wait()


class CountedStore(MemoryStore):
    """Counts how often it was looked at, and lets one wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self._looked_at = asyncio.Event()

    async def ping(self) -> None:
        self._looked_at.set()

    async def is_looked_at(self, times: int) -> None:
        for _ in range(times):
            self._looked_at.clear()
            await self._looked_at.wait()


class HeldTrainer(FakeTrainer):
    """Has a device worker that is overdue, when it is set so."""

    late: tuple[str, ...] = ()

    def overdue(self) -> tuple[str, ...]:
        return self.late


class Fed:
    """A feeder at work."""

    def __init__(self, store: SearchStore, watchdog_us: int = 4000) -> None:
        self.manager = CountingManager(watchdog_us)
        self.trainer = HeldTrainer()
        self._task = asyncio.create_task(watchdog.feed(self.manager, store, self.trainer))

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    opened = await SQLiteStore.open(tmp_path)
    yield opened
    await opened.close()


async def test_all_that_moves_feeds_it() -> None:
    fed = Fed(MemoryStore())

    await fed.manager.is_fed_again()
    await fed.manager.is_fed_again()

    await fed.stop()


async def test_stalled_store_thread_starves_it(store: SQLiteStore, caplog: pytest.LogCaptureFixture) -> None:
    gate = threading.Event()
    fed = Fed(store, watchdog_us=400_000)
    await fed.manager.is_fed_again()

    stalled = store._database._thread.submit(gate.wait)
    try:
        while "the watchdog is not fed: the store thread" not in caplog.text:  # noqa: ASYNC110 - a log line has no event
            await asyncio.sleep(0.01)
        num_fed = fed.manager.num_fed
        await asyncio.sleep(0.2)  # two looks more

        assert fed.manager.num_fed == num_fed
    finally:
        gate.set()
    await asyncio.wrap_future(stalled)
    await fed.manager.is_fed_again()
    await fed.stop()


async def test_trainer_beyond_its_patience_starves_it(caplog: pytest.LogCaptureFixture) -> None:
    store = CountedStore()
    fed = Fed(store)
    fed.trainer.late = ("cuda:0",)

    await store.is_looked_at(times=3)

    assert fed.manager.num_fed == 0
    assert caplog.text.count("a trainer has exceeded its time limit: cuda:0") == 1
    fed.trainer.late = ()
    await fed.manager.is_fed_again()
    await fed.stop()


async def test_without_a_watchdog_there_is_nothing_to_do() -> None:
    await watchdog.feed(ServiceManager({}), MemoryStore(), FakeTrainer())
