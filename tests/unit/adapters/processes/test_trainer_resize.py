"""Device places come and go while others train: no training is lost, and no process is left."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from llmatic_daemon.adapters.processes.devices import DeviceWorker, choose, named
from llmatic_daemon.adapters.processes.trainer import TrainerPool
from llmatic_daemon.domain import Report
from llmatic_daemon.domain.errors import ConfigurationError, TrainerUnavailable
from tests.support.daemon import wait_until
from tests.support.fakes import FakeObserver, bus_to
from tests.support.trainer import ProgressWatcher, is_alive, start_training, trainer_pool


class Held:
    """A training that is under way until it is let go."""

    def __init__(self, pool: TrainerPool, pipe: Path) -> None:
        os.mkfifo(pipe)
        self._pipe = pipe
        self._watcher = ProgressWatcher()
        self.task = start_training(pool, str(pipe).encode(), self._watcher)

    async def place(self) -> str:
        """Wait until it has a place, and name it."""
        await self._watcher.holds.wait()
        return self._watcher.heard[0].device

    @property
    def waits(self) -> bool:
        return not self._watcher.heard

    async def end(self) -> Report:
        await asyncio.to_thread(self._pipe.write_bytes, b"")
        report = await self.task
        assert isinstance(report, Report)
        return report


@asynccontextmanager
async def at_work(tmp_path: Path, num_trainings: int, **more: Any) -> AsyncIterator[tuple[TrainerPool, dict]]:
    """Give a pool of two places, and trainings by place; those that wait are named by number."""
    async with trainer_pool("cpu", "cpu", **more) as pool:
        trainings = [Held(pool, tmp_path / str(number)) for number in range(num_trainings)]
        by_place = {await held.place(): held for held in trainings[:2]}
        by_place |= dict(enumerate(trainings[2:], 2))
        yield pool, by_place
        pids = pool.pids.values()
    assert not any(is_alive(pid) for pid in pids)


async def gone(pool: TrainerPool) -> None:
    """Wait until places that go are gone."""
    await asyncio.gather(*pool._endings)


async def test_new_place_trains_beside_the_others(tmp_path: Path):
    async with trainer_pool("cpu") as pool:
        first = Held(pool, tmp_path / "first")
        assert await first.place() == "cpu"

        await pool.resize(["cpu", "cpu"])
        second = Held(pool, tmp_path / "second")

        assert await second.place() == "cpu/2"
        assert pool.devices == ("cpu", "cpu/2")
        await first.end()
        await second.end()


async def test_who_waits_gets_the_new_place(tmp_path: Path):
    async with trainer_pool("cpu") as pool:
        first = Held(pool, tmp_path / "first")
        await first.place()
        waiting = Held(pool, tmp_path / "second")

        await pool.resize(["cpu", "cpu"])

        assert await waiting.place() == "cpu/2"
        await first.end()
        await waiting.end()


async def test_place_that_is_free_goes_at_once():
    async with trainer_pool("cpu", "cpu") as pool:
        taken = [await pool._queue.take(), await pool._queue.take()]
        for place in taken:
            pool._give(place)
        before = pool.pids

        await pool.resize(["cpu"])
        await gone(pool)

        assert pool.pids == {"cpu/1": before["cpu/1"]}
        assert not is_alive(before["cpu/2"])
        assert isinstance(await start_training(pool), Report)


async def test_place_that_goes_finishes_its_training(tmp_path: Path):
    async with at_work(tmp_path, 2) as (pool, trainings):
        leaving = pool.pids["cpu/2"]

        await pool.resize(["cpu"])
        assert pool.devices == ("cpu/1",)
        assert is_alive(leaving)
        report = await trainings["cpu/2"].end()
        await gone(pool)

        assert report.device == "cpu/2"
        assert not is_alive(leaving)
        await trainings["cpu/1"].end()


async def test_observers_hear_that_a_place_is_gone_for_good(tmp_path: Path):
    observer = FakeObserver()
    async with at_work(tmp_path, 2, events=bus_to(observer)) as (pool, trainings):
        await pool.resize(["cpu"])
        assert observer.gone == []
        await trainings["cpu/2"].end()
        await gone(pool)

        assert observer.gone == ["cpu/2"]
        await trainings["cpu/1"].end()


async def test_place_that_goes_is_handed_to_nobody_who_waits(tmp_path: Path):
    async with at_work(tmp_path, 3) as (pool, trainings):
        await pool.resize(["cpu"])
        await trainings["cpu/2"].end()
        await gone(pool)
        assert trainings[2].waits

        await trainings["cpu/1"].end()

        assert await trainings[2].place() == "cpu/1"
        await trainings[2].end()


async def test_place_whose_training_is_broken_off_is_not_opened_again(tmp_path: Path):
    async with at_work(tmp_path, 2) as (pool, trainings):
        await pool.resize(["cpu"])
        trainings["cpu/2"].task.cancel()
        await asyncio.wait([trainings["cpu/2"].task])
        await gone(pool)

        assert list(pool.pids) == ["cpu/1"]
        await trainings["cpu/1"].end()


async def test_place_that_is_wished_for_again_while_it_trains_stays(tmp_path: Path):
    async with at_work(tmp_path, 2) as (pool, trainings):
        before = pool.pids
        await pool.resize(["cpu"])
        await pool.resize(["cpu", "cpu"])
        await trainings["cpu/2"].end()

        assert pool.pids == before
        assert (await start_training(pool)).device == "cpu/2"
        await trainings["cpu/1"].end()


async def test_place_that_goes_while_it_opens_leaves_no_process():
    async with trainer_pool("cpu", "cuda:7") as pool:  # which takes for ever
        assert isinstance(await start_training(pool), Report)
        opening = pool.pids["cuda:7"]

        await pool.resize(["cpu"])
        await gone(pool)

        assert list(pool.pids) == ["cpu"]
        assert not is_alive(opening)


async def test_places_are_exchanged_for_others():
    async with trainer_pool("cpu", "cpu") as pool:
        await pool.task()

        await pool.resize(["cuda:1"])
        await gone(pool)

        assert pool.devices == tuple(pool.pids) == ("cuda:1",)
        assert (await start_training(pool)).device == "cuda:1"


async def test_no_place_at_all_is_refused():
    async with trainer_pool("cpu") as pool:
        with pytest.raises(ConfigurationError, match=r"^training\.devices must name at least one"):
            await pool.resize([])

        assert isinstance(await start_training(pool), Report)


@pytest.mark.parametrize(
    ("device", "error", "why"),
    [
        ("cuda:9", ConfigurationError, "^there is no cuda:9$"),
        ("cuda:8", TrainerUnavailable, "^trainer on cuda:8 did not start: .*no driver"),
    ],
)
async def test_place_that_does_not_start_changes_nothing(
    tmp_path: Path, device: str, error: type[Exception], why: str
):
    async with at_work(tmp_path, 2) as (pool, trainings):
        before = pool.pids

        with pytest.raises(error, match=why):
            await pool.resize(["cuda:1", device])
        await gone(pool)

        assert pool.pids == before
        assert pool.devices == ("cpu/1", "cpu/2")
        for held in trainings.values():
            await held.end()
        assert isinstance(await start_training(pool), Report)


async def test_place_that_was_on_its_way_goes_on_so_when_a_new_one_does_not_start(tmp_path: Path):
    async with at_work(tmp_path, 2) as (pool, trainings):
        await pool.resize(["cpu"])
        with pytest.raises(ConfigurationError):
            await pool.resize(["cpu", "cpu", "cuda:9"])
        await trainings["cpu/2"].end()
        await gone(pool)

        assert list(pool.pids) == ["cpu/1"]
        await trainings["cpu/1"].end()


async def test_new_place_that_is_silent_is_given_up():
    async with trainer_pool("cpu") as pool:
        await pool.task()
        pool._starter._timeout_s = 0.3
        with pytest.raises(TrainerUnavailable, match=r"cuda:7 did not start: no answer in 0\.3 s"):
            await pool.resize(["cpu", "cuda:7"])


@asynccontextmanager
async def resizing(tmp_path: Path) -> AsyncIterator[tuple[TrainerPool, "asyncio.Task[None]", int]]:
    """Give a pool of which one place goes, a new one opens for ever, and that one's process."""
    starts = tmp_path / "starts"
    async with trainer_pool("cpu", "cpu", data={"name": "made up", "count_starts": str(starts)}) as pool:
        held = [Held(pool, tmp_path / str(number)) for number in range(2)]
        for each in held:
            await each.place()
        await pool.resize(["cpu"])
        wish = asyncio.create_task(pool.resize(["cpu", "cuda:7"]))
        await asyncio.to_thread(wait_until, lambda: "cuda:7" in starts.read_text())
        yield pool, wish, int(starts.read_text().split()[-1])
    for each in held:
        with pytest.raises(TrainerUnavailable):
            await each.task
    assert not pool._endings


async def test_wish_that_is_withdrawn_leaves_no_process(tmp_path: Path):
    async with resizing(tmp_path) as (pool, wish, pid):
        assert is_alive(pid)

        wish.cancel()
        await asyncio.wait([wish])
        await gone(pool)

        assert wish.cancelled()
        assert not is_alive(pid)
        assert pool.devices == ("cpu/1",)


async def test_closing_while_a_place_is_new_and_one_goes_leaves_no_process(tmp_path: Path):
    async with resizing(tmp_path) as (pool, wish, pid):
        pids = {pid, *pool.pids.values()}

    with pytest.raises(TrainerUnavailable, match="closed"):
        await wish
    assert len(pids) == 3
    assert not any(is_alive(pid) for pid in pids)


def test_first_places_of_a_device_stay_and_names_never_change():
    places = named(["cpu", "cuda:0", "cpu"])

    staying, new = choose(places, ["cpu", "cuda:0", "cuda:0", "cuda:1"])

    assert _names(staying) == ["cpu/1", "cuda:0"]
    assert _names(new) == ["cuda:0/2", "cuda:1"]


def test_name_that_is_free_again_is_used_again():
    _, new = choose([DeviceWorker("cpu/2", "cpu")], ["cpu"] * 4)

    assert _names(new) == ["cpu/1", "cpu/3", "cpu/4"]


def _names(workers: list[DeviceWorker]) -> list[str]:
    return [worker.name for worker in workers]
