"""The adaptive limit: turns in order, halved after a refusal, grown by answers, and never lost."""

import asyncio
import contextlib
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmatic_daemon.adapters.llm.concurrency import AdaptiveLimit
from tests.support.llm import turns


class Users:
    """Tasks that take a turn and keep it until they are told to go."""

    def __init__(self, limit: AdaptiveLimit) -> None:
        self.limit = limit
        self.inside: dict[int, int] = {}
        self.order: list[int] = []
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self._leave: dict[int, asyncio.Event] = {}

    async def come(self, *names: int) -> None:
        for name in names:
            self._leave[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._use(name))
        await turns()

    async def _use(self, name: int) -> None:
        async with self.limit as number:
            self.inside[name] = number
            self.order.append(name)
            try:
                await self._leave[name].wait()
            finally:
                del self.inside[name]

    def leave(self, *names: int) -> None:
        for name in names:
            self._leave[name].set()

    async def all_gone(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        results = await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        assert all(isinstance(r, asyncio.CancelledError | None) for r in results), results


async def test_no_more_than_the_limit_are_inside():
    users = Users(AdaptiveLimit(3))

    await users.come(1, 2, 3, 4, 5)

    assert sorted(users.inside) == [1, 2, 3]
    assert users.limit.num_in_flight == 3
    await users.all_gone()


async def test_turns_are_given_in_the_order_of_arrival():
    users = Users(AdaptiveLimit(1))
    await users.come(*range(6))

    for name in range(6):
        users.leave(name)
        await turns()

    assert users.order == list(range(6))
    assert users.limit.num_in_flight == 0


async def test_newcomer_does_not_overtake_those_who_wait():
    users = Users(AdaptiveLimit(1))
    await users.come(1, 2)
    users.leave(1)

    await users.come(3)

    assert list(users.inside) == [2]
    await users.all_gone()


async def test_turn_is_handed_on_after_an_error():
    limit = AdaptiveLimit(1)

    for _ in range(3):
        with contextlib.suppress(KeyError):
            async with limit:
                raise KeyError

    assert limit.num_in_flight == 0


async def test_refusal_halves_the_limit_down_to_one():
    limit, seen = AdaptiveLimit(8), []

    for _ in range(5):
        async with limit as number:
            limit.shrink(number)
        seen.append(limit.limit)

    assert seen == [4, 2, 1, 1, 1]


async def test_refusals_of_calls_under_way_together_halve_it_once():
    users = Users(AdaptiveLimit(8))
    await users.come(*range(8))

    for number in users.inside.values():
        users.limit.shrink(number)

    assert users.limit.limit == 4
    await users.all_gone()


async def test_call_that_began_after_a_halving_halves_again():
    users = Users(AdaptiveLimit(8))
    await users.come(*range(8))
    users.limit.shrink(users.inside[0])
    users.leave(*range(8))
    await users.come(8)

    users.limit.shrink(users.inside[8])

    assert users.limit.limit == 2
    await users.all_gone()


async def test_a_round_of_answers_adds_one():
    limit = AdaptiveLimit(8)
    async with limit as number:
        limit.shrink(number)
    assert limit.limit == 4

    answers = 0
    while limit.limit == 4:
        limit.grow()
        answers += 1

    assert answers in (4, 5)
    assert limit.limit == 5


async def test_limit_never_grows_beyond_the_most():
    limit = AdaptiveLimit(2)

    for _ in range(100):
        limit.grow()

    assert limit.limit == 2


async def test_growth_lets_the_next_one_in():
    limit = AdaptiveLimit(2)
    async with limit as number:
        limit.shrink(number)
    users = Users(limit)
    await users.come(1, 2)
    assert list(users.inside) == [1]

    limit.grow()
    await turns()

    assert sorted(users.inside) == [1, 2]
    await users.all_gone()


async def test_those_inside_may_end_when_the_server_allows_fewer():
    users = Users(AdaptiveLimit(4))
    await users.come(1, 2, 3, 4, 5)

    users.limit.allow(2)
    users.leave(1, 2)
    await turns()
    assert sorted(users.inside) == [3, 4]

    users.leave(3)
    await turns()
    assert sorted(users.inside) == [4, 5]
    await users.all_gone()


@pytest.mark.parametrize("turns_before", range(4))
@pytest.mark.parametrize("turns_between", range(4))
@pytest.mark.parametrize("cancel_first", [True, False])
async def test_cancelled_waiter_loses_no_turn(turns_before: int, turns_between: int, cancel_first: bool):
    """Also when the turn comes in the same moment: the waiter is told of both, or of neither."""
    users = Users(AdaptiveLimit(1))
    await users.come(1, 2, 3)
    await turns(turns_before)
    steps = [lambda: users.tasks[2].cancel(), lambda: users.leave(1)]

    for step in steps if cancel_first else reversed(steps):
        step()
        await turns(turns_between)
    await turns()

    assert list(users.inside) == [3]
    with pytest.raises(asyncio.CancelledError):
        await users.tasks[2]
    users.leave(3)
    await turns()
    assert users.limit.num_in_flight == 0


async def test_waiter_cancelled_while_a_turn_passes_by_still_ends_as_cancelled():
    """Its place in the queue is gone by then: the turn went on to the one behind it."""
    limit = AdaptiveLimit(1)
    await limit.__aenter__()
    waiters = [asyncio.create_task(limit.__aenter__()) for _ in range(2)]
    await turns()

    waiters[0].cancel()
    await limit.__aexit__(None, None, None)
    results = await asyncio.gather(*waiters, return_exceptions=True)

    assert isinstance(results[0], asyncio.CancelledError)
    assert limit.num_in_flight == 1


@given(seed=st.integers(0, 2**32), most=st.integers(1, 4))
def test_no_interleaving_loses_or_leaks_a_turn(seed: int, most: int):
    asyncio.run(_many_users(Random(seed), most))


async def _many_users(chance: Random, most: int) -> None:
    users = Users(AdaptiveLimit(most))
    for step in range(40):
        match chance.choice(("come", "come", "leave", "cancel", "shrink", "grow")):
            case "come":
                users._leave[step] = asyncio.Event()
                users.tasks[step] = asyncio.create_task(users._use(step))
            case "leave" if users.inside:
                users.leave(chance.choice(list(users.inside)))
            case "cancel" if users.tasks:
                users.tasks[chance.choice(list(users.tasks))].cancel()
            case "shrink" if users.inside:
                users.limit.shrink(chance.choice(list(users.inside.values())))
            case "grow":
                users.limit.grow()
        await turns(chance.randrange(3))
        assert users.limit.num_in_flight <= most
    await turns()
    waiting = [name for name, task in users.tasks.items() if not task.done()]
    assert len(users.inside) >= min(users.limit.limit, len(waiting))
    assert users.limit.num_in_flight == len(users.inside)
    await users.all_gone()
    assert users.limit.num_in_flight == 0
    async with asyncio.timeout(1), users.limit:
        pass
