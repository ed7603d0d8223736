"""Client for text-generation-inference, by huggingface_hub; `/info` and `/tokenize` by aiohttp."""

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from llmatic_daemon.adapters.llm import responses
from llmatic_daemon.adapters.llm.endpoint import Client, ClientOptions, Served
from llmatic_daemon.domain import Completion, Request, TooLong, errors
from llmatic_daemon.domain.text import without_surrogates

if TYPE_CHECKING:
    import aiohttp

#: Sent if there is no key, because huggingface_hub would send the user's saved token.
_NO_TOKEN = "none"
#: Upper bound of the special tokens that a tokenizer adds to a text.
_NUM_SPECIAL = 8


class TGIClient(Client):
    """Client of `/generate`. The model continues a file, because CodeGen has no chat template.

    Args:
        url: Of the server.
        options: A `top_p` of 1 is left out, as the server rejects it. A server without grammar support
            (`--disable-grammar-support`) rejects each request that has a grammar.

    Raises:
        ConfigurationError: HF_HUB_OFFLINE is set, so huggingface_hub calls no server.
    """

    def __init__(self, url: str, options: ClientOptions) -> None:
        from huggingface_hub import (  # takes 0.5 s, and only this client needs it
            AsyncInferenceClient,
            TextGenerationInputGrammarType,
        )

        from llmatic_daemon.adapters.llm import hub_transport

        _check_environment(url)
        hub_transport.install()
        self._url = url
        responses.redact(options.token)
        self._token = options.token
        self._client = AsyncInferenceClient(f"{url}/generate", token=options.token or _NO_TOKEN)
        self._session: aiohttp.ClientSession | None = None
        self._max_new_tokens = options.max_new_tokens
        self._max_input_tokens = options.max_input_tokens
        self._top_p = options.top_p if options.top_p < 1 else None
        grammar = options.grammar
        self._grammar = TextGenerationInputGrammarType(type="regex", value=grammar) if grammar else None

    async def describe(self) -> Served:
        """Request `/info`."""
        info = await self._fetch("GET", "/info")
        if not isinstance(info, dict) or not isinstance(info.get("model_id"), str):
            raise errors.EndpointFailed(
                f"{self._url}/info must describe a model, got {responses.quote(json.dumps(info))}; "
                'for other servers set writer.kind = "openai"'
            )
        return Served(
            model=without_surrogates(info["model_id"]),
            version=without_surrogates(str(info.get("model_sha") or info.get("version") or "")),
            max_input_tokens=self._input_limit(info),
            max_concurrency=_count(info, "max_concurrent_requests"),
        )

    def _input_limit(self, info: Mapping[str, Any]) -> int | None:
        """Return the smallest of all limits, less the answer's length where the limit includes it."""
        total, most = _count(info, "max_total_tokens"), _count(info, "max_input_tokens")
        rest = total - self._max_new_tokens if total else None
        limits = [limit for limit in (self._max_input_tokens, most, rest) if limit]
        if total and rest is not None and rest <= 0:
            raise responses.context_too_small(self._url, total, self._max_new_tokens)
        return min(limits, default=None)

    async def generate(self, request: Request, served: Served) -> Completion | TooLong:
        """Request one completion."""
        text = without_surrogates(request.continuation)
        length = await self._length(text, served.max_input_tokens)
        if length.is_too_much:
            return length.complaint()
        try:
            answer = await self._ask(text, request)
        except Exception as error:
            fault = _explained(error, self._url)
            if isinstance(fault, errors.EndpointRefused) and responses.is_length_complaint(str(fault)):
                return length.complaint()
            raise fault from error
        return self._completion(answer, text, request, served)

    async def _length(self, text: str, limit: int | None) -> responses.Length:
        """Count a request's tokens by `/tokenize`, unless its number of bytes fits already.

        Each token has at least one byte; exception: the tokens that a tokenizer adds around a text.
        """
        num_bytes = len(text.encode())
        if limit is None or num_bytes + _NUM_SPECIAL <= limit:
            return responses.Length(num_bytes, limit)
        tokens = await self._fetch("POST", "/tokenize", {"inputs": text})
        if not isinstance(tokens, list):
            raise errors.EndpointFailed(f"{self._url}/tokenize must answer with a list of tokens")
        return responses.Length(len(tokens), limit)

    async def _ask(self, text: str, request: Request) -> Any:
        """Request one sample; without `do_sample` the server ignores a temperature of 1."""
        return await self._client.text_generation(
            text,
            details=True,
            stream=False,
            do_sample=True,
            return_full_text=False,
            max_new_tokens=self._max_new_tokens,
            temperature=request.temperature,
            top_p=self._top_p,
            grammar=self._grammar,
            seed=request.seed,
            stop=list(request.stops),
        )

    def _completion(self, answer: Any, asked: str, request: Request, served: Served) -> Completion:
        """Check an answer, because the library accepts `{}` with status 200."""
        text, details = answer.generated_text, answer.details
        if not isinstance(text, str):
            raise errors.EndpointFailed(
                f"{self._url} must answer with generated_text, got {responses.quote(repr(answer))}"
            )
        return Completion(
            text=responses.cut_at_stop(text.removeprefix(asked), request.stops),
            writer="tgi",
            model=served.model,
            version=served.version,
            finish_reason=responses.finish_reason(getattr(details, "finish_reason", None)),
            num_prompt_tokens=responses.counted(_number(getattr(details, "prompt_tokens", None))),
            num_tokens=responses.counted(getattr(details, "generated_tokens", None)),
        )

    async def _fetch(self, method: str, path: str, body: object = None) -> Any:
        """Call a route that huggingface_hub does not support for a server's own address."""
        import aiohttp

        if self._session is None:
            key = {"Authorization": f"Bearer {self._token}"} if self._token else {}
            is_local = urlsplit(self._url).hostname in responses.LOOPBACK
            self._session = aiohttp.ClientSession(headers=key, trust_env=not is_local)
        try:
            url = f"{self._url}{path}"
            async with self._session.request(method, url, json=body) as response:
                content = await response.text(errors="replace")
        except (aiohttp.ClientError, OSError) as error:
            raise _no_connection(self._url, error) from error
        if response.status != 200:
            raise responses.status_fault(response.status, responses.quote(content), f"{self._url}{path}")
        try:
            return json.loads(content)
        except ValueError as error:
            raise responses.not_json(f"{self._url}{path}", content) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()  # type: ignore[no-untyped-call]
        if self._session is not None:
            await self._session.close()
            await asyncio.sleep(0)  # the transports close in the loop's next round


def _check_environment(url: str) -> None:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise errors.ConfigurationError(
            "HF_HUB_OFFLINE must not be set, because huggingface_hub would not call "
            f'{url}; unset it, or use writer.kind = "openai"'
        )


def _number(header: str | None) -> int | None:
    return int(header) if header is not None and header.isdecimal() else None


def _count(info: Mapping[str, Any], name: str) -> int | None:
    return responses.counted(info.get(name)) or None


def _explained(error: Exception, url: str) -> errors.WriterUnavailable:
    """Map huggingface_hub's exceptions to the errors of `WriterUnavailable`."""
    from huggingface_hub import errors as theirs

    said = responses.quote(str(error))
    if isinstance(error, theirs.InferenceTimeoutError | TimeoutError):
        return responses.timed_out(url)
    if isinstance(error, theirs.OverloadedError):
        return errors.EndpointOverloaded(f"{url} has no room: {said}")
    if isinstance(error, theirs.ValidationError):
        return errors.EndpointRefused(f"{url} rejects the request: {said}", concerns_all=False)
    if isinstance(error, theirs.GenerationError | theirs.IncompleteGenerationError):
        return errors.EndpointFailed(f"{url} failed during generation: {said}")
    answered = error.__cause__ if isinstance(error, theirs.TextGenerationError) else error
    if isinstance(answered, theirs.HfHubHTTPError) and answered.response is not None:
        response = answered.response
        return responses.status_fault(response.status_code, responses.quote(response.text), url)
    if isinstance(error, json.JSONDecodeError):
        return responses.not_json(url, error.doc)
    if isinstance(error, OSError) or type(error).__module__.startswith(_TRANSPORTS):
        return _no_connection(url, error)
    if isinstance(error, ValueError | LookupError | TypeError | AttributeError):
        return errors.EndpointFailed(f"{url} must answer with a completion, got {said}")
    raise error  # a bug in this package


#: Packages whose errors a lost connection raises; they differ by version of huggingface_hub.
_TRANSPORTS = ("httpx", "httpcore", "aiohttp")


def _no_connection(url: str, error: Exception) -> errors.WriterUnavailable:
    return responses.unreachable(url, str(error) or type(error).__name__)
