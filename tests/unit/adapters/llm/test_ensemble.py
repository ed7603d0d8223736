"""The writer that asks LLMs: an ensemble by weight, and outages that lose nothing."""

import asyncio
import logging
from collections import Counter

import pytest

from llmatic_daemon.adapters.llm.endpoint import EndpointOut
from llmatic_daemon.adapters.llm.ensemble import LLMWriter
from llmatic_daemon.domain import Completion, EndpointState, TooLong
from llmatic_daemon.domain.errors import (
    EndpointFailed,
    EndpointOverloaded,
    EndpointRefused,
    WriterUnavailable,
)
from tests.benchmarks.virtual_time import now, run
from tests.support.fakes import Barrier, Clock, FakeWriter
from tests.support.llm import (
    TOO_LONG,
    WRITTEN,
    Script,
    breaker_rules,
    crossover,
    endpoint,
    mutation,
    turns,
    until,
)

FAILED = EndpointFailed("it broke")
QUICK = breaker_rules(num_failures=1)


def fallback() -> FakeWriter:
    return FakeWriter()


def outage_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.__dict__.get("action") == "outage"]


# --- the ensemble --------------------------------------------------------------------------------


async def test_weights_are_shares_of_the_calls():
    big, small = Script(), Script()
    writer = LLMWriter([endpoint(big, "big", weight=3), endpoint(small, "small", weight=1)], fallback=None)

    answers = [await writer.complete(mutation(seed)) for seed in range(800)]

    share = Counter(answer.endpoint for answer in answers)
    assert 0.7 < share["big"] / 800 < 0.8
    assert share["big"] == len(big.asked)


async def test_same_request_goes_to_the_same_endpoint():
    writer = LLMWriter([endpoint(Script(), name) for name in "abcd"], fallback=None)

    answers = [[await writer.complete(mutation(s)) for s in range(30)] for _ in range(2)]

    names = [[answer.endpoint for answer in each] for each in answers]
    assert names[0] == names[1]
    assert len(set(names[0])) == 4


async def test_mutation_too_long_for_one_goes_to_the_others():
    narrow, wide = Script(otherwise=TOO_LONG), Script()
    writer = LLMWriter([endpoint(narrow, "narrow"), endpoint(wide, "wide")], fallback=None)

    answers = [await writer.complete(mutation(seed)) for seed in range(20)]

    assert {answer.endpoint for answer in answers} == {"wide"}
    assert 0 < len(narrow.asked) < 20


async def test_mutation_too_long_for_all_comes_back():
    clients = [Script(otherwise=TOO_LONG) for _ in range(3)]
    writer = LLMWriter([endpoint(c) for c in clients], fallback=fallback())

    answer = await writer.complete(mutation())

    assert isinstance(answer, TooLong)
    assert [len(client.asked) for client in clients] == [1, 1, 1]


async def test_crossover_too_long_comes_back_at_once():
    clients = [Script(otherwise=TOO_LONG) for _ in range(3)]
    writer = LLMWriter([endpoint(c) for c in clients], fallback=None)

    answer = await writer.complete(crossover())

    assert isinstance(answer, TooLong)
    assert sum(len(client.asked) for client in clients) == 1


async def test_request_that_fails_at_one_goes_to_the_others():
    broken, good = Script(otherwise=FAILED), Script()
    patient = breaker_rules(num_failures=1000)
    writer = LLMWriter([endpoint(broken, "broken", breaker=patient), endpoint(good, "good")], fallback=None)

    answers = [await writer.complete(mutation(seed)) for seed in range(20)]

    assert {answer.endpoint for answer in answers} == {"good"}
    assert broken.asked


async def test_request_that_fails_everywhere_says_why():
    patient = breaker_rules(num_failures=1000)
    clients = [Script(otherwise=FAILED) for _ in range(2)]
    writer = LLMWriter([endpoint(c, breaker=patient) for c in clients], fallback=fallback())

    with pytest.raises(WriterUnavailable, match="it broke"):
        await writer.complete(mutation())

    assert [len(client.asked) for client in clients] == [1, 1]


async def test_endpoint_that_is_out_keeps_no_other_from_being_asked():
    out, good = Script(otherwise=FAILED), Script()
    rules = breaker_rules(num_failures=1, pause_s=1000.0, max_pause_s=1000.0)
    writer = LLMWriter([endpoint(out, "out", breaker=rules), endpoint(good, "good")], fallback=fallback())

    answers = await asyncio.gather(*(writer.complete(mutation(seed)) for seed in range(100)))

    assert all(isinstance(a, Completion) and not a.fallback for a in answers)
    assert {answer.endpoint for answer in answers} == {"good"}
    assert len(out.asked) <= 8


async def test_endpoints_are_shown_as_they_are():
    out = Script(otherwise=FAILED)
    writer = LLMWriter([endpoint(Script(), "good"), endpoint(out, "out", breaker=QUICK)], fallback=None)
    for seed in range(10):
        await writer.complete(mutation(seed))

    good, lost = writer.endpoints()

    assert good == EndpointState(name="good", model="scripted", is_open=False, num_in_flight=0, limit=8)
    assert (lost.name, lost.is_open, lost.model) == ("out", True, "")


# --- on_outage = "fallback"


async def test_fallback_writes_while_no_llm_answers(caplog: pytest.LogCaptureFixture):
    clock, client, rewriter = Clock(), Script(otherwise=FAILED), fallback()
    writer = LLMWriter([endpoint(client, breaker=QUICK, clock=clock)], fallback=rewriter)

    answers = await asyncio.gather(*(writer.complete(mutation(seed)) for seed in range(200)))
    lines_within = outage_lines(caplog)
    client.otherwise = WRITTEN
    clock.now += 5
    after = [await writer.complete(mutation(seed)) for seed in range(50)]

    assert all(answer.fallback and answer.writer == "fake" for answer in answers)
    assert len(rewriter.requests) == 200
    assert lines_within == ["no LLM answers: the rule-based fallback writes until one does"]
    assert not any(answer.fallback for answer in after)
    assert outage_lines(caplog)[1:] == ["an LLM answers again; 200 candidates by the fallback"]


async def test_each_outage_is_logged():
    clock, client = Clock(), Script()
    writer = LLMWriter([endpoint(client, breaker=QUICK, clock=clock)], fallback=fallback())

    marks = []
    for _ in range(3):
        client.answers = [FAILED]
        marks.append((await writer.complete(mutation())).fallback)
        clock.now += 5
        marks.append((await writer.complete(mutation())).fallback)

    assert marks == [True, False] * 3


async def test_outage_is_a_warning_and_its_end_is_news(caplog: pytest.LogCaptureFixture):
    clock, client = Clock(), Script([FAILED])
    writer = LLMWriter([endpoint(client, breaker=QUICK, clock=clock)], fallback=fallback())
    await writer.complete(mutation())
    clock.now += 5
    await writer.complete(mutation())

    levels = [r.levelno for r in caplog.records if r.__dict__.get("action") == "outage"]

    assert levels == [logging.WARNING, logging.INFO]


async def test_stand_in_does_not_wait_for_the_probe():
    """While one request finds out, which may take minutes, the others are written by rule."""
    clock, client = Clock(), Script([FAILED])
    writer = LLMWriter([endpoint(client, breaker=QUICK, clock=clock)], fallback=fallback())
    await writer.complete(mutation())
    clock.now += 5
    client.barrier = Barrier()
    probe = asyncio.create_task(writer.complete(mutation()))
    await client.barrier.arrivals()

    answers = [await writer.complete(mutation(seed)) for seed in range(5)]
    client.barrier.open()

    assert all(answer.fallback for answer in answers)
    assert not (await probe).fallback


# --- on_outage = "wait"


async def test_requests_wait_and_go_on_when_the_server_is_up_again():
    client = Script(otherwise=FAILED)
    rules = breaker_rules(num_failures=1, pause_s=0.05, max_pause_s=0.05)
    writer = LLMWriter([endpoint(client, breaker=rules)], fallback=None)

    asking = [asyncio.create_task(writer.complete(mutation(seed))) for seed in range(50)]
    await until(lambda: client.num_in_flight == 0 and bool(client.asked))
    client.otherwise = WRITTEN
    answers = await asyncio.gather(*asking)

    assert len(answers) == 50
    assert not any(answer.fallback for answer in answers)
    assert Counter(r.seed for r in client.asked).keys() == set(range(50))


def test_waiting_is_no_polling():
    """200 requests through an outage of two probes: each is looked at once for each change."""
    client = Script(otherwise=FAILED)
    rules = breaker_rules(num_failures=1, pause_s=0.1, max_pause_s=0.1)
    num_looks = 0

    async def outage() -> None:
        nonlocal num_looks
        writer = LLMWriter([endpoint(client, breaker=rules, clock=now)], fallback=None)
        drawn = writer._drawn

        def counting(*arguments):
            nonlocal num_looks
            num_looks += 1
            return drawn(*arguments)

        writer._drawn = counting  # type: ignore[method-assign]
        asking = [asyncio.create_task(writer.complete(mutation(seed))) for seed in range(200)]
        await asyncio.sleep(0.25)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    run(outage())

    assert len(client.asked) == 8 + 2
    assert num_looks < 200 * 12


@pytest.mark.parametrize("how", ["cancelled", "overloaded"])
async def test_waiting_goes_on_when_the_probe_came_to_nothing(how: str):
    client, barrier = Script(otherwise=FAILED), Barrier()
    rules = breaker_rules(num_failures=1, pause_s=0.02, max_pause_s=0.02)
    writer = LLMWriter([endpoint(client, breaker=rules, max_concurrency=8)], fallback=None)
    asking = [asyncio.create_task(writer.complete(mutation(seed))) for seed in range(5)]
    await until(lambda: len(client.asked) == 5 and not client.num_in_flight)
    await turns()
    client.barrier, client.otherwise = barrier, WRITTEN
    client.answers = [EndpointOverloaded("no room")] if how == "overloaded" else []
    asked = len(client.asked)
    assert not any(task.done() for task in asking)
    await barrier.arrivals()
    assert len(client.asked) == asked + 1
    if how == "cancelled":
        seed = client.asked[-1].seed
        asking[seed].cancel()
    barrier.open()

    results = await asyncio.gather(*asking, return_exceptions=True)

    faults = [result for result in results if not isinstance(result, Completion)]
    assert len(faults) == 1


async def test_cancelled_wait_ends_at_once():
    client = Script(otherwise=FAILED)
    rules = breaker_rules(num_failures=1, pause_s=1000.0, max_pause_s=1000.0)
    writer = LLMWriter([endpoint(client, breaker=rules)], fallback=None)
    asking = asyncio.create_task(writer.complete(mutation()))
    await until(lambda: writer.endpoints()[0].is_open)
    await turns()

    asking.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asking


def test_wait_is_told_of_once(caplog: pytest.LogCaptureFixture):
    client = Script(otherwise=FAILED)
    rules = breaker_rules(num_failures=1, pause_s=0.03, max_pause_s=0.03)

    async def outage() -> None:
        writer = LLMWriter([endpoint(client, breaker=rules, clock=now)], fallback=None)
        asking = [asyncio.create_task(writer.complete(mutation(seed))) for seed in range(20)]
        await asyncio.sleep(0.1)
        client.otherwise = WRITTEN
        await asyncio.gather(*asking)

    run(outage())

    first, *middle, last = outage_lines(caplog)
    assert first == "no LLM answers: candidates wait until one does"
    assert middle == []
    assert last.startswith("an LLM answers again; ")


async def test_wait_ends_when_any_endpoint_answers():
    good, bad = Script(otherwise=FAILED), Script(otherwise=FAILED)
    short = breaker_rules(num_failures=1, pause_s=0.03, max_pause_s=0.03)
    long = breaker_rules(num_failures=1, pause_s=1000.0, max_pause_s=1000.0)
    writer = LLMWriter(
        [endpoint(bad, "bad", breaker=long), endpoint(good, "good", breaker=short)], fallback=None
    )
    asking = [asyncio.create_task(writer.complete(mutation(seed))) for seed in range(10)]
    await until(lambda: all(state.is_open for state in writer.endpoints()))

    good.otherwise = WRITTEN
    answers = await asyncio.gather(*asking)

    assert {answer.endpoint for answer in answers} == {"good"}


# --- connections ---------------------------------------------------------------------------------


async def test_each_endpoint_is_probed_at_start(caplog: pytest.LogCaptureFixture):
    good, bad = Script(), Script(describe_faults=[EndpointRefused("no", concerns_all=True)])

    async with LLMWriter([endpoint(bad, "bad"), endpoint(good, "good")], fallback=None):
        await until(lambda: len(caplog.records) == 2)

    assert outage_lines(caplog) == [
        "no; retried with the next request",
        "endpoint 'good' serves scripted, for requests of an unknown number of tokens",
    ]
    assert good.is_closed
    assert bad.is_closed


async def test_probe_that_hangs_delays_no_request():
    client = Script()
    client.describe = asyncio.Event().wait  # type: ignore[assignment]

    async with asyncio.timeout(1), LLMWriter([endpoint(client)], fallback=None):
        await turns()

    assert client.is_closed


async def test_probe_and_first_requests_share_one_call():
    client = Script()

    async with LLMWriter([endpoint(client)], fallback=None) as writer:
        await asyncio.gather(*(writer.complete(mutation(seed)) for seed in range(5)))

    assert client.num_described == 1


@pytest.mark.parametrize("outage", ["fallback", "wait"])
async def test_mutation_that_only_an_endpoint_that_is_out_can_take_is_not_given_up(outage: str):
    small = endpoint(Script(otherwise=TOO_LONG), "small")
    large = endpoint(
        Script(answers=[EndpointFailed("down")]), "large", breaker=breaker_rules(num_failures=1, pause_s=0.02)
    )
    writer = LLMWriter([small, large], fallback=fallback() if outage == "fallback" else None)
    with pytest.raises(EndpointOut):
        await large.complete(mutation())

    answer = await writer.complete(mutation())

    assert isinstance(answer, Completion)
    assert answer.fallback is (outage == "fallback")
