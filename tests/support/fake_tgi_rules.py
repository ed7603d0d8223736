"""What the fake text-generation-inference is asked, and the rules that a request must keep."""

import json
import re
import zlib
from dataclasses import dataclass
from typing import Annotated, Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

_TOKENS = re.compile(r"\w+|[^\w\s]|\n|[^\S\n]+")
#: Counted as a token, and no part of a text.
EOS = "<|endoftext|>"


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What /info tells: the launcher's settings for CodeGen-6B-mono."""

    model_id: str = "Salesforce/codegen-6B-mono"
    model_sha: str = "f" * 40
    max_input_tokens: int = 1698
    max_total_tokens: int = 2048
    max_concurrent_requests: int = 32
    max_best_of: int = 2
    max_stop_sequences: int = 4
    max_client_batch_size: int = 4
    disable_grammar_support: bool = True
    version: str = "3.3.5"


Size = Annotated[int, Field(ge=0, lt=1 << 32)]
Seed = Annotated[int, Field(ge=0, lt=1 << 64)]


class GenerateRequest(BaseModel):
    """A body of /generate, its parameters beside its inputs; unknown ones are ignored."""

    model_config = ConfigDict(frozen=True, strict=True)

    inputs: str
    best_of: Size | None = None
    details: bool = False
    do_sample: bool = False
    grammar: dict[str, Any] | None = None
    max_new_tokens: Size | None = None
    return_full_text: bool | None = None
    seed: Seed | None = None
    stop: list[str] = []
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    truncate: Size | None = None

    @property
    def sampled(self) -> bool:
        """A temperature of exactly 1.0 asks for nothing: without `do_sample` it is greedy."""
        warm = self.temperature not in (None, 1.0)
        return self.do_sample or warm or self.top_k is not None or self.top_p is not None


class Refused(Exception):
    """An error as the router words it: a status and {"error", "error_type"}."""

    def __init__(self, status: int, error_type: str, error: str) -> None:
        super().__init__(error)
        self.status = status
        self.body = {"error": error, "error_type": error_type}


class Malformed(Exception):
    """A body that never reaches the router: a status and plain text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def _mistyped(error: object) -> Malformed:
    reason = "Failed to deserialize the JSON body into the target type"
    return Malformed(422, f"{reason}: {error}")


async def read_json(http: web.Request) -> dict[str, Any]:
    """Read a body as axum does: what it cannot read is answered as plain text."""
    if http.content_type != "application/json":
        raise Malformed(415, "Expected request with `Content-Type: application/json`")
    try:
        body = json.loads(await http.read())
    except web.HTTPRequestEntityTooLarge:
        raise Malformed(413, "Failed to buffer the request body: length limit exceeded") from None
    except ValueError as error:
        reason = f"Failed to parse the request body as JSON: {error}"
        raise Malformed(400, reason) from error
    if not isinstance(body, dict):
        raise _mistyped("must be an object")
    return body


def read_request(body: dict[str, Any]) -> GenerateRequest:
    """Read a body of /generate; a wrong type or a seed beyond u64 never reaches the rules."""
    try:
        parameters = dict(body.get("parameters", {}))
        return GenerateRequest.model_validate(parameters | {"inputs": body.get("inputs")})
    except (TypeError, ValueError) as error:
        raise _mistyped(error) from error


def read_completion(body: dict[str, Any], limits: Limits) -> list[GenerateRequest]:
    """Read a body of /v1/completions: one request a prompt; temperature 0 is greedy."""
    prompts = [body["prompt"]] if isinstance(body.get("prompt"), str) else body.get("prompt")
    if not isinstance(prompts, list):
        raise _mistyped("prompt must be a text or a list of texts")
    if body.get("suffix") is not None:
        raise Refused(422, "suffix not supported", "Suffix is not supported")
    if len(prompts) > (most := limits.max_client_batch_size):
        reason = f"Number of prompts exceeds the maximum allowed batch size of {most}"
        raise Refused(422, "batch size exceeded", reason)
    return [_openai_request(body, prompt) for prompt in prompts]


def read_chat(body: dict[str, Any]) -> GenerateRequest:
    """Read a body of /v1/chat/completions, with a template of our own."""
    try:
        turns = [f"<|{turn['role']}|>\n{turn['content']}" for turn in body["messages"]]
    except (KeyError, TypeError):
        raise _mistyped("messages must have roles and contents") from None
    return _openai_request(body, "\n".join(turns))


def _openai_request(body: dict[str, Any], inputs: str) -> GenerateRequest:
    if body.get("stream"):
        raise Refused(422, "validation", "this fake does not stream on the OpenAI routes")
    temperature, stop = body.get("temperature"), body.get("stop") or []
    parameters = {
        "do_sample": temperature != 0,
        "temperature": temperature or None,
        "top_p": body.get("top_p"),
        "seed": body.get("seed"),
        "stop": [stop] if isinstance(stop, str) else stop,
        "max_new_tokens": body.get("max_tokens", 100),
    }
    return read_request({"inputs": inputs, "parameters": parameters})


def tokenize(text: str) -> list[str]:
    """Split into words, signs, line ends and runs of blanks; together they are the text."""
    return _TOKENS.findall(text)


def token_id(token: str) -> int:
    """Number a token: CodeGen's own number for the end of text, a digest for all others."""
    return 50_256 if token == EOS else zlib.crc32(token.encode(errors="replace")) % 50_256


def check(request: GenerateRequest, limits: Limits) -> list[str]:
    """Refuse what breaks a rule, the first in the router's order.

    Returns:
        The prompt's tokens, the last `truncate` of them.
    """
    tokens = tokenize(request.inputs)[-(request.truncate or 0) :]
    rules = _sampling_rules(request, limits) + _length_rules(request, limits, len(tokens))
    for kept, message in rules:
        if not kept:
            raise Refused(422, "validation", f"Input validation error: {message}")
    return tokens


def _positive(value: float | None) -> bool:
    return value is None or value > 0


def _sampling_rules(request: GenerateRequest, limits: Limits) -> list[tuple[bool, str]]:
    best_of, most = request.best_of or 1, limits.max_best_of
    chance = request.sampled or request.temperature is not None
    alone = best_of == 1 or request.seed is None
    unit = request.top_p is None or 0 < request.top_p < 1
    return [
        (best_of <= most, f"`best_of` must be > 0 and <= {most}. Given: {best_of}"),
        (best_of == 1 or chance, "you must use sampling when `best_of` is > 1"),
        (_positive(request.temperature), "`temperature` must be strictly positive"),
        (unit, "`top_p` must be > 0.0 and < 1.0"),
        (_positive(request.top_k), "`top_k` must be strictly positive"),
        (alone, "`seed` must not be set when `best_of` > 1"),
    ]


def _length_rules(request: GenerateRequest, limits: Limits, size: int) -> list[tuple[bool, str]]:
    new, total, longest = request.max_new_tokens, limits.max_total_tokens, limits.max_input_tokens
    stops, most, last = len(request.stop), limits.max_stop_sequences, request.truncate
    few = f"`truncate` must be strictly positive and less than {longest}. Given: {last}"
    sizes = f"{size} `inputs` tokens and {new or 0} `max_new_tokens`"
    room = f"`inputs` tokens + `max_new_tokens` must be <= {total}. Given: {sizes}"
    return [
        (_positive(new), "`max_new_tokens` must be strictly positive"),
        (stops <= most, f"`stop` supports up to {most} stop sequences. Given: {stops}"),
        (request.inputs != "", "`inputs` cannot be empty"),
        (last is None or 0 < last <= longest, few),
        (size + (new or 0) <= total, room),
        (size <= longest, f"`inputs` must have less than {longest} tokens. Given: {size}"),
        (not (request.grammar and limits.disable_grammar_support), "grammar is not supported"),
    ]
