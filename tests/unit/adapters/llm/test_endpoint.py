"""One endpoint: tries, refusals, its breaker and its limit, and what observers hear."""

import asyncio
import logging
import re

import pytest

from llmatic_daemon.adapters.llm import endpoint as module
from llmatic_daemon.adapters.llm.endpoint import EndpointOut, Served
from llmatic_daemon.domain import CallOutcome, Completion, Request, TooLong
from llmatic_daemon.domain.errors import (
    EndpointFailed,
    EndpointOverloaded,
    EndpointRefused,
    EndpointTimeout,
    WriterUnavailable,
)
from tests.benchmarks.virtual_time import now, run
from tests.support.fakes import Barrier, Clock, FakeObserver, bus_to
from tests.support.llm import TOO_LONG, WRITTEN, Script, breaker_rules, endpoint, gathered, mutation, until

FAILED = EndpointFailed("it broke")
OVERLOADED = EndpointOverloaded("no room")
TIMEOUT = EndpointTimeout("too slow")
BAD_KEY = EndpointRefused("status 401", concerns_all=True)
BAD_REQUEST = EndpointRefused("status 422", concerns_all=False)
PATIENT = breaker_rules(num_failures=1000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


# --- answers and tries ---------------------------------------------------------------------------


async def test_answer_is_named_for_the_endpoint_and_timed():
    clock, barrier = Clock(), Barrier()
    here = endpoint(Script(barrier=barrier), "big", clock=clock)

    asking = asyncio.create_task(here.complete(mutation()))
    await barrier.arrivals()
    clock.now += 2.5
    barrier.open()
    answer = await asking

    assert isinstance(answer, Completion)
    assert (answer.endpoint, answer.duration_s, answer.text) == ("big", 2.5, WRITTEN.text)


async def test_too_long_is_named_for_the_endpoint():
    answer = await endpoint(Script([TOO_LONG]), "big").complete(mutation())

    assert answer == TooLong(endpoint="big", num_tokens=9, max_tokens=5)


@pytest.mark.parametrize("fault", [FAILED, OVERLOADED, TIMEOUT], ids=lambda f: type(f).__name__)
async def test_passing_fault_is_tried_again(fault: Exception):
    client = Script([fault, fault])

    answer = await endpoint(client, max_tries=3, breaker=PATIENT).complete(mutation())

    assert isinstance(answer, Completion)
    assert len(client.asked) == 3


@pytest.mark.parametrize("fault", [FAILED, OVERLOADED, TIMEOUT], ids=lambda f: type(f).__name__)
async def test_tries_come_to_an_end(fault: Exception):
    client = Script(otherwise=fault)

    with pytest.raises(type(fault)):
        await endpoint(client, max_tries=4, breaker=PATIENT).complete(mutation())

    assert len(client.asked) == 4


@pytest.mark.parametrize("fault", [BAD_KEY, BAD_REQUEST], ids=["for all", "for this"])
async def test_refusal_is_not_tried_again(fault: Exception):
    client = Script(otherwise=fault)

    with pytest.raises(WriterUnavailable, match=str(fault)):
        await endpoint(client, max_tries=4).complete(mutation())

    assert len(client.asked) == 1


async def test_call_that_hangs_is_a_timeout():
    here = endpoint(Script(barrier=Barrier()), "slow", timeout_s=0.02)

    with pytest.raises(EndpointTimeout, match=r"endpoint 'slow' must answer within 0\.02 s"):
        await here.complete(mutation())


def test_time_in_the_queue_is_no_time_of_the_call():
    """With 8 before it, a request must not be out of time before it is sent."""
    answers = run(answered_one_after_the_other(9, call_s=0.15, timeout_s=0.2))

    assert [type(answer) for answer in answers] == [Completion] * 9


async def answered_one_after_the_other(number: int, *, call_s: float, timeout_s: float) -> list[object]:
    """Ask all at once a server that takes its time for each."""

    class Slow(Script):
        async def generate(self, request: Request, served: Served) -> Completion | TooLong:
            await asyncio.sleep(call_s)
            return await super().generate(request, served)

    here = endpoint(Slow(), max_concurrency=1, timeout_s=timeout_s, clock=now)
    return await gathered([here.complete(mutation(seed)) for seed in range(number)])


# --- who serves ----------------------------------------------------------------------------------


async def test_server_is_asked_who_it_is_once():
    client = Script()
    here = endpoint(client)

    await asyncio.gather(*(here.complete(mutation(seed)) for seed in range(20)))

    assert client.num_described == 1
    assert here.state.model == "scripted"


@pytest.mark.parametrize(("fault", "number"), [(FAILED, 2), (TIMEOUT, 2), (OVERLOADED, 1), (BAD_REQUEST, 1)])
async def test_server_is_asked_again_only_after_a_lost_connection(fault: Exception, number: int):
    client = Script([WRITTEN, fault])
    here = endpoint(client)

    for _ in range(3):
        await asyncio.gather(here.complete(mutation()), return_exceptions=True)

    assert client.num_described == number


async def test_server_that_does_not_say_who_it_is_fails_the_call():
    client = Script(describe_faults=[FAILED])

    answer = await endpoint(client, max_tries=2).complete(mutation())

    assert isinstance(answer, Completion)
    assert client.num_described == 2


async def test_description_that_hangs_is_a_timeout(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_DESCRIBE_TIMEOUT_S", 0.02)
    client = Script()
    client.describe = asyncio.Event().wait  # type: ignore[assignment]

    with pytest.raises(EndpointTimeout, match=r"within 0\.02 s"):
        await endpoint(client).complete(mutation())


async def test_cancelled_request_does_not_end_the_description_for_others():
    client, barrier = Script(), Barrier()

    async def describe() -> Served:
        client.num_described += 1
        await barrier.wait()
        return client.served

    client.describe = describe  # type: ignore[method-assign]
    here = endpoint(client)
    first, second = (asyncio.create_task(here.complete(mutation(seed))) for seed in (1, 2))
    await barrier.arrivals()

    first.cancel()
    barrier.open()

    assert isinstance(await second, Completion)
    assert client.num_described == 1


async def test_server_allows_fewer_calls_than_the_settings():
    client = Script(served=Served(model="m", max_concurrency=2))
    here = endpoint(client, max_concurrency=8)
    await here.describe()

    await asyncio.gather(*(here.complete(mutation(seed)) for seed in range(8)))

    assert client.max_in_flight == 2
    assert here.state.limit == 2


# --- the limit -----------------------------------------------------------------------------------


async def test_refusal_for_want_of_room_halves_the_calls_and_leaves_the_breaker():
    client = Script([OVERLOADED])
    here = endpoint(client, max_tries=2, max_concurrency=8, breaker=breaker_rules(num_failures=1))

    await here.complete(mutation())

    assert here.state.limit == 4
    assert not here.breaker.is_open


async def test_server_without_room_for_one_call_is_out():
    here = endpoint(Script(otherwise=OVERLOADED), max_concurrency=1, max_tries=9)

    with pytest.raises(EndpointOut, match="no room"):
        await here.complete(mutation())

    assert here.breaker.is_open


async def test_calls_in_flight_are_counted_and_leave_in_any_case():
    barrier = Barrier()
    here = endpoint(Script([FAILED], barrier=barrier), max_concurrency=2, breaker=PATIENT)
    asking = [asyncio.create_task(here.complete(mutation(seed))) for seed in range(4)]
    await barrier.arrivals(2)
    busy = here.state.num_in_flight

    asking[1].cancel()
    barrier.open()
    await asyncio.gather(*asking, return_exceptions=True)

    assert (busy, here.state.num_in_flight) == (2, 0)


# --- the breaker ---------------------------------------------------------------------------------


async def test_endpoint_is_left_alone_after_too_many_failures(caplog: pytest.LogCaptureFixture):
    client = Script(otherwise=FAILED)
    here = endpoint(client, max_tries=9)

    with pytest.raises(EndpointOut, match="it broke"):
        await here.complete(mutation())
    for _ in range(5):
        with pytest.raises(EndpointOut, match="circuit breaker is open"):
            await here.complete(mutation())

    assert len(client.asked) == 3
    assert [r.message for r in caplog.records] == [
        "endpoint 'here': circuit breaker open after 3 failed calls, probing it from time to time: it broke"
    ]
    assert caplog.records[0].levelno == logging.WARNING


async def test_hopeless_refusal_opens_at_once_and_calls_for_a_person(caplog: pytest.LogCaptureFixture):
    here = endpoint(Script(otherwise=BAD_KEY))

    with pytest.raises(EndpointOut, match="401"):
        await here.complete(mutation())

    assert here.breaker.is_open
    assert [r.levelno for r in caplog.records] == [logging.ERROR]


async def test_wrong_key_meets_many_at_once_and_counts_once(clock: Clock, caplog: pytest.LogCaptureFixture):
    barrier = Barrier()
    here = endpoint(Script(otherwise=BAD_KEY, barrier=barrier), max_concurrency=8, clock=clock)
    asking = [asyncio.create_task(here.complete(mutation(seed))) for seed in range(8)]
    await barrier.arrivals(8)

    barrier.open()
    errors = await asyncio.gather(*asking, return_exceptions=True)

    assert all(isinstance(error, EndpointOut) for error in errors)
    assert here.breaker.wait_s == 5
    assert len(caplog.records) == 1


async def opened(client: Script, clock: Clock, **changes: object) -> module.Endpoint:
    """Make an endpoint whose breaker lets a probe pass next."""
    changes = {"breaker": breaker_rules(num_failures=1), "clock": clock} | changes
    here = endpoint(client, **changes)
    client.answers = [FAILED]
    with pytest.raises(EndpointOut):
        await here.complete(mutation())
    client.asked.clear()
    clock.now += 5
    return here


async def test_one_probe_finds_out_for_all(clock: Clock, caplog: pytest.LogCaptureFixture):
    barrier, client = Barrier(), Script()
    here = await opened(client, clock)
    client.barrier = barrier
    probe = asyncio.create_task(here.complete(mutation()))
    await barrier.arrivals()

    for _ in range(5):
        with pytest.raises(EndpointOut):
            await here.complete(mutation())
    barrier.open()
    await probe

    assert len(client.asked) == 1
    assert not here.breaker.is_open
    assert "endpoint 'here' answers again, after 5 s and 1 failed calls" in caplog.messages


async def test_probe_that_fails_doubles_the_pause(clock: Clock):
    client = Script()
    here = await opened(client, clock)
    client.answers = [FAILED]

    with pytest.raises(EndpointOut):
        await here.complete(mutation())

    assert here.breaker.wait_s == 10


@pytest.mark.parametrize("how", ["cancelled", "a bug", "overloaded", "too long"])
async def test_probe_without_a_result_leaves_its_place_and_tells(clock: Clock, how: str):
    """Else nobody would ever ask again: those who wait for the probe have no time-out."""
    barrier, client, told = Barrier(), Script(), []
    here = await opened(client, clock)
    here.on_change = lambda: told.append(here.breaker.wait_s)
    faults = {"a bug": ZeroDivisionError(), "overloaded": OVERLOADED, "too long": TOO_LONG}
    client.barrier, client.answers = barrier, [faults.get(how, WRITTEN)]
    probe = asyncio.create_task(here.complete(mutation()))
    await barrier.arrivals()

    if how == "cancelled":
        probe.cancel()
    barrier.open()
    await asyncio.gather(probe, return_exceptions=True)

    assert here.breaker.is_open
    assert told[-1] == 0
    client.barrier = None
    assert isinstance(await here.complete(mutation()), Completion)


async def test_too_long_by_our_own_estimate_is_no_sign_of_life():
    client = Script([FAILED, TOO_LONG, FAILED, TOO_LONG, FAILED])
    here = endpoint(client)

    for _ in range(5):
        await asyncio.gather(here.complete(mutation()), return_exceptions=True)

    assert here.breaker.is_open


async def test_late_failure_does_not_open_it_again(clock: Clock):
    barrier, client = Barrier(), Script()
    here = endpoint(client, breaker=breaker_rules(num_failures=1), clock=clock)
    client.answers, client.barrier = [FAILED, FAILED], barrier
    asking = [asyncio.create_task(here.complete(mutation(seed))) for seed in range(2)]
    await barrier.arrivals(2)

    barrier.open()
    await asyncio.gather(*asking, return_exceptions=True)

    assert here.breaker.wait_s == 5


async def test_request_in_the_queue_is_not_sent_once_it_is_open():
    barrier, client = Barrier(), Script(otherwise=FAILED)
    client.barrier = barrier
    here = endpoint(client, max_concurrency=1, breaker=breaker_rules(num_failures=1))
    asking = [asyncio.create_task(here.complete(mutation(seed))) for seed in range(5)]
    await barrier.arrivals()

    barrier.open()
    errors = await asyncio.gather(*asking, return_exceptions=True)

    assert all(isinstance(error, EndpointOut) for error in errors)
    assert len(client.asked) == 1


# --- observers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (WRITTEN, CallOutcome.ANSWERED),
        (TOO_LONG, CallOutcome.TOO_LONG),
        (OVERLOADED, CallOutcome.OVERLOADED),
        (FAILED, CallOutcome.FAILED),
        (TIMEOUT, CallOutcome.TIMEOUT),
        (BAD_KEY, CallOutcome.REFUSED),
        (BAD_REQUEST, CallOutcome.REFUSED),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_observers_hear_how_each_call_ended(clock: Clock, answer, outcome: CallOutcome):
    barrier, observers = Barrier(), [FakeObserver(), FakeObserver()]
    client = Script([answer], barrier=barrier)
    here = endpoint(client, "big", events=bus_to(*observers), clock=clock)

    asking = asyncio.create_task(here.complete(mutation()))
    await barrier.arrivals()
    clock.now += 1.5
    barrier.open()
    (result,) = await asyncio.gather(asking, return_exceptions=True)

    for observer in observers:
        (call,) = observer.calls
        assert (call.endpoint, call.outcome, call.duration_s) == ("big", outcome, 1.5)
        assert call.completion == (result if isinstance(answer, Completion) else None)


async def test_observers_hear_of_each_try():
    observer = FakeObserver()
    client = Script([FAILED, OVERLOADED])

    await endpoint(client, max_tries=3, events=bus_to(observer)).complete(mutation())

    assert [call.outcome for call in observer.calls] == ["failed", "overloaded", "answered"]


async def test_call_that_is_held_back_is_no_call(clock: Clock):
    observer = FakeObserver()
    here = endpoint(Script(otherwise=BAD_KEY), events=bus_to(observer))

    for _ in range(3):
        await asyncio.gather(here.complete(mutation()), return_exceptions=True)

    assert len(observer.calls) == 1


async def test_close_closes_the_client():
    client = Script()
    here = endpoint(client)
    await here.complete(mutation())

    await here.close()

    assert client.is_closed


async def test_close_ends_a_description_that_hangs():
    client = Script()
    client.describe = asyncio.Event().wait  # type: ignore[assignment]
    here = endpoint(client)
    asking = asyncio.create_task(here.complete(mutation()))
    await until(lambda: here._describing is not None)
    asking.cancel()

    await here.close()
    await asyncio.gather(asking, return_exceptions=True)
    await until(lambda: here._describing is None)

    assert client.is_closed


def test_persistence_says_the_longest_pause():
    """The n-th pause is drawn from [0, retry_s * 2^n], but never beyond max_retry_s."""
    here = endpoint(Script(), retry_s=0.5, max_retry_s=3.0)
    wait = here._tries().wait
    state = type("State", (), {})()

    longest = []
    for state.attempt_number in (1, 2, 3, 4, 9):
        longest.append(max(wait(state) for _ in range(300)))

    assert all(pause <= most for pause, most in zip(longest, (0.5, 1, 2, 3, 3), strict=True))
    assert longest[-1] > 2
    assert re.match("here", here.name)
