"""The command as a person uses it: it goes on where it was, whatever ended it."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from llmatic_daemon.adapters.storage.experiment_store import DATABASE
from tests.support.experiment import TEXT

PROGRAM = "from llmatic_daemon.cli import main; main()"
Process = subprocess.Popen[str]


def start(*words: str) -> Process:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "experiment", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(*words: str) -> tuple[int, str, str]:
    with start(*words) as process:
        out, err = process.communicate(timeout=100)
    return process.returncode, out, err


def rows(folder: Path) -> dict[tuple[str, int], str]:
    """Read which runs are done, and when."""
    file = folder / DATABASE
    if not file.exists():
        return {}
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        query = "SELECT variant, seed, ended_at || duration_s FROM runs"
        try:
            return {(variant, seed): when for variant, seed, when in database.execute(query)}
        except sqlite3.OperationalError:  # it is being made
            return {}


def wait_for(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


def children(pid: int) -> set[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return {int(child) for child in listed.split()}


def is_alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def longer(file: Path, seeds: int) -> None:
    file.write_text(
        TEXT.replace("seeds = 2", f"seeds = {seeds}")
        .replace("[10, 25]", "[10, 60]")
        .replace("processes = 1", "processes = 2")
    )


@pytest.mark.exhaustive
def test_killed_command_goes_on_where_it_was(file: Path) -> None:
    longer(file, 30)
    folder = file.with_suffix("")
    with start(str(file)) as process:
        wait_for(lambda: len(rows(folder)) >= 3)
        workers = children(process.pid)
        process.send_signal(signal.SIGKILL)
    before = rows(folder)
    wait_for(lambda: not any(map(is_alive, workers)))
    longer(file, 4)

    status, out, err = run(str(file))

    assert status == 0, err
    after = rows(folder)
    assert before.items() <= after.items()
    assert {(variant, seed) for variant in ("plain", "uniform") for seed in range(4)} <= set(after)
    assert "8 runs: " in out
    assert "0 finished before" not in out
    found = {path.name for path in folder.iterdir()}
    assert {"results.csv", "passing.csv", "results.md"} <= found
    figures = ("fig2-best-over-windows", "fig3-archives", "fig5-accuracy-over-flops")
    assert {f"{name}.{kind}" for name in figures for kind in ("png", "svg", "pdf")} <= found
    assert not [name for name in found if name.startswith("fig4")]  # no two ratios to compare


def test_interrupted_command_ends_at_once_and_keeps_what_is_finished(file: Path) -> None:
    longer(file, 1000)
    folder = file.with_suffix("")
    with start(str(file)) as process:
        wait_for(lambda: len(rows(folder)) >= 1)
        workers, asked = children(process.pid), time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
        took_s = time.monotonic() - asked

    assert process.returncode == 130
    assert "finished runs are kept" in err
    assert "Traceback" not in err
    assert took_s < 5
    assert rows(folder)
    wait_for(lambda: not any(map(is_alive, workers)))


@pytest.mark.exhaustive
def test_what_has_changed_is_run_again_and_nothing_else(file: Path) -> None:
    folder = file.with_suffix("")
    assert run(str(file))[0] == 0
    before = rows(folder)
    more = TEXT.replace("tournament_size = 1", "tournament_size = 2").replace("seeds = 2", "seeds = 3")
    file.write_text(more + "[variants.half]\nsearch.mutation_ratio = 0.5\n")

    status, out, err = run(str(file))

    assert status == 0, err
    after = rows(folder)
    assert "9 runs: 2 finished before, 7 remaining" in out
    same = [key for key in before if after[key] == before[key]]
    assert sorted(same) == [("plain", 0), ("plain", 1)]
    assert (folder / "fig4-trainable-networks.png").exists()


def test_data_set_that_the_table_lacks_fails_alone(file: Path) -> None:
    both = 'data_sets = ["nasbench201-imagenet16-120", "nasbench201-cifar10"]'
    text = TEXT.replace('data_sets = ["nasbench201-cifar10"]', both).replace("[10, 25]", "[10]")
    assert both in text
    file.write_text(text.replace("seeds = 2", "seeds = 1"))

    status, _, err = run(str(file))

    assert status == 1
    assert "lacks in16_flops" in err
    assert "2 of 4 runs have failed" in err
    assert "Warning" not in err
    results = (file.with_suffix("") / "results.md").read_text()
    assert "| plain | 10 | 1 |" in results
    assert (file.with_suffix("") / "fig2-best-over-windows.png").exists()


@pytest.mark.exhaustive
def test_failed_run_is_told_of_and_tried_again(file: Path) -> None:
    file.write_text(TEXT.replace("search.tournament_size = 1", "archives.prompt_axis_size = 3"))

    first, again = run(str(file)), run(str(file))

    for (status, out, err), to_do in ((first, 4), (again, 2)):
        assert status == 1
        assert f"{to_do} remaining" in out
        assert "failed: uniform on nasbench201-cifar10, seed 1: " in err
        assert "prompt_axis_size" in err
        assert "2 of 4 runs have failed" in err
    assert sorted(rows(file.with_suffix(""))) == [("plain", 0), ("plain", 1)]


def test_experiment_of_ours_is_printed_to_be_edited(file: Path) -> None:
    status, out, _ = run("--show", "quick")

    assert status == 0
    assert "[variants." in out


def test_nothing_to_do_is_one_line() -> None:
    status, _, err = run()

    assert status == 1
    assert err.count("\n") == 1
    assert "expected an experiment" in err
