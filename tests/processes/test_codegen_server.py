"""The foreign server keeps what the tests that use it rely on."""

import http.client
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.codegen_server import clean_environment, codegen_server, make_model, missing_parts

NAME = "codegen-tiny"
PROMPT = "from torch import nn\n\n\nclass Net(nn.Module):\n"

pytestmark = [pytest.mark.system, pytest.mark.skipif(bool(missing_parts()), reason=missing_parts())]


@pytest.fixture
def server(codegen: str) -> str:
    return codegen


def ask(url: str, method: str, route: str, body: object = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request(method, route, json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def complete(url: str, **changes: object) -> dict[str, Any]:
    body = {"model": NAME, "prompt": PROMPT, "max_tokens": 32, "seed": 1, **changes}
    status, text = ask(url, "POST", "/v1/completions", body)
    assert status == 200, text
    return json.loads(text)


def text_of(completion: dict[str, Any]) -> str:
    return completion["choices"][0]["text"]


def test_completion_keeps_to_max_tokens(server: str) -> None:
    completion = complete(server, max_tokens=5)

    assert text_of(completion)
    assert 1 <= completion["usage"]["completion_tokens"] <= 5


def test_completion_follows_from_seed(server: str) -> None:
    texts = [text_of(complete(server, seed=seed)) for seed in (1, 2, 1)]

    assert texts[0] == texts[2] != texts[1]


def test_completion_at_temperature_0_ignores_seed(server: str) -> None:
    texts = [text_of(complete(server, seed=seed, temperature=0)) for seed in (1, 2)]

    assert texts[0] == texts[1]


def test_finish_reason_is_length_at_max_tokens(server: str) -> None:
    completion = complete(server, max_tokens=1)

    assert completion["choices"][0]["finish_reason"] == "length"


def test_stop_text_ends_completion_and_is_kept(server: str) -> None:
    """The protocol leaves it out; this server does not."""
    stop = next(letter for letter in text_of(complete(server)) if letter.isalpha())

    completion = complete(server, stop=[stop])

    assert completion["choices"][0]["finish_reason"] == "stop"
    assert stop in text_of(completion)


def test_prompt_beyond_context_is_an_internal_error(server: str) -> None:
    body = {"model": NAME, "prompt": "x\n" * 3000, "max_tokens": 1}

    status, text = ask(server, "POST", "/v1/completions", body)

    assert (status, text) == (500, "Internal Server Error")


def test_unknown_field_is_refused(server: str) -> None:
    body = {"model": NAME, "prompt": PROMPT, "top_k": 5}

    status, text = ask(server, "POST", "/v1/completions", body)

    assert status == 422
    assert "top_k" in json.loads(text)["detail"]


def test_models_lists_folder_name(server: str) -> None:
    status, text = ask(server, "GET", "/v1/models")

    assert status == 200
    assert [model["id"] for model in json.loads(text)["data"]] == [NAME]


def test_model_takes_as_many_tokens_as_were_asked_for(tmp_path: Path) -> None:
    make_model(tmp_path / NAME, context=2048)

    described = json.loads((tmp_path / NAME / "config.json").read_text())
    assert (described["n_positions"], described["n_ctx"]) == (2048, 2048)


def test_environment_of_the_server_knows_no_proxy_and_no_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "https_proxy", "HF_TOKEN", "TRANSFORMERS_CACHE"):
        monkeypatch.setenv(name, "elsewhere")

    environment = clean_environment(tmp_path)

    assert "elsewhere" not in environment.values()
    assert (environment["HF_HOME"], environment["HF_HUB_OFFLINE"]) == (str(tmp_path), "1")


def test_failed_start_shows_log(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()

    with (
        pytest.raises(RuntimeError, match="the server ended with 1; last lines of its log follow\n"),
        codegen_server(tmp_path / NAME, tmp_path / "server.log"),
    ):
        pass
