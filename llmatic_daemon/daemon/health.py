"""Periodic health checks: event-loop lag, database size, free disk space, database integrity; and the sandbox."""

import asyncio
import logging
import threading
import time
from collections import deque
from pathlib import Path

from llmatic_daemon.adapters.storage.notes import devices_note, sandbox_note
from llmatic_daemon.adapters.storage.state_folder import database_path
from llmatic_daemon.adapters.storage.state_health import damage_of, sizes
from llmatic_daemon.domain.events import (
    DatabaseChecked,
    DeviceChanged,
    DeviceTakenOut,
    Event,
    EventBus,
    LoopLagMeasured,
    SandboxProbed,
    StateMeasured,
)
from llmatic_daemon.domain.ports import Lifter

logger = logging.getLogger(__name__)

#: Between two measurements of the loop's lag, in seconds; the longest of the last ones is reported.
INTERVAL_S = 1.0
NUM_INTERVALS = 15
#: Between two measurements of the state folder, in seconds.
SIZE_INTERVAL_S = 5.0
#: Before the first check of the database, and between two, in seconds.
FIRST_CHECK_S = 60.0
CHECK_INTERVAL_S = 24 * 3600.0


async def watch(events: EventBus, state_dir: Path) -> None:
    """Run all checks until cancelled."""
    async with asyncio.TaskGroup() as group:
        group.create_task(_measure_loop_lag(events))
        group.create_task(_measure_state(events, database_path(state_dir)))
        group.create_task(_check_database(events, database_path(state_dir)))


async def _measure_loop_lag(events: EventBus) -> None:
    delays = deque[float](maxlen=NUM_INTERVALS)
    while True:
        started = time.monotonic()
        await asyncio.sleep(INTERVAL_S)
        delays.append(max(0.0, time.monotonic() - started - INTERVAL_S))
        events.publish(LoopLagMeasured(longest_s=max(delays)))


async def _measure_state(events: EventBus, database: Path) -> None:
    while True:
        database_bytes, wal_bytes, free_bytes = await asyncio.to_thread(sizes, database)
        events.publish(
            StateMeasured(database_bytes=database_bytes, wal_bytes=wal_bytes, free_bytes=free_bytes)
        )
        await asyncio.sleep(SIZE_INTERVAL_S)


async def _check_database(events: EventBus, database: Path) -> None:
    stop = threading.Event()
    await asyncio.sleep(FIRST_CHECK_S)
    try:
        while True:
            damage = await asyncio.to_thread(damage_of, database, stop)
            if damage:
                logger.error("the database is damaged: %s", damage, extra={"action": "check"})
            if damage is not None:
                events.publish(DatabaseChecked(is_sound=not damage))
            await asyncio.sleep(CHECK_INTERVAL_S)
    finally:
        stop.set()  # the daemon's end would wait for the thread


async def report_sandbox(lifter: Lifter, events: EventBus, state_dir: Path) -> None:
    """Report once which sandbox layers are missing, as an event and in a note for `status`."""
    missing = await lifter.missing()
    events.publish(SandboxProbed(missing=missing))
    try:
        await asyncio.to_thread(sandbox_note.write, state_dir, missing)
    except OSError as error:
        logger.warning("the sandbox note is not written: %s", error, extra={"action": "sandbox"})


async def report_devices(events: EventBus, state_dir: Path) -> None:
    """Note for `status` which device workers are out of service, from none on, until cancelled."""
    out: dict[str, str] = {}
    changed = asyncio.Event()

    def receive(event: Event) -> None:
        if isinstance(event, DeviceTakenOut):
            out[event.device] = event.reason
            changed.set()
        elif isinstance(event, DeviceChanged) and event.device in out:  # a reload has brought it back
            del out[event.device]
            changed.set()

    events.subscribe(receive)
    while True:
        try:
            await asyncio.to_thread(devices_note.write, state_dir, dict(out))
        except OSError as error:
            logger.warning("the devices note is not written: %s", error, extra={"action": "devices"})
        await changed.wait()
        changed.clear()
