"""The end of the daemon waits for nothing but what is worth it."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from llmatic_daemon import config
from llmatic_daemon.bootstrap.build import Adapters
from llmatic_daemon.config.settings import Settings
from llmatic_daemon.daemon import main as daemon
from tests.support.fake_daemon import RandomLifter, RandomTrainer, RandomWriter


class StuckTrainer(RandomTrainer):
    """Never gets the new device workers ready."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self.was_cancelled = False

    async def resize(self, devices: Sequence[str]) -> None:
        self.asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.was_cancelled = True


def settings(folder: Path, *devices: str) -> Settings:
    return config.load(
        preset="demo",
        environment={},
        overrides={
            "state_dir": str(folder),
            "budget": {"max_evaluations": 0, "max_hours": 0.0},
            "training": {"devices": list(devices)},
        },
    )


async def test_reload_under_way_does_not_hold_up_the_end(tmp_path: Path) -> None:
    trainer = StuckTrainer()
    adapters = Adapters(
        contextlib.nullcontext(RandomWriter()),
        contextlib.nullcontext(RandomLifter()),
        contextlib.nullcontext(trainer),
    )
    ready = asyncio.Event()
    running = asyncio.create_task(
        daemon.run(
            settings(tmp_path / "state", "cpu"),
            adapters,
            ready=lambda view: ready.set(),
            again=lambda: settings(tmp_path / "state", "cpu", "cpu"),
        )
    )
    async with asyncio.timeout(60):
        await ready.wait()
        os.kill(os.getpid(), signal.SIGHUP)
        await trainer.asked.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        end = await running

    assert end == "stopped by SIGTERM"
    assert trainer.was_cancelled
    os.kill(os.getpid(), signal.SIGHUP)  # on the way out it ends nothing either
    await asyncio.sleep(0)
