"""The note of device workers that are out of service, and who writes it."""

import asyncio
from pathlib import Path

import pytest

from llmatic_daemon.adapters.storage.notes import devices_note
from llmatic_daemon.daemon.health import report_devices
from llmatic_daemon.domain import DevicePhase
from llmatic_daemon.domain.events import DeviceChanged, DeviceTakenOut, EventBus


def test_note_is_read_as_it_was_written(tmp_path: Path):
    devices_note.write(tmp_path, {"cuda:1": "its trainers died"})

    assert devices_note.read(tmp_path) == {"cuda:1": "its trainers died"}


@pytest.mark.parametrize("text", [None, "", "{}", "[]", '{"out": 3}'])
def test_note_that_makes_no_sense_is_empty(tmp_path: Path, text: str | None):
    if text is not None:
        (tmp_path / "devices.json").write_text(text)

    assert devices_note.read(tmp_path) == {}


async def until_noted(folder: Path, expected: dict[str, str]) -> None:
    async with asyncio.timeout(10):
        while devices_note.read(folder) != expected:  # noqa: ASYNC110  # a file tells nobody
            await asyncio.sleep(0.01)


async def test_daemon_notes_what_is_out_and_what_came_back(tmp_path: Path):
    devices_note.write(tmp_path, {"cpu/9": "of an earlier daemon"})
    events = EventBus()
    reporting = asyncio.create_task(report_devices(events, tmp_path))

    await until_noted(tmp_path, {})
    events.publish(DeviceTakenOut(device="cpu/1", reason="why"))
    await until_noted(tmp_path, {"cpu/1": "why"})
    events.publish(DeviceChanged(device="cpu/1", phase=DevicePhase.START))
    await until_noted(tmp_path, {})

    reporting.cancel()
