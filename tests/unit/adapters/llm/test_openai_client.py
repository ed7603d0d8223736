"""The OpenAI client end to end: the fake's OpenAI routes, servers that say odd things, and a real one."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from llmatic_daemon.adapters.llm.endpoint import ClientOptions, Endpoint, EndpointOut, Served
from llmatic_daemon.adapters.llm.openai_client import OpenAIClient
from llmatic_daemon.domain import Completion, PromptKind, TooLong
from llmatic_daemon.domain.errors import (
    ConfigurationError,
    EndpointFailed,
    EndpointOverloaded,
    EndpointRefused,
    EndpointTimeout,
    WriterUnavailable,
)
from llmatic_daemon.search.candidates.requests import STOPS
from tests.support.codegen_server import missing_parts
from tests.support.fake_tgi import FakeTgi, fake_tgi
from tests.support.fake_tgi_rules import GenerateRequest, tokenize
from tests.support.llm import (
    HTML,
    JSON,
    Said,
    Stub,
    breaker_rules,
    crossover,
    endpoint,
    forget_environment,
    mutation,
    stub,
)

MODEL = "Salesforce/codegen-6B-mono"
KEY = "sk-DoNotShowThisToAnyone"
WRITTEN = {
    "choices": [{"index": 0, "text": "class Net: pass\n", "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17},
}
SAID = {
    "choices": [{"index": 0, "message": {"content": "```python\npass\n```"}, "finish_reason": "length"}],
    "usage": {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17},
}


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_environment(monkeypatch)


def say(text: str) -> Callable[[GenerateRequest], str]:
    return lambda request: text


def client(url: str, **changes: Any) -> OpenAIClient:
    options: dict[str, Any] = {
        "token": None,
        "model": "",
        "chat": False,
        "max_new_tokens": 50,
        "max_input_tokens": 0,
        "top_p": 0.95,
        "extra_body": {},
    }
    return OpenAIClient(url, ClientOptions(**(options | changes)))


@asynccontextmanager
async def asking(url: str, **changes: Any) -> AsyncIterator[Endpoint]:
    """Open an endpoint that tries once and whose breaker bears all; changes are the client's too."""
    names = ("token", "model", "chat", "max_new_tokens", "max_input_tokens", "top_p", "extra_body")
    own = {name: changes.pop(name) for name in names if name in changes}
    changes = {"breaker": breaker_rules(num_failures=1000)} | changes
    here = endpoint(client(url, **own), "openai", **changes)
    try:
        yield here
    finally:
        await here.close()


def models(*cards: dict[str, Any]) -> Said:
    return 200, JSON, json.dumps({"object": "list", "data": list(cards)})


@asynccontextmanager
async def server(
    completions: object = WRITTEN,
    chat: object = SAID,
    listing: Said = models({"id": "first", "created": 1700000000}, {"id": "second"}),  # noqa: B008
) -> AsyncIterator[Stub]:
    """Serve two models; an answer is what is written as JSON, or a status, type and text."""
    says = {
        "v1__models": listing,
        "v1__completions": _said(completions),
        "v1__chat__completions": _said(chat),
    }
    async with stub(**says) as server:
        yield server


def _said(answer: object) -> Said:
    return answer if isinstance(answer, tuple) else (200, JSON, json.dumps(answer))


def is_told_well(error: BaseException, url: str) -> bool:
    text = str(error)
    return "\n" not in text and url in text and KEY not in text and len(text) < 500


# --- what is sent --------------------------------------------------------------------------------


async def test_completion_is_asked_for_as_a_continuation():
    async with server() as there, asking(there.url) as here:
        await here.complete(mutation(seed=77))

    assert there.paths == ["/v1/models", "/v1/completions"]
    assert there.bodies[-1] == {
        "model": "first",
        "prompt": mutation().continuation,
        "max_tokens": 50,
        "temperature": 0.5,
        "top_p": 0.95,
        "seed": 77,
        "stop": list(STOPS[PromptKind.MUTATION]),
    }


async def test_chat_is_asked_with_system_and_question():
    async with server() as there, asking(there.url, chat=True) as here:
        await here.complete(mutation(seed=77))

    assert there.paths == ["/v1/models", "/v1/chat/completions"]
    assert there.bodies[-1] == {
        "model": "first",
        "messages": [
            {"role": "system", "content": mutation().system},
            {"role": "user", "content": mutation().question},
        ],
        "max_tokens": 50,
        "temperature": 0.5,
        "top_p": 0.95,
        "seed": 77,
    }


async def test_stops_of_a_crossover_are_its_own():
    async with server() as there, asking(there.url) as here:
        await here.complete(crossover())

    assert there.bodies[-1]["stop"] == list(STOPS[PromptKind.CROSSOVER])


@pytest.mark.parametrize("chat", [False, True])
async def test_extra_fields_are_sent_beside_ours(chat: bool):
    extra = {"top_k": 50, "chat_template_kwargs": {"thinking": False}}
    async with server() as there, asking(there.url, chat=chat, extra_body=extra) as here:
        await here.complete(mutation())

    assert extra.items() <= there.bodies[-1].items()
    assert there.bodies[-1]["max_tokens"] == 50


async def test_extra_field_wins_over_ours():
    """Some hosted models want `max_completion_tokens`, or no temperature but 1."""
    async with server() as there, asking(there.url, extra_body={"temperature": 1}) as here:
        await here.complete(mutation())

    assert there.bodies[-1]["temperature"] == 1


async def test_key_is_sent_to_every_route():
    async with server() as there, asking(there.url, token=KEY) as here:
        await here.complete(mutation())

    assert [h["Authorization"] for h in there.headers] == [f"Bearer {KEY}"] * 2


async def test_key_of_the_environment_is_never_sent(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_ADMIN_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")

    async with server() as there, asking(there.url) as here:
        await here.complete(mutation())

    assert KEY not in str(there.headers)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_proxy_is_not_asked_for_what_runs_on_this_machine(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setenv(name, "http://127.0.0.1:9")

    async with server() as there, asking(there.url) as here:
        assert isinstance(await here.complete(mutation()), Completion)


@pytest.mark.parametrize("chat", [False, True])
async def test_lone_surrogates_are_sent_as_question_marks(chat: bool):
    request = replace(mutation(), continuation="a\ud800b\0", question="a\ud800b\0")

    async with server() as there, asking(there.url, chat=chat) as here:
        await here.complete(request)

    assert "a?b" in str(there.bodies[-1])


# --- who serves ----------------------------------------------------------------------------------


async def test_first_model_is_taken_when_none_is_named():
    async with server() as there, asking(there.url) as here:
        assert await here.describe() == Served(model="first")


async def test_named_model_is_taken_from_the_list():
    async with server() as there, asking(there.url, model="second") as here:
        assert (await here.describe()).model == "second"


async def test_unknown_model_is_refused_with_those_there_are():
    async with server() as there, asking(there.url, model="third") as here:
        with pytest.raises(EndpointRefused, match="must serve third, found 'first', 'second'") as r:
            await here.describe()

    assert r.value.concerns_all
    assert is_told_well(r.value, there.url)


async def test_server_without_models_is_refused():
    async with server(listing=models()) as there, asking(there.url) as here:
        with pytest.raises(EndpointRefused, match=r"must serve a model, found none; set writer"):
            await here.describe()


@pytest.mark.parametrize("status", [403, 404, 405])
async def test_server_without_a_list_serves_the_named_model(status: int):
    listing = (status, "text/plain", "no")
    async with (
        server(listing=listing) as there,
        asking(there.url, model="mine", max_input_tokens=900) as here,
    ):
        served = await here.describe()
        answer = await here.complete(mutation())

    assert served == Served(model="mine", max_input_tokens=900)
    assert (answer.model, there.bodies[-1]["model"]) == ("mine", "mine")


async def test_server_without_a_list_needs_a_model_in_the_settings():
    async with server(listing=(404, "text/plain", "no")) as there, asking(there.url) as here:
        with pytest.raises(EndpointRefused, match="got 404"):
            await here.describe()


async def test_wrong_key_is_told_although_a_model_is_named():
    listing = (401, JSON, '{"error": {"message": "bad key"}}')
    async with server(listing=listing) as there, asking(there.url, model="m", token=KEY) as here:
        with pytest.raises(EndpointRefused, match="got 401") as raised:
            await here.describe()

    assert raised.value.concerns_all
    assert is_told_well(raised.value, there.url)


async def test_digits_of_another_status_are_no_wrong_key():
    """They may be part of a port, too."""
    listing = (404, "text/plain", "no route 401")
    async with server(listing=listing) as there, asking(there.url, model="mine") as here:
        assert (await here.describe()).model == "mine"


@pytest.mark.parametrize(
    ("said", "options", "most"),
    [
        (None, {}, None),
        (2048, {}, 1998),
        (2048, {"max_input_tokens": 500}, 500),
        (None, {"max_input_tokens": 500}, 500),
        ("many", {}, None),
    ],
)
async def test_limit_of_a_request_is_what_settings_or_server_say(said, options, most):
    listing = models({"id": "m", "max_model_len": said})
    async with server(listing=listing) as there, asking(there.url, **options) as here:
        assert (await here.describe()).max_input_tokens == most


async def test_answer_that_leaves_no_room_for_a_request_is_refused():
    listing = models({"id": "m", "max_model_len": 40})
    async with server(listing=listing) as there, asking(there.url) as here:
        with pytest.raises(EndpointRefused, match=r"writer\.max_new_tokens must be below the 40"):
            await here.describe()


@pytest.mark.parametrize(
    "said",
    [
        (200, "text/html", HTML),
        (200, JSON, "{}"),
        (200, JSON, "[]"),
        (200, JSON, "null"),
        (200, JSON, '"x"'),
        (200, JSON, '{"data": 5}'),
        (200, JSON, '{"error": "no"}'),
        (200, JSON, '{"data": [{"id"'),
        (500, "text/plain", "Internal Server Error"),
    ],
    ids=lambda said: said[2][:20],
)
async def test_list_that_is_none_is_a_fault(said: Said):
    async with server(listing=said) as there, asking(there.url) as here:
        with pytest.raises(EndpointFailed) as raised:
            await here.describe()

    assert is_told_well(raised.value, there.url)


async def test_odd_models_in_the_list_are_passed_over():
    listing = models({"id": 5}, {"name": "x"}, {"id": "good", "created": None})
    async with server(listing=listing) as there, asking(there.url) as here:
        assert await here.describe() == Served(model="good")


# --- length --------------------------------------------------------------------------------------


async def test_request_that_is_estimated_too_long_is_not_sent():
    """Three bytes a token: the protocol has no way to measure."""
    size = round(len(mutation().continuation.encode()) / 3)
    async with server() as there:
        async with asking(there.url, max_input_tokens=size - 1) as here:
            answer = await here.complete(mutation())
        async with asking(there.url, max_input_tokens=size) as here:
            assert isinstance(await here.complete(mutation()), Completion)

    assert answer == TooLong(endpoint="openai", num_tokens=size, max_tokens=size - 1)
    assert there.paths.count("/v1/completions") == 1


async def test_chat_is_estimated_with_its_system_text():
    size = round(len((mutation().system + mutation().question).encode()) / 3)
    async with server() as there, asking(there.url, chat=True, max_input_tokens=size - 1) as here:
        assert isinstance(await here.complete(mutation()), TooLong)


COMPLAINTS = {
    "vllm": (
        400,
        '{"object":"error","message":"This model\'s maximum context length is 2048 tokens. However,'
        " you requested 2500 tokens (2150 in the messages, 350 in the completion). Please reduce the"
        ' length of the messages or completion.","type":"BadRequestError","param":null,"code":400}',
    ),
    "sglang": (
        400,
        '{"error":{"message":"The input (5000 tokens) is longer than the model\'s context length'
        ' (4096 tokens)."}}',
    ),
    "llama.cpp": (
        400,
        '{"error":{"code":400,"message":"the request exceeds the available context size. try'
        ' increasing the context size or enable context shift","type":"exceed_context_size_error"}}',
    ),
    "openai": (
        400,
        '{"error":{"message":"...","type":"invalid_request_error","code":"context_length_exceeded"}}',
    ),
    "tgi": (
        422,
        '{"error":"Input validation error: `inputs` must have less than 1698 tokens. Given: 1700",'
        '"error_type":"validation"}',
    ),
    "long-winded": (400, "x" * 300 + " maximum context length is 5"),
}


@pytest.mark.parametrize("kind", COMPLAINTS)
async def test_complaint_of_length_is_no_fault(kind: str):
    status, text = COMPLAINTS[kind]
    async with server((status, JSON, text)) as there, asking(there.url) as here:
        answer = await here.complete(mutation())

    assert isinstance(answer, TooLong)
    assert answer.num_tokens > answer.max_tokens > 0


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
async def test_gateway_that_waited_too_long_says_nothing_of_length(status: int):
    text = "upstream request took too long"
    async with server((status, "text/plain", text)) as there, asking(there.url) as here:
        with pytest.raises(EndpointFailed, match=f"got {status}"):
            await here.complete(mutation())


# --- answers -------------------------------------------------------------------------------------


async def test_completion_says_all_that_is_known():
    async with server() as there, asking(there.url) as here:
        answer = await here.complete(mutation())

    assert replace(answer, duration_s=0.0) == Completion(
        text="class Net: pass\n",
        writer="openai",
        model="first",
        endpoint="openai",
        finish_reason="stop",
        num_prompt_tokens=12,
        num_tokens=5,
    )
    assert answer.duration_s > 0


async def test_chat_is_answered_with_the_message():
    async with server() as there, asking(there.url, chat=True) as here:
        answer = await here.complete(mutation())

    assert (answer.text, answer.finish_reason) == ("```python\npass\n```", "length")


@pytest.mark.parametrize("chat", [False, True])
async def test_only_a_continuation_is_cut_at_a_stop(chat: bool):
    text = 'class Net: pass\n"""more"""'
    said = {"choices": [{"text": text, "message": {"content": text}, "finish_reason": "stop"}]}
    async with server(said, said) as there, asking(there.url, chat=chat) as here:
        answer = await here.complete(mutation())

    assert answer.text == (text if chat else "class Net: pass")


async def test_prompt_that_comes_back_is_cut_off():
    request = replace(mutation(), continuation="x = 1\n\n")
    said = {"choices": [{"text": "x = 1\n\nclass Net: pass", "finish_reason": "stop"}]}
    async with server(said) as there, asking(there.url) as here:
        assert (await here.complete(request)).text == "class Net: pass"


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("eos_token", "stop"),
        (None, "stop"),
        ("content_filter", "content_filter"),
        (5, "5"),
        ("a\nb", "a b"),
        ("x" * 99, "x" * 40),
    ],
)
async def test_finish_reason_is_one_of_our_words_or_the_servers(word: object, reason: str):
    said = {"choices": [{"text": "x", "finish_reason": word}]}
    async with server(said) as there, asking(there.url) as here:
        assert (await here.complete(mutation())).finish_reason == reason


@pytest.mark.parametrize("usage", [None, {}, 5, {"prompt_tokens": "many"}, {"completion_tokens": -1}])
async def test_odd_usage_counts_as_nothing(usage: object):
    said = {"choices": [{"text": "x", "finish_reason": "stop"}], "usage": usage}
    async with server(said) as there, asking(there.url) as here:
        answer = await here.complete(mutation())

    assert (answer.num_prompt_tokens, answer.num_tokens) == (0, 0)


# --- faults --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ((429, JSON, '{"error": {"message": "slow down"}}'), EndpointOverloaded),
        ((400, JSON, '{"error": {"message": "bad temperature"}}'), EndpointRefused),
        ((422, JSON, '{"detail": "unknown field top_k"}'), EndpointRefused),
        ((500, "text/plain", "Internal Server Error"), EndpointFailed),
        ((503, "text/html", HTML), EndpointFailed),
        ((200, "text/html", HTML), EndpointFailed),
        ((200, JSON, "{}"), EndpointFailed),
        ((200, JSON, "[]"), EndpointFailed),
        ((200, JSON, "null"), EndpointFailed),
        ((200, JSON, ""), EndpointFailed),
        ((200, JSON, '{"error": {"message": "no"}}'), EndpointFailed),
        ((200, JSON, '{"choices": [{"text": "class N'), EndpointFailed),
        ((200, JSON, '{"choices": []}'), EndpointFailed),
        ((200, JSON, '{"choices": {"0": 5}}'), EndpointFailed),
        ((200, JSON, '{"choices": [5]}'), EndpointFailed),
        ((200, JSON, '{"choices": [{"text": null}]}'), EndpointFailed),
        ((200, JSON, '{"choices": [{"text": 5}]}'), EndpointFailed),
    ],
    ids=lambda value: f"{value[0]} {value[2][:24]}" if isinstance(value, tuple) else "",
)
@pytest.mark.parametrize("chat", [False, True], ids=["completion", "chat"])
async def test_fault_is_mapped(said: Said, kind: type[Exception], chat: bool):
    async with server(said, said) as there, asking(there.url, chat=chat, token=KEY) as here:
        with pytest.raises(kind) as raised:
            await here.complete(mutation())

    assert type(raised.value) is kind
    assert is_told_well(raised.value, there.url)
    assert getattr(raised.value, "concerns_all", False) is False


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_wrong_key_or_address_concerns_all(status: int):
    said = (status, JSON, '{"error": {"message": "no"}}')
    async with server(said) as there, asking(there.url, token=KEY) as here:
        with pytest.raises(EndpointOut, match=f"got {status}") as raised:
            await here.complete(mutation())

    assert raised.value.__cause__.concerns_all  # type: ignore[union-attr]
    assert is_told_well(raised.value, there.url)


async def test_message_quotes_the_server():
    said = (422, JSON, '{"detail": "unknown field top_k"}')
    async with server(said) as there, asking(there.url) as here:
        with pytest.raises(EndpointRefused, match="unknown field top_k"):
            await here.complete(mutation())


async def test_refusal_is_not_tried_again():
    async with server((400, JSON, "{}")) as there, asking(there.url, max_tries=5) as here:
        with pytest.raises(EndpointRefused):
            await here.complete(mutation())

    assert there.paths.count("/v1/completions") == 1


async def test_refused_connection_is_a_fault():
    async with server() as there:
        url = there.url
    async with asking(url) as here:
        with pytest.raises(EndpointFailed, match=r"must be reachable.*is it running\?") as raised:
            await here.complete(mutation())

    assert is_told_well(raised.value, url)


def test_missing_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "openai", None)

    with pytest.raises(ConfigurationError, match=r"pip install 'llmatic-daemon\[openai\]'") as raised:
        client("http://127.0.0.1:9")

    assert "\n" not in str(raised.value)


# --- the fake's OpenAI routes --------------------------------------------------------------------


@pytest.fixture
async def tgi() -> AsyncIterator[FakeTgi]:
    async with fake_tgi(answer=say("class Net: pass\n")) as tgi:
        yield tgi


async def test_tgi_speaks_it_too(tgi: FakeTgi):
    async with asking(tgi.url, model=MODEL) as here:
        answer = await here.complete(mutation())

    assert isinstance(answer, Completion)
    assert (answer.text, answer.model, answer.writer) == ("class Net: pass\n", MODEL, "openai")
    assert answer.num_prompt_tokens == len(tokenize(mutation().continuation))


async def test_tgi_chats_where_there_is_a_template():
    async with fake_tgi(chat=True) as tgi, asking(tgi.url, model=MODEL, chat=True) as here:
        answer = await here.complete(mutation())

    assert isinstance(answer, Completion)
    assert tgi.asked[0].route == "/v1/chat/completions"
    assert answer.text.startswith("Here is a better network")


async def test_chat_without_a_template_is_refused(tgi: FakeTgi):
    async with asking(tgi.url, model=MODEL, chat=True) as here:
        with pytest.raises(EndpointRefused, match="template not found"):
            await here.complete(mutation())


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("overloaded", EndpointOverloaded),
        ("generation", EndpointFailed),
        ("incomplete", EndpointFailed),
        ("text_error", EndpointFailed),
        ("html", EndpointFailed),
        ("html_504", EndpointFailed),
        ("half_json", EndpointFailed),
        ("html_200", EndpointFailed),
        ("empty_object", EndpointFailed),
        ("drop", EndpointFailed),
        ("restart", EndpointFailed),
        ("hang", EndpointTimeout),
        ("drip", EndpointTimeout),
    ],
)
async def test_fault_of_tgi_is_mapped(tgi: FakeTgi, fault: str, kind: type[Exception]):
    tgi.faults.then(fault)

    async with asking(tgi.url, model=MODEL, timeout_s=0.2) as here:
        with pytest.raises(kind) as raised:
            await here.complete(mutation())

    assert type(raised.value) is kind
    assert "\n" not in str(raised.value)


# --- a real server -------------------------------------------------------------------------------

NAME = "codegen-tiny"
real = [
    pytest.mark.system,
    pytest.mark.skipif(bool(missing_parts()), reason=missing_parts() or "nothing is missing"),
]


class TestTransformersServe:
    pytestmark = real

    async def test_completion_arrives_with_its_facts(self, codegen: str):
        async with asking(codegen, max_new_tokens=16) as here:
            answer = await here.complete(mutation())

        assert isinstance(answer, Completion)
        assert answer.text
        assert (answer.writer, answer.endpoint) == ("openai", "openai")
        assert NAME in answer.model
        assert answer.finish_reason in ("length", "stop")
        assert 1 <= answer.num_tokens <= 16
        assert answer.num_prompt_tokens > 100
        assert answer.duration_s > 0

    async def test_seed_decides_on_the_text(self, codegen: str):
        async with asking(codegen, max_new_tokens=16) as here:
            texts = [(await here.complete(mutation(seed))).text for seed in (1, 2, 1)]

        assert texts[0] == texts[2] != texts[1]

    async def test_stop_text_is_cut_off(self, codegen: str):
        async with asking(codegen, max_new_tokens=16) as here:
            whole = (await here.complete(mutation())).text
            stop = next(letter for letter in whole[1:] if letter.isalpha())
            cut = (await here.complete(replace(mutation(), stops=(stop,)))).text

        assert cut == whole[: whole.index(stop)]

    async def test_unknown_model_is_refused(self, codegen: str):
        async with asking(codegen, model="other") as here:
            with pytest.raises(EndpointRefused, match=NAME):
                await here.describe()

    async def test_unknown_field_is_refused(self, codegen: str):
        async with asking(codegen, extra_body={"top_k": 5}) as here:
            with pytest.raises(EndpointRefused, match="top_k"):
                await here.complete(mutation())

    async def test_request_beyond_the_context_is_a_fault_unless_the_limit_is_set(self, codegen: str):
        """This server tells no limit, and answers 500 to what is beyond it."""
        long = replace(mutation(), continuation="x\n" * 5000)
        async with asking(codegen, max_new_tokens=16) as here:
            with pytest.raises(EndpointFailed, match="got 500"):
                await here.complete(long)
        async with asking(codegen, max_new_tokens=16, max_input_tokens=2032) as here:
            assert isinstance(await here.complete(long), TooLong)

    async def test_many_at_once_are_all_answered(self, codegen: str):
        async with asking(codegen, max_new_tokens=8) as here:
            answers = await asyncio.gather(*(here.complete(mutation(seed)) for seed in range(8)))

        assert all(isinstance(answer, Completion) for answer in answers)


@pytest.mark.parametrize("status", [401, 422, 500])
async def test_key_that_a_server_quotes_back_is_not_repeated(status: int):
    quoted = (status, "text/plain", f"Incorrect API key provided: {KEY}. Find yours elsewhere.")

    async with server(completions=quoted) as there, asking(there.url, token=KEY) as here:
        with pytest.raises(WriterUnavailable) as caught:
            await here.complete(mutation())

    assert is_told_well(caught.value, there.url)
    assert "***" in str(caught.value)
