"""The steady state against generations, in simulated time: `python -m tests.benchmarks.bench_steady_state TABLE`.

The true engine on NAS-Bench-201, 8 device places, an LLM that takes 0.1 of a mean training. Trainings take
as long as those of the benchmark's cells (standard deviation 0.26 of the mean), and with twice that spread.
The steady state has a slot or two more than places; the generations have a barrier every 100 candidates,
all of them written at the same time, from the same archives: the best that generations can do. With
`--writers 8` a generation has as many slots as there are places, each of which writes and trains by turns. With `--duplicates train` every candidate is
trained, as in the paper; with `skip`, as by default, a generation trains those that are new.

The n-th training of a seed takes the same time on both sides, that of a cell drawn at random: otherwise the
side that finds large cells sooner would look slower. With `--own-times` each cell takes its own.

- evaluations an hour: simulated hours until so many are evaluated, as a ratio.
- accuracy at equal time: validation accuracy of the best network at ten moments of the simulated time, the steady
  state's less the generations', mean over seeds; the lowest of the ten, and its 95 % interval.
"""

import argparse
import asyncio
import math
import statistics
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from llmatic_daemon import config
from llmatic_daemon.adapters.nasbench.lookup import TableTrainer
from llmatic_daemon.adapters.nasbench.table import Table
from llmatic_daemon.adapters.prompts.prompt_files import read_prompts
from llmatic_daemon.adapters.storage.memory_store import Memory, MemoryStore
from llmatic_daemon.bootstrap import build
from llmatic_daemon.bootstrap.build import Adapters
from llmatic_daemon.bootstrap.build_search import rebuild
from llmatic_daemon.commands.experiment.simulation import cells, simulate
from llmatic_daemon.commands.experiment.tables import interval
from llmatic_daemon.config.settings import Settings
from llmatic_daemon.domain import Placement
from llmatic_daemon.domain.events import Event, JobDispatched
from llmatic_daemon.domain.ports import Ports
from llmatic_daemon.engine.engine import Engine
from llmatic_daemon.search.budget import Budget
from llmatic_daemon.search.evolution import Evolution
from tests.benchmarks import virtual_time
from tests.benchmarks.generations import run_generations
from tests.benchmarks.virtual_time import LateWriter, PlacedTrainer

NUM_PLACES, GENERATION, LATENCY = 8, 100, 0.1
#: (simulated hours, validation accuracy of the best so far) after each evaluation.
Course = Sequence[tuple[float, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--evaluations", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--data-set", default="cifar10")
    parser.add_argument("--more", type=int, nargs="+", default=[1, 2], help="slots than places")
    parser.add_argument("--writers", type=int, default=GENERATION, help="slots of a generation")
    parser.add_argument("--duplicates", default="train", choices=["train", "skip"])
    parser.add_argument("--own-times", action="store_true")
    arguments = parser.parse_args()
    table = Table.read(arguments.table, arguments.data_set)
    times = [row.train_s for row in table.values()]
    mean_s = statistics.fmean(times)
    print(
        f"{arguments.seeds} seeds of {arguments.evaluations} evaluations; trainings take "
        f"{mean_s:.0f} s, standard deviation {statistics.pstdev(times) / mean_s:.2f} of that"
    )
    for spread, must in ((1.0, 1.04), (2.0, 1.12)):
        adapters = worlds(table, mean_s, spread, own=arguments.own_times)
        barrier = [with_barrier(arguments, adapters, seed) for seed in range(arguments.seeds)]
        for more in arguments.more:
            steady = [
                steady_state(arguments, adapters, seed, NUM_PLACES + more) for seed in range(arguments.seeds)
            ]
            told(spread, more, must, steady, barrier)


def worlds(table: Table, mean_s: float, spread: float, *, own: bool) -> Callable[[Settings], Adapters]:
    """Make hands that take their time; no training takes less than a twentieth of the mean."""
    times = [row.train_s for row in table.values()]

    def adapters(settings: Settings) -> Adapters:
        quick = build.benchmark(settings, table)
        drawn = Random(settings.search.seed)

        def pace(train_s: float) -> float:
            taken_s = train_s if own else drawn.choice(times)
            return max(mean_s + spread * (taken_s - mean_s), mean_s / 20)

        @asynccontextmanager
        async def late() -> Any:
            async with quick.writer as writer:
                yield LateWriter(writer, LATENCY * mean_s)

        placed = PlacedTrainer(TableTrainer(table), NUM_PLACES, pace)
        return replace(quick, writer=late(), trainer=nullcontext(placed))

    return adapters


def settings_for(arguments: argparse.Namespace, seed: int, slots: int) -> Settings:
    return config.load(
        preset="nasbench201",
        environment={},
        overrides={
            "data": {"name": f"nasbench201-{arguments.data_set}", "folder": str(arguments.table)},
            "search": {"seed": seed, "duplicates": arguments.duplicates},
            "engine": {"slots": slots},
            "budget": {"max_evaluations": arguments.evaluations},
        },
    )


def steady_state(
    arguments: argparse.Namespace, adapters: Callable[[Settings], Adapters], seed: int, slots: int
) -> Course:
    settings = settings_for(arguments, seed, slots)
    return course(virtual_time.run(simulate(settings, adapters(settings))).placements)


def with_barrier(
    arguments: argparse.Namespace, adapters: Callable[[Settings], Adapters], seed: int
) -> Course:
    settings = settings_for(arguments, seed, arguments.writers)
    return course(virtual_time.run(generations(settings, adapters(settings))))


async def generations(settings: Settings, adapters: Adapters) -> Sequence[Placement]:
    store = MemoryStore(Memory(tessellation=cells(settings)))
    search = await rebuild(settings, store)
    async with adapters.writer as writer, adapters.lifter as lifter, adapters.trainer as trainer:
        task = await trainer.task()

        def engine_for(search: Evolution, _: int) -> Engine:
            whole = Whole()
            ports = Ports(writer=writer, lifter=lifter, trainer=trainer, store=store)
            ports.events.subscribe(whole.receive)
            whole.engine = Engine(
                search,
                task,
                ports,
                num_slots=settings.engine.slots,
                budget=Budget(),
                retry_policy=settings.engine,
                clock=virtual_time.now,
            )
            return whole.engine

        first = engine_for(search, 1)
        prompts = read_prompts(build.prompt_path(settings))
        await first.take_prompts(prompts, settings.archives.prompt_axis_size)
        await run_generations(engine_for, first.evolution, settings.budget.max_evaluations)
    return store.memory.placements


class Whole:
    """Ends an engine when it has begun as many candidates as a generation has."""

    engine: Engine

    def __init__(self) -> None:
        self._num_begun = 0
        self._ending: asyncio.Task[None] | None = None

    def receive(self, event: Event) -> None:
        """Count."""
        if not isinstance(event, JobDispatched):
            return
        self._num_begun += 1
        if self._num_begun == GENERATION:
            self._ending = asyncio.create_task(self.engine.drain("a generation", math.inf))


def course(placements: Sequence[Placement]) -> Course:
    best, found = 0.0, []
    for placement in placements:
        if placement.objective is not None:
            best = max(best, placement.objective)
            found.append((placement.elapsed_s / 3600, best))
    return found


def told(spread: float, more: int, must: float, steady: Sequence[Course], barrier: Sequence[Course]) -> None:
    """Print both figures."""
    ratios = [rate(ours) / rate(theirs) for ours, theirs in zip(steady, barrier, strict=True)]
    low, high = interval(ratios)
    print(
        f"spread x {spread:g}, {NUM_PLACES + more} slots: evaluations an hour "
        f"{statistics.fmean(ratios):.3f}x (95 %: {low:.3f} to {high:.3f}), goal {must}x"
    )
    end_h = min(each[-1][0] for each in (*steady, *barrier))
    gains = [
        [best_at(ours, at) - best_at(theirs, at) for ours, theirs in zip(steady, barrier, strict=True)]
        for at in (end_h * tenth / 10 for tenth in range(1, 11))
    ]
    worst = min(gains, key=statistics.fmean)
    low, high = interval(worst)
    print(
        f"    accuracy at equal time, in points: lowest {100 * statistics.fmean(worst):+.3f} (95 %: "
        f"{100 * low:+.3f} to {100 * high:+.3f}), mean of all {100 * statistics.fmean(map(statistics.fmean, gains)):+.3f}"
    )


def rate(course: Course) -> float:
    """Evaluations an hour, until all that were begun have ended."""
    return len(course) / course[-1][0]


def best_at(course: Course, hours: float) -> float:
    at = bisect_right(course, hours, key=lambda each: each[0])
    return course[at - 1][1] if at else 0.0


if __name__ == "__main__":
    main()
