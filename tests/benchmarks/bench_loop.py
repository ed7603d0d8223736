"""The loop without LLM and GPU: `python tests/benchmarks/bench_loop.py [--parts busy handover cost]`.

The true engine and the true store (`synchronous=FULL`) with fakes for writer, lifter and trainer.

- busy: share of time in which 8 device places train, and evaluations against a loop with a barrier
  every 50 candidates. Job times are drawn from a heavy tail (lognormal, mean 1 s, standard deviation 0.9 of
  the mean), writer latency 0.1 s, 30 % of completions unusable. `--scale 0.5` shortens job times
  and latency alike, so that it runs quickly and our own overhead weighs twice as much.
- handover: from a result in hand until the next job reaches the device place; one slot, one place,
  an instant writer: commit, dispatch, proposal, reading and lifting lie between. An fsync of the
  same disk is timed in between.
- cost: CPU of the whole process for a settled evaluation, metrics on, over 20,000; the second half
  against the first; resident memory at the end.
"""

import argparse
import asyncio
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from llmatic_daemon.adapters.metrics.observer import Metrics
from llmatic_daemon.adapters.storage.sqlite_store import SQLiteStore
from llmatic_daemon.domain import Candidate, Completion, Network, Progress, Report, Request, Training
from llmatic_daemon.domain.events import Event, Placed, Receiver
from llmatic_daemon.domain.ports import Ports
from llmatic_daemon.engine.engine import Engine
from llmatic_daemon.search.budget import Budget
from llmatic_daemon.search.evolution import Evolution
from llmatic_daemon.search.rules import RetryPolicy
from tests.benchmarks.generations import run_generations
from tests.support.fakes import TASK, FakeLifter, FakeTrainer, FakeWriter, evolution, network, report

NUM_PLACES = 8
BARRIER = 50
LATENCY_S = 0.1
UNUSABLE = 0.3
SPREAD = 0.9
SOURCE = "class Net(nn.Module):\n    number = {}\n" + "    # as long as a network is\n" * 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--scale", type=float, default=0.5, help="of job times and latency")
    parser.add_argument("--jobs", type=int, default=420, help="evaluations for busy")
    parser.add_argument("--slots", type=int, default=16, help="for busy")
    parser.add_argument("--num", type=int, default=20_000, help="evaluations for cost")
    parser.add_argument("--handovers", type=int, default=1000)
    parser.add_argument("--folder", type=Path, help="on the disk to be measured")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    print(f"{'figure':<58} {'measured':>10}  must")
    figures: dict[str, float] = {}
    for part in arguments.parts:
        if len(arguments.parts) > 1:  # a process each: memory is measured in one of them
            figures |= in_a_process(part)
        else:
            with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
                figures |= asyncio.run(PARTS[part](arguments, Path(folder)))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2))


def in_a_process(part: str) -> dict[str, float]:
    parts = sys.argv[1:]
    if "--parts" in parts:
        start = parts.index("--parts")
        rest = [a for a in parts[start + 1 :] if a not in PARTS]
        parts = parts[:start] + rest
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [sys.executable, __file__, *parts, "--parts", part, "--json", file.name]
        lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        print("\n".join(lines.splitlines()[1:]), flush=True)
        return dict(json.loads(Path(file.name).read_text()))


def told(name: str, value: float, unit: str, must: str = "") -> dict[str, float]:
    print(f"{name:<58} {value:>8.3f} {unit:<2} {must}", flush=True)
    return {name: value}


# --- a world that takes time ---------------------------------------------------------------------


def job_times(scale: float, seed: int) -> Iterator[float]:
    """Draw job times in seconds: lognormal with mean `scale`."""
    sigma = math.sqrt(math.log(1 + SPREAD**2))
    rng = np.random.default_rng(seed)
    while True:
        yield float(rng.lognormal(-(sigma**2) / 2, sigma)) * scale


@dataclass
class SlowWriter(FakeWriter):
    """Takes its time; some completions are unusable."""

    latency_s: float = 0.0
    num_written: int = 0

    async def complete(self, request: Request) -> Completion:
        self.num_written += 1
        await asyncio.sleep(self.latency_s)
        unusable = self.num_written * 7 % 10 < 10 * UNUSABLE and self.latency_s > 0
        text = "sorry" if unusable else SOURCE.format(self.num_written)
        return Completion(text=text, writer="fake", model="fake-1")


@dataclass
class PlacesTrainer(FakeTrainer):
    """Trains on so many places, for the time that it draws."""

    times: Iterator[float] = field(default_factory=lambda: job_times(1.0, 1))
    num_places: int = NUM_PLACES
    reached: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    intervals: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._places = asyncio.Semaphore(self.num_places)

    async def train(self, network: Network, training: Training, watch: Callable[[Progress], None]) -> Report:
        async with self._places:
            begun = time.perf_counter()
            self.reached.append(begun)
            watch(Progress(device="fake:0", epoch=0, num_epochs=1, accuracy=None))
            await asyncio.sleep(next(self.times))
            self.ended.append(time.perf_counter())
            self.intervals.append((begun, self.ended[-1]))
        return report(0.1 + 0.8 * (len(self.ended) * 7919 % 1000) / 1000)


def lifted(candidate: Candidate) -> Network:
    number = int(candidate.source.split("number = ")[1].split("\n")[0])
    return network(
        candidate.source, flops=200_000_000 + number * 7919 % 4_800_000_000, ratio=1 + number * 31 % 199
    )


def an_engine(
    store: SQLiteStore,
    writer: FakeWriter,
    trainer: FakeTrainer,
    num_slots: int,
    max_evaluations: int,
    *,
    search: Evolution | None = None,
    receivers: Sequence[Receiver] = (),
) -> Engine:
    """Build an engine with fakes around the true store, metrics on."""
    metrics = Metrics("0", num_slots, ())
    ports = Ports(
        writer=writer, lifter=FakeLifter(result=lifted, candidates=Forgetful()), trainer=trainer, store=store
    )
    for receiver in (metrics.receive, *receivers):
        ports.events.subscribe(receiver)
    return Engine(
        search or evolution(train_initial=True),
        TASK,
        ports,
        num_slots=num_slots,
        budget=Budget(max_evaluations=max_evaluations),
        retry_policy=RetryPolicy(max_attempts=3, retry_s=1.0, max_retry_s=60.0),
    )


class Forgetful(list[Any]):
    """A list that a fake may append to for ever."""

    def append(self, value: Any) -> None:
        """Forget it."""


# --- device places busy --------------------------------------------------------------------------


async def busy(arguments: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Compare the steady state with a barrier, over the same job times."""
    scale, count = arguments.scale, arguments.jobs
    trainer = PlacesTrainer(times=job_times(scale, 1))
    writer = SlowWriter(latency_s=LATENCY_S * scale)
    store = await SQLiteStore.open(folder / "steady")
    engine = an_engine(store, writer, trainer, arguments.slots, count)
    started = time.perf_counter()
    await engine.run()
    # Up to the last moment at which there was work for every place.
    last = trainer.reached[-NUM_PLACES]
    inside_s = sum(min(end, last) - begin for begin, end in trainer.intervals if begin < last)
    share = inside_s / (last - trainer.reached[0]) / NUM_PLACES
    steady_rate = count / (time.perf_counter() - started)
    await store.close()
    barrier_rate = await with_barrier(folder, scale, count)
    print(f"({count} evaluations, times x {scale}, {arguments.slots} slots, {NUM_PLACES} places)")
    return told("device places busy", share * 100, "%", "at least 99") | told(
        f"evaluations against a barrier every {BARRIER} candidates",
        steady_rate / barrier_rate,
        "x",
        "at least 1.45",
    )


async def with_barrier(folder: Path, scale: float, count: int) -> float:
    """Run generations of 50 candidates: the next one begins when the slowest has ended.

    As 15 of them are unusable, 35 are trained. All are written at the same time, which flatters the
    barrier: the paper's loop asks one after the other.
    """
    trainer = PlacesTrainer(times=job_times(scale, 1))
    store = await SQLiteStore.open(folder / "barrier")
    started = time.perf_counter()
    writer, usable = SlowWriter(latency_s=LATENCY_S * scale), round(BARRIER * (1 - UNUSABLE))

    def engine_for(search: Evolution, number: int) -> Engine:
        return an_engine(store, writer, trainer, BARRIER, number * usable, search=search)

    whole = count // usable * usable
    await run_generations(engine_for, evolution(train_initial=True), whole)
    seconds = time.perf_counter() - started
    await store.close()
    return whole / seconds


# --- hand-over -----------------------------------------------------------------------------------


async def handover(arguments: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Time from each result to the next job at the place."""
    trainer = PlacesTrainer(times=iter(lambda: 0.0, 1.0), num_places=1)
    store = await SQLiteStore.open(folder / "state")
    syncs = [fsync_ms(folder) for _ in range(200)]
    await an_engine(store, SlowWriter(), trainer, 1, arguments.handovers + 1).run()
    syncs += [fsync_ms(folder) for _ in range(200)]
    await store.close()
    gaps = [(begin - end) * 1000 for end, begin in zip(trainer.ended, trainer.reached[1:], strict=False)]
    return (
        told("hand-over, median", statistics.median(gaps), "ms", "at most 3")
        | told("hand-over, p99", float(np.percentile(gaps, 99)), "ms", "at most 15")
        | told("fsync of this disk, median", statistics.median(syncs), "ms")
        | told("fsync of this disk, p99", float(np.percentile(syncs, 99)), "ms")
    )


def fsync_ms(folder: Path) -> float:
    """Append a page to a file and fsync it."""
    with (folder / "probe").open("ab") as file:
        file.write(b"x" * 4096)
        file.flush()
        started = time.perf_counter()
        os.fsync(file.fileno())
        return (time.perf_counter() - started) * 1000


# --- own cost ------------------------------------------------------------------------------------


class CpuClock:
    """Notes the process's CPU time every thousand placements."""

    def __init__(self) -> None:
        self.seconds: list[float] = [time.process_time()]
        self._count = 0

    def receive(self, event: Event) -> None:
        """Count placements."""
        if not isinstance(event, Placed):
            return
        self._count += 1
        if self._count % 1000 == 0:
            self.seconds.append(time.process_time())


async def cost(arguments: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Measure CPU and memory over many evaluations."""
    trainer = FakeTrainer(objective=lambda _: 0.5, trained=Forgetful(), trainings=Forgetful())
    store = await SQLiteStore.open(folder / "state")
    clock = CpuClock()
    await an_engine(store, SlowWriter(), trainer, 4, arguments.num, receivers=(clock.receive,)).run()
    await store.close()
    per_ms = [(after - before) for before, after in pairwise(clock.seconds)]  # of 1000: s -> ms
    half = len(per_ms) // 2
    loaded = {"torch", "sklearn", "scipy"} & sys.modules.keys()
    return (
        told("CPU for a settled evaluation", statistics.mean(per_ms), "ms", "at most 1.5")
        | told(
            "second half against the first",
            statistics.mean(per_ms[half:]) / statistics.mean(per_ms[:half]),
            "x",
            "at most 1.15",
        )
        | told(f"resident memory after {arguments.num}", resident_mb(), "MB", "at most 100")
        | told("torch, scikit-learn or SciPy imported", len(loaded), "", "0")
    )


def resident_mb() -> float:
    """Read this process's resident memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


PARTS = {"busy": busy, "handover": handover, "cost": cost}

if __name__ == "__main__":
    main()
