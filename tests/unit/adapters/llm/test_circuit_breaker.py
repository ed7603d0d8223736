"""The circuit breaker: when it opens, what it admits, and what it lets pass unheard."""

import pytest

from llmatic_daemon.adapters.llm.circuit_breaker import Breaker
from tests.support.fakes import Clock
from tests.support.llm import breaker_rules


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(breaker_rules(num_failures=3, window_s=60, pause_s=5, max_pause_s=30), clock)


def opened(breaker: Breaker) -> Breaker:
    for _ in range(3):
        breaker.failed(is_probe=False)
    assert breaker.is_open
    return breaker


def probing(breaker: Breaker, clock: Clock) -> Breaker:
    opened(breaker)
    clock.now += 5
    assert breaker.admits()
    return breaker


def test_breaker_starts_closed(breaker: Breaker):
    assert breaker.admits()
    assert not breaker.is_open
    assert (breaker.wait_s, breaker.open_s) == (0, 0)


def test_breaker_opens_at_the_last_of_the_failures_and_says_so_once(breaker: Breaker):
    opens = [breaker.failed(is_probe=False) for _ in range(5)]

    assert opens == [False, False, True, False, False]
    assert not breaker.admits()


def test_an_answer_between_failures_keeps_it_closed(breaker: Breaker):
    for _ in range(5):
        breaker.failed(is_probe=False)
        breaker.failed(is_probe=False)
        breaker.succeeded()

    assert not breaker.is_open


@pytest.mark.parametrize(("pause_s", "opens"), [(30, True), (30.1, False)])
def test_only_failures_within_the_window_count(breaker: Breaker, clock: Clock, pause_s: float, opens: bool):
    for _ in range(3):
        breaker.failed(is_probe=False)
        clock.now += pause_s

    assert breaker.is_open is opens


def test_old_failures_make_room_for_new_ones(breaker: Breaker, clock: Clock):
    breaker.failed(is_probe=False)
    clock.now += 100

    opens = [breaker.failed(is_probe=False) for _ in range(3)]

    assert opens == [False, False, True]


def test_pause_runs_down_to_one_probe(breaker: Breaker, clock: Clock):
    opened(breaker)

    waits = []
    for _ in range(3):
        waits.append(breaker.wait_s)
        clock.now += 2.5
    admitted = [breaker.admits() for _ in range(3)]

    assert waits == [5, 2.5, 0]
    assert admitted == [True, False, False]
    assert breaker.wait_s is None
    assert breaker.is_open


def test_probe_that_is_answered_closes_it(breaker: Breaker, clock: Clock):
    probing(breaker, clock)

    assert breaker.succeeded()

    assert breaker.admits()
    assert breaker.admits()
    assert not breaker.succeeded()


def test_pause_doubles_with_each_probe_that_fails_up_to_the_longest(breaker: Breaker, clock: Clock):
    opened(breaker)

    pauses = []
    for _ in range(5):
        assert breaker.wait_s is not None
        pauses.append(breaker.wait_s)
        clock.now += breaker.wait_s
        assert breaker.admits()
        assert not breaker.failed(is_probe=True)

    assert pauses == [5, 10, 20, 30, 30]


def test_pause_is_short_again_after_an_answer(breaker: Breaker, clock: Clock):
    probing(breaker, clock).failed(is_probe=True)
    clock.now += 10
    assert breaker.admits()
    breaker.succeeded()

    opened(breaker)

    assert breaker.wait_s == 5


def test_open_time_runs_from_the_first_opening(breaker: Breaker, clock: Clock):
    probing(breaker, clock).failed(is_probe=True)

    clock.now += 3

    assert breaker.open_s == 8


def test_late_failures_change_nothing(breaker: Breaker, clock: Clock):
    """They began before it opened: 32 in flight must not make the pause long."""
    opened(breaker)
    clock.now += 2

    for _ in range(32):
        assert not breaker.failed(is_probe=False)

    assert breaker.wait_s == 3


def test_late_failures_do_not_end_a_probe(breaker: Breaker, clock: Clock):
    probing(breaker, clock)

    breaker.failed(is_probe=False)

    assert breaker.wait_s is None
    assert not breaker.admits()


def test_late_answer_closes_it(breaker: Breaker):
    assert opened(breaker).succeeded()
    assert breaker.admits()


def test_hopeless_refusal_opens_it_at_once(breaker: Breaker):
    assert breaker.failed(is_probe=False, is_hopeless=True)
    assert breaker.wait_s == 5


def test_late_hopeless_refusals_change_nothing(breaker: Breaker, clock: Clock):
    """A wrong key meets all that were under way together, and counts once."""
    breaker.failed(is_probe=False, is_hopeless=True)
    clock.now += 2

    for _ in range(31):
        assert not breaker.failed(is_probe=False, is_hopeless=True)

    assert breaker.wait_s == 3


def test_abandoned_probe_leaves_its_place_to_the_next(breaker: Breaker, clock: Clock):
    probing(breaker, clock).abandoned()

    assert breaker.wait_s == 0
    assert [breaker.admits(), breaker.admits()] == [True, False]


def test_nothing_is_abandoned_while_no_probe_is_under_way(breaker: Breaker):
    breaker.abandoned()
    assert not breaker.is_open

    opened(breaker).abandoned()
    assert breaker.wait_s == 5
