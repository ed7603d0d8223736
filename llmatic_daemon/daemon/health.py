"""What is measured now and then, as nobody tells of it: the loop's delay, files, free space, damage."""

import asyncio
import logging
import threading
import time
from collections import deque
from pathlib import Path

from llmatic_daemon.adapters.metrics.observer import Metrics
from llmatic_daemon.adapters.storage.state_folder import database_path
from llmatic_daemon.adapters.storage.state_health import damage_of, sizes

logger = logging.getLogger(__name__)

#: Between two looks at the loop; the longest delay of so many looks is shown.
BEAT_S = 1.0
NUM_BEATS = 15
#: Between two looks at the state folder.
LOOK_S = 5.0
#: Before the first check of the database, and between two.
FIRST_CHECK_S = 60.0
CHECK_S = 24 * 3600.0


async def watch(metrics: Metrics, state_dir: Path) -> None:
    """Measure for ever."""
    async with asyncio.TaskGroup() as group:
        group.create_task(_feel_the_loop(metrics))
        group.create_task(_look_at_files(metrics, database_path(state_dir)))
        group.create_task(_check_database(metrics, database_path(state_dir)))


async def _feel_the_loop(metrics: Metrics) -> None:
    delays = deque[float](maxlen=NUM_BEATS)
    while True:
        started = time.monotonic()
        await asyncio.sleep(BEAT_S)
        delays.append(max(0.0, time.monotonic() - started - BEAT_S))
        metrics.lagged(max(delays))


async def _look_at_files(metrics: Metrics, database: Path) -> None:
    while True:
        metrics.sized(*await asyncio.to_thread(sizes, database))
        await asyncio.sleep(LOOK_S)


async def _check_database(metrics: Metrics, database: Path) -> None:
    stop = threading.Event()
    await asyncio.sleep(FIRST_CHECK_S)
    try:
        while True:
            damage = await asyncio.to_thread(damage_of, database, stop)
            if damage:
                logger.error("the database is damaged: %s", damage, extra={"action": "check"})
            if damage is not None:
                metrics.checked(not damage)
            await asyncio.sleep(CHECK_S)
    finally:
        stop.set()  # the daemon's end would wait for the thread
