"""The TGI client end to end, against the fake over HTTP: what is sent, and what comes of each fault."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from llmatic_daemon.adapters.llm import responses
from llmatic_daemon.adapters.llm.endpoint import ClientOptions, Endpoint, EndpointOut, Served
from llmatic_daemon.adapters.llm.ensemble import LLMWriter
from llmatic_daemon.adapters.llm.tgi_client import TGIClient
from llmatic_daemon.domain import CallOutcome, Completion, PromptKind, TooLong
from llmatic_daemon.domain.errors import (
    ConfigurationError,
    EndpointFailed,
    EndpointOverloaded,
    EndpointRefused,
    EndpointTimeout,
)
from llmatic_daemon.domain.nasbench_cells import PATTERN
from llmatic_daemon.search.candidates.requests import STOPS
from tests.support.fake_tgi import FakeTgi, fake_tgi
from tests.support.fake_tgi_rules import GenerateRequest, tokenize
from tests.support.fakes import FakeObserver, bus_to
from tests.support.llm import JSON, breaker_rules, crossover, endpoint, forget_environment, mutation, stub

KEY = "hf_DoNotShowThisToAnyone"
SAVED = "hf_SavedByTheUserLongAgo"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_environment(monkeypatch)


def say(text: str) -> Callable[[GenerateRequest], str]:
    return lambda request: text


def client(url: str, **changes: Any) -> TGIClient:
    options: dict[str, Any] = {"token": None, "max_new_tokens": 50, "max_input_tokens": 0, "top_p": 0.95}
    return TGIClient(url, ClientOptions(**(options | changes)))


@asynccontextmanager
async def asking(url: str, **changes: Any) -> AsyncIterator[Endpoint]:
    """Open an endpoint that tries once and whose breaker bears all; changes are the client's too."""
    names = ("token", "max_new_tokens", "max_input_tokens", "top_p", "grammar")
    own = {name: changes.pop(name) for name in names if name in changes}
    changes = {"breaker": breaker_rules(num_failures=1000)} | changes
    here = endpoint(client(url, **own), "tgi", **changes)
    try:
        yield here
    finally:
        await here.close()


@pytest.fixture
async def tgi() -> AsyncIterator[FakeTgi]:
    async with fake_tgi(answer=say("class Net: pass\n")) as tgi:
        yield tgi


async def sent(tgi: FakeTgi, request: Any, **changes: Any) -> dict[str, Any]:
    async with asking(tgi.url, **changes) as here:
        assert isinstance(await here.complete(request), Completion)
    (received,) = tgi.asked
    return received.json


# --- what is sent --------------------------------------------------------------------------------


async def test_request_is_sent_to_generate_as_a_continuation(tgi: FakeTgi):
    body = await sent(tgi, mutation())

    assert tgi.asked[0].route == "/generate"
    assert body["inputs"] == mutation().continuation


@pytest.mark.parametrize("temperature", [0.01, 0.5, 1.0])
async def test_sampling_is_always_asked_for(tgi: FakeTgi, temperature: float):
    """Temperature 1.0 alone would be greedy."""
    body = await sent(tgi, mutation(temperature=temperature), top_p=1.0)

    assert body["parameters"]["do_sample"] is True
    assert body["parameters"]["temperature"] == temperature
    assert tgi.asked[0].sampled


async def test_answer_is_asked_for_with_details_and_without_the_prompt(tgi: FakeTgi):
    parameters = (await sent(tgi, mutation(seed=77), max_new_tokens=33))["parameters"]

    assert parameters["return_full_text"] is False
    assert parameters["details"] is True
    assert parameters["seed"] == 77
    assert parameters["max_new_tokens"] == 33
    assert parameters["top_p"] == 0.95


async def test_seed_may_be_as_large_as_those_of_a_search(tgi: FakeTgi):
    body = await sent(tgi, mutation(seed=2**63 - 1))

    assert body["parameters"]["seed"] == 2**63 - 1


async def test_grammar_is_sent_as_a_regular_expression():
    async with fake_tgi(answer=say("|none~0|"), disable_grammar_support=False) as tgi:
        parameters = (await sent(tgi, mutation(), grammar=PATTERN))["parameters"]

    assert parameters["grammar"] == {"type": "regex", "value": PATTERN}


async def test_no_grammar_is_no_parameter(tgi: FakeTgi):
    assert "grammar" not in (await sent(tgi, mutation()))["parameters"]


async def test_server_without_grammars_refuses_in_its_words(tgi: FakeTgi):
    async with asking(tgi.url, grammar=PATTERN, max_tries=5) as here:
        with pytest.raises(EndpointRefused, match="grammar is not supported") as raised:
            await here.complete(mutation())

    assert len(tgi.asked) == 1
    assert is_told_well(raised.value, tgi.url)


async def test_top_p_of_1_is_left_out_as_the_server_refuses_it(tgi: FakeTgi):
    assert "top_p" not in (await sent(tgi, mutation(), top_p=1.0))["parameters"]


@pytest.mark.parametrize(
    ("request_", "kind"),
    [(mutation(), PromptKind.MUTATION), (crossover(), PromptKind.CROSSOVER)],
    ids=["mutation", "crossover"],
)
async def test_stops_are_those_of_the_prompts_kind(tgi: FakeTgi, request_, kind: PromptKind):
    stops = (await sent(tgi, request_))["parameters"]["stop"]

    assert tuple(stops) == STOPS[kind]
    assert len(stops) <= 4


async def test_key_is_sent_to_every_route():
    size = len(tokenize(mutation().continuation))
    async with fake_tgi(api_key=KEY, max_input_tokens=size) as tgi, asking(tgi.url, token=KEY) as here:
        assert isinstance(await here.complete(mutation()), Completion)

    assert [r.route for r in tgi.requests] == ["/info", "/tokenize", "/generate"]
    assert {r.headers["Authorization"] for r in tgi.requests} == {f"Bearer {KEY}"}


@pytest.mark.parametrize("place", ["variable", "old variable", "file"])
async def test_saved_token_of_the_user_is_never_sent(
    tgi: FakeTgi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
):
    if place == "file":
        (tmp_path / "token").write_text(SAVED)
        monkeypatch.setenv("HF_HOME", str(tmp_path))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    else:
        monkeypatch.setenv("HF_TOKEN" if place == "variable" else "HUGGING_FACE_HUB_TOKEN", SAVED)
    from huggingface_hub import get_token

    assert get_token() == SAVED
    await sent(tgi, mutation())

    assert not any(SAVED in str(received.headers) for received in tgi.requests)


async def test_lone_surrogates_are_sent_as_question_marks(tgi: FakeTgi):
    body = await sent(tgi, mutation().__class__(**_parts(continuation="a\ud800b\0c")))

    assert body["inputs"] == "a?b\0c"


def _parts(**changes: Any) -> dict[str, Any]:
    asked = mutation()
    return {name: getattr(asked, name) for name in asked.__slots__} | changes


# --- who serves ----------------------------------------------------------------------------------


async def test_info_is_read_once(tgi: FakeTgi):
    async with asking(tgi.url) as here:
        for seed in range(5):
            await here.complete(mutation(seed))

    assert [r.route for r in tgi.requests].count("/info") == 1


async def test_info_tells_model_and_limits(tgi: FakeTgi):
    async with asking(tgi.url) as here:
        served = await here.describe()

    assert served == Served(
        model="Salesforce/codegen-6B-mono", version="f" * 40, max_input_tokens=1698, max_concurrency=32
    )


@pytest.mark.parametrize(
    ("limits", "options", "most"),
    [
        ({}, {"max_new_tokens": 350}, 1698),
        ({}, {"max_new_tokens": 1000}, 1048),
        ({}, {"max_new_tokens": 350, "max_input_tokens": 500}, 500),
        ({}, {"max_new_tokens": 350, "max_input_tokens": 5000}, 1698),
        ({"max_input_tokens": 10}, {}, 10),
    ],
)
async def test_request_may_have_the_least_of_all_limits(limits, options, most: int):
    async with fake_tgi(**limits) as tgi, asking(tgi.url, **options) as here:
        assert (await here.describe()).max_input_tokens == most


async def test_answer_that_leaves_no_room_for_a_request_is_refused(tgi: FakeTgi):
    async with asking(tgi.url, max_new_tokens=2048) as here:
        with pytest.raises(EndpointRefused, match=r"writer\.max_new_tokens must be below the 2048"):
            await here.describe()


async def test_info_is_read_again_after_a_restart_with_other_limits(tgi: FakeTgi):
    async with asking(tgi.url, max_tries=2) as here:
        await here.complete(mutation())
        tgi.faults.then("restart")
        answer = await here.complete(mutation(2))
        served = await here.describe()

    assert isinstance(answer, Completion)
    assert served.max_input_tokens == 1024
    assert [r.route for r in tgi.requests].count("/info") == 2


async def test_another_model_is_noticed_after_the_connection_was_lost(tgi: FakeTgi):
    async with asking(tgi.url, max_tries=2) as here:
        first = await here.complete(mutation())
        tgi.faults.then("other_model", "drop")
        await here.complete(mutation())
        second = await here.complete(mutation())

    assert (first.model, first.version) == ("Salesforce/codegen-6B-mono", "f" * 40)
    assert (second.model, second.version) == ("Salesforce/codegen-2B-mono", "0" * 40)


@pytest.mark.parametrize(
    "text", ["{}", "[]", "null", "5", '"x"', '{"model_id": 5}', "<html>", '{"model_id": "m'], ids=str
)
async def test_info_that_describes_no_model_is_a_fault(text: str):
    async with stub(info=(200, JSON, text)) as server, asking(server.url) as here:
        with pytest.raises(EndpointFailed, match=r"/info must (describe a model|answer in JSON)"):
            await here.complete(mutation())


async def test_odd_limits_are_no_limits():
    odd = '{"model_id": "m", "max_input_tokens": "many", "max_total_tokens": null}'
    async with stub(info=(200, JSON, odd)) as server, asking(server.url) as here:
        assert await here.describe() == Served(model="m")


# --- length --------------------------------------------------------------------------------------


async def test_request_is_measured_before_it_is_sent():
    size = len(tokenize(mutation().continuation))
    async with fake_tgi(max_input_tokens=size + 1) as tgi, asking(tgi.url) as here:
        answer = await here.complete(mutation())

    assert [r.route for r in tgi.requests] == ["/info", "/tokenize", "/generate"]
    assert isinstance(answer, Completion)
    assert answer.num_prompt_tokens == size


async def test_request_whose_bytes_fit_needs_no_measuring(tgi: FakeTgi):
    async with asking(tgi.url) as here:
        answer = await here.complete(mutation())

    assert len(mutation().continuation.encode()) < 1698
    assert [r.route for r in tgi.requests] == ["/info", "/generate"]
    assert isinstance(answer, Completion)
    assert answer.num_prompt_tokens == len(tokenize(mutation().continuation))


async def test_request_measured_too_long_is_not_sent():
    async with fake_tgi(max_input_tokens=20) as tgi, asking(tgi.url) as here:
        answer = await here.complete(mutation())

    size = len(tokenize(mutation().continuation))
    assert answer == TooLong(endpoint="tgi", num_tokens=size, max_tokens=20)
    assert tgi.asked == []


async def test_request_at_the_limit_is_sent():
    size = len(tokenize(mutation().continuation))
    async with fake_tgi(max_input_tokens=size) as tgi, asking(tgi.url) as here:
        assert isinstance(await here.complete(mutation()), Completion)


@pytest.mark.parametrize("limit", ["max_input_tokens", "max_total_tokens"])
async def test_server_that_finds_it_too_long_is_believed(tgi: FakeTgi, limit: str):
    """As after a restart with smaller limits that nobody has noticed."""
    async with asking(tgi.url) as here:
        await here.describe()
        tgi.change(**{limit: 60})
        answer = await here.complete(mutation())

    assert isinstance(answer, TooLong)
    assert answer.num_tokens > answer.max_tokens
    assert len(tgi.asked) == 1


async def test_tokenizer_that_gives_no_list_is_a_fault():
    info = (200, JSON, '{"model_id": "m", "max_input_tokens": 5}')
    async with stub(info=info, tokenize=(200, JSON, '{"x": 1}')) as server, asking(server.url) as here:
        with pytest.raises(EndpointFailed, match="/tokenize must answer with a list"):
            await here.complete(mutation())


# --- answers -------------------------------------------------------------------------------------


async def test_answer_says_all_that_is_known(tgi: FakeTgi):
    async with asking(tgi.url) as here:
        answer = await here.complete(mutation())

    assert isinstance(answer, Completion)
    assert (answer.text, answer.writer, answer.endpoint) == ("class Net: pass\n", "tgi", "tgi")
    assert (answer.model, answer.version) == ("Salesforce/codegen-6B-mono", "f" * 40)
    assert answer.num_tokens == len(tokenize("class Net: pass\n")) + 1
    assert answer.duration_s > 0
    assert not answer.fallback


@pytest.mark.parametrize("stop", STOPS[PromptKind.MUTATION])
async def test_stop_text_is_cut_off(stop: str):
    async with fake_tgi(answer=say(f"class Net: pass{stop} more")) as tgi, asking(tgi.url) as here:
        answer = await here.complete(mutation())

    assert (answer.text, answer.finish_reason) == ("class Net: pass", "stop")


async def test_prompt_that_comes_back_is_cut_off():
    async with (
        fake_tgi(answer=lambda request: request.inputs + "class Net: pass") as tgi,
        asking(tgi.url, max_new_tokens=1000) as here,
    ):
        request = mutation().__class__(**_parts(continuation="x = 1\n\n", stops=("\nend",)))
        answer = await here.complete(request)

    assert answer.text == "class Net: pass"


@pytest.mark.parametrize(
    ("text", "most", "reason"),
    [("short", 50, "stop"), ("one two three four", 3, "length"), ("x\nprint(", 50, "stop")],
)
async def test_finish_reason_is_one_of_our_words(text: str, most: int, reason: str):
    async with fake_tgi(answer=say(text)) as tgi, asking(tgi.url, max_new_tokens=most) as here:
        answer = await here.complete(mutation())

    assert answer.finish_reason == reason


@pytest.mark.parametrize("seeds", [(1, 1), (1, 2)])
async def test_seed_decides_on_the_text(seeds: tuple[int, int]):
    async with fake_tgi() as tgi, asking(tgi.url, max_new_tokens=300) as here:
        first, second = [(await here.complete(mutation(seed))).text for seed in seeds]

    assert (first == second) is (seeds[0] == seeds[1])


@pytest.mark.parametrize(
    "details", ["null", "{}", "5", "[]", '{"finish_reason": 7, "generated_tokens": "x"}'], ids=str
)
async def test_odd_details_do_no_harm(details: str):
    says = {
        "info": (200, JSON, '{"model_id": "m"}'),
        "tokenize": (200, JSON, '[{"id": 1}]'),
        "generate": (200, JSON, f'{{"generated_text": "x", "details": {details}}}'),
    }
    async with stub(**says) as server, asking(server.url) as here:
        (answer,) = await asyncio.gather(here.complete(mutation()), return_exceptions=True)

    if isinstance(answer, Completion):
        assert (answer.text, answer.num_tokens) == ("x", 0)
        assert isinstance(answer.finish_reason, str)
    else:
        assert isinstance(answer, EndpointFailed)


# --- faults --------------------------------------------------------------------------------------


def is_told_well(error: BaseException, url: str) -> bool:
    text = str(error)
    return "\n" not in text and url in text and KEY not in text and len(text) < 500


@pytest.mark.parametrize(
    ("fault", "kind", "says"),
    [
        ("overloaded", EndpointOverloaded, "Model is overloaded"),
        ("generation", EndpointFailed, "CUDA out of memory"),
        ("incomplete", EndpointFailed, "Incomplete generation"),
        ("text_error", EndpointFailed, "got 500: Internal Server Error"),
        ("html", EndpointFailed, "got 502: <html>"),
        ("html_504", EndpointFailed, "got 504: <html>"),
        ("half_json", EndpointFailed, "must answer in JSON"),
        ("html_200", EndpointFailed, "must answer in JSON"),
        ("empty_object", EndpointFailed, "must answer with generated_text"),
        ("drop", EndpointFailed, "must be reachable"),
        ("restart", EndpointFailed, "must be reachable"),
    ],
)
async def test_fault_of_the_server_is_mapped(fault: str, kind: type[Exception], says: str):
    async with fake_tgi(api_key=KEY) as tgi, asking(tgi.url, token=KEY) as here:
        tgi.faults.then(fault)
        with pytest.raises(kind, match=says) as raised:
            await here.complete(mutation())

    assert type(raised.value) is kind
    assert is_told_well(raised.value, tgi.url)


@pytest.mark.parametrize("fault", ["hang", "drip"])
async def test_answer_without_an_end_is_a_timeout(tgi: FakeTgi, fault: str):
    tgi.faults.then(fault)

    async with asking(tgi.url, timeout_s=0.2) as here:
        with pytest.raises(EndpointTimeout, match=r"'tgi' must answer within 0\.2 s") as raised:
            await here.complete(mutation())

    assert "\n" not in str(raised.value)


async def test_refused_connection_is_a_fault(tgi: FakeTgi):
    tgi.down()

    async with asking(tgi.url) as here:
        with pytest.raises(EndpointFailed, match=r"must be reachable.*is it running\?") as raised:
            await here.complete(mutation())

    assert is_told_well(raised.value, tgi.url)


async def test_connection_refused_after_the_start_is_a_fault(tgi: FakeTgi):
    async with asking(tgi.url) as here:
        await here.complete(mutation())
        tgi.down()
        with pytest.raises(EndpointFailed, match="must be reachable"):
            await here.complete(mutation())
        await tgi.up()
        assert isinstance(await here.complete(mutation()), Completion)


async def test_wrong_key_concerns_all():
    async with fake_tgi(api_key="another") as tgi, asking(tgi.url, token=KEY) as here:
        with pytest.raises(EndpointOut, match="got 401") as raised:
            await here.complete(mutation())

    cause = raised.value.__cause__
    assert isinstance(cause, EndpointRefused)
    assert cause.concerns_all
    assert is_told_well(cause, tgi.url)


@pytest.mark.parametrize("status", [401, 403, 404, 405])
async def test_refusal_of_generate_alone_concerns_all(status: int):
    says = {
        "info": (200, JSON, '{"model_id": "m"}'),
        "tokenize": (200, JSON, '[{"id": 1}]'),
        "generate": (status, "text/plain", ""),
    }
    async with stub(**says) as server, asking(server.url) as here:
        with pytest.raises(EndpointOut, match=f"got {status}") as raised:
            await here.complete(mutation())

    assert raised.value.__cause__.concerns_all  # type: ignore[union-attr]


async def test_wrong_address_concerns_all(tgi: FakeTgi):
    async with asking(f"{tgi.url}/v1") as here:
        with pytest.raises(EndpointOut, match="got 404") as raised:
            await here.complete(mutation())

    assert raised.value.__cause__.concerns_all  # type: ignore[union-attr]
    assert is_told_well(raised.value, tgi.url)


async def test_request_against_the_rules_is_refused_and_not_tried_again(tgi: FakeTgi):
    request = mutation().__class__(**_parts(stops=("a", "b", "c", "d", "e")))

    async with asking(tgi.url, max_tries=5) as here:
        with pytest.raises(EndpointRefused, match="`stop` supports up to 4") as raised:
            await here.complete(request)

    assert not raised.value.concerns_all
    assert len(tgi.asked) == 1
    assert is_told_well(raised.value, tgi.url)


@pytest.mark.parametrize(
    ("status", "type_", "kind"),
    [
        (422, "template_error", EndpointRefused),
        (422, "tool_error", EndpointRefused),
        (503, "healthcheck", EndpointFailed),
        (500, "something_new", EndpointFailed),
        (429, "rate", EndpointOverloaded),
    ],
)
async def test_error_type_that_nobody_knows_is_read_by_its_status(
    status: int, type_: str, kind: type[Exception]
):
    says = {
        "info": (200, JSON, '{"model_id": "m"}'),
        "tokenize": (200, JSON, '[{"id": 1}]'),
        "generate": (status, JSON, f'{{"error": "no", "error_type": "{type_}"}}'),
    }
    async with stub(**says) as server, asking(server.url) as here:
        with pytest.raises(kind) as raised:
            await here.complete(mutation())

    assert type(raised.value) is kind
    assert is_told_well(raised.value, server.url)


@pytest.mark.parametrize(
    "text",
    ["[]", "[{}]", "5", "null", '"x"', '{"generated_text": null}', '{"generated_text": 5}', "\xff"],
    ids=str,
)
async def test_nonsense_under_a_200_is_a_fault(text: str):
    says = {
        "info": (200, JSON, '{"model_id": "m"}'),
        "tokenize": (200, JSON, '[{"id": 1}]'),
        "generate": (200, JSON, text),
    }
    async with stub(**says) as server, asking(server.url) as here:
        with pytest.raises(EndpointFailed) as raised:
            await here.complete(mutation())

    assert is_told_well(raised.value, server.url)


@pytest.mark.parametrize("fault", ["overloaded", "generation", "html", "drop", "restart"])
async def test_passing_fault_is_tried_again(tgi: FakeTgi, fault: str):
    tgi.faults.then(fault, fault)

    async with asking(tgi.url, max_tries=3) as here:
        assert isinstance(await here.complete(mutation()), Completion)

    assert len(tgi.asked) == 3


async def test_observers_hear_of_faults_and_answers(tgi: FakeTgi):
    observer = FakeObserver()
    tgi.faults.then("overloaded", "generation", "hang")

    async with asking(tgi.url, max_tries=4, timeout_s=0.2, events=bus_to(observer)) as here:
        answer = await here.complete(mutation())

    assert [call.outcome for call in observer.calls] == [
        CallOutcome.OVERLOADED,
        CallOutcome.FAILED,
        CallOutcome.TIMEOUT,
        CallOutcome.ANSWERED,
    ]
    assert observer.calls[-1].completion == answer
    assert observer.calls[2].duration_s >= 0.19


async def test_calls_at_once_stay_within_what_the_server_says():
    async with (
        fake_tgi(max_concurrent_requests=3, latency_s=lambda request: 0.01) as tgi,
        asking(tgi.url, max_concurrency=32) as here,
    ):
        await here.describe()
        await asyncio.gather(*(here.complete(mutation(seed)) for seed in range(20)))

    assert tgi.max_in_flight == 3
    assert {received.status for received in tgi.asked} == {200}


async def test_every_request_is_answered_through_a_storm_of_faults():
    """A third of all calls goes wrong in some way; nothing is lost, and nobody else's error shows."""
    async with fake_tgi() as tgi, asking(tgi.url, max_tries=30, timeout_s=0.1) as here:
        tgi.faults.share = 0.3
        async with LLMWriter([here], fallback=None) as writer:
            answers_ = await asyncio.gather(*(writer.complete(mutation(s)) for s in range(40)))

    assert all(isinstance(answer, Completion) for answer in answers_)


async def test_lost_request_is_cancelled_at_the_server(tgi: FakeTgi):
    """The GPU must not go on writing for nobody."""
    tgi.faults.then("hang")
    async with asking(tgi.url) as here:
        asked = asyncio.create_task(here.complete(mutation()))
        async with asyncio.timeout(5):
            while not tgi.in_flight:  # noqa: ASYNC110
                await asyncio.sleep(0)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        async with asyncio.timeout(5):
            while tgi.in_flight:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        assert isinstance(await here.complete(mutation()), Completion)


# --- the environment -----------------------------------------------------------------------------


def test_offline_switch_of_huggingface_hub_is_told_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    with pytest.raises(ConfigurationError, match="HF_HUB_OFFLINE must not be set") as raised:
        client("http://127.0.0.1:8080")

    assert "http://127.0.0.1:8080" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_proxy_is_not_asked_for_what_runs_on_this_machine(
    tgi: FakeTgi, monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.setenv(name, "http://127.0.0.1:9")

    await sent(tgi, mutation())


# --- the words of all servers --------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "Input validation error: `inputs` must have less than 1698 tokens. Given: 1700",
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 9 ...",
        "This model's maximum context length is 2048 tokens. However, you requested 2500 tokens",
        '{"error":{"code":"context_length_exceeded","message":"..."}}',
        "the request exceeds the available context size, try increasing it",
        "The input (5000 tokens) is longer than the model's context length (4096 tokens).",
        "prompt is too long: 210000 tokens > 200000 maximum",
        "Input exceeds the context window of this model",
        "Too many tokens: 5000",
    ],
)
def test_complaint_of_length_is_known_by_its_words(text: str):
    assert responses.is_length_complaint(text)


@pytest.mark.parametrize(
    "text",
    [
        "Input validation error: `stop` supports up to 4 stop sequences. Given: 5",
        "Input validation error: `temperature` must be strictly positive",
        "Model is overloaded",
        "invalid api key",
        "max_tokens must be at least 1",
    ],
)
def test_other_complaints_are_none_of_length(text: str):
    assert not responses.is_length_complaint(text)
