"""The daemon: builds all that a search needs from the settings, runs it, and closes it in order."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from llmatic_daemon import __version__
from llmatic_daemon.adapters.metrics.observer import Metrics
from llmatic_daemon.adapters.storage.notes import backup_note
from llmatic_daemon.adapters.storage.sqlite_store import SQLiteStore
from llmatic_daemon.adapters.storage.state_folder import database_path
from llmatic_daemon.adapters.system.notify import ServiceManager
from llmatic_daemon.bootstrap import build, build_search
from llmatic_daemon.bootstrap.build import Adapters
from llmatic_daemon.bootstrap.saved_settings import fingerprint, write_settings
from llmatic_daemon.config.credentials import api_token
from llmatic_daemon.config.settings import Settings
from llmatic_daemon.daemon import health, watchdog
from llmatic_daemon.daemon.application import Application, Service, View
from llmatic_daemon.daemon.backup_request import backup_verb
from llmatic_daemon.daemon.control_commands import ControlCommands
from llmatic_daemon.daemon.prompt_reload import PromptReloader
from llmatic_daemon.daemon.reload import Reloader
from llmatic_daemon.daemon.service_status import START_S, ServiceStatus, report_status
from llmatic_daemon.daemon.signals import ignore_sighup
from llmatic_daemon.domain import Task
from llmatic_daemon.domain.events import BackupFinished, EventBus
from llmatic_daemon.domain.ports import Ports, SearchStore
from llmatic_daemon.engine.auditor import Auditor
from llmatic_daemon.engine.checkpoints import keep_checkpoints
from llmatic_daemon.engine.control_arm import ControlArm, share
from llmatic_daemon.engine.engine import Engine
from llmatic_daemon.engine.status import status_of

if TYPE_CHECKING:
    from llmatic_daemon.daemon.http_service import Listener


async def run(
    settings: Settings,
    adapters: Adapters,
    *,
    ready: Callable[[View], None] = lambda view: None,
    manager: ServiceManager | None = None,
    again: Callable[[], Settings] | None = None,
) -> str:
    """Run a search until a budget is used up or a signal ends it; return the reason.

    Args:
        settings: All of them.
        adapters: Who writes, lifts and trains; who else receives events has subscribed to its bus.
        ready: Called when jobs can be dispatched, with a view of the search.
        manager: The service manager; None: the one that the environment names.
        again: Reads the settings from their sources again, for a reload.

    Raises:
        LLMaticError: it cannot start; the text says what to do.
    """
    ignore_sighup()
    manager = manager or ServiceManager()
    async with AsyncExitStack() as stack:
        stack.callback(manager.close)
        manager.extend(START_S)
        manager.show("starting: data set, database, log")
        application = await build_application(settings, adapters, stack, manager, again or (lambda: settings))
        return await application.run(ready)


async def build_application(
    settings: Settings,
    adapters: Adapters,
    stack: AsyncExitStack,
    manager: ServiceManager,
    again: Callable[[], Settings],
) -> Application:
    """Build and open all parts; the stack closes them in reverse order."""
    prompts = build.first_prompts(settings)
    token = api_token(settings.control.token_file) if settings.control.port else ""
    metrics = Metrics(__version__, settings.engine.slots, tuple(settings.writer.servers))
    adapters.events.subscribe(metrics.receive)
    listener = _listener(settings, adapters.events)

    search = await _open_search(settings, adapters, stack)
    prompt_reloader = _prompt_reloader(settings, search)
    await prompt_reloader.begin(prompts)
    metrics.configured(fingerprint(settings), search.task.name, settings.training.timeout_s)
    metrics.use(search.engine.evolution.prompts.current)
    write_settings(settings)

    reloader = _reloader(settings, search, prompt_reloader, manager, again)
    control = ControlCommands(
        settings,
        engine=search.engine,
        prompts=prompt_reloader,
        reloader=reloader,
        view=search.view,
        events=adapters.events,
        token=token,
    )
    await control.recall()
    metrics.watch(search.view, search.ports.writer.endpoints)
    if listener:
        endpoints = search.ports.writer.endpoints
        await stack.enter_async_context(
            listener.listening(
                metrics.exposition, search.view, endpoints, search.task, lambda: prompt_reloader.digest
            )
        )
    if noted := backup_note.read(settings.state_dir):
        adapters.events.publish(BackupFinished(finished_at=noted.finished_at))
    return Application(
        settings=settings,
        engine=search.engine,
        store=search.store,
        reloader=reloader,
        manager=manager,
        view=search.view,
        services=_services(settings, search, prompt_reloader, control, manager),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Search:
    """A search that is open, with all that it needs."""

    task: Task
    store: SearchStore
    ports: Ports
    engine: Engine
    view: View


async def _open_search(settings: Settings, adapters: Adapters, stack: AsyncExitStack) -> _Search:
    """Start the trainers, open the state, and fold its log."""
    trainer = await stack.enter_async_context(adapters.trainer)
    if not database_path(settings.state_dir).exists():
        await trainer.task()  # nothing is written before the data set is known to be usable
    store = await SQLiteStore.open(settings.state_dir)
    stack.push_async_callback(store.close)
    lifter = await stack.enter_async_context(adapters.lifter)
    task = await build_search.find_task(settings, store, trainer)
    evolution = await build_search.rebuild(settings, store)
    arm = ControlArm(await store.compare(share(evolution.rules)))
    adapters.events.subscribe(arm.receive)
    ports = Ports(
        writer=await stack.enter_async_context(adapters.writer),
        lifter=lifter,
        trainer=trainer,
        store=store,
        rewriter=adapters.rewriter,
        events=adapters.events,
    )
    engine = build.engine(settings, evolution, task, ports)
    view = partial(status_of, engine, arm, trainer, settings.budget.max_evaluations or None)
    return _Search(task=task, store=store, ports=ports, engine=engine, view=view)


def _listener(settings: Settings, events: EventBus) -> "Listener | None":
    if not settings.metrics.port:
        return None
    from llmatic_daemon.daemon.http_service import Listener  # 0.3 s, only if it is configured

    return Listener(settings.metrics.port, settings.metrics.allowed_hosts, settings.state_dir, events)


def _prompt_reloader(settings: Settings, search: _Search) -> PromptReloader:
    return PromptReloader(
        build.prompt_folder(settings),
        search.engine,
        search.store,
        axis_size=settings.archives.prompt_axis_size,
        events=search.ports.events,
    )


def _reloader(
    settings: Settings,
    search: _Search,
    prompts: PromptReloader,
    manager: ServiceManager,
    again: Callable[[], Settings],
) -> Reloader:
    return Reloader(
        settings,
        again,
        lambda new: search.store.identify(build_search.identity(new, search.task)),
        engine=search.engine,
        trainer=search.ports.trainer,
        prompts=prompts,
        announced=manager.reloading,
    )


def _services(
    settings: Settings,
    search: _Search,
    prompts: PromptReloader,
    control: ControlCommands,
    manager: ServiceManager,
) -> tuple[Service, ...]:
    """List what runs beside the search until it ends."""
    ports, store, events, state_dir = search.ports, search.store, search.ports.events, settings.state_dir
    status, listening = ServiceStatus(), asyncio.Event()
    events.subscribe(status.receive)
    verbs = {"backup": backup_verb(state_dir, events)}
    return (
        Service("data set check", partial(build_search.check_task, ports.trainer, search.task)),
        Service("prompt folder", prompts.watch),
        Service("control", partial(control.serve, verbs, listening)),
        Service("watchdog", partial(watchdog.feed, manager, store, ports.trainer)),
        Service(
            "service status",
            partial(
                report_status,
                manager,
                lambda: status.line(search.view()),
                listening=listening,
                wait_until_probed=ports.writer.wait_until_probed,
            ),
        ),
        Service("sandbox report", partial(health.report_sandbox, ports.lifter, events, state_dir)),
        Service("checkpoints", partial(keep_checkpoints, search.engine, store)),
        # Without audits by chance too: a trainer's death puts in doubt what it has measured.
        Service("audits", Auditor(search.engine, search.task, ports, settings.engine).run),
        Service("device report", partial(health.report_devices, events, state_dir)),
        Service("health", partial(health.watch, events, state_dir)),
    )
