"""The transport of huggingface_hub: what it drops, what it leaves alone, and whom it asks."""

import json
from typing import Any

import pytest

from llmatic_daemon.adapters.llm.hub_transport import LeanTransport, lean

DETAILS: dict[str, Any] = {
    "finish_reason": "length",
    "generated_tokens": 2,
    "seed": 7,
    "prefill": [],
    "tokens": [{"id": 1, "text": '],"tokens":[', "logprob": -0.5, "special": False}],
}
#: A text that looks like the place where the tokens begin.
TEXT = 'x = {"a": 1,"tokens":[2]}\n'


def light(content: str, num_prompt_tokens: str | None = "12") -> Any:
    return json.loads(lean(content.encode(), num_prompt_tokens))


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize(
    "answer",
    [
        {"generated_text": TEXT, "details": DETAILS},
        {"details": DETAILS, "generated_text": TEXT},
        {"generated_text": TEXT, "details": {**DETAILS, "top_tokens": [[1]]}},
        {"generated_text": TEXT, "details": {"tokens": [], **DETAILS}},
        {"generated_text": TEXT, "details": {"finish_reason": "length", "generated_tokens": 2, "seed": 7}},
    ],
    ids=["as-tgi-writes-it", "details-first", "more-behind", "tokens-first", "no-tokens"],
)
def test_tokens_are_dropped_and_the_facts_kept(answer: dict[str, Any], separators: tuple[str, str]):
    found = light(json.dumps(answer, separators=separators))

    assert found == {
        "generated_text": TEXT,
        "details": {"finish_reason": "length", "generated_tokens": 2, "seed": 7, "prompt_tokens": "12"},
    }


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "null",
        "[]",
        '[{"generated_text": "x"}]',
        '{"generated_text": "x"}',
        '{"details": {"tokens": []}}',
        '{"generated_text": "x", "details": null}',
        '{"error": "Model is overloaded", "error_type": "overloaded"}',
        "<html></html>",
        '{"generated_text": "cla',
        "[" * 100_000,
    ],
)
def test_other_content_stays_as_it_is(content: str):
    assert lean(content.encode()) == content.encode()


@pytest.mark.parametrize(
    ("url", "proxied"),
    [
        ("http://127.0.0.1:8080/generate", False),
        ("http://localhost:8080/generate", False),
        ("http://gpu.example/generate", True),
        ("https://gpu.example/generate", True),
        ("http://near.example/generate", False),
    ],
)
async def test_proxy_of_the_environment_is_for_the_world_outside(
    monkeypatch: pytest.MonkeyPatch, url: str, proxied: bool
):
    import httpx2

    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("all_proxy", "http://proxy.example:3129")
    monkeypatch.setenv("no_proxy", "near.example")
    transport = LeanTransport()

    chosen = transport._transport_for(httpx2.URL(url))

    assert (chosen is not transport._direct) is proxied
    await transport.aclose()
