"""Simulated time passes as real time does, but for the waiting."""

import asyncio
import time

import pytest

from llmatic_daemon.domain import Training
from tests.benchmarks import virtual_time
from tests.benchmarks.virtual_time import LateWriter, PlacedTrainer
from tests.support.fakes import FakeTrainer, FakeWriter, network, prompt, report, request_for


def test_timers_end_in_their_order_and_at_their_times() -> None:
    seen: list[tuple[float, str]] = []

    async def sleeper(name: str, *pauses_s: float) -> None:
        for pause_s in pauses_s:
            await asyncio.sleep(pause_s)
            seen.append((asyncio.get_running_loop().time(), name))

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(sleeper("slow", 1e7))
            group.create_task(sleeper("quick", 0.25, 0.25, 3600))

    started = time.monotonic()
    virtual_time.run(main())

    assert seen == [(0.25, "quick"), (0.5, "quick"), (3600.5, "quick"), (1e7, "slow")]
    assert time.monotonic() - started < 5


def test_what_is_ready_runs_before_time_passes() -> None:
    async def main() -> float:
        async with asyncio.timeout(0.5):
            for _ in range(1000):
                await asyncio.sleep(0)
        return asyncio.get_running_loop().time()

    assert virtual_time.run(main()) == 0.0


def test_time_limit_is_kept_in_simulated_time() -> None:
    async def main() -> None:
        async with asyncio.timeout(60):
            await asyncio.sleep(61)

    with pytest.raises(TimeoutError):
        virtual_time.run(main())


def test_thread_is_waited_for_when_there_is_no_timer() -> None:
    async def main() -> str:
        return await asyncio.to_thread(lambda: "done")

    assert virtual_time.run(main()) == "done"


def test_trainings_share_the_places_and_hold_them_as_long_as_they_take() -> None:
    async def main() -> list[tuple[float, float]]:
        quick = FakeTrainer(result=lambda _: report(0.5, train_s=10.0))
        trainer = PlacedTrainer(quick, 2, lambda s: 2 * s)
        trainings = (trainer.train(network(), Training(seed=1), lambda _: None) for _ in range(3))
        return [(each.wait_s, each.train_s) for each in await asyncio.gather(*trainings)]

    assert virtual_time.run(main()) == [(0, 20), (0, 20), (20, 20)]


def test_late_writer_answers_as_the_other_does() -> None:
    async def main() -> tuple[object, float]:
        answer = await LateWriter(FakeWriter(), 3.0).complete(request_for(prompt("widen", "widen it")))
        return answer, asyncio.get_running_loop().time()

    answer, at = virtual_time.run(main())

    assert at == 3.0
    assert answer == asyncio.run(FakeWriter().complete(request_for(prompt("widen", "widen it"))))
