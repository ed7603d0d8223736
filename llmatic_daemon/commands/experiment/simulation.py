"""One search in memory, by the real engine.

For experiments, which run thousands of searches with trainings from a table. There is no folder, no lock,
no log on disk and no listener. Proposals, credit and archives equal those of the daemon with the same
settings and one slot, to the last bit.
"""

import asyncio
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from llmatic_daemon.adapters.nasbench.table import Table
from llmatic_daemon.adapters.prompts.prompt_files import read_prompts
from llmatic_daemon.adapters.storage.memory_store import Memory, MemoryStore
from llmatic_daemon.bootstrap import build
from llmatic_daemon.bootstrap.build import Adapters
from llmatic_daemon.bootstrap.build_search import rebuild
from llmatic_daemon.config.settings import Settings
from llmatic_daemon.domain import Placement, Tessellation
from llmatic_daemon.domain.ports import Ports
from llmatic_daemon.engine.engine import Engine
from llmatic_daemon.search.archive.tessellation import tessellate
from llmatic_daemon.search.candidates.cells import TASK_PREFIX
from llmatic_daemon.search.evolution import Evolution


@dataclass(frozen=True, kw_only=True, slots=True)
class Simulation:
    """A finished search with its results."""

    #: The whole log without the edition of its prompts.
    placements: tuple[Placement, ...] = field(repr=False)
    #: By digest.
    sources: Mapping[str, str] = field(repr=False)
    #: Both archives and their centroids at the end.
    evolution: Evolution = field(repr=False)
    #: Full trainings and early-stopping rungs, as counted by the trainer.
    num_queries: int
    num_looks: int
    #: Reason for the end, in one line.
    end: str
    #: Elapsed time in seconds.
    duration_s: float


async def simulate(
    settings: Settings, adapters: Adapters | None = None, *, max_idle: int | None = None
) -> Simulation:
    """Run a search in memory until a budget is used up.

    Args:
        settings: All settings; `state_dir` and the ports are ignored.
        adapters: Writer, lifter and trainer; None: the real ones, or those of a benchmark.
        max_idle: Number of candidates in a row without any training after which the search ends; it
            would never use its budget up.

    Raises:
        LLMaticError: it cannot start; the message contains the remedy.
    """
    started, adapters = time.monotonic(), adapters or cached_adapters(settings)
    store = MemoryStore(Memory(tessellation=cells(settings)))
    evolution = await rebuild(settings, store)
    async with adapters.writer as writer, adapters.lifter as lifter, adapters.trainer as trainer:
        engine = Engine(
            evolution,
            await trainer.task(),
            Ports(writer=writer, lifter=lifter, trainer=trainer, store=store, rewriter=adapters.rewriter),
            num_slots=settings.engine.slots,
            budget=settings.budget,
            retry_policy=settings.engine,
            clock=asyncio.get_running_loop().time,
        )
        prompts = read_prompts(build.prompt_path(settings))
        await engine.take_prompts(prompts, settings.archives.prompt_axis_size)
        end = await _run(engine, max_idle)
    return Simulation(
        placements=tuple(store.memory.placements),
        sources=store.memory.sources,
        evolution=engine.evolution,
        num_queries=getattr(trainer, "num_queries", engine.evolution.num_evaluations),
        num_looks=getattr(trainer, "num_rungs", 0),
        end=end,
        duration_s=time.monotonic() - started,
    )


async def _run(engine: Engine, max_idle: int | None) -> str:
    if max_idle is None:
        return await engine.run()
    async with asyncio.TaskGroup() as group:
        guard = group.create_task(_drained_when_idle(engine, max_idle))
        end = await engine.run()
        guard.cancel()
    return end


async def _drained_when_idle(engine: Engine, max_idle: int) -> None:
    cost = -1.0
    while engine.evolution.cost > cost:
        cost = engine.evolution.cost
        await engine.settled(engine.evolution.num_settled + max_idle)
    await engine.drain(f"the last {max_idle} candidates were all duplicates", math.inf)


def cached_adapters(settings: Settings) -> Adapters:
    """Return the adapters of a search; each process reads a table once."""
    if not settings.is_benchmark:
        return build.build_adapters(settings)
    return build.benchmark(settings, _table(settings.data.folder, settings.data.name))


@lru_cache(maxsize=4)
def _table(file: Path, data_set: str) -> Table:
    return Table.read(file, data_set.removeprefix(TASK_PREFIX))


def cells(settings: Settings) -> Tessellation:
    """Return the cells of a search with these settings; each process computes them once."""
    archives, seed = settings.archives, settings.search.seed
    return Tessellation(
        network=_centroids(archives.network_cells, archives.num_samples, seed),
        prompt=_centroids(archives.prompt_cells, archives.num_samples, seed + 1),
    )


@lru_cache(maxsize=256)
def _centroids(num_cells: int, num_samples: int, seed: int) -> tuple[tuple[float, float], ...]:
    return tuple((x, y) for x, y in tessellate(num_cells, num_samples, seed).tolist())
