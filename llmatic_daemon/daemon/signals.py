"""Signals: SIGTERM and SIGINT drain, a second one ends at once, SIGHUP reloads."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from llmatic_daemon.adapters.system.notify import ServiceManager
from llmatic_daemon.daemon.reload import Reloader
from llmatic_daemon.daemon.service_status import CLOSING_S
from llmatic_daemon.domain.errors import LLMaticError
from llmatic_daemon.engine.engine import Engine

logger = logging.getLogger(__name__)

_RELOAD = {"action": "reload"}


def ignore_sighup() -> None:
    """Survive SIGHUP before the search runs and after it, when there is nothing to reload."""
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGHUP, lambda: logger.info("SIGHUP: there is nothing to reload now", extra=_RELOAD)
    )


@asynccontextmanager
async def handled_signals(
    group: asyncio.TaskGroup, engine: Engine, reloader: Reloader, manager: ServiceManager, drain_s: float
) -> AsyncIterator[set[asyncio.Task[None]]]:
    """Handle signals while the context lasts.

    Yields:
        The running reloads: the end does not wait for one.
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
            manager.extend(drain_s + CLOSING_S)
            group.create_task(engine.drain(f"stopped by {name}", drain_s))

    def reload() -> None:
        task = group.create_task(_reload(reloader))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, stop, number.name)
    loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        yield reloads
    finally:
        ignore_sighup()
        for number in numbers:
            loop.remove_signal_handler(number)


async def _reload(reloader: Reloader) -> None:
    try:
        await reloader.reload()
    except LLMaticError as error:
        logger.error("SIGHUP: no setting is changed: %s", error, extra=_RELOAD)
