"""The trainer pool against true processes: quick ones that pretend, and the real one."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from llmatic_daemon.adapters.processes.trainer import MODULE, TrainerPool
from llmatic_daemon.adapters.processes.trainer_starter import TrainerStarter
from llmatic_daemon.domain import (
    DevicePhase,
    Failure,
    Outcome,
    Report,
    RestartReason,
    Rung,
    StoppedEarly,
    Task,
    Training,
)
from llmatic_daemon.domain.errors import ConfigurationError, TrainerUnavailable
from tests.support.fakes import FakeObserver, bus_to
from tests.support.trainer import (
    CONFIGURATION,
    ProgressWatcher,
    is_alive,
    lifted_network,
    start_training,
    tiny_network,
    trainer_pool,
)


async def test_task_is_what_the_trainer_has_loaded():
    async with trainer_pool("cpu", "cpu") as pool:
        assert await pool.task() == Task(
            name="made up", input_shape=(3, 4, 4), num_classes=2, num_train=8, num_validation=2, num_test=4
        )


async def test_a_network_is_reported_with_its_times_and_place():
    watcher = ProgressWatcher()
    async with trainer_pool() as pool:
        report = await pool.train(tiny_network(weights=b"kept"), Training(seed=1, keep_weights=True), watcher)

    assert isinstance(report, Report)
    assert (report.objective, report.test_accuracy, report.test_loss) == (0.25, 0.5, 1.5)
    assert [(epoch.number, epoch.train_loss) for epoch in report.curve] == [(1, 0.5)]
    assert report.weights == b"kept"
    assert report.normalisation == ((0.5, 2.0),)
    assert report.device == "cpu"
    assert report.wait_s > 0
    assert report.train_s > 0
    assert [(p.epoch, p.num_epochs, p.accuracy) for p in watcher.heard] == [(0, 1, None), (1, 1, 0.25)]


@pytest.mark.parametrize("should_continue", [True, False])
async def test_first_look_is_asked_about_and_its_answer_obeyed(should_continue: bool):
    asked: list[float] = []

    def answer(accuracy: float) -> bool:
        asked.append(accuracy)
        return should_continue

    async with trainer_pool() as pool:
        training = Training(seed=1, rung=Rung(0.25, answer))
        result = await pool.train(tiny_network(), training, lambda _: None)
        again = await pool.train(tiny_network(), Training(seed=1), lambda _: None)

    assert asked == [0.125]
    assert isinstance(again, Report)
    assert again.rung_accuracy is None
    if should_continue:
        assert isinstance(result, Report)
        assert (result.objective, result.rung_accuracy, result.cost) == (0.25, 0.125, 1.0)
    else:
        assert isinstance(result, StoppedEarly)
        assert (result.rung_accuracy, result.cost, result.device) == (0.125, 0.25, "cpu")
        assert result.train_s > 0


async def test_a_failure_is_a_value_and_the_trainer_stays():
    async with trainer_pool() as pool:
        await pool.task()
        before = pool.pids
        failure = await start_training(pool, b"fail")
        report = await start_training(pool)

        assert pool.pids == before
    assert isinstance(failure, Failure)
    assert failure.cause is Outcome.NAN
    assert failure.detail == "the loss must be finite, got nan"
    assert isinstance(report, Report)


async def test_places_of_one_device_are_numbered():
    assert trainer_pool("cuda:0", "cpu", "cuda:0").devices == ("cuda:0/1", "cpu", "cuda:0/2")


async def test_each_place_trains_at_the_same_time():
    watchers = [ProgressWatcher(), ProgressWatcher()]
    async with trainer_pool("cpu", "cpu") as pool:
        hanging = [start_training(pool, b"hang", watcher) for watcher in watchers]
        for watcher in watchers:
            await watcher.holds.wait()
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)

    assert {watcher.heard[0].device for watcher in watchers} == {"cpu/1", "cpu/2"}


async def test_who_waits_gets_the_place_that_is_free_first():
    watcher = ProgressWatcher()
    async with trainer_pool() as pool:
        first = start_training(pool, watch=watcher)
        await watcher.holds.wait()
        second, third = start_training(pool), start_training(pool)
        done, _ = await asyncio.wait([second, third], return_when=asyncio.FIRST_COMPLETED)

        assert second in done
        assert isinstance(await third, Report)
        assert isinstance(await first, Report)


async def test_who_stops_waiting_leaves_the_place_to_the_next():
    watcher = ProgressWatcher()
    async with trainer_pool() as pool:
        first = start_training(pool, watch=watcher)
        await watcher.holds.wait()
        waiting, patient = start_training(pool), start_training(pool)
        await asyncio.sleep(0)
        waiting.cancel()

        assert isinstance(await patient, Report)
        assert isinstance(await first, Report)


async def test_a_place_given_to_somebody_cancelled_at_once_is_not_lost():
    async with trainer_pool() as pool:
        await pool.task()
        place = await pool._queue.take()
        waiting = start_training(pool)
        await asyncio.sleep(0)
        pool._give(place)  # the waiter has it, and has not run yet
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

        assert isinstance(await start_training(pool), Report)


async def test_spare_training_begins_only_when_nobody_else_waits():
    ended: list[str] = []
    async with trainer_pool() as pool:  # whose place is not open yet: all of them wait for it
        spare = asyncio.create_task(
            pool.train(tiny_network(), Training(seed=2, low_priority=True), lambda _: ended.append("spare"))
        )
        await asyncio.sleep(0)
        others = [start_training(pool, watch=lambda _: ended.append("other")) for _ in range(2)]
        await asyncio.gather(spare, *others)

    assert ended == ["other"] * 4 + ["spare"] * 2


async def test_place_is_to_spare_when_it_is_free_and_nobody_waits():
    watcher = ProgressWatcher()
    async with trainer_pool() as pool:
        await pool.task()
        await pool.wait_until_idle()
        first, second = start_training(pool, watch=watcher), start_training(pool)
        await watcher.holds.wait()
        spare = asyncio.create_task(pool.wait_until_idle())
        await first
        assert not spare.done()

        await second
        await spare

        assert isinstance(await start_training(pool), Report), "it holds nothing"


async def test_who_waits_for_a_spare_place_is_refused_at_the_end():
    watcher = ProgressWatcher()
    pool = trainer_pool()
    async with pool:
        hanging = start_training(pool, b"hang", watcher)
        await watcher.holds.wait()
        spare = asyncio.create_task(pool.wait_until_idle())
        await asyncio.sleep(0)
        hanging.cancel()

    with pytest.raises(TrainerUnavailable, match="closed"):
        await spare


async def test_who_stops_waiting_for_a_spare_place_leaves_it_to_the_next():
    async with trainer_pool() as pool:
        await pool.task()
        place = await pool._queue.take()
        spare = asyncio.create_task(pool.wait_until_idle())
        await asyncio.sleep(0)
        pool._give(place)  # it is granted, and has not run yet
        spare.cancel()
        await asyncio.gather(spare, return_exceptions=True)

        assert isinstance(await start_training(pool), Report)


# --- death ----------------------------------------------------------------------------------------


async def test_a_trainer_killed_in_mid_training_is_replaced():
    watcher = ProgressWatcher()
    async with trainer_pool() as pool:
        hanging = start_training(pool, b"hang", watcher)
        await watcher.holds.wait()
        before = pool.pids["cpu"]
        os.kill(before, signal.SIGKILL)

        with pytest.raises(TrainerUnavailable, match=r"after \d.* trainer on cpu .* signal 9"):
            await hanging
        assert isinstance(await start_training(pool), Report)
        assert pool.pids["cpu"] != before


async def test_a_dead_trainers_last_words_are_told():
    async with trainer_pool() as pool:
        with pytest.raises(TrainerUnavailable, match="exit code 3: a last word"):
            await start_training(pool, b"die")


async def test_a_trainer_that_hangs_is_killed_and_replaced():
    async with trainer_pool(timeout_s=0.2) as pool:
        await pool.task()
        before = pool.pids["cpu"]

        with pytest.raises(TrainerUnavailable, match=r"must end within 0\.2 s, .* signal 9"):
            await start_training(pool, b"hang")
        assert not is_alive(before)
        await pool._queue.take()  # the new one is there


async def test_a_cancelled_training_does_not_go_on():
    watcher = ProgressWatcher()
    async with trainer_pool() as pool:
        hanging = start_training(pool, b"hang", watcher)
        await watcher.holds.wait()
        before = pool.pids["cpu"]
        hanging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hanging

        assert isinstance(await start_training(pool), Report)
        assert not is_alive(before)


async def test_closing_leaves_no_process_and_refuses_who_waits():
    watcher = ProgressWatcher()
    async with trainer_pool() as pool:
        hanging = start_training(pool, b"hang", watcher)
        await watcher.holds.wait()
        waiting = start_training(pool)
        await asyncio.sleep(0)
        pids = pool.pids.values()

    assert not any(is_alive(pid) for pid in pids)
    for task in (hanging, waiting):
        with pytest.raises(TrainerUnavailable):
            await task
    with pytest.raises(TrainerUnavailable, match="have been closed"):
        await start_training(pool)


async def test_closing_at_once_leaves_no_process():
    async with trainer_pool("cpu", "cpu") as pool:
        pass

    assert pool.pids == {}


# --- starts that fail -----------------------------------------------------------------------------


async def test_a_wrong_configuration_is_told_to_everybody():
    async with trainer_pool("cpu", "cpu", data={"name": "unknown"}) as pool:
        for _ in range(2):
            with pytest.raises(ConfigurationError, match="unknown data set 'unknown'"):
                await pool.task()
        with pytest.raises(ConfigurationError):
            await start_training(pool)


async def test_no_trainer_at_all_is_told_and_tried_again(tmp_path, caplog):
    starts = tmp_path / "starts"
    async with trainer_pool(data={"name": "broken", "count_starts": str(starts)}) as pool:
        with pytest.raises(TrainerUnavailable, match=r"no trainer could be started; cpu: .*driver"):
            await pool.task()
        with pytest.raises(TrainerUnavailable):
            await start_training(pool)

    assert len(starts.read_text().splitlines()) >= 2
    assert "next try in 0.01 s" in caplog.text
    assert "next try in 0.02 s" in caplog.text


async def test_starts_that_have_failed_for_days_are_still_tried_again():
    pool = trainer_pool(module="no_such_module", max_backoff_s=0.01)
    pool._workers[0].num_failed = 5000

    async with pool, asyncio.timeout(10):
        with pytest.raises(TrainerUnavailable, match="no trainer could be started"):
            await pool.task()


async def test_a_start_without_an_answer_is_given_up():
    async with trainer_pool(data={"name": "silent"}, start_timeout_s=0.2) as pool:
        with pytest.raises(TrainerUnavailable, match=r"no answer in 0\.2 s"):
            await pool.task()


# --- who watches ----------------------------------------------------------------------------------


async def test_observers_hear_what_a_place_does_and_why_its_trainer_is_replaced():
    observer, start = FakeObserver(), DevicePhase.START
    async with trainer_pool(timeout_s=0.2, events=bus_to(observer)) as pool:
        await pool.task()
        assert observer.places[:2] == [("cpu", start), ("cpu", None)]
        observer.places.clear()
        await pool.train(tiny_network(), Training(seed=1, low_priority=True), lambda _: None)
        with pytest.raises(TrainerUnavailable):
            await start_training(pool, b"hang")
        with pytest.raises(TrainerUnavailable):
            await start_training(pool, b"die")

    assert [what for _, what in observer.places[:7]] == [
        DevicePhase.AUDIT,
        None,
        DevicePhase.TRAIN,
        RestartReason.HUNG,
        start,
        None,
        DevicePhase.TRAIN,
    ]
    assert observer.places[7:9] == [("cpu", RestartReason.DIED), ("cpu", start)]


async def test_observers_hear_that_a_training_was_given_up():
    watcher, observer = ProgressWatcher(), FakeObserver()
    async with trainer_pool(events=bus_to(observer)) as pool:
        hanging = start_training(pool, b"hang", watcher)
        await watcher.holds.wait()
        hanging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hanging

        assert ("cpu", RestartReason.CANCELLED) in observer.places


async def test_observers_hear_of_starts_that_fail():
    observer = FakeObserver()
    async with trainer_pool(module="no_such_module", events=bus_to(observer)) as pool:
        with pytest.raises(TrainerUnavailable):
            await pool.task()

    assert ("cpu", RestartReason.NOT_STARTED) in observer.places


async def test_a_place_is_overdue_only_beyond_all_patience(monkeypatch):
    watcher = ProgressWatcher()
    async with trainer_pool(timeout_s=100.0) as pool:
        await pool.task()
        held = start_training(pool, b"hang", watcher)
        await watcher.holds.wait()
        began = time.monotonic()

        monkeypatch.setattr(time, "monotonic", lambda: began + 100)
        assert pool.overdue() == ()
        monkeypatch.setattr(time, "monotonic", lambda: began + 200)
        assert pool.overdue() == ("cpu",)

        monkeypatch.undo()
        held.cancel()
        await asyncio.gather(held, return_exceptions=True)


async def test_a_free_place_is_never_overdue(monkeypatch):
    async with trainer_pool() as pool:
        await pool.task()
        later = time.monotonic() + 1e6

        monkeypatch.setattr(time, "monotonic", lambda: later)

        assert pool.overdue() == ()
        monkeypatch.undo()


async def test_a_start_that_never_ends_is_overdue(monkeypatch):
    async with trainer_pool(data={"name": "silent"}, start_timeout_s=100.0) as pool:
        await asyncio.sleep(0)  # the start begins
        later = time.monotonic() + 200

        monkeypatch.setattr(time, "monotonic", lambda: later)

        assert pool.overdue() == ("cpu",)
        monkeypatch.undo()


# --- the real one ---------------------------------------------------------------------------------


LENET = "nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)"
#: After so many it reads digits.
NUM_EPOCHS = 20


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def real_pool() -> AsyncIterator[TrainerPool]:
    """Yield a pool of one real trainer, which takes seconds to start."""
    recipe = {"preset": "fast", "batch_size": 256}
    configuration = {**CONFIGURATION, "recipe": recipe, "memory_bytes": 3 << 29}
    async with TrainerPool(devices=("cpu",), configuration=configuration, module=MODULE) as pool:
        await pool.task()
        yield pool


@pytest.mark.asyncio(loop_scope="module")
async def test_the_real_trainer_stops_after_the_first_look_and_stays(real_pool: TrainerPool):
    def answer(accuracy: float) -> bool:
        return False

    before = real_pool.pids
    network, training = lifted_network(LENET), Training(seed=1, epochs=8, rung=Rung(0.25, answer))
    stopped = await real_pool.train(network, training, lambda _: None)
    report = await real_pool.train(network, Training(seed=1, epochs=8), lambda _: None)

    assert real_pool.pids == before
    assert isinstance(stopped, StoppedEarly)
    assert isinstance(report, Report)
    assert stopped.rung_accuracy == report.curve[1].accuracy
    assert stopped.cost == 0.25


@pytest.mark.asyncio(loop_scope="module")
async def test_the_real_trainer_survives_a_network_that_is_too_large(real_pool: TrainerPool):
    wide = "nn.Conv2d(1, 30000, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(30000, 10)"

    before = real_pool.pids
    failure = await real_pool.train(lifted_network(wide), Training(seed=1), lambda _: None)
    report = await real_pool.train(lifted_network(LENET), Training(seed=1, epochs=1), lambda _: None)

    assert real_pool.pids == before
    assert isinstance(failure, Failure)
    assert failure.cause is Outcome.OOM
    assert isinstance(report, Report)


@pytest.mark.asyncio(loop_scope="module")
async def test_the_real_trainer_trains_dies_and_comes_back(real_pool: TrainerPool):
    network, training = lifted_network(LENET), Training(seed=1, epochs=NUM_EPOCHS)
    watcher = ProgressWatcher()

    report = await real_pool.train(network, training, lambda _: None)
    endless = asyncio.create_task(real_pool.train(network, Training(seed=1, epochs=1_000_000), watcher))
    await watcher.holds.wait()
    os.kill(real_pool.pids["cpu"], signal.SIGKILL)
    with pytest.raises(TrainerUnavailable, match="signal 9"):
        await endless
    again = await real_pool.train(network, training, lambda _: None)

    assert isinstance(report, Report)
    assert isinstance(again, Report)
    assert report.objective > 0.8
    assert again.curve == report.curve


async def test_the_real_trainer_says_what_is_wrong_with_the_configuration():
    configuration = {"data": {"name": "cifar10", "folder": "/nowhere"}, "timeout_s": 60.0}

    async with TrainerPool(devices=("cpu",), configuration=configuration) as pool:
        with pytest.raises(ConfigurationError, match="does not exist: /nowhere"):
            await pool.task()


async def test_a_bug_in_a_start_is_raised_to_whoever_wants_a_place(monkeypatch):
    async def start(self, place):
        raise ZeroDivisionError("a bug of ours")

    monkeypatch.setattr(TrainerStarter, "start", start)
    async with trainer_pool() as pool:
        with pytest.raises(ZeroDivisionError):
            await pool.task()
        with pytest.raises(ZeroDivisionError):
            await pool.task()
