"""What `systemctl status` shows, and when a start counts as complete."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from llmatic_daemon.adapters.system.notify import ServiceManager
from llmatic_daemon.daemon import service_status
from llmatic_daemon.daemon.service_status import ServiceStatus, report_status
from llmatic_daemon.domain import Job
from llmatic_daemon.domain.events import Placed, SlotChanged
from tests.support.llm import turns
from tests.support.sample_placements import failure
from tests.support.service_manager import Listener
from tests.support.web import SNAPSHOT

NOW = replace(SNAPSHOT, num_evaluations=12, best_objective=0.873, best_job=9, is_ready=True)


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    made = Listener(tmp_path / "notify")
    yield made
    made.close()


def test_line_counts_slots_and_ages_the_last_commit() -> None:
    time_s = iter([100.0, 103.0])
    status = ServiceStatus(clock=lambda: next(time_s))
    status.receive(SlotChanged(slot=0, phase="train", detail="epoch 1 of 3"))
    status.receive(SlotChanged(slot=1, phase="wait"))
    status.receive(SlotChanged(slot=2, phase="idle"))
    status.receive(Placed(placement=failure(1, Job(number=1, attempt=1))))

    line = status.line(replace(NOW, num_slots=3))

    assert line == (
        "2 of 3 slots busy, 1 wait for a device; 12 evaluations; best 0.8730 (candidate 9); "
        "last commit 3 s ago"
    )


def test_line_before_the_first_candidate() -> None:
    line = ServiceStatus().line(replace(NOW, best_objective=None))

    assert line.endswith("; no elite yet; no commit since the start")


@pytest.mark.parametrize(
    ("said", "change"),
    [
        ("draining: ", {"is_draining": True, "is_paused": True}),
        ("paused: ", {"is_paused": True}),
        ("the store is unavailable: ", {"is_ready": False}),
    ],
)
def test_line_begins_with_what_is_out_of_the_ordinary(said: str, change: dict[str, bool]) -> None:
    assert ServiceStatus().line(replace(NOW, **change)).startswith(said)


async def test_ready_is_said_after_listeners_and_the_first_words_with_the_llm(listener: Listener) -> None:
    manager = ServiceManager(listener.environment)
    listening, wait_until_probed = asyncio.Event(), asyncio.Event()

    async def greet() -> None:
        await wait_until_probed.wait()

    task = asyncio.create_task(
        report_status(manager, lambda: "a line", listening=listening, wait_until_probed=greet)
    )
    await asyncio.sleep(0)
    assert listener.received() == []
    listening.set()
    await asyncio.sleep(0)
    assert listener.received() == []
    wait_until_probed.set()
    await turns()

    assert listener.received() == ["READY=1", "STATUS=a line"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    manager.close()


async def test_llm_that_does_not_answer_holds_the_start_up_for_a_while_only(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_status, "_PROBE_TIMEOUT_S", 0.0)
    manager = ServiceManager(listener.environment)
    listening = asyncio.Event()
    listening.set()

    async def never() -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(
        report_status(manager, lambda: "a line", listening=listening, wait_until_probed=never)
    )
    await turns()

    assert listener.received()[0] == "READY=1"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    manager.close()
