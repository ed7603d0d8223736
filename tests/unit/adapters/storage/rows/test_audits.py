"""Audits in the real store: the archive beside the log, and a disk that fails."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.adapters.storage.sqlite_store import SQLiteStore
from llmatic_daemon.domain import Accuracies, Verdict
from llmatic_daemon.domain.errors import StoreUnavailable
from tests.support.paths import ROOT
from tests.support.sample_placements import audit, settled


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    opened = await SQLiteStore.open(tmp_path)
    yield opened
    await opened.close()


async def test_audit_gives_the_cell_to_its_holder(store: SQLiteStore, tmp_path: Path):
    runner_up, fluke = await settled(store)
    figures = Accuracies(objective=0.5, test_accuracy=0.4)

    await store.keep_audit(
        audit(1, fluke, holder=runner_up.job.number, holder_figures=figures, verdict=Verdict.UNSTABLE)
    )

    with History(tmp_path) as history:
        (elite,) = history.elites()
    assert (elite.job, elite.objective, elite.test_accuracy) == (1, 0.5, 0.4)
    assert elite.verdict is None


async def test_history_tells_of_an_audit(store: SQLiteStore, tmp_path: Path):
    _, elite = await settled(store)
    made = audit(1, elite, verdict=Verdict.UNSTABLE)
    await store.keep_audit(made)

    with History(tmp_path) as history:
        assert history.audit(2) == made
        assert history.audit(1) is None
        assert history.elites()[0].verdict is Verdict.UNSTABLE
        status = history.status()
        assert (status.num_audits, status.num_unstable) == (1, 1)
        assert status.train_s == pytest.approx(3 * 0.4)
        assert status.num_evaluations == 2


async def test_audit_whose_error_came_after_it_was_kept_can_be_asked_for_again(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
):
    """A COMMIT that reports a failed fsync may be on the disk."""
    first, second = await settled(store)
    write = store._database.write

    async def write_and_fail(point, work):
        await write(point, work)
        raise StoreUnavailable("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(store._database, "write", write_and_fail)
        with pytest.raises(StoreUnavailable):
            await store.keep_audit(audit(1, first))

    await store.keep_audit(audit(1, first))
    await store.keep_audit(audit(2, second))
    assert len([entry async for entry in store.log()]) == 4


CHILD = """
import asyncio, sys
from pathlib import Path
from llmatic_daemon.adapters.storage.sqlite_store import SQLiteStore
from tests.support.sample_placements import audit, settled

async def work():
    store = await SQLiteStore.open(Path(sys.argv[1]))
    (elite,) = await settled(store, 1)
    await store.keep_audit(audit(1, elite))

asyncio.run(work())
"""


def die_at(point: str, folder: Path) -> int:
    environment = {**os.environ, "LLMATIC_FAILPOINT": f"audit-{point}:1"}
    command = [sys.executable, "-c", CHILD, folder]
    return subprocess.run(command, env=environment, cwd=ROOT, check=False).returncode


@pytest.mark.parametrize(("point", "kept"), [("begin", None), ("inside", None), ("after", Verdict.STABLE)])
async def test_kill_at_an_audit_leaves_all_of_it_or_nothing(tmp_path: Path, point: str, kept: Verdict | None):
    assert die_at(point, tmp_path) == -9

    store = await SQLiteStore.open(tmp_path)
    entries = [entry async for entry in store.log()]
    await store.close()
    with History(tmp_path) as history:
        assert [elite.verdict for elite in history.elites()] == [kept]
        assert history.check() == ()
    assert len(entries) == 1 + (kept is not None)
