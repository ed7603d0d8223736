"""Both stores keep the promises of `tests/contracts/store_contract.py`."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from llmatic_daemon.adapters.storage.memory_store import Memory, MemoryStore
from llmatic_daemon.adapters.storage.sqlite_store import SQLiteStore
from llmatic_daemon.domain.ports import SearchStore
from tests.contracts.store_contract import OpenStore, StoreContract


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def open_store(self) -> OpenStore:
        memory = Memory()

        async def reopen() -> SearchStore:
            return MemoryStore(memory)

        return reopen


class TestSQLiteStore(StoreContract):
    @pytest.fixture
    async def open_store(self, tmp_path: Path) -> AsyncIterator[OpenStore]:
        opened: list[SQLiteStore] = []

        async def reopen() -> SearchStore:
            if opened:
                await opened.pop().close()
            opened.append(await SQLiteStore.open(tmp_path / "state"))
            return opened[-1]

        yield reopen
        for store in opened:
            await store.close()
