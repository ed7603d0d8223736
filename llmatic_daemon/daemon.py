"""The composition root: builds every part from the settings, runs the search, ends it in order."""

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from pathlib import Path

from llmatic_daemon import __version__
from llmatic_daemon.adapters.http import listening
from llmatic_daemon.adapters.lifter import ProcessLifter
from llmatic_daemon.adapters.metrics import Metrics
from llmatic_daemon.adapters.offline import OfflineRewriter
from llmatic_daemon.adapters.prompts import PromptFolder, default_folder, read_prompts
from llmatic_daemon.adapters.store import SQLiteStore
from llmatic_daemon.adapters.trainer import TrainerPool
from llmatic_daemon.config import ArchiveSettings, Settings
from llmatic_daemon.core.archive import CVTArchive
from llmatic_daemon.core.budget import Budget
from llmatic_daemon.core.centroids import Centroids
from llmatic_daemon.core.evolution import Evolution, apply
from llmatic_daemon.core.measures import Axis, MeasureSpace
from llmatic_daemon.core.rules import Rules
from llmatic_daemon.engine import Engine, Patience, Ports
from llmatic_daemon.errors import ConfigurationError
from llmatic_daemon.ports import Observer, Prompts, SearchStore
from llmatic_daemon.records import Identity, PromptSet, Snapshot, Task, Tessellation

logger = logging.getLogger(__name__)

#: Told once, when jobs can be dispatched.
Ready = Callable[[Callable[[], Snapshot]], None]


async def run(
    settings: Settings, observers: tuple[Observer, ...] = (), ready: Ready | None = None
) -> str:
    """Run a search until a budget is used up or a signal ends it; say which.

    Args:
        settings: All of them.
        observers: Who else hears what happens.
        ready: Called when jobs can be dispatched, with a view of the search.

    Raises:
        LLMaticError: it cannot start; the text says what to do.
    """
    async with AsyncExitStack() as stack:
        store = await SQLiteStore.open(settings.state_dir)
        stack.push_async_callback(store.close)
        prompts = await _prompts(settings, store)
        trainer = _trainer(settings)
        stack.push_async_callback(trainer.close)
        await trainer.start()
        lifter = _lifter(settings)
        stack.push_async_callback(lifter.close)
        await lifter.start()
        task = await _task(settings, store, trainer)
        evolution = await rebuild(settings, store)
        ids = tuple(prompt.id for prompt in prompts.current().mutation)
        metrics = Metrics(__version__, settings.engine.slots, ids)
        ports = Ports(
            writer=OfflineRewriter(),
            lifter=lifter,
            trainer=trainer,
            prompts=prompts,
            store=store,
            observers=(*observers, metrics),
        )
        engine = _engine(settings, evolution, task, ports)
        metrics.watch(snapshots(engine, settings))
        if settings.metrics.port:
            await stack.enter_async_context(
                listening(settings.metrics.port, metrics.exposition, lambda: not engine.end)
            )
        _write_settings(settings)
        return await _until_the_end(engine, settings, trainer, task, ready)


async def _until_the_end(
    engine: Engine, settings: Settings, trainer: TrainerPool, task: Task, ready: Ready | None
) -> str:
    view = snapshots(engine, settings)
    async with asyncio.TaskGroup() as group, _signals(group, engine, settings.engine.drain_s):
        checking = group.create_task(_check_task(trainer, task))
        logger.info(
            "ready: %d slots, %d device places, %d evaluations, state in %s",
            settings.engine.slots, len(settings.training.places),
            engine.evolution.num_evaluations, settings.state_dir, extra={"action": "ready"},
        )  # fmt: skip
        if ready:
            ready(view)
        end = await engine.run()
        checking.cancel()
    logger.info("the search ends: %s", end, extra={"action": "end"})
    return end


@asynccontextmanager
async def _signals(group: asyncio.TaskGroup, engine: Engine, drain_s: float) -> AsyncIterator[None]:
    """SIGTERM and SIGINT drain; a second one gives all jobs back at once."""
    loop = asyncio.get_running_loop()
    received: list[str] = []

    def stop(name: str) -> None:
        received.append(name)
        logger.info("%s: %s", name, "stopping at once" if received[1:] else "draining")
        if received[1:]:
            engine.abort()
        else:
            group.create_task(engine.drain(f"stopped by {name}", drain_s))

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number.name)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


# --- the search, from settings and log -----------------------------------------------------------


def rules(settings: Settings) -> Rules:
    """Take the numbers of the search from the settings, which have the same names."""
    return Rules(**settings.search.model_dump())


def identity(settings: Settings, task: Task) -> Identity:
    """Name what a state folder belongs to: whatever would make its old results wrong."""
    archives = settings.archives.model_dump()
    fields = {f"archives.{name}": str(value) for name, value in archives.items()}
    fields["data.fitness_split"] = settings.data.fitness_split
    fields["search.seed"] = str(settings.search.seed)
    fields["task"] = json.dumps(asdict(task))
    return Identity(fields=tuple(sorted(fields.items())))


async def rebuild(settings: Settings, store: SearchStore) -> Evolution:
    """Fold the log of a store over an empty search: a restart and `verify` are this function."""
    evolution = empty(settings, await store.tessellation(lambda: _tessellation(settings)))
    async for placement in store.log():
        evolution = apply(evolution, placement)
    return evolution


def empty(settings: Settings, tessellation: Tessellation) -> Evolution:
    """Make a search before its first placement."""
    network_space, prompt_space = spaces(settings.archives)
    return Evolution(
        rules=rules(settings),
        networks=CVTArchive(space=network_space, centroids=Centroids(tessellation.network)),
        individuals=CVTArchive(space=prompt_space, centroids=Centroids(tessellation.prompt)),
    )


def spaces(archives: ArchiveSettings) -> tuple[MeasureSpace, MeasureSpace]:
    """Make the measure spaces of the network archive and of the prompt archive.

    Source: Nasir 2024, section 3; our digest's section 2 for bounds and scales.
    """
    ratio = Axis(
        name="width-to-depth ratio",
        low=archives.ratio_low,
        high=archives.ratio_high,
        log=archives.ratio_scale == "log",
    )
    flops = Axis(
        name="FLOPs",
        low=archives.flops_low,
        high=archives.flops_high,
        log=archives.flops_scale == "log",
    )
    prompt = Axis(name="prompt", low=0.0, high=float(archives.prompt_slots))
    return MeasureSpace(ratio, flops), MeasureSpace(prompt, Axis(name="temperature", low=0, high=1))


def snapshots(engine: Engine, settings: Settings) -> Callable[[], Snapshot]:
    """Return a view of a running search in numbers."""

    def view() -> Snapshot:
        now = engine.evolution
        return Snapshot(
            num_settled=now.num_settled,
            num_evaluations=now.num_evaluations,
            max_evaluations=settings.budget.max_evaluations or None,
            network_cells=len(now.networks.centroids),
            filled_network_cells=len(now.networks),
            prompt_cells=len(now.individuals.centroids),
            filled_prompt_cells=len(now.individuals),
            qd_score=now.networks.qd_score,
            best_objective=now.best.objective if now.best else None,
            best_job=now.best.job if now.best else None,
            elapsed_s=engine.elapsed_s,
            train_s=now.train_s,
        )

    return view


# --- the parts -----------------------------------------------------------------------------------


def _engine(settings: Settings, evolution: Evolution, task: Task, ports: Ports) -> Engine:
    return Engine(
        evolution,
        task,
        ports,
        num_slots=settings.engine.slots,
        budget=_budget(settings),
        patience=Patience(
            max_attempts=settings.engine.max_attempts,
            retry_s=settings.engine.retry_s,
            max_retry_s=settings.engine.max_retry_s,
        ),
    )


def _budget(settings: Settings) -> Budget:
    """Read 0 as no limit."""
    budget = settings.budget
    return Budget(
        max_evaluations=budget.max_evaluations or None,
        max_gpu_hours=budget.max_gpu_hours or None,
        max_hours=budget.max_hours or None,
        target_accuracy=budget.target_accuracy or None,
    )


async def _prompts(settings: Settings, store: SearchStore) -> Prompts:
    folder = Path(settings.prompts.folder) if settings.prompts.folder else default_folder()
    mutation, crossover = read_prompts(folder)
    slots = await store.prompt_slots([prompt.id for prompt in mutation])
    return PromptFolder(PromptSet(mutation=mutation, crossover=crossover, slots=slots))


async def _task(settings: Settings, store: SearchStore, trainer: TrainerPool) -> Task:
    """Learn the task: from the state, or the first time from the trainer that has loaded it."""
    known = dict(stored.fields) if (stored := await store.identity()) else {}
    task = _parse_task(known["task"]) if "task" in known else await trainer.task()
    await store.identify(identity(settings, task))
    return task


def _parse_task(text: str) -> Task:
    fields = json.loads(text)
    return Task(**{**fields, "input_shape": tuple(fields["input_shape"])})


async def _check_task(trainer: TrainerPool, task: Task) -> None:
    """Compare the data set that the trainers have loaded with the state's."""
    loaded = await trainer.task()
    if loaded != task:
        raise ConfigurationError(
            f"the data set must be the state's, found another: {loaded}, was {task}; "
            "change data back, or choose another state folder"
        )


async def _tessellation(settings: Settings) -> Tessellation:
    archives = settings.archives
    return Tessellation(
        network=await _centroids(
            archives.network_cells, archives.num_samples, settings.search.seed
        ),
        prompt=await _centroids(
            archives.prompt_cells, archives.num_samples, settings.search.seed + 1
        ),
    )


async def _centroids(
    num_cells: int, num_samples: int, seed: int
) -> tuple[tuple[float, float], ...]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "llmatic_daemon.core.tessellation",
        str(num_cells), str(num_samples), str(seed),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    printed, _ = await process.communicate()
    if process.returncode != 0:
        raise ConfigurationError(f"the {num_cells} cells could not be made; see the lines above")
    return tuple((x, y) for x, y in json.loads(printed))


# --- the state folder ----------------------------------------------------------------------------


def settings_file(state_dir: Path) -> Path:
    """Name the file that keeps a search's settings beside its database."""
    return state_dir / "settings.json"


def _write_settings(settings: Settings) -> None:
    """Keep the settings for the commands that look at a state folder later."""
    file = settings_file(settings.state_dir)
    new = file.with_suffix(".new")
    with new.open("w") as opened:
        opened.write(settings.model_dump_json(indent=2) + "\n")
        opened.flush()
        os.fsync(opened.fileno())
    new.replace(file)
