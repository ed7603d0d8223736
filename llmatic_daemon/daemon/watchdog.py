"""The watchdog: notifies the service manager while the loop, the store thread and the trainers make progress."""

import asyncio
import logging

from llmatic_daemon.adapters.system.notify import ServiceManager
from llmatic_daemon.domain.ports import SearchStore, Trainer

logger = logging.getLogger(__name__)

#: Checks within the time that the watchdog allows.
_NUM_CHECKS = 4
_EXTRA = {"action": "watchdog"}


async def feed(manager: ServiceManager, store: SearchStore, trainer: Trainer) -> None:
    """Notify the watchdog until cancelled, each time after everything that must progress has progressed.

    That this coroutine runs shows that the loop does. The store thread must answer, and no training
    may exceed its time limit. A standstill is logged once; if it lasts longer than the watchdog
    allows, the service manager restarts the daemon.
    """
    if manager.watchdog_s is None:
        return
    interval_s = manager.watchdog_s / _NUM_CHECKS
    logged = ""
    while True:
        fault = await _standstill(store, trainer, interval_s)
        if not fault:
            manager.feed()
        elif fault != logged:
            logger.error("the watchdog is not fed: %s", fault, extra=_EXTRA)
        logged = fault
        await asyncio.sleep(interval_s)


async def _standstill(store: SearchStore, trainer: Trainer, timeout_s: float) -> str:
    """Return what makes no progress; empty if everything does."""
    try:
        async with asyncio.timeout(timeout_s):
            await store.ping()
    except TimeoutError:
        return f"the store thread has not finished its current operation within {timeout_s:g} s"
    overdue = trainer.overdue()
    return f"a trainer has exceeded its time limit: {', '.join(overdue)}" if overdue else ""
