"""The composition root: builds every part from the settings, runs the search, ends it in order."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmatic_daemon import __version__
from llmatic_daemon.adapters.metrics.observer import Metrics
from llmatic_daemon.adapters.prompts.files import read_prompts
from llmatic_daemon.adapters.storage.notes import backup_note, sandbox_note
from llmatic_daemon.adapters.storage.sqlite_store import SQLiteStore
from llmatic_daemon.adapters.storage.state_folder import database_path
from llmatic_daemon.adapters.system.notify import ServiceManager
from llmatic_daemon.bootstrap import build
from llmatic_daemon.bootstrap.build import Adapters
from llmatic_daemon.bootstrap.build_search import identity, parse_task, rebuild
from llmatic_daemon.bootstrap.saved_settings import fingerprint, write_settings
from llmatic_daemon.config.credentials import api_token
from llmatic_daemon.config.settings import Settings
from llmatic_daemon.daemon import health, service_status, watchdog
from llmatic_daemon.daemon.backup_request import backup_verb
from llmatic_daemon.daemon.control_commands import ControlCommands
from llmatic_daemon.daemon.prompt_reload import PromptReloader
from llmatic_daemon.daemon.reload import Reloader
from llmatic_daemon.domain import Prompt, SearchStatus, Task
from llmatic_daemon.domain.errors import ConfigurationError, LLMaticError
from llmatic_daemon.domain.ports import Lifter, Observer, SearchStore, Trainer
from llmatic_daemon.engine.auditor import Auditor
from llmatic_daemon.engine.checkpoints import keep_checkpoint, keep_checkpoints
from llmatic_daemon.engine.control_arm import ControlArm, share
from llmatic_daemon.engine.engine import Engine, Ports
from llmatic_daemon.search.evolution import Evolution
from llmatic_daemon.search.prompt_book import EMPTY_BOOK, highest_curiosity

if TYPE_CHECKING:
    from llmatic_daemon.daemon.http_service import Listener

logger = logging.getLogger(__name__)

View = Callable[[], SearchStatus]


async def run(
    settings: Settings,
    adapters: Adapters,
    observers: tuple[Observer, ...] = (),
    ready: Callable[[View], None] = lambda view: None,
    manager: ServiceManager | None = None,
    again: Callable[[], Settings] | None = None,
) -> str:
    """Run a search until a budget is used up or a signal ends it; say which.

    Args:
        settings: All of them.
        adapters: Who writes, lifts and trains; `parts.hands` makes the real ones.
        observers: Who else hears what happens.
        ready: Called when jobs can be dispatched, with a view of the search.
        manager: Who started us; None: whoever the environment names.
        again: Reads the settings anew, from where they came from; a reload asks for it.

    Raises:
        LLMaticError: it cannot start; the text says what to do.
    """
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _nothing_to_reload)
    manager, standing = manager or ServiceManager(), service_status.ServiceStatus()
    async with AsyncExitStack() as stack:
        stack.callback(manager.close)
        manager.extend(service_status.START_S)
        manager.show("starting: data set, database, log")
        prompts = _first_prompts(settings)
        token = api_token(settings.control.token_file) if settings.control.port else ""
        trainer = await stack.enter_async_context(adapters.trainer)
        if not database_path(settings.state_dir).exists():
            await trainer.task()  # nothing is written before the data set is known to be usable
        store = await SQLiteStore.open(settings.state_dir)
        stack.push_async_callback(store.close)
        lifter = await stack.enter_async_context(adapters.lifter)
        task = await _task(settings, store, trainer)
        evolution = await rebuild(settings, store)
        servers = tuple(settings.writer.servers)
        metrics = Metrics(__version__, settings.engine.slots, servers)
        arm = ControlArm(await store.compare(share(evolution.rules)))
        listener = _listener(settings)
        everyone = (*observers, metrics, standing, arm, *(listener.observers if listener else ()))
        writer = await stack.enter_async_context(adapters.writer(everyone))
        trainer.watched_by(everyone)
        ports = Ports(
            writer=writer,
            lifter=lifter,
            trainer=trainer,
            store=store,
            rewriter=adapters.rewriter,
            observers=everyone,
        )
        engine = _engine(settings, evolution, task, ports)
        desk = _desk(settings, engine, store, everyone)
        await _take(prompts, engine, desk, settings)
        metrics.configured(fingerprint(settings), task.name, settings.training.timeout_s)
        metrics.use(engine.evolution.prompts.current)
        write_settings(settings)
        view = _view(engine, settings, arm)
        reloader = Reloader(
            settings,
            again or (lambda: settings),
            lambda new: store.identify(identity(new, task)),
            engine=engine,
            trainer=trainer,
            prompts=desk,
            announced=manager.reloading,
        )
        control = ControlCommands(
            settings,
            engine=engine,
            prompts=desk,
            reloader=reloader,
            view=view,
            token=token,
            metrics=metrics,
        )
        await control.recall()
        metrics.watch(view, writer.endpoints)
        if listener:
            await stack.enter_async_context(
                listener.listening(metrics, view, writer.endpoints, task, lambda: desk.digest)
            )
        if noted := backup_note.read(settings.state_dir):
            metrics.backed_up(noted.finished_at)
        listening = asyncio.Event()
        back_up = backup_verb(settings.state_dir, metrics.backed_up)
        beside = (
            _check_task(trainer, task),
            desk.watch(),
            control.attend({"backup": back_up}, listening),
            watchdog.feed(manager, store, trainer),
            service_status.attend(
                manager,
                lambda: standing.line(view()),
                listening=listening,
                wait_until_probed=writer.wait_until_probed,
            ),
            _tell_of_sandbox(lifter, metrics, settings.state_dir),
            keep_checkpoints(engine, store),
            health.watch(metrics, settings.state_dir),
            *_audits(settings, engine, task, ports),
        )
        end = await _until_the_end(engine, settings, reloader, manager, beside, lambda: ready(view))
        await keep_checkpoint(engine.evolution, store)
        return end


def _nothing_to_reload() -> None:
    """Survive a SIGHUP before there is a search, and after it."""
    logger.info("SIGHUP: there is nothing to reload now", extra={"action": "reload"})


def _first_prompts(settings: Settings) -> tuple[Prompt, ...] | ConfigurationError:
    """Read the prompts; a search that has good ones can go on with those."""
    try:
        prompts = read_prompts(build.prompt_path(settings))
        EMPTY_BOOK.numbered(prompts, settings.archives.prompt_axis_size)
        return prompts
    except ConfigurationError as error:
        if database_path(settings.state_dir).exists():
            return error
        raise


async def _take(
    prompts: tuple[Prompt, ...] | ConfigurationError,
    engine: Engine,
    desk: PromptReloader,
    settings: Settings,
) -> None:
    """Take the prompts as they are at the start, or stay with the last good ones.

    Raises:
        ConfigurationError: there are none.
    """
    try:
        if isinstance(prompts, ConfigurationError):
            raise prompts
        await engine.take_prompts(prompts, settings.archives.prompt_axis_size)
    except ConfigurationError as error:
        if engine.evolution.prompts.edition is None:
            raise
        await desk.refuse(str(error))


def _desk(
    settings: Settings, engine: Engine, store: SearchStore, observers: tuple[Observer, ...]
) -> PromptReloader:
    folder, slots = build.prompt_folder(settings), settings.archives.prompt_axis_size
    return PromptReloader(folder, engine, store, num_slots=slots, observers=observers)


async def _tell_of_sandbox(lifter: Lifter, metrics: Metrics, state_dir: Path) -> None:
    """Say which layers are around the code that an LLM wrote, in metrics and for `status`."""
    missing = await lifter.missing()
    metrics.surrounded(missing)
    try:
        await asyncio.to_thread(sandbox_note.write, state_dir, missing)
    except OSError as error:
        logger.warning("no note of the sandbox: %s", error, extra={"action": "sandbox"})


async def _until_the_end(
    engine: Engine,
    settings: Settings,
    reloader: Reloader,
    manager: ServiceManager,
    beside: tuple[Coroutine[Any, Any, None], ...],
    ready: Callable[[], None],
) -> str:
    async with (
        asyncio.TaskGroup() as group,
        _signals(group, engine, reloader, settings, manager) as reloads,
    ):
        tasks = [group.create_task(work) for work in beside]
        logger.info(
            "ready: %d slots, %d device places, %d evaluations, state in %s",
            settings.engine.slots,
            len(settings.training.devices),
            engine.evolution.num_evaluations,
            settings.state_dir,
            extra={"action": "ready"},
        )
        ready()
        end = await engine.run()
        manager.stopping()
        manager.extend(service_status.CLOSING_S)
        for task in (*tasks, *reloads):
            task.cancel()
    logger.info("the search ends: %s", end, extra={"action": "end"})
    return end


@asynccontextmanager
async def _signals(
    group: asyncio.TaskGroup,
    engine: Engine,
    reloader: Reloader,
    settings: Settings,
    manager: ServiceManager,
) -> AsyncIterator[set[asyncio.Task[None]]]:
    """SIGTERM and SIGINT drain, a second one gives all jobs back; SIGHUP reloads.

    Yields:
        The reloads under way: the end does not wait for one.
    """
    loop = asyncio.get_running_loop()
    received: list[str] = []
    reloads: set[asyncio.Task[None]] = set()

    def stop(name: str) -> None:
        received.append(name)
        logger.info("%s: %s", name, "stopping at once" if received[1:] else "draining")
        if received[1:]:
            engine.abort(f"stopped by {name}")
        else:
            manager.stopping()
            manager.extend(settings.engine.drain_s + service_status.CLOSING_S)
            group.create_task(engine.drain(f"stopped by {name}", settings.engine.drain_s))

    async def reload() -> None:
        try:
            await reloader.reload()
        except LLMaticError as error:
            logger.error("SIGHUP: no setting is changed: %s", error, extra={"action": "reload"})

    def begin_reload() -> None:
        task = group.create_task(reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, stop, number.name)
    loop.add_signal_handler(signal.SIGHUP, begin_reload)
    try:
        yield reloads
    finally:
        loop.add_signal_handler(signal.SIGHUP, _nothing_to_reload)
        for number in numbers:
            loop.remove_signal_handler(number)


def _engine(settings: Settings, evolution: Evolution, task: Task, ports: Ports) -> Engine:
    return Engine(
        evolution,
        task,
        ports,
        num_slots=settings.engine.slots,
        budget=settings.budget,
        retry_policy=settings.engine,
    )


def _audits(
    settings: Settings, engine: Engine, task: Task, ports: Ports
) -> tuple[Coroutine[Any, Any, None], ...]:
    """Audit elites beside the search, if that is wanted."""
    if not settings.audit.ratio:
        return ()
    retry_policy = settings.engine
    auditor = Auditor(
        engine,
        task,
        store=ports.store,
        lifter=ports.lifter,
        trainer=ports.trainer,
        retry_policy=retry_policy,
    )
    return (auditor.run(),)


def _view(engine: Engine, settings: Settings, arm: ControlArm) -> View:
    """Return a view of a running search in numbers."""

    def view() -> SearchStatus:
        now = engine.evolution
        return SearchStatus(
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
            num_slots=engine.num_slots,
            is_ready=engine.is_ready,
            is_paused=engine.is_paused,
            is_draining=engine.is_draining,
            median_objective=now.networks.median_objective,
            curiosity=highest_curiosity(now.individuals, now.prompts.current),
            uplift=arm.uplift(),
        )

    return view


def _listener(settings: Settings) -> "Listener | None":
    if not settings.metrics.port:
        return None
    from llmatic_daemon.daemon.http_service import Listener  # 0.3 s, for those who ask for it

    return Listener(settings.metrics.port, settings.metrics.allowed_hosts, settings.state_dir)


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
