"""The fake TGI, rule by rule over raw HTTP, and as huggingface_hub meets it."""

import asyncio
import contextlib
import io
import json
import re
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest
from aiohttp import ClientConnectionError, ClientPayloadError, ClientSession, ClientTimeout
from huggingface_hub import AsyncInferenceClient, errors

from tests.support.fake_tgi import KINDS, FakeTgi, FaultPlan, fake_tgi
from tests.support.fake_tgi_responses import continuation
from tests.support.fake_tgi_rules import GenerateRequest, tokenize
from tests.support.paths import ROOT

PARENT = """\
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3)
        self.fc1 = nn.Linear(4, 7)
"""


def say(text: str) -> Callable[[GenerateRequest], str]:
    return lambda request: text


def asking(inputs: str = "one two", **parameters: Any) -> dict[str, Any]:
    return {"inputs": inputs, "parameters": parameters}


@pytest.fixture
async def http() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


@pytest.fixture
async def tgi() -> AsyncIterator[FakeTgi]:
    async with fake_tgi(answer=say("class Net: pass\nend\n")) as tgi:
        yield tgi


async def post(http: ClientSession, url: str, body: Any, **headers: str) -> tuple[int, Any, dict[str, str]]:
    async with http.post(url, json=body, headers=headers) as response:
        as_json = response.content_type == "application/json"
        answer = await (response.json() if as_json else response.text())
        return response.status, answer, dict(response.headers)


async def until_it_hangs(tgi: FakeTgi) -> None:
    while not tgi.in_flight:  # noqa: ASYNC110 - a few turns of the loop, and no event to wait for
        await asyncio.sleep(0)


async def get(http: ClientSession, url: str) -> tuple[int, str]:
    async with http.get(url) as response:
        return response.status, await response.text()


# Routes


async def test_generate_answers_an_object_without_the_prompt(tgi, http):
    status, body, _ = await post(http, f"{tgi.url}/generate", asking())

    assert (status, body) == (200, {"generated_text": "class Net: pass\nend\n"})


async def test_compat_answers_a_list_with_the_prompt_in_front(tgi, http):
    _, body, _ = await post(http, f"{tgi.url}/", asking())

    assert body == [{"generated_text": "one twoclass Net: pass\nend\n"}]


@pytest.mark.parametrize("route", ["/", "/generate"])
@pytest.mark.parametrize(("full", "start"), [(True, "one two"), (False, "class")])
async def test_return_full_text_decides_on_the_prompt(tgi, http, route, full, start):
    _, body, _ = await post(http, tgi.url + route, asking(return_full_text=full))

    [answer] = body if route == "/" else [body]
    assert answer["generated_text"].startswith(start)


async def test_details_tell_tokens_and_seed(tgi, http):
    parameters = {"details": True, "do_sample": True, "seed": 7}
    _, body, _ = await post(http, f"{tgi.url}/generate", asking(**parameters))

    details = body["details"]
    assert details["finish_reason"] == "eos_token"
    assert (details["seed"], details["prefill"]) == (7, [])
    assert details["generated_tokens"] == len(details["tokens"])
    assert details["tokens"][-1]["special"]
    plain = [token["text"] for token in details["tokens"] if not token["special"]]
    assert "".join(plain) == body["generated_text"]


async def test_headers_tell_tokens_and_times_in_ms(tgi, http):
    _, _, headers = await post(http, f"{tgi.url}/generate", asking("one two", max_new_tokens=4))

    assert (headers["x-prompt-tokens"], headers["x-generated-tokens"]) == ("3", "4")
    assert all(headers[f"x-{time}-time"].isdigit() for time in ("queue", "inference", "total"))


async def test_stream_ends_with_the_whole_text(tgi, http):
    body = asking(details=True, max_new_tokens=3)
    status, text, headers = await post(http, f"{tgi.url}/generate_stream", body)

    events = [json.loads(event.removeprefix("data: ")) for event in text.split("\n\n")[:-1]]
    assert (status, headers["Content-Type"]) == (200, "text/event-stream")
    assert [event["token"]["text"] for event in events] == ["class", " ", "Net"]
    assert [event["generated_text"] for event in events] == [None, None, "class Net"]
    assert events[-1]["details"]["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("fault", "error_type"),
    [
        ("none", "validation"),
        ("overloaded", "overloaded"),
        ("generation", "generation"),
        ("incomplete", "incomplete_generation"),
    ],
)
async def test_stream_tells_errors_as_data_under_200(tgi, http, fault, error_type):
    tgi.faults.then(fault)

    status, text, _ = await post(http, f"{tgi.url}/generate_stream", asking(""))

    assert status == 200
    assert json.loads(text.removeprefix("data: "))["error_type"] == error_type


async def test_completions_speak_openai(tgi, http):
    body = {"model": "tgi", "prompt": "one two", "max_tokens": 100, "stop": ["pass"]}
    _, answer, _ = await post(http, f"{tgi.url}/v1/completions", body)

    [choice] = answer["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("class Net: ", "stop_sequence")
    assert answer["object"] == "text_completion"
    assert answer["usage"]["prompt_tokens"] == 3
    assert answer["usage"]["total_tokens"] == 3 + answer["usage"]["completion_tokens"]


@pytest.mark.parametrize(("temperature", "sampled"), [(0, False), (1.0, True), (None, True)])
async def test_completions_are_greedy_at_temperature_0(tgi, http, temperature, sampled):
    body = {"prompt": "one", "temperature": temperature}
    status, _, _ = await post(http, f"{tgi.url}/v1/completions", body)

    assert (status, tgi.requests[0].sampled) == (200, sampled)


async def test_completions_take_at_most_4_prompts(tgi, http):
    url = f"{tgi.url}/v1/completions"
    status, body, _ = await post(http, url, {"prompt": list("abcd")})
    too_many, _, _ = await post(http, url, {"prompt": list("abcde")})

    assert (status, [choice["index"] for choice in body["choices"]]) == (200, [0, 1, 2, 3])
    assert too_many == 422


async def test_chat_needs_a_template(tgi, http):
    body = {"messages": [{"role": "user", "content": PARENT}]}
    status, answer, _ = await post(http, f"{tgi.url}/v1/chat/completions", body)
    async with fake_tgi(chat=True) as chatting:
        _, told, _ = await post(http, f"{chatting.url}/v1/chat/completions", body)

    assert (status, answer["error_type"]) == (422, "template_error")
    assert "```python\nfrom torch import nn" in told["choices"][0]["message"]["content"]


async def test_tokenize_measures_what_the_limits_measure(tgi, http):
    inputs = "class Net:\n    é = 1"
    _, tokens, _ = await post(http, f"{tgi.url}/tokenize", {"inputs": inputs})
    _, _, headers = await post(http, f"{tgi.url}/generate", asking(inputs))

    assert all(inputs[token["start"] : token["stop"]] == token["text"] for token in tokens)
    assert "".join(token["text"] for token in tokens) == inputs
    assert int(headers["x-prompt-tokens"]) == len(tokens) <= len(inputs)


async def test_info_tells_model_and_limits(tgi, http):
    status, text = await get(http, f"{tgi.url}/info")

    info = json.loads(text)
    assert (status, info["model_id"]) == (200, "Salesforce/codegen-6B-mono")
    assert (info["max_input_tokens"], info["max_total_tokens"]) == (1698, 2048)
    assert (info["max_concurrent_requests"], info["max_stop_sequences"]) == (32, 4)
    assert re.fullmatch(r"3\.3\.\d", info["version"])
    assert len(info["model_sha"]) == 40


async def test_health_is_503_when_the_shard_is_not(tgi, http):
    good = await get(http, f"{tgi.url}/health")
    tgi.healthy = False
    status, text = await get(http, f"{tgi.url}/health")

    assert good == (200, "")
    assert (status, json.loads(text)["error_type"]) == (503, "healthcheck")


async def test_metrics_count_requests(tgi, http):
    await post(http, f"{tgi.url}/generate", asking())
    await post(http, f"{tgi.url}/generate", asking(""))

    _, text = await get(http, f"{tgi.url}/metrics")

    assert {"tgi_request_count 2", "tgi_request_success 1", "tgi_request_failure 1"} < set(text.splitlines())


async def test_key_is_needed_but_for_what_is_open(http):
    async with fake_tgi(api_key="secret") as tgi:
        url = f"{tgi.url}/generate"
        none, wrong, right = [
            (await post(http, url, asking(), **key))[:2]
            for key in ({}, {"Authorization": "Bearer no"}, {"Authorization": "Bearer secret"})
        ]
        no_key, _, _ = await post(http, f"{tgi.url}/tokenize", asking())
        opened = [(await get(http, tgi.url + at))[0] for at in ("/info", "/health", "/metrics")]

    assert none == wrong == (401, "")
    assert (right[0], no_key, opened) == (200, 401, [200, 200, 200])


# Rules


@pytest.mark.parametrize(
    ("inputs", "parameters", "message"),
    [
        ("", {}, "`inputs` cannot be empty"),
        ("a", {"temperature": 0.0}, "`temperature` must be strictly positive"),
        ("a", {"temperature": -1}, "`temperature` must be strictly positive"),
        ("a", {"top_p": 0.0}, "`top_p` must be > 0.0 and < 1.0"),
        ("a", {"top_p": 1.0}, "`top_p` must be > 0.0 and < 1.0"),
        ("a", {"top_k": 0}, "`top_k` must be strictly positive"),
        ("a", {"stop": list("abcde")}, "`stop` supports up to 4 stop sequences. Given: 5"),
        ("a", {"max_new_tokens": 0}, "`max_new_tokens` must be strictly positive"),
        ("a", {"best_of": 2}, "you must use sampling when `best_of` is > 1"),
        ("a", {"best_of": 2, "do_sample": True, "seed": 1}, "`seed` must not be set when"),
        ("a", {"best_of": 3, "do_sample": True}, "`best_of` must be > 0 and <= 2. Given: 3"),
        ("a", {"truncate": 0}, "`truncate` must be strictly positive and less than 1698. Given: 0"),
        ("a", {"grammar": {"type": "regex", "value": "x"}}, "grammar is not supported"),
        ("a " * 900, {}, "`inputs` must have less than 1698 tokens. Given: 1800"),
        (
            "a " * 900,
            {"max_new_tokens": 350},
            "`inputs` tokens + `max_new_tokens` must be <= 2048. "
            "Given: 1800 `inputs` tokens and 350 `max_new_tokens`",
        ),
    ],
)
async def test_broken_rule_is_a_validation_error(tgi, http, inputs, parameters, message):
    status, body, _ = await post(http, f"{tgi.url}/generate", asking(inputs, **parameters))

    assert (status, body["error_type"]) == (422, "validation")
    assert body["error"].startswith(f"Input validation error: {message}")


@pytest.mark.parametrize(
    "parameters",
    [
        {"top_p": 0.95, "top_k": 5, "temperature": 0.1},
        {"stop": list("abcd"), "max_new_tokens": 2047},
        {"best_of": 2, "do_sample": True},
        {"seed": 2**64 - 1},
        {"unheard_of": 1},
    ],
)
async def test_what_the_rules_allow_is_written(tgi, http, parameters):
    status, _, _ = await post(http, f"{tgi.url}/generate", asking("a", **parameters))

    assert status == 200


async def test_grammar_is_taken_where_it_is_enabled(http):
    async with fake_tgi(disable_grammar_support=False) as tgi:
        body = asking(grammar={"type": "regex", "value": "x"})
        status, _, _ = await post(http, f"{tgi.url}/generate", body)

    assert status == 200


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        ('{"inputs": ', "application/json", 400),
        ('{"inputs": "a"}', "text/plain", 415),
        ('{"parameters": {}}', "application/json", 422),
        ('{"inputs": "a", "parameters": {"seed": -1}}', "application/json", 422),
        ('{"inputs": "a", "parameters": {"seed": 18446744073709551616}}', "application/json", 422),
        ('{"inputs": "a", "parameters": {"top_p": "0.9"}}', "application/json", 422),
        ('{"inputs": "a", "parameters": {"do_sample": null}}', "application/json", 422),
        (f'{{"inputs": "{"a" * 2_000_000}"}}', "application/json", 413),
    ],
    ids=["syntax", "type", "missing", "negative", "beyond u64", "text", "null", "large"],
)
async def test_malformed_body_is_answered_as_text(tgi, http, body, content_type, status):
    headers = {"Content-Type": content_type}
    data = io.BytesIO(body.encode())
    async with http.post(f"{tgi.url}/generate", data=data, headers=headers) as response:
        answer = response.status, response.content_type, bool(await response.text())

    assert answer == (status, "text/plain", True)


@pytest.mark.parametrize(
    ("parameters", "sampled"),
    [
        ({}, False),
        ({"temperature": 1.0}, False),
        ({"temperature": 1.0, "do_sample": True}, True),
        ({"do_sample": True}, True),
        ({"temperature": 0.99}, True),
        ({"top_k": 3}, True),
        ({"top_p": 0.9}, True),
        ({"seed": 3}, False),
    ],
)
async def test_sampling_is_inferred_unless_it_is_asked_for(http, parameters, sampled):
    """Temperature 1.0 alone is greedy: two seeds then give one answer."""
    async with fake_tgi() as tgi:
        answers = {
            (await post(http, f"{tgi.url}/generate", asking(**parameters | {"seed": seed})))[1][
                "generated_text"
            ]
            for seed in range(4)
        }
        told = {received.sampled for received in tgi.requests}

    assert told == {sampled}
    assert (len(answers) > 1) == sampled


async def test_stop_text_stays_in_the_output(tgi, http):
    body = asking(stop=["end", "pass"], details=True)
    _, answer, _ = await post(http, f"{tgi.url}/generate", body)

    assert answer["generated_text"] == "class Net: pass"
    assert answer["details"]["finish_reason"] == "stop_sequence"


async def test_output_is_cut_at_max_new_tokens(tgi, http):
    body = asking(max_new_tokens=3, details=True)
    _, answer, _ = await post(http, f"{tgi.url}/generate", body)

    assert answer["generated_text"] == "class Net"
    assert answer["details"]["finish_reason"] == "length"
    assert answer["details"]["generated_tokens"] == 3


async def test_truncate_keeps_the_last_tokens(http):
    async with fake_tgi(answer=lambda request: request.inputs, max_input_tokens=5) as tgi:
        body = asking("one two three four", truncate=3)
        _, answer, headers = await post(http, f"{tgi.url}/generate", body)

    assert (answer["generated_text"], headers["x-prompt-tokens"]) == ("three four", "3")


async def test_too_many_at_a_time_are_refused_at_once(http):
    async with fake_tgi(latency_s=lambda request: 30, max_concurrent_requests=2) as tgi:
        urls = [f"{tgi.url}/generate"] * 3
        asked = [asyncio.create_task(post(http, url, asking())) for url in urls]
        done, waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        status, body, headers = done.pop().result()
        busy = tgi.in_flight
        tgi.down()
        lost = await asyncio.gather(*waiting, return_exceptions=True)

    assert (status, body["error_type"], "Retry-After" in headers) == (429, "overloaded", False)
    assert body["error"] == "Model is overloaded"
    assert (busy, tgi.max_in_flight, tgi.in_flight) == (2, 3, 0)
    assert all(isinstance(error, ClientConnectionError) for error in lost)


# Answers


def test_default_answer_is_fixed_by_inputs_and_seed():
    request = GenerateRequest(inputs=PARENT, seed=1)
    other = GenerateRequest(inputs=PARENT, seed=2)

    assert continuation(request) == continuation(request) != continuation(other)


def test_default_answers_are_networks_for_the_parents_images():
    texts = [continuation(GenerateRequest(inputs=PARENT, seed=seed)) for seed in range(100)]

    for text in texts:
        compile(text, "answer", "exec")
        assert "class Net(nn.Module):" in text
        assert re.search(r"conv1 = nn\.Conv2d\(1, ", text)
        assert re.search(r"fc2 = nn\.Linear\(\d+, 7\)", text)
    assert 0 < sum("class Net2" in text for text in texts) < 50
    assert 0 < sum("__main__" in text for text in texts) < 50
    assert len(set(texts)) > 90


def test_default_answer_goes_on_with_a_begun_class():
    text = continuation(GenerateRequest(inputs=f"{PARENT}\n\nclass Net(nn.Module):\n", seed=1))

    assert text.startswith("    def __init__(self):")


def test_tokens_are_the_text_again():
    text = "def f(x):\r\n\treturn  x ** 2  # \u00e9\U0001f600\n\n"

    assert "".join(tokenize(text)) == text
    assert all(tokenize(text))


# Faults


@pytest.mark.parametrize(
    ("kind", "status", "content_type", "part"),
    [
        ("overloaded", 429, "application/json", '"overloaded"'),
        ("generation", 424, "application/json", '"generation"'),
        ("incomplete", 500, "application/json", '"incomplete_generation"'),
        ("half_json", 200, "application/json", '{"generated_text": "'),
        ("empty_object", 200, "application/json", "{}"),
        ("text_error", 500, "text/plain", "Error"),
        ("html", 502, "text/html", "<html>"),
        ("html_504", 504, "text/html", "<html>"),
        ("html_200", 200, "text/html", "<html>"),
    ],
)
async def test_fault_answers(tgi, http, kind, status, content_type, part):
    tgi.faults.then(kind)

    async with http.post(f"{tgi.url}/generate", json=asking()) as response:
        text = await response.text()
    after, _, _ = await post(http, f"{tgi.url}/generate", asking())

    assert (response.status, response.content_type, after) == (status, content_type, 200)
    assert part in text
    assert [received.fault for received in tgi.requests] == [kind, "none"]


async def test_empty_object_is_in_a_list_on_the_compat_route(tgi, http):
    tgi.faults.then("empty_object")

    _, body, _ = await post(http, f"{tgi.url}/", asking())

    assert body == [{}]


@pytest.mark.parametrize("kind", ["hang", "drip"])
async def test_fault_goes_on_until_the_client_goes(tgi, http, kind):
    tgi.faults.then(kind)

    with pytest.raises(TimeoutError):
        async with http.post(f"{tgi.url}/generate", json=asking(), timeout=ClientTimeout(0.05)) as response:
            await response.read()

    assert tgi.requests[0].status is None


@pytest.mark.parametrize("kind", ["hang", "drip"])
async def test_server_ends_although_a_client_waits(http, kind):
    async with fake_tgi(faults=FaultPlan(kind)) as tgi:
        waiting = asyncio.create_task(post(http, f"{tgi.url}/generate", asking()))
        await until_it_hangs(tgi)

    with pytest.raises((ClientConnectionError, ClientPayloadError)):
        await waiting


async def test_drop_ends_within_the_body(tgi, http):
    tgi.faults.then("drop")

    async with http.post(f"{tgi.url}/generate", json=asking()) as response:
        assert response.status == 200
        with pytest.raises(ClientPayloadError):
            await response.read()


async def test_other_model_shows_in_info(tgi, http):
    before = await get(http, f"{tgi.url}/info")
    tgi.faults.then("other_model")

    status, _, _ = await post(http, f"{tgi.url}/generate", asking())

    assert status == 200
    assert json.loads((await get(http, f"{tgi.url}/info"))[1])["model_id"] not in before[1]


async def test_restart_cuts_all_and_comes_back_with_other_limits(tgi, http):
    tgi.faults.then("hang", "restart")
    hanging = asyncio.create_task(post(http, f"{tgi.url}/generate", asking()))
    await until_it_hangs(tgi)

    with pytest.raises(ClientConnectionError):
        await post(http, f"{tgi.url}/generate", asking())
    with pytest.raises(ClientConnectionError):
        await hanging

    info = json.loads((await get(http, f"{tgi.url}/info"))[1])
    assert (info["max_input_tokens"], info["max_total_tokens"]) == (1024, 1536)


async def test_down_refuses_connections_until_up_on_the_same_port(tgi, http):
    url = f"{tgi.url}/health"
    tgi.down()
    with pytest.raises(ClientConnectionError):
        await get(http, url)

    await tgi.up()

    assert tgi.url in url
    assert (await get(http, url))[0] == 200


async def test_change_holds_from_the_next_request(tgi, http):
    tgi.change(max_input_tokens=2)

    status, body, _ = await post(http, f"{tgi.url}/generate", asking("a b"))

    assert (status, body["error"][-8:]) == (422, "Given: 3")


def test_random_faults_are_seeded_and_of_all_kinds():
    first, second = [FaultPlan(share=0.5, seed=3) for _ in range(2)]
    drawn = [first.draw() for _ in range(300)]

    assert drawn == [second.draw() for _ in range(300)]
    assert set(drawn) == {"none", *KINDS}
    assert 100 < drawn.count("none") < 200


def test_unknown_fault_is_refused():
    with pytest.raises(ValueError, match="a fault must be 'none' or one of"):
        FaultPlan("typo")


async def test_requests_are_recorded(tgi, http):
    await post(http, f"{tgi.url}/generate", asking(do_sample=True), Authorization="Bearer x")
    await post(http, f"{tgi.url}/generate", asking(""))

    good, bad = tgi.requests
    assert (good.route, good.json) == ("/generate", asking(do_sample=True))
    assert (good.headers["Authorization"], good.sampled) == ("Bearer x", True)
    assert (good.status, bad.status) == (200, 422)


# As a process


async def test_process_tells_its_url_and_can_be_killed(http):
    command = ["-m", "tests.support.fake_tgi", "--port", "0", "--max-input-tokens", "50"]
    pipes = {"stdout": asyncio.subprocess.PIPE, "cwd": ROOT}
    process = await asyncio.create_subprocess_exec(sys.executable, *command, **pipes)
    try:
        url = (await process.stdout.readline()).decode().strip()
        info = json.loads((await get(http, f"{url}/info"))[1])
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    assert info["max_input_tokens"] == 50
    with pytest.raises(ClientConnectionError):
        await get(http, f"{url}/info")


# As huggingface_hub meets it


async def ask_hub(url: str, inputs: str = "one two", timeout_s: float | None = None) -> Any:
    async with AsyncInferenceClient(model=f"{url}/generate", token="-", timeout=timeout_s) as client:
        return await client.text_generation(
            inputs, details=True, return_full_text=False, do_sample=True, max_new_tokens=9
        )


async def test_hub_reads_text_and_details(tgi):
    answer = await ask_hub(tgi.url)

    assert answer.generated_text == "class Net: pass\nend\n"
    assert (answer.details.finish_reason, answer.details.generated_tokens) == ("length", 9)
    assert tgi.requests[0].sampled
    assert tgi.requests[0].headers["Authorization"] == "Bearer -"


#: What a fault is in huggingface_hub 2.4, and the status that its cause still knows.
HUB_ERRORS = [
    ("overloaded", errors.OverloadedError, 429),
    ("generation", errors.GenerationError, 424),
    ("incomplete", errors.IncompleteGenerationError, 500),
    ("text_error", errors.HfHubHTTPError, 500),
    ("html", errors.HfHubHTTPError, 502),
    ("html_504", errors.HfHubHTTPError, 504),
    ("half_json", json.JSONDecodeError, None),
    ("html_200", json.JSONDecodeError, None),
    ("drop", httpx2.RemoteProtocolError, None),
    ("restart", httpx2.RemoteProtocolError, None),
    ("hang", errors.InferenceTimeoutError, None),
]


@pytest.mark.parametrize(("kind", "expected", "status"), HUB_ERRORS)
async def test_hub_names_a_fault(tgi, kind, expected, status):
    tgi.faults.then(kind)

    with pytest.raises(expected) as caught:
        await ask_hub(tgi.url, timeout_s=0.1 if kind == "hang" else 10)

    response = getattr(caught.value, "response", None) or getattr(caught.value.__cause__, "response", None)
    assert type(caught.value) is expected
    assert getattr(response, "status_code", None) == status


async def test_hub_names_a_broken_rule(tgi):
    with pytest.raises(errors.ValidationError, match="`inputs` cannot be empty") as caught:
        await ask_hub(tgi.url, "")

    assert caught.value.__cause__.response.status_code == 422


async def test_hub_names_a_wrong_key():
    async with fake_tgi(api_key="secret") as tgi:
        with pytest.raises(errors.HfHubHTTPError) as caught:
            await ask_hub(tgi.url)

    assert caught.value.response.status_code == 401


async def test_hub_passes_on_a_refused_connection(tgi):
    tgi.down()

    with pytest.raises(httpx2.ConnectError):
        await ask_hub(tgi.url)


async def test_hub_takes_an_empty_object_for_an_answer(tgi):
    tgi.faults.then("empty_object")

    answer = await ask_hub(tgi.url)

    assert answer.generated_text is None
