"""Health checks, with true files."""

import asyncio
import time

from llmatic_daemon.adapters.metrics.observer import Metrics
from llmatic_daemon.adapters.storage.sqlite_store import SQLiteStore
from llmatic_daemon.daemon import health
from llmatic_daemon.domain.events import DatabaseChecked, Event, EventBus
from tests.support.llm import turns, until
from tests.support.metrics import samples


class TellingMetrics(Metrics):
    """Tells when the database was checked."""

    has_checked: asyncio.Event

    def receive(self, event: Event) -> None:
        super().receive(event)
        if isinstance(event, DatabaseChecked):
            self.has_checked.set()


async def test_health_is_measured_while_a_daemon_runs(tmp_path, monkeypatch):
    for name, value in {"INTERVAL_S": 0.01, "FIRST_CHECK_S": 0.0}.items():
        monkeypatch.setattr(health, name, value)
    metrics = TellingMetrics("1", 1, ())
    metrics.has_checked = asyncio.Event()
    events = EventBus()
    events.subscribe(metrics.receive)
    store = await SQLiteStore.open(tmp_path)
    watching = asyncio.create_task(health.watch(events, tmp_path))
    try:
        await metrics.has_checked.wait()
        await until(lambda: samples(metrics)["llmatic_db_size_bytes",] > 0)
        time.sleep(0.2)  # noqa: ASYNC251 - the loop is held up on purpose
        await turns()
    finally:
        watching.cancel()
        await asyncio.wait([watching])
        await store.close()

    found = samples(metrics)
    assert found["llmatic_event_loop_lag_seconds",] > 0.1
    assert found["llmatic_db_size_bytes",] > 0
    assert found["llmatic_state_filesystem_free_bytes",] > 0
    assert found["llmatic_db_integrity",] == 1
