"""What a daemon gains in ten minutes: `python tests/benchmarks/bench_soak.py [--minutes 10] [--rate 50]`.

The true daemon, store and listeners in a process of their own, with fakes for LLM, lifter and trainers that
fail now and then. Around it what a harness does: Prometheus scrapes each second, one reader follows the events and
another one comes and goes, prompts are edited (one edit in four is bad), SIGHUP, pause and resume. Memory,
descriptors and threads are read from /proc each second; after the warm-up a straight line is laid through them.
"""

import argparse
import asyncio
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import aiohttp
import numpy as np

from llmatic_daemon import config
from llmatic_daemon.adapters.http import control_socket
from llmatic_daemon.adapters.prompts.prompt_files import default_folder
from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.bootstrap.build import Adapters
from llmatic_daemon.commands.verify import verify
from llmatic_daemon.daemon import main as daemon
from llmatic_daemon.domain import (
    Candidate,
    Completion,
    Failure,
    Network,
    Progress,
    Rejection,
    Report,
    Request,
    Training,
)
from llmatic_daemon.domain.errors import LifterUnavailable, TrainerUnavailable, UserError, WriterUnavailable
from tests.support.fake_daemon import RandomLifter, RandomTrainer, RandomWriter
from tests.support.web import free_port

SLOTS = 16
FAULTS = 0.01


class FaultyWriter(RandomWriter):
    async def complete(self, request: Request) -> Completion:
        if random.random() < FAULTS:
            raise WriterUnavailable("the LLM is out")
        return await super().complete(request)


class FaultyLifter(RandomLifter):
    async def lift(self, candidate: Candidate) -> Network | Rejection:
        if random.random() < FAULTS:
            raise LifterUnavailable("the lifter died")
        return await super().lift(candidate)


class FaultyTrainer(RandomTrainer):
    """Takes as long as the rate wants."""

    def __init__(self, mean_s: float, faults: float = FAULTS) -> None:
        super().__init__()
        self._mean_s = mean_s
        self._faults = faults

    async def train(
        self, network: Network, training: Training, watch: Callable[[Progress], None]
    ) -> Report | Failure:
        await asyncio.sleep(random.expovariate(1 / self._mean_s))
        if random.random() < self._faults:
            raise TrainerUnavailable("the trainer died")
        return await super().train(network, training, watch)


def serve(state: Path, prompts: Path, port: int, rate: float) -> None:
    """Be the daemon."""
    settings = config.load(
        preset="demo",
        environment={},
        overrides={
            "state_dir": str(state),
            "budget": {"max_evaluations": 0, "max_hours": 0.0},
            "engine": {"slots": SLOTS, "retry_s": 0.01, "max_retry_s": 0.1},
            "prompts": {"folder": str(prompts)},
            "metrics": {"port": port},
        },
    )
    trainer = FaultyTrainer(0.5 * SLOTS / rate)  # half of what is written is trained
    adapters = Adapters(
        contextlib.nullcontext(FaultyWriter()),
        contextlib.nullcontext(FaultyLifter()),
        contextlib.nullcontext(trainer),
    )
    asyncio.run(daemon.run(settings, adapters))


# --- the harness around it --------------------------------------------------------------------------


async def scrape(url: str) -> None:
    """Fetch the metrics each second, as Prometheus does, whether they come or not."""
    async with aiohttp.ClientSession() as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"{url}/metrics") as response:
                    await response.read()
            await asyncio.sleep(1)


async def follow(url: str, patience_s: float) -> None:
    while True:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with (
                asyncio.timeout(patience_s),
                aiohttp.ClientSession() as session,
                session.get(f"{url}/api/v1/events") as response,
            ):
                async for _ in response.content.iter_any():
                    pass
        await asyncio.sleep(0.5)


async def edit(prompts: Path) -> None:
    number = 0
    while True:
        number += 1
        text = "+++\nweight = never\n+++\nbad\n" if number % 4 == 0 else f"Widen it {number}.\n"
        (prompts / "widen.md").write_text(text)
        await asyncio.sleep(3)


async def disturb(state: Path, pid: int) -> None:
    while True:
        await asyncio.sleep(7)
        os.kill(pid, signal.SIGHUP)
        await asyncio.sleep(7)
        for verb in ("pause", "resume"):
            with contextlib.suppress(UserError):
                await control_socket.ask(state, verb)


def sample(pid: int) -> tuple[float, int, int]:
    """Read anonymous memory in MiB, descriptors and threads of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    words = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    memory = int(words["RssAnon"].split()[0]) / 1024
    return memory, len(os.listdir(f"/proc/{pid}/fd")), int(words["Threads"])


async def watch(pid: int, seconds: float) -> list[tuple[float, float, int, int]]:
    samples = []
    started = time.monotonic()
    while (now := time.monotonic() - started) < seconds:
        samples.append((now, *sample(pid)))
        await asyncio.sleep(1)
    return samples


async def soak(minutes: float, warm_up: float, rate: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        state, prompts = Path(folder) / "state", Path(folder) / "prompts"
        shutil.copytree(default_folder(), prompts)
        with (Path(folder) / "log").open("wb") as log:
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                __file__,
                "--serve",
                str(state),
                str(prompts),
                str(port),
                "--rate",
                str(rate),
                stderr=log,
            )
        url = f"http://127.0.0.1:{port}"
        await asyncio.sleep(5)
        beside = [
            asyncio.create_task(work)
            for work in (
                scrape(url),
                follow(url, 1e9),
                follow(url, 5.0),
                edit(prompts),
                disturb(state, child.pid),
            )
        ]
        samples = await watch(child.pid, minutes * 60)
        for task in beside:
            task.cancel()
        child.send_signal(signal.SIGTERM)
        await child.wait()
        with History(state) as history:
            status = history.status()
        tell(samples, warm_up * 60, status.num_evaluations, verify(state).faults, minutes)


def tell(
    samples: list[tuple[float, float, int, int]],
    warm_up_s: float,
    num_evaluations: int,
    faults: tuple[str, ...],
    minutes: float,
) -> None:
    print(f"{num_evaluations} evaluations in {minutes:g} minutes, verify: {list(faults) or 'agrees'}")
    late = np.array([each for each in samples if each[0] >= warm_up_s])
    half = len(late) // 2
    for name, column in (("memory, MiB", 1), ("descriptors", 2), ("threads", 3)):
        values = late[:, column]
        slope = np.polyfit(late[:, 0] / 60, values, 1)[0]
        first, second = np.median(values[:half]), np.median(values[half:])
        print(
            f"{name:<12} median of the two halves {first:8.2f} {second:8.2f}, "
            f"{slope:+.3f} a minute, {values.min():g} to {values.max():g}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--warm-up", type=float, default=3.0, help="minutes of these")
    parser.add_argument("--rate", type=float, default=50.0, help="evaluations a second")
    parser.add_argument("--serve", nargs=3, metavar=("STATE", "PROMPTS", "PORT"))
    asked = parser.parse_args()
    if asked.serve:
        state, prompts, port = asked.serve
        serve(Path(state), Path(prompts), int(port), asked.rate)
    else:
        asyncio.run(soak(asked.minutes, asked.warm_up, asked.rate))


if __name__ == "__main__":
    main()
