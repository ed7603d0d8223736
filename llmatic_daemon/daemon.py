"""The composition root: builds every part from the settings, runs the search, ends it in order."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    nullcontext,
)

from llmatic_daemon import __version__, parts
from llmatic_daemon.adapters.metrics import Metrics
from llmatic_daemon.adapters.state_folder import database_path
from llmatic_daemon.adapters.store import SQLiteStore
from llmatic_daemon.config import Settings
from llmatic_daemon.core.evolution import Evolution
from llmatic_daemon.engine import Engine, Ports
from llmatic_daemon.errors import ConfigurationError
from llmatic_daemon.parts import Hands
from llmatic_daemon.ports import Observer, SearchStore, Trainer
from llmatic_daemon.records import Snapshot, Task
from llmatic_daemon.search import identity, parse_task, rebuild, write_settings

logger = logging.getLogger(__name__)

View = Callable[[], Snapshot]


async def run(
    settings: Settings,
    hands: Hands,
    observers: tuple[Observer, ...] = (),
    ready: Callable[[View], None] = lambda view: None,
) -> str:
    """Run a search until a budget is used up or a signal ends it; say which.

    Args:
        settings: All of them.
        hands: Who writes, lifts and trains; `parts.hands` makes the real ones.
        observers: Who else hears what happens.
        ready: Called when jobs can be dispatched, with a view of the search.

    Raises:
        LLMaticError: it cannot start; the text says what to do.
    """
    async with AsyncExitStack() as stack:
        files = parts.prompt_files(settings)
        trainer = await stack.enter_async_context(hands.trainer)
        if not database_path(settings.state_dir).exists():
            await trainer.task()  # nothing is written before the data set is known to be usable
        store = await SQLiteStore.open(settings.state_dir)
        stack.push_async_callback(store.close)
        lifter = await stack.enter_async_context(hands.lifter)
        task = await _task(settings, store, trainer)
        prompts = await parts.prompts(files, store)
        evolution = await rebuild(settings, store)
        write_settings(settings)
        ids = tuple(prompt.id for prompt in prompts.current().mutation)
        metrics = Metrics(__version__, settings.engine.slots, ids)
        ports = Ports(
            writer=hands.writer,
            lifter=lifter,
            trainer=trainer,
            prompts=prompts,
            store=store,
            observers=(*observers, metrics),
        )
        engine = _engine(settings, evolution, task, ports)
        view = _view(engine, settings)
        metrics.watch(view)
        await stack.enter_async_context(_listening(settings, metrics, engine))
        return await _until_the_end(engine, settings, trainer, task, lambda: ready(view))


async def _until_the_end(
    engine: Engine, settings: Settings, trainer: Trainer, task: Task, ready: Callable[[], None]
) -> str:
    async with asyncio.TaskGroup() as group, _signals(group, engine, settings.engine.drain_s):
        checking = group.create_task(_check_task(trainer, task))
        logger.info(
            "ready: %d slots, %d device places, %d evaluations, state in %s",
            settings.engine.slots, len(settings.training.places),
            engine.evolution.num_evaluations, settings.state_dir, extra={"action": "ready"},
        )  # fmt: skip
        ready()
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

    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, stop, number.name)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _engine(settings: Settings, evolution: Evolution, task: Task, ports: Ports) -> Engine:
    return Engine(
        evolution,
        task,
        ports,
        num_slots=settings.engine.slots,
        budget=parts.budget(settings),
        patience=parts.patience(settings),
    )


def _view(engine: Engine, settings: Settings) -> View:
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


def _listening(
    settings: Settings, metrics: Metrics, engine: Engine
) -> AbstractAsyncContextManager[None]:
    if not settings.metrics.port:
        return nullcontext()
    from llmatic_daemon.adapters.http import listening  # 0.3 s, for those who ask for it

    return listening(settings.metrics.port, metrics.exposition, lambda: engine.is_ready)


async def _task(settings: Settings, store: SearchStore, trainer: Trainer) -> Task:
    """Learn the task: from the state, or the first time from the trainer that has loaded it."""
    stored = await store.identity()
    task = parse_task(stored) if stored else await trainer.task()
    await store.identify(identity(settings, task))
    return task


async def _check_task(trainer: Trainer, task: Task) -> None:
    """Compare the data set that the trainers have loaded with the state's."""
    loaded = await trainer.task()
    if loaded != task:
        raise ConfigurationError(
            f"the data set must be the state's, found another: {loaded}, was {task}; "
            "change data back, or choose another state folder"
        )
