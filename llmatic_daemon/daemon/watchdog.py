"""The watchdog's feeder: it has seen the loop, the store's thread and the trainers make progress."""

import asyncio
import logging

from llmatic_daemon.adapters.system.notify import ServiceManager
from llmatic_daemon.domain.ports import SearchStore, Trainer

logger = logging.getLogger(__name__)

#: Looks within the time that the watchdog allows.
_LOOKS = 4
_EXTRA = {"action": "watchdog"}


async def feed(manager: ServiceManager, store: SearchStore, trainer: Trainer) -> None:
    """Feed the watchdog for ever, each time after everything that must move has moved.

    That this runs shows that the loop does. The store's thread must come round to us, and no
    trainer may be held for longer than its patience allows. What stands still is said once, and
    the manager restarts us when it does so for as long as the watchdog allows.
    """
    if manager.watchdog_s is None:
        return
    pause_s = manager.watchdog_s / _LOOKS
    told = ""
    while True:
        fault = await _standstill(store, trainer, pause_s)
        if not fault:
            manager.feed()
        elif fault != told:
            logger.error("the watchdog is not fed: %s", fault, extra=_EXTRA)
        told = fault
        await asyncio.sleep(pause_s)


async def _standstill(store: SearchStore, trainer: Trainer, patience_s: float) -> str:
    """Say what does not move; empty: all does."""
    try:
        async with asyncio.timeout(patience_s):
            await store.ping()
    except TimeoutError:
        return "the store's thread must come round, and has been at one thing for too long"
    overdue = trainer.overdue()
    if overdue:
        return f"a trainer must end in time, and {', '.join(overdue)} has not"
    return ""
