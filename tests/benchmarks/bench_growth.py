"""What a long search costs: `python tests/benchmarks/bench_growth.py 1000000 [--state DIR]`.

Makes a search of so many settled candidates: real proposals and placements with made-up results, the
real store's own transactions thousands at a time (`growing.py`). Then, on it: the real daemon's start,
exec until ready, and its memory; a dispatch and commit, by turns with a new search; the questions of
`status` and of an API; and the size of the database. `--state` keeps the search, and takes one that is
there. Candidates have sources and graphs of `--size` bytes, about.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.adapters.storage.state_folder import database_path
from llmatic_daemon.search.checkpoint import checkpoint_of
from llmatic_daemon.search.evolution import apply
from tests.benchmarks.bench_start import start
from tests.benchmarks.growing import Growing


async def make(state: Path, number: int, size: int) -> float:
    """Settle so many; returns how long it took, in seconds."""
    began = time.perf_counter()
    growing = await Growing.begin(state, size)
    await growing.grow(number - growing.evolution.num_settled)
    await growing.store.keep_checkpoint(checkpoint_of(growing.evolution))
    await growing.store.close()
    return time.perf_counter() - began


async def settle(growing: Growing, number: int) -> tuple[float, float]:
    """Dispatch and commit as a slot does; returns CPU ms, and the median of wall ms, of each."""
    walls, cpu = [], time.process_time()
    for _ in range(number):
        began = time.perf_counter()
        placement, artefacts = growing.next(await growing.store.dispatch(0))
        assert await growing.store.commit(placement, artefacts)
        growing.evolution = apply(growing.evolution, placement)
        walls.append(time.perf_counter() - began)
    return (time.process_time() - cpu) * 1e3 / number, statistics.median(walls) * 1e3


async def compare(state: Path, young_state: Path, size: int) -> dict[str, float]:
    """Let the long search and a short one settle by turns: the machine's moods are both's."""
    old, young = [await Growing.begin(each, size) for each in (state, young_state)]
    await young.grow(2000)
    turns = [(await settle(old, 25), await settle(young, 25)) for _ in range(40)]
    for growing in (old, young):
        await growing.store.keep_checkpoint(checkpoint_of(growing.evolution))
        await growing.store.close()
    return {
        "old_cpu_ms": statistics.median(aged[0] for aged, _ in turns),
        "young_cpu_ms": statistics.median(fresh[0] for _, fresh in turns),
        "old_wall_ms": statistics.median(aged[1] for aged, _ in turns),
        "young_wall_ms": statistics.median(fresh[1] for _, fresh in turns),
        "cpu_ratio": statistics.median(aged[0] / fresh[0] for aged, fresh in turns),
        "wall_ratio": statistics.median(aged[1] / fresh[1] for aged, fresh in turns),
    }


def questions(state: Path, repeats: int = 15) -> dict[str, list[float]]:
    """Time each question: median and longest, in ms; of random candidates where it is of one."""
    chance = random.Random(1)
    with History(state) as history:
        last = history.status().num_settled
        best = history.elites()[0]
        asked: dict[str, Callable[[], object]] = {
            "open": lambda: History(state).close(),
            "status": history.status,
            "elites": history.elites,
            "prompt_elites": history.prompt_elites,
            "prompt_credit": history.prompt_credit,
            "page of 100": lambda: history.page(chance.randrange(last), 100),
            "candidate": lambda: history.placement(chance.randint(1, last)),
            "lineage of the best": lambda: history.lineage(best.job),
            "source": lambda: history.source(best.source_digest),
        }
        return {name: _timed(question, repeats) for name, question in asked.items()}


def _timed(question: Callable[[], object], repeats: int) -> list[float]:
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        question()
        took.append((time.perf_counter() - began) * 1e3)
    return [round(statistics.median(took), 2), round(max(took), 2)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("number", type=int)
    parser.add_argument("--state", type=Path)
    parser.add_argument("--size", type=int, default=900)
    parser.add_argument("--starts", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        state = options.state or Path(folder) / "state"
        making_s = asyncio.run(make(state, options.number, options.size))
        size_bytes = database_path(state).stat().st_size
        starts = [start(state) for _ in range(options.starts)]
        result = {
            "settled": options.number,
            "made_in_s": round(making_s),
            "bytes_each": round(size_bytes / options.number),
            "ready_s_median": statistics.median(took for took, _, _ in starts),
            "ready_s_max": max(took for took, _, _ in starts),
            "resident_mb": max(resident for _, resident, _ in starts),
            "commit": asyncio.run(compare(state, Path(folder) / "young", options.size)),
            "questions_ms": questions(state),
            "load": os.getloadavg()[0],
        }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
