"""Editions in the real store, when its disk fails."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from llmatic_daemon.adapters.storage.sqlite_store import SQLiteStore
from llmatic_daemon.domain.errors import StoreUnavailable
from tests.support.sample_placements import edition


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    opened = await SQLiteStore.open(tmp_path / "state")
    yield opened
    await opened.close()


async def test_edition_whose_error_came_after_it_was_kept_can_be_asked_for_again(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
):
    """A COMMIT that reports a failed fsync may be on the disk."""
    first, second = edition(1, "deepen"), edition(2, "deepen", "widen")
    write = store._database.write

    async def write_and_fail(point, work):
        await write(point, work)
        raise StoreUnavailable("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(store._database, "write", write_and_fail)
        with pytest.raises(StoreUnavailable):
            await store.adopt(first)

    await store.adopt(first)
    await store.adopt(second)
    assert [entry async for entry in store.log()] == [first, second]


async def test_other_edition_of_the_same_number_is_refused(store: SQLiteStore):
    await store.adopt(edition(1, "deepen"))

    with pytest.raises(ValueError, match="the next edition's number must be 2, got 1"):
        await store.adopt(edition(1, "widen"))

    assert [entry async for entry in store.log()] == [edition(1, "deepen")]
