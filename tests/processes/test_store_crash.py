"""The store under kill -9, for real: a child process works, dies, and its state is looked at."""

import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.adapters.storage.sqlite_store import SQLiteStore
from llmatic_daemon.domain import Artefacts, Job, Placement
from tests.support.sample_placements import failure
from tests.support.samples import sampled

CHILD = ("-m", "tests.support.store_child")
LIFE = re.compile(r"(queued (dispatched (released dispatched )*)(released |placed )?)")
POINTS = [
    "migration:1",
    "recover-inside:1",
    *(f"{name}-{where}:4" for name in ("dispatch", "commit") for where in ("begin", "inside", "after")),
    "commit-inside:1",
    "commit-after:9",
    "release-inside:2",
    "checkpoint:1",
    "checkpoint:4",
]
#: Once each before, within and after a transaction, and wherever else there is only one moment.
SAMPLE = [
    "migration:1",
    "recover-inside:1",
    "dispatch-begin:4",
    "commit-inside:4",
    "commit-after:4",
    "release-inside:2",
    "checkpoint:1",
]


def run_child(folder: Path, number: int, failpoint: str = "") -> tuple[int, list[tuple[int, int]]]:
    """Run it to its end; returns its exit code and the (job, number) pairs acknowledged."""
    child = subprocess.run(
        [sys.executable, *CHILD, folder, str(number)],
        env={**os.environ, "LLMATIC_FAILPOINT": failpoint},
        stdout=subprocess.PIPE,
        check=False,
    )
    return child.returncode, acknowledged(child.stdout)


def kill_child(folder: Path, num_lines: int) -> list[tuple[int, int]]:
    """Kill a child after so many lines; returns what it acknowledged."""
    child = subprocess.Popen([sys.executable, *CHILD, folder, "100000"], stdout=subprocess.PIPE)
    assert child.stdout
    lines = [child.stdout.readline() for _ in range(num_lines)]
    child.kill()
    lines.append(child.stdout.read())
    child.stdout.close()
    child.wait()
    return acknowledged(b"".join(lines))


def acknowledged(output: bytes) -> list[tuple[int, int]]:
    """Read the whole lines of a child's output; a kill may have torn the last one."""
    lines = output.decode().rpartition("\n")[0].splitlines()
    return [(int(line.split()[0]), int(line.split()[1])) for line in lines if line[0].isdigit()]


async def check(folder: Path, promised: list[tuple[int, int]]) -> list[Placement]:
    """Open the state again and hold it against what was promised."""
    store = await SQLiteStore.open(folder)
    try:
        log = [placement async for placement in store.log()]
    finally:
        await store.close()
    kept = [(placement.job.number, placement.number) for placement in log]
    assert [number for _, number in kept] == list(range(1, len(kept) + 1))
    assert len({job for job, _ in kept}) == len(kept)
    assert [pair for pair in promised if pair not in kept] == []
    assert len(kept) - len(promised) in (0, 1), "at most the last commit was not acknowledged"
    check_database(folder / "llmatic.db", log)
    return log


def check_database(path: Path, log: list[Placement]) -> None:
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        check_events(connection)
        check_archives(connection, log)
    finally:
        connection.close()


def check_events(connection: sqlite3.Connection) -> None:
    lives: dict[int, str] = defaultdict(str)
    for job, event in connection.execute("SELECT job, event FROM job_events ORDER BY number"):
        lives[job] += "" if event == "fenced" else f"{event} "
    states = dict(connection.execute("SELECT number, state FROM jobs"))
    assert states.keys() == lives.keys()
    for job, life in lives.items():
        assert LIFE.fullmatch(life), life
        last = life.split()[-1]
        assert (states[job], last) in [("settled", "placed"), ("queued", "released")]


def check_archives(connection: sqlite3.Connection, log: list[Placement]) -> None:
    """Fold the log in the plainest way, and compare both archives."""
    networks: dict[int, tuple[int, float]] = {}
    prompts: dict[int, tuple[int, float]] = {}
    for placement in log:
        job = placement.job.number
        if placement.status.added:
            assert placement.cell is not None
            assert placement.objective is not None
            networks[placement.cell] = (job, placement.objective)
        cell = placement.credited_cell
        if cell in prompts and prompts[cell][0] == placement.credited_job:
            prompts[cell] = (prompts[cell][0], prompts[cell][1] + placement.curiosity_change)
        if placement.offer and placement.offer.status.added:
            prompts[placement.offer.cell] = (job, placement.offer.curiosity)
    stored = connection.execute("SELECT cell, job, objective FROM network_elites")
    assert {cell: tuple(rest) for cell, *rest in stored} == networks
    stored = connection.execute("SELECT cell, job, curiosity FROM prompt_elites")
    assert {cell: tuple(rest) for cell, *rest in stored} == prompts


@pytest.mark.parametrize("point", sampled(POINTS, SAMPLE))
async def test_kill_at_each_point_loses_and_doubles_nothing(tmp_path: Path, point: str):
    folder = tmp_path / "state"
    first = [] if "migration" in point else run_child(folder, 2)[1]

    code, second = run_child(folder, 14, failpoint=point)

    assert code == -signal.SIGKILL
    log = await check(folder, first + second)
    code, third = run_child(folder, 5)
    assert code == 0
    assert len(third) == 5
    await check(folder, [(p.job.number, p.number) for p in log] + third)


async def test_kill_at_random_moments_loses_and_doubles_nothing(tmp_path: Path):
    """The numbers of lines are seeded; the moments within depend on the machine."""
    rng = random.Random(7)
    kept: list[tuple[int, int]] = []
    for _ in range(8):
        promised = kill_child(tmp_path / "state", num_lines=rng.randrange(2, 60))

        log = await check(tmp_path / "state", kept + promised)

        kept = [(placement.job.number, placement.number) for placement in log]


async def test_history_reads_what_a_killed_daemon_left(tmp_path: Path):
    code, promised = run_child(tmp_path, 8, failpoint="commit-after:7")
    assert code == -signal.SIGKILL
    assert (tmp_path / "llmatic.db-wal").stat().st_size > 0

    with History(tmp_path) as history:
        status = history.status()

    assert status.num_settled == len(promised) + 1
    assert status.holder is None
    assert (tmp_path / "llmatic.db-wal").stat().st_size > 0


async def test_restart_after_a_kill_charges_the_job_that_ran(tmp_path: Path):
    run_child(tmp_path, 1, failpoint="commit-begin:1")

    store = await SQLiteStore.open(tmp_path)
    job = await store.dispatch(0)

    assert job == Job(number=1, attempt=2, num_charged=1)
    assert await store.commit(failure(1, job), Artefacts())
    await store.close()
