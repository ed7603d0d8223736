"""What watching costs, and how soon one sees: `python tests/benchmarks/bench_api.py [--parts visible scrapers]`.

The true daemon, store and listener in a process of their own, with fakes for LLM, lifter and trainers.

- visible: from a commit's return until it is in `/metrics`, and until its event has reached a reader.
- scrapers: evaluations a second with 200 clients that scrape each second against without, in turns of a minute;
  all in one run, as the machine is noisy. Jobs take half a second, 16 at once.
"""

import argparse
import asyncio
import contextlib
import re
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import aiohttp

from llmatic_daemon import config
from llmatic_daemon.bootstrap.build import Adapters
from llmatic_daemon.daemon import main as daemon
from tests.benchmarks.bench_soak import FaultyTrainer, scrape
from tests.support.fake_daemon import RandomLifter, RandomWriter, acknowledge
from tests.support.web import free_port

SETTLED = re.compile(rb"^llmatic_settled_jobs ([0-9.e+]+)$", re.M)


def serve(state: Path, port: int, slots: int, mean_s: float) -> None:
    """Be the daemon."""
    overrides = {
        "state_dir": str(state),
        "budget": {"max_evaluations": 0, "max_hours": 0.0},
        "engine": {"slots": slots},
        "metrics": {"port": port},
    }
    settings = config.load(preset="demo", environment={}, overrides=overrides)
    adapters = Adapters(
        contextlib.nullcontext(RandomWriter()),
        contextlib.nullcontext(RandomLifter()),
        contextlib.nullcontext(FaultyTrainer(mean_s, faults=0.0)),
    )
    adapters.events.subscribe(acknowledge)
    asyncio.run(daemon.run(settings, adapters))


@contextlib.asynccontextmanager
async def a_daemon(slots: int, mean_s: float) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            __file__,
            "--serve",
            f"{folder}/state",
            str(port),
            str(slots),
            str(mean_s),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            assert child.stdout
            await child.stdout.readline()  # the first commit
            yield child, f"http://127.0.0.1:{port}"
        finally:
            child.terminate()
            while child.stdout and await child.stdout.read(1 << 16):
                pass
            await child.wait()


async def visible(count: int) -> None:
    """Compare arrival times: the daemon says what is committed on a pipe, at once."""
    committed: dict[int, float] = {}
    heard: dict[int, float] = {}
    shown: list[float] = []
    async with a_daemon(slots=4, mean_s=0.1) as (child, url), aiohttp.ClientSession() as client:
        assert child.stdout

        async def listen() -> None:
            async with client.get(f"{url}/api/v1/events", timeout=aiohttp.ClientTimeout()) as events:
                async for line in events.content:
                    found = re.match(rb'data: {"number":(\d+),"job":(\d+)', line)
                    if found:
                        heard[int(found[2])] = time.monotonic()

        listener = asyncio.create_task(listen())
        number = 1
        while len(shown) < count:
            job = int(await child.stdout.readline())
            committed[job], number = time.monotonic(), number + 1
            if number % 10 == 0:
                while True:
                    async with client.get(f"{url}/metrics") as response:
                        found = SETTLED.search(await response.read())
                    if found and float(found[1]) >= number:
                        break
                shown.append(time.monotonic() - committed[job])
        listener.cancel()
    late = [heard[job] - committed[job] for job in committed.keys() & heard.keys()]
    tell("commit until its event is read", late)
    tell("commit until it is in /metrics (counter, asked at once)", shown)


def tell(name: str, times_s: list[float]) -> None:
    times = sorted(max(0.0, each) * 1e3 for each in times_s)
    p99 = times[int(len(times) * 0.99)] if len(times) > 1 else times[0]
    print(f"{name:<58} median {statistics.median(times):6.1f} ms, p99 {p99:6.1f} ms, n {len(times)}")


async def scrapers(turns: int, seconds: float, count: int) -> None:
    """Compare evaluations with and without scrapers, in turns."""
    rates: dict[bool, list[float]] = {False: [], True: []}
    async with a_daemon(slots=16, mean_s=0.5) as (child, url):
        drain = asyncio.create_task(_read_all(child))
        for turn in range(2 * turns):
            busy = turn % 2 == 1
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(scrape(url)) for _ in range(count * busy)]
                await asyncio.sleep(2)
                before = await _settled(url)
                await asyncio.sleep(seconds)
                after = await _settled(url)
                for task in tasks:
                    task.cancel()
            rates[busy].append((after[0] - before[0]) / (after[1] - before[1]))
        drain.cancel()
        await asyncio.gather(drain, return_exceptions=True)
    quiet, loud = (statistics.mean(rates[busy]) for busy in (False, True))
    print(f"without {quiet:.2f}/s {rates[False]}, with {count} scrapers {loud:.2f}/s {rates[True]}")
    print(f"loss {100 * (1 - loud / quiet):.2f} %")


async def _read_all(child: asyncio.subprocess.Process) -> None:
    while child.stdout and await child.stdout.read(1 << 16):
        pass


async def _settled(url: str) -> tuple[float, float]:
    async with aiohttp.ClientSession() as client, client.get(f"{url}/metrics") as response:
        found = SETTLED.search(await response.read())
    assert found
    return float(found[1]), time.monotonic()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=["visible", "scrapers"])
    parser.add_argument("--count", type=int, default=200, help="scrapes for visible; scrapers")
    parser.add_argument("--seconds", type=float, default=60.0, help="of a turn")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--serve", nargs=4, metavar=("STATE", "PORT", "SLOTS", "MEAN_S"))
    asked = parser.parse_args()
    if asked.serve:
        state, port, slots, mean_s = asked.serve
        serve(Path(state), int(port), int(slots), float(mean_s))
        return
    if "visible" in asked.parts:
        asyncio.run(visible(asked.count))
    if "scrapers" in asked.parts:
        asyncio.run(scrapers(asked.turns, asked.seconds, asked.count))


if __name__ == "__main__":
    main()
