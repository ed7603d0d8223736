"""The LLM writer over real HTTP, against the fake text-generation-inference in a process of its own.

busy    device places busy while a completion takes as long as a training
cost    own CPU for a completion: client, extraction, triage
outage  a server that is killed for a while under a running search, in both modes
"""

import argparse
import asyncio
import contextlib
import hashlib
import logging
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from llmatic_daemon import config
from llmatic_daemon.adapters.storage.sqlite_store import SQLiteStore
from llmatic_daemon.bootstrap import build_writers
from llmatic_daemon.domain import Candidate, Completion, Network, Outcome, Placement
from llmatic_daemon.domain.events import Event, Placed
from llmatic_daemon.domain.ports import Ports, Writer
from llmatic_daemon.engine.engine import Engine
from llmatic_daemon.search.budget import Budget
from llmatic_daemon.search.candidates.source import read_source
from llmatic_daemon.search.rules import RetryPolicy
from tests.benchmarks.bench_loop import Forgetful, PlacesTrainer, job_times, told
from tests.support.fakes import TASK, FakeLifter, evolution, network, proposal, request_for
from tests.support.web import free_port

NUM_PLACES = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--jobs", type=int, default=240, help="evaluations for busy")
    parser.add_argument("--slots", type=int, default=12, help="for busy and outage")
    parser.add_argument("--mean-s", type=float, default=1.0, help="mean training time and latency")
    parser.add_argument("--completions", type=int, default=500, help="for cost")
    parser.add_argument("--outage-s", type=float, default=60.0)
    arguments = parser.parse_args()
    print(f"{'figure':<58} {'measured':>10}  must")
    for part in arguments.parts:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(PARTS[part](arguments, Path(folder)))


# --- the server and the engine -------------------------------------------------------------------


@contextlib.asynccontextmanager
async def serving(port: int, latency_s: float) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the fake server; kill it with signal 9 at the end."""
    server = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.fake_tgi",
        "--port",
        str(port),
        "--latency-s",
        str(latency_s),
        "--max-concurrent-requests",
        "64",
        stdout=asyncio.subprocess.PIPE,
    )
    assert server.stdout
    await server.stdout.readline()
    try:
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            server.kill()
        await server.wait()


def writer_settings(port: int, **changes: Any) -> config.Settings:
    asked = {"kind": "tgi", "url": f"http://127.0.0.1:{port}", "max_concurrency": 64}
    return config.load(preset="demo", environment={}, overrides={"writer": asked | changes})


def lifted(candidate: Candidate) -> Network:
    """Give each source measures of its own."""
    number = int(hashlib.sha256(candidate.source.encode()).hexdigest()[:8], 16)
    return network(candidate.source, flops=200_000_000 + number % 4_800_000_000, ratio=1 + number % 199)


def an_engine(
    store: SQLiteStore, writer: Writer, trainer: PlacesTrainer, slots: int, **limits: Any
) -> tuple[Engine, "Placements"]:
    placed = Placements()
    ports = Ports(
        writer=writer, lifter=FakeLifter(result=lifted, candidates=Forgetful()), trainer=trainer, store=store
    )
    ports.events.subscribe(placed.receive)
    retry_policy = RetryPolicy(max_attempts=3, retry_s=1.0, max_retry_s=60.0)
    search = evolution(train_initial=True)
    engine = Engine(search, TASK, ports, num_slots=slots, budget=Budget(**limits), retry_policy=retry_policy)
    return engine, placed


class Placements:
    """Remembers placements."""

    def __init__(self) -> None:
        self.placements: list[Placement] = []

    def receive(self, event: Event) -> None:
        """Remember it."""
        if isinstance(event, Placed):
            self.placements.append(event.placement)


# --- device places busy --------------------------------------------------------------------------


async def busy(arguments: argparse.Namespace, folder: Path) -> None:
    """Keep four places busy while each completion takes the mean training time."""
    port, mean_s = free_port(), arguments.mean_s
    trainer = PlacesTrainer(times=job_times(mean_s, 1), num_places=NUM_PLACES)
    async with serving(port, mean_s), build_writers.writer(writer_settings(port)) as writer:
        store = await SQLiteStore.open(folder / "state")
        engine, placed = an_engine(store, writer, trainer, arguments.slots, max_evaluations=arguments.jobs)
        await engine.run()
        await store.close()
    # Up to the last moment at which there was work for every place.
    last = trainer.reached[-NUM_PLACES]
    inside_s = sum(min(end, last) - begin for begin, end in trainer.intervals if begin < last)
    share = inside_s / (last - trainer.reached[0]) / NUM_PLACES
    llm_s = sum(p.durations.llm_s for p in placed.placements) / len(placed.placements)
    train_s = sum(end - begin for begin, end in trainer.intervals) / len(trainer.intervals)
    print(
        f"({arguments.jobs} evaluations, {arguments.slots} slots, {NUM_PLACES} places, a training "
        f"{train_s:.2f} s, a completion {llm_s:.2f} s)"
    )
    told("device places busy", share * 100, "%", "at least 98")


# --- own cost ------------------------------------------------------------------------------------


async def cost(arguments: argparse.Namespace, folder: Path) -> None:
    """Measure the CPU of this process, the server's left out."""
    port, made, prompts = free_port(), proposal(), evolution().prompts.current.mutation
    requests = [
        request_for(prompts[number % len(prompts)], seed=number)
        for number in range(arguments.completions + 20)
    ]
    async with serving(port, 0.0), build_writers.writer(writer_settings(port)) as writer:
        for asked in requests[:20]:
            await writer.complete(asked)
        candidates, started = 0, time.process_time()
        for asked in requests[20:]:
            answer = await writer.complete(asked)
            assert isinstance(answer, Completion)
            found = read_source(answer, made, asked.parents, TASK)
            candidates += isinstance(found, Candidate)
        spent_ms = 1000 * (time.process_time() - started) / arguments.completions
    print(f"({arguments.completions} completions one after the other, {candidates} candidates)")
    told("own CPU for a completion: client, extraction, triage", spent_ms, "ms", "at most 5")


# --- an outage -----------------------------------------------------------------------------------


class Lines(logging.Handler):
    """Counts log lines, those of candidates aside."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        if getattr(record, "action", "") != "placed":
            self.lines.append(f"{record.levelname} {record.getMessage()}")


async def outage(arguments: argparse.Namespace, folder: Path) -> None:
    """Kill the server for a while, and start it again."""
    for mode in ("fallback", "wait"):
        lines = Lines()
        logging.getLogger("llmatic_daemon").addHandler(lines)
        logging.getLogger("llmatic_daemon").setLevel(logging.INFO)
        await one_outage(arguments, folder / mode, mode, lines)
        logging.getLogger("llmatic_daemon").removeHandler(lines)


async def one_outage(arguments: argparse.Namespace, folder: Path, mode: str, lines: Lines) -> None:
    port = free_port()
    trainer = PlacesTrainer(times=job_times(0.25, 1), num_places=NUM_PLACES)
    async with build_writers.writer(writer_settings(port, on_outage=mode)) as writer:
        store = await SQLiteStore.open(folder)
        engine, placed = an_engine(store, writer, trainer, arguments.slots)
        async with serving(port, 0.25):
            running = asyncio.create_task(engine.run())
            await asyncio.sleep(5)
        before = len(placed.placements)
        await asyncio.sleep(arguments.outage_s)
        during = len(placed.placements) - before
        async with serving(port, 0.25):
            await until(lambda: any(p.writer == "tgi" for p in placed.placements[before + during :]))
            await asyncio.sleep(5)
            await engine.drain("the benchmark ends", 30)
            await running
        jobs = await store._database.read(lambda c: c.execute("SELECT number, state FROM jobs").fetchall())
        await store.close()
    tell_outage(arguments, mode, placed, during, jobs, lines)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not true():  # noqa: ASYNC110 - a benchmark has nothing to be told by
            await asyncio.sleep(0.1)


def tell_outage(
    arguments: argparse.Namespace,
    mode: str,
    placed: Placed,
    during: int,
    jobs: list[tuple[int, str]],
    lines: Lines,
) -> None:
    ended = {placement.job.number for placement in placed.placements}
    lost = [n for n, state in jobs if n not in ended and state != "queued"]
    lost += [p.job.number for p in placed.placements if p.outcome is Outcome.ERROR]
    stand_ins = [p for p in placed.placements if p.fallback]
    blamed = [p for p in stand_ins if p.curiosity_change or p.score_change or p.offer]
    charged = sum(p.job.num_charged for p in placed.placements)
    print(
        f'(on_outage = "{mode}" for {arguments.outage_s:.0f} s: {len(placed.placements)} candidates, '
        f"{during} of them meanwhile, {len(stand_ins)} written by rule)"
    )
    told("jobs lost", len(lost), "", "0")
    told("attempts charged", charged, "")
    told("prompts blamed", len(blamed), "", "0")
    told("log lines of the outage", len(lines.lines), "", "under 10")
    for line in lines.lines:
        print(f"    {line[:150]}")


PARTS = {"busy": busy, "cost": cost, "outage": outage}

if __name__ == "__main__":
    main()
