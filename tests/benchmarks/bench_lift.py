"""How long a lift takes, from the request to a warm parent until the validated network is back.

    python tests/benchmarks/bench_lift.py [--rounds 20]

Prints median and quantiles in seconds, for networks of a LeNet's size and others, and the CPU seconds of
one lift (parent and candidate), which a busy machine does not change much.
"""

import argparse
import asyncio
import os
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from llmatic_daemon.adapters.processes.lifter import ProcessLifter
from llmatic_daemon.domain import Candidate, Network, Task
from tests.support.network_sources import HONEST

TASK = Task(
    name="cifar10", input_shape=(3, 32, 32), num_classes=10, num_train=1, num_validation=1, num_test=1
)
NAMES = ("lenet", "initial", "resnet", "squeeze_excite", "lstm", "transformer")


def cpu_s(pid: int) -> float:
    """Read the CPU seconds of a process and its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


async def timed(lifter: ProcessLifter, name: str) -> tuple[float, float]:
    candidate = Candidate(source=HONEST[name], class_name="Net", seed=1, task=TASK)
    (pid,) = lifter.pids
    started, started_cpu = time.perf_counter(), cpu_s(pid)
    network = await lifter.lift(candidate)
    assert isinstance(network, Network), network
    return time.perf_counter() - started, cpu_s(pid) - started_cpu


async def measure(num_rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Lift all networks in turn, so that a busy machine slows all of them alike."""
    async with ProcessLifter() as lifter:
        await lifter.warmed_up()
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in NAMES}
        for _ in range(num_rounds):
            for name in NAMES:
                seconds[name].append(await timed(lifter, name))
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    seconds = asyncio.run(measure(parser.parse_args().rounds))
    print(f"{'network':16}{'median':>9}{'10 %':>9}{'90 %':>9}{'max':>9}{'CPU':>9}")
    for name, pairs in seconds.items():
        values, cpu = zip(*pairs, strict=True)
        tenths = statistics.quantiles(values, n=10)
        figures = (statistics.median(values), tenths[0], tenths[-1], max(values), statistics.median(cpu))
        print(f"{name:16}" + "".join(f"{figure:9.3f}" for figure in figures))


if __name__ == "__main__":
    main()
