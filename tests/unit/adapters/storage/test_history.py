"""What a state folder tells, read-only."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest

from llmatic_daemon.adapters.storage.history import _LINEAGE_PARENTS, History
from llmatic_daemon.adapters.storage.sqlite_store import _EARLIER, SQLiteStore
from llmatic_daemon.domain import Artefacts, Outcome, Placement, Tessellation
from llmatic_daemon.domain.errors import ConfigurationError, StateVersionError, UserError
from tests.support.sample_placements import SampleSearch, edition, failure, success

CELLS = Tessellation(network=((0.1, 0.2), (0.3, 0.4)), prompt=((0.5, 0.6),))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search of 30 placements."""
    folder = tmp_path_factory.mktemp("state")
    asyncio.run(_search(folder))
    return folder


@pytest.fixture(scope="module")
def placements(folder: Path) -> list[Placement]:
    return SEARCH.placements


SEARCH = SampleSearch()


async def _search(folder: Path) -> None:
    store = await SQLiteStore.open(folder)
    await store.tessellation(_cells)
    await store.adopt(edition(1, "deepen", "widen"))
    for _ in range(30):
        placement, artefacts = SEARCH.next(await store.dispatch(0))
        await store.commit(placement, artefacts)
        SEARCH.settle(placement)
    await store.close()


async def _cells() -> Tessellation:
    return CELLS


def test_missing_state_says_how_to_begin(tmp_path: Path):
    with pytest.raises(UserError, match="begin one with 'llmatic-daemon demo'"):
        History(tmp_path / "nowhere")

    assert not (tmp_path / "nowhere").exists()


def test_status_counts_what_was_settled(folder: Path, placements: list[Placement]):
    with History(folder) as history:
        status = history.status()

    trained = [p for p in placements if p.outcome is Outcome.TRAINED]
    best = max(trained, key=lambda p: p.objective if p.status.added and p.objective else 0.0)
    assert (status.num_settled, status.num_evaluations) == (30, len(trained))
    assert dict(status.outcomes) == {Outcome.TRAINED: len(trained), Outcome.ERROR: 6}
    assert status.best_objective
    assert status.best_objective <= (best.objective or 0.0)
    assert status.filled_network_cells == len({p.cell for p in placements if p.status.added})
    assert (status.network_cells, status.prompt_cells) == (2, 1)
    assert status.elapsed_s == 30.0
    assert status.train_s == pytest.approx(0.4 * len(trained))
    assert (status.running, status.num_queued, status.holder) == ((), 0, None)
    assert status.last_settled_at


async def test_status_of_a_running_search_names_jobs_and_daemon(tmp_path: Path):
    store = await SQLiteStore.open(tmp_path)
    await store.dispatch(slot=4)
    await store.release(await store.dispatch(slot=5), charged=True)

    with History(tmp_path) as history:
        status = history.status()
    await store.close()

    (running,) = status.running
    assert (running.job, running.attempt, running.slot) == (1, 1, 4)
    assert running.age_s is not None
    assert running.age_s >= 0
    assert status.num_queued == 1
    assert status.holder
    assert status.holder.pid == os.getpid()


def test_elites_are_ordered_as_asked(folder: Path):
    with History(folder) as history:
        by_objective = [elite.objective for elite in history.elites()]
        by_flops = [elite.measures.flops for elite in history.elites("flops")]
        with pytest.raises(UserError, match="not by 'beauty'"):
            history.elites("beauty")  # type: ignore[arg-type]

    assert by_objective == sorted(by_objective, reverse=True)
    assert by_flops == sorted(by_flops)


def test_elites_lead_to_their_content(folder: Path, placements: list[Placement]):
    with History(folder) as history:
        elite = history.elites()[0]
        source, graph = history.source(elite.source_digest), history.graph(elite.network_digest)
        with pytest.raises(UserError, match="no source 'abc'"):
            history.source("abc")

    assert source.startswith(f"# network {elite.job}\n")
    assert graph.startswith(b'{"nodes": [%d]' % elite.job)


def test_placement_is_the_one_that_was_committed(folder: Path, placements: list[Placement]):
    with History(folder) as history:
        assert [history.placement(p.job.number) for p in placements] == placements


async def test_placement_of_an_unsettled_job_says_what_it_is(tmp_path: Path):
    store = await SQLiteStore.open(tmp_path)
    await store.dispatch(0)

    with History(tmp_path) as history:
        with pytest.raises(UserError, match="found a running one"):
            history.placement(1)
        with pytest.raises(UserError, match="found no such job"):
            history.lineage(2)
    await store.close()


async def test_lineage_lists_each_ancestor_once_nearest_first(tmp_path: Path):
    store = await SQLiteStore.open(tmp_path)
    family: dict[int, tuple[int, ...]] = {1: (), 2: (1,), 3: (2,), 4: (3, 1), 5: ()}
    for job, parents in family.items():
        placement, artefacts = success(job, await store.dispatch(0), parents=parents)
        await store.commit(placement, artefacts)
    await store.close()

    with History(tmp_path) as history:
        lineage = history.lineage(4)

    assert [(a.job, a.distance, a.parents) for a in lineage] == [
        (4, 0, (3, 1)),
        (3, 1, (2,)),
        (1, 1, ()),
        (2, 2, (1,)),
    ]


async def test_lineage_of_a_crossed_family_is_quick(tmp_path: Path):
    """Each of 60 generations joins the two before: there are 10^12 ways back to the first."""
    store = await SQLiteStore.open(tmp_path)
    for job in range(1, 61):
        parents = tuple(number for number in (job - 1, job - 2) if number > 0)
        await store.commit(failure(job, await store.dispatch(0), parents=parents), Artefacts())
    await store.close()

    with History(tmp_path) as history:
        assert len(history.lineage(60)) == 60


def test_centroids_are_those_of_the_search(folder: Path):
    with History(folder) as history:
        assert history.centroids() == CELLS


def test_prompts_are_listed_with_their_credit(folder: Path, placements: list[Placement]):
    with History(folder) as history:
        credit = history.prompt_credit()
        elites = history.prompt_elites()

    assert [(c.prompt, c.version, c.slot, c.in_use, c.num_used) for c in credit] == [
        ("deepen", 1, 0, True, 30),
        ("join", 1, None, True, 0),
        ("widen", 1, 1, True, 0),
    ]
    assert credit[0].score == sum(p.score_change for p in placements)
    assert [e.curiosity for e in elites] == sorted((e.curiosity for e in elites), reverse=True)


def test_database_of_another_program_is_refused(tmp_path: Path):
    with sqlite3.connect(tmp_path / "llmatic.db") as database:
        database.execute("CREATE TABLE songs (title)")
    database.close()

    with pytest.raises(StateVersionError, match="another program"):
        History(tmp_path)


def test_damaged_database_is_refused(tmp_path: Path):
    (tmp_path / "llmatic.db").write_bytes(b"x" * 5000)

    with pytest.raises(ConfigurationError, match="must be a sound database"):
        History(tmp_path)


async def test_history_on_a_read_only_disk_is_readable(tmp_path: Path):
    """SQLite would make its log beside the database, and cannot."""
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", tmp_path]
    if subprocess.run(command, capture_output=True, check=False).returncode:  # noqa: ASYNC221
        pytest.skip("needs the right to mount a tmpfs")
    try:
        store = await SQLiteStore.open(tmp_path)
        await store.commit(failure(1, await store.dispatch(0)), Artefacts())
        await store.close()
        subprocess.run(["mount", "-o", "remount,ro", tmp_path], check=True)  # noqa: ASYNC221

        with History(tmp_path) as history:
            assert history.status().num_settled == 1
        with pytest.raises(ConfigurationError, match="that we can write"):
            await SQLiteStore.open(tmp_path)
    finally:
        subprocess.run(["umount", tmp_path], check=True)  # noqa: ASYNC221


def test_check_tells_of_a_sum_that_the_log_does_not_give(folder: Path, tmp_path: Path):
    state = tmp_path / "state"
    shutil.copytree(folder, state)
    database = sqlite3.connect(state / "llmatic.db", isolation_level=None)
    database.execute("UPDATE tallies SET num = num + 1 WHERE outcome = 'error'")
    database.close()

    with History(state) as history, History(folder) as untouched:
        (fault,) = history.check()
        assert untouched.check() == ()

    assert fault.startswith("tally ('deepen', 1, 'error', 'writer'): the log gives Sums(num=6,")


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (f"{_EARLIER}", "placements_network"),
        ("SELECT number FROM jobs WHERE state = 'running' ORDER BY number", "jobs_running"),
    ],
)
def test_question_that_is_asked_often_reads_an_index_only(folder: Path, query: str, index: str):
    database = sqlite3.connect(folder / "llmatic.db")

    values = ("x", True, True)[: query.count("?")]
    plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {query}", values)]
    database.close()

    assert any(index in step for step in plan), plan
    assert not any("B-TREE" in step for step in plan), plan


def test_lineage_reads_the_parents_of_ancestors_only(folder: Path):
    database = sqlite3.connect(folder / "llmatic.db")

    plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {_LINEAGE_PARENTS}", (9,))]
    database.close()

    assert not [step for step in plan if step.startswith("SCAN parents")], plan
