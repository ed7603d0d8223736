"""A start begins with the last checkpoint, and makes the same search as the whole log."""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from immutables import Map

from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.adapters.storage.memory_store import MemoryStore
from llmatic_daemon.adapters.storage.sqlite_store import SQLiteStore
from llmatic_daemon.adapters.storage.state_folder import database_path
from llmatic_daemon.bootstrap.build_search import empty, rebuild
from llmatic_daemon.commands.verify import verify
from llmatic_daemon.config.settings import Settings
from llmatic_daemon.domain import Checkpoint
from llmatic_daemon.domain.errors import StoreUnavailable
from llmatic_daemon.engine import checkpoints
from llmatic_daemon.search.checkpoint import checkpoint_of
from llmatic_daemon.search.evolution import Evolution, fold
from llmatic_daemon.search.prompt_book import highest_curiosity
from tests.support.engine import EngineHarness
from tests.support.fakes import evolution
from tests.support.finished_search import search, searched, settings, state

__all__ = ["searched", "state"]


@pytest.fixture
def database(state: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(database_path(state), isolation_level=None)
    yield connection
    connection.close()


def test_search_that_ends_keeps_a_checkpoint_of_all_that_was_settled(database: sqlite3.Connection):
    seen = database.execute("SELECT num_settled FROM checkpoints").fetchall()

    assert seen == database.execute("SELECT count(*) FROM placements").fetchall()


def test_verify_tells_of_a_checkpoint_that_the_log_does_not_give(state: Path, database: sqlite3.Connection):
    assert verify(state).faults == ()
    (text,) = database.execute("SELECT search FROM checkpoints").fetchone()
    forged = json.loads(text)
    forged["networks"][0], forged["networks"][1] = forged["networks"][1], forged["networks"][0]
    database.execute("UPDATE checkpoints SET search = ?", (json.dumps(forged),))

    (fault,) = verify(state).faults

    assert "checkpoint" in fault


@pytest.mark.parametrize("rules", [{}, {"search": {"window_size": 7}}])
def test_start_gives_the_search_that_the_whole_log_gives(
    state: Path, database: sqlite3.Connection, rules: dict[str, object]
):
    """Also by rules other than the checkpoint's, which is not read then."""
    before = database.execute("SELECT * FROM checkpoints").fetchall()
    search(state, 60)
    database.execute("DELETE FROM checkpoints")
    database.executemany("INSERT INTO checkpoints VALUES (?, ?, ?, ?, ?, ?, ?)", before)
    chosen = settings(state, **rules)

    rebuilt = asyncio.run(_rebuilt(chosen))

    with History(state) as history:
        folded = fold(empty(chosen, history.centroids()), history.log())
    assert rebuilt.num_settled > before[0][0]
    assert checkpoint_of(rebuilt) == checkpoint_of(folded)


def test_stored_search_and_running_one_have_the_same_status(state: Path):
    """As far as both have it: `status` reads the one, the API and the page read the other."""
    evolution = asyncio.run(_rebuilt(settings(state)))

    with History(state) as history:
        stored = history.status()

    assert (stored.num_settled, stored.num_evaluations) == (evolution.num_settled, evolution.num_evaluations)
    assert stored.filled_network_cells == len(evolution.networks)
    assert stored.network_cells == len(evolution.networks.centroids)
    assert stored.filled_prompt_cells == len(evolution.individuals)
    assert stored.prompt_cells == len(evolution.individuals.centroids)
    assert stored.qd_score == evolution.networks.qd_score
    assert stored.median_objective == evolution.networks.median_objective
    assert stored.curiosity == highest_curiosity(evolution.individuals, evolution.prompts.current)
    assert stored.best_objective == max(held.objective for _, held in evolution.networks.items())


async def _rebuilt(chosen: Settings) -> Evolution:
    store = await SQLiteStore.open(chosen.state_dir)
    try:
        return await rebuild(chosen, store)
    finally:
        await store.close()


class FullStore(MemoryStore):
    """Takes no checkpoint the first time; tells of the third."""

    def __init__(self) -> None:
        super().__init__()
        self.num_asked = 0
        self.third = asyncio.Event()

    async def keep_checkpoint(self, checkpoint: Checkpoint) -> None:
        self.num_asked += 1
        if self.num_asked == 1:
            raise StoreUnavailable("the disk is full")
        await super().keep_checkpoint(checkpoint)
        if self.num_asked == 3:
            self.third.set()


async def test_checkpoints_come_in_intervals_and_a_full_disk_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    async def at_once(work: Callable[..., Any], *args: Any) -> Any:
        return work(*args)  # a thread would be late: these candidates take no time

    monkeypatch.setattr(asyncio, "to_thread", at_once)
    monkeypatch.setattr(checkpoints, "_MIN_INTERVAL", 5)
    harness, store = EngineHarness(), FullStore()
    engine = harness.engine(max_evaluations=40)
    keeping = asyncio.create_task(checkpoints.keep_checkpoints(engine, store))
    await asyncio.sleep(0)

    await engine.run()
    await store.third.wait()  # it hears of the last ones after the engine has ended
    keeping.cancel()

    assert store.memory.checkpoint is not None
    assert store.memory.checkpoint.num_settled >= 10
    assert "no checkpoint is stored: the disk is full" in caplog.text


def test_large_archives_have_fewer_checkpoints():
    small = evolution()
    filled = Map((number, number) for number in range(30_000))
    large = replace(small, networks=replace(small.networks, filled=filled))

    assert checkpoints.interval(small) == 1000
    assert checkpoints.interval(large) == 3000
