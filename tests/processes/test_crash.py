"""A daemon that is killed with signal 9 at random moments loses nothing and counts nothing twice."""

import contextlib
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.commands.verify import verify

NUM_KILLS = int(os.environ.get("CRASH_TEST_KILLS", "5"))
SEED = int(os.environ.get("CRASH_TEST_SEED", "1"))
GRAMMAR = re.compile(r"queued (dispatched (released dispatched )*)placed |queued (dispatched (released )?)*")


def start(state: Path, num_evaluations: int) -> "subprocess.Popen[bytes]":
    command = [
        sys.executable,
        "-m",
        "tests.support.fake_daemon",
        str(state),
        str(num_evaluations),
        "--cells-at-once",
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def killed_after(state: Path, num_commits: int, delay_s: float) -> list[int]:
    """Start a daemon, kill it a moment after some commits, return what it acknowledged."""
    with start(state, 10**6) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(num_commits)]
        timer = threading.Timer(delay_s, process.send_signal, [signal.SIGKILL])
        timer.start()
        rest = process.stdout.read()
        timer.join()
    whole = (b"".join(lines) + rest).decode()
    return [int(line) for line in whole.splitlines(keepends=True) if line.endswith("\n")]


def placed_jobs(state: Path) -> Counter[int]:
    with contextlib.closing(sqlite3.connect(f"file:{state}/llmatic.db?mode=ro", uri=True)) as database:
        return Counter(job for (job,) in database.execute("SELECT job FROM placements"))


def job_events(state: Path) -> dict[int, str]:
    words: dict[int, str] = {}
    with contextlib.closing(sqlite3.connect(f"file:{state}/llmatic.db?mode=ro", uri=True)) as database:
        for job, event in database.execute("SELECT job, event FROM job_events ORDER BY number"):
            words[job] = words.get(job, "") + event + " "
    return words


@pytest.mark.timeout(1200)
def test_killed_daemon_loses_no_result_and_counts_none_twice(tmp_path: Path) -> None:
    chance, state = random.Random(SEED), tmp_path / "state"
    acknowledged: set[int] = set()

    for _ in range(NUM_KILLS):
        acknowledged.update(killed_after(state, chance.randrange(1, 30), chance.random() * 0.05))

        placed = placed_jobs(state)
        assert acknowledged <= placed.keys()
        assert set(placed.values()) == {1}
        assert verify(state).faults == ()
    assert all(GRAMMAR.fullmatch(words) for words in job_events(state).values())
    with History(state) as history:
        assert history.status().num_audits > 0, "they are killed as well"


def test_restarted_daemon_goes_on_to_its_budget_and_not_beyond(tmp_path: Path) -> None:
    state = tmp_path / "state"
    killed_after(state, 10, 0.0)
    before = verify(state).num_evaluations

    with start(state, before + 25) as process:
        _, log = process.communicate(timeout=60)

    assert process.returncode == 0, log.decode()
    found = verify(state)
    assert found.num_evaluations == before + 25
    assert found.faults == ()


@pytest.mark.parametrize("num_signals", [1, 2])
def test_stopped_daemon_leaves_nothing_running(tmp_path: Path, num_signals: int) -> None:
    state = tmp_path / "state"
    with start(state, 10**6) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for _ in range(num_signals):
            process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)

    assert process.returncode == 0, log.decode()
    assert "stopped by SIGTERM" in log.decode()
    assert verify(state).faults == ()
    with contextlib.closing(sqlite3.connect(f"file:{state}/llmatic.db?mode=ro", uri=True)) as database:
        running = database.execute("SELECT count(*) FROM jobs WHERE state = 'running'").fetchone()
    assert running == (0,)


def test_second_daemon_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with start(state, 10**6) as first:
        assert first.stdout is not None
        first.stdout.readline()

        with start(state, 10**6) as second:
            _, log = second.communicate(timeout=60)
        first.kill()

    assert second.returncode != 0
    assert f"process {first.pid}" in log.decode()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1200k", "none", str(disk)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("only root may mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_full_disk_stops_the_search_until_there_is_room(small_disk: Path) -> None:
    state = small_disk / "state"
    with start(state, 200) as process:
        assert process.stderr is not None
        said = next(line for line in process.stderr if b"the store is unavailable" in line)
        subprocess.run(["mount", "-o", "remount,size=50m", str(small_disk)], check=True)
        _, log = process.communicate(timeout=90)

    assert process.returncode == 0, log.decode()
    assert b"disk is full" in said
    found = verify(state)
    assert found.num_evaluations == 200
    assert found.faults == ()
