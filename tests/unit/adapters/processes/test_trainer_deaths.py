"""Trainers that die: what is said of them, fresh ones, and device workers that are taken out of service."""

import asyncio
import logging
from signal import SIGSEGV

import pytest

from llmatic_daemon.domain import Report, Training
from llmatic_daemon.domain.errors import NoDeviceWorker, TrainerDied
from llmatic_daemon.domain.events import DeviceTakenOut, Event, EventBus
from tests.support.trainer import ProgressWatcher, start_training, tiny_network, trainer_pool


class Heard:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.bus = EventBus()
        self.bus.subscribe(self.events.append)

    @property
    def taken_out(self) -> list[str]:
        return [event.device for event in self.events if isinstance(event, DeviceTakenOut)]


async def test_death_names_device_process_signal_and_last_lines():
    async with trainer_pool() as pool:
        trained = await start_training(pool)
        with pytest.raises(TrainerDied, match="signal 11: a last word") as caught:
            await start_training(pool, b"segv")
        after = await start_training(pool)

    assert isinstance(trained, Report)
    assert isinstance(after, Report)
    assert (caught.value.device, caught.value.signal) == ("cpu", SIGSEGV)
    assert caught.value.trainer == trained.trainer != after.trainer
    assert caught.value.train_s > 0


async def test_exit_of_a_trainer_has_no_signal():
    async with trainer_pool() as pool:
        with pytest.raises(TrainerDied, match="exit code 3") as caught:
            await start_training(pool, b"die")

    assert caught.value.signal is None


async def test_fresh_training_runs_in_a_process_that_has_trained_nothing():
    fresh = Training(seed=1, fresh=True)
    async with trainer_pool() as pool:
        first = await pool.train(tiny_network(), fresh, lambda _: None)
        second = await pool.train(tiny_network(), fresh, lambda _: None)
        third = await pool.train(tiny_network(), Training(seed=1), lambda _: None)

    trainers = [each.trainer for each in (first, second, third) if isinstance(each, Report)]
    assert trainers[0] != trainers[1] == trainers[2]


async def test_fresh_trainer_that_does_not_start_leaves_its_device_worker_in_service():
    async with trainer_pool() as pool:
        await start_training(pool)
        pool._starter._module, module = "no_such_module", pool._starter._module
        with pytest.raises(Exception, match="did not start"):
            await pool.train(tiny_network(), Training(seed=1, fresh=True), lambda _: None)
        pool._starter._module = module

        assert isinstance(await start_training(pool), Report)


async def kill_with(pool, *graphs: bytes) -> None:
    for graph in graphs:
        with pytest.raises(TrainerDied):
            await start_training(pool, graph)


async def test_worker_is_taken_out_after_three_networks_in_a_row(caplog: pytest.LogCaptureFixture):
    heard = Heard()
    async with trainer_pool("cpu", "cpu", events=heard.bus) as pool:
        watcher = ProgressWatcher()
        hanging = start_training(pool, b"hang", watcher)  # all others go to the second worker
        await watcher.holds.wait()
        with caplog.at_level(logging.ERROR):
            await kill_with(pool, b"segv 1", b"segv 2", b"segv 3")
        waiting = start_training(pool)
        await asyncio.sleep(0.05)

        assert pool.out_of_service() == tuple(heard.taken_out)
        assert len(pool.devices) == 1
        assert not waiting.done()
        hanging.cancel()
        assert isinstance(await waiting, Report)
    (line,) = [record.getMessage() for record in caplog.records if "out of service" in record.getMessage()]
    assert "3 networks in a row" in line
    assert "restart the daemon" in line


async def test_same_network_or_one_that_survives_takes_no_worker_out():
    async with trainer_pool() as pool:
        await kill_with(pool, b"segv 1", b"segv 1", b"segv 1", b"segv 2")
        await start_training(pool)
        await kill_with(pool, b"segv 3", b"segv 4")

        assert pool.out_of_service() == ()
        assert isinstance(await start_training(pool), Report)


async def test_without_any_worker_left_all_trainings_are_rejected():
    async with trainer_pool() as pool:
        waiting = []
        for graph in (b"segv 1", b"segv 2", b"segv 3"):
            training = start_training(pool, graph)
            waiting = [start_training(pool), start_training(pool)] if graph == b"segv 3" else []
            with pytest.raises(TrainerDied):
                await training
        for each in waiting:
            with pytest.raises(NoDeviceWorker, match="no other one is left"):
                await each
        with pytest.raises(NoDeviceWorker, match="restart the daemon"):
            await start_training(pool)


async def test_other_devices_bring_a_worker_back():
    async with trainer_pool("cpu", "cpu") as pool:
        watcher = ProgressWatcher()
        hanging = start_training(pool, b"hang", watcher)
        await watcher.holds.wait()
        await kill_with(pool, b"segv 1", b"segv 2", b"segv 3")

        await pool.resize(["cpu", "cpu", "cpu"])

        assert pool.out_of_service() == ()
        assert len(pool.devices) == 3
        assert isinstance(await start_training(pool), Report)
        hanging.cancel()
