"""The client for text-generation-inference, by huggingface_hub; `/info` and `/tokenize` by aiohttp."""

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from llmatic_daemon.adapters.llm.endpoint import Client, Served
from llmatic_daemon.adapters.llm.responses import (
    LOOPBACK,
    Length,
    counted,
    cut_at_stop,
    finish_reason,
    is_length_complaint,
    quote,
    redact,
    status_fault,
    without_surrogates,
)
from llmatic_daemon.domain import Completion, Request, TooLong
from llmatic_daemon.domain.errors import (
    ConfigurationError,
    EndpointFailed,
    EndpointOverloaded,
    EndpointRefused,
    EndpointTimeout,
    WriterUnavailable,
)

if TYPE_CHECKING:
    import aiohttp

#: Sent when there is no key: without one, huggingface_hub sends the user's saved token.
_NO_TOKEN = "none"
#: More than any tokenizer adds to a text.
_NUM_SPECIAL = 8


class TGIClient(Client):
    """Asks `/generate`. The model continues a file: CodeGen has no chat template.

    Args:
        url: Of the server.
        token: API key, if it wants one; the user's saved one is never sent.
        max_new_tokens: That an answer may have.
        max_input_tokens: That a request may have; 0: what `/info` says.
        top_p: In (0, 1]; 1 is left out, as the server refuses it.
        grammar: Regular expression that the server holds each answer to; empty: none. One that
            holds to none (`--disable-grammar-support`) refuses the request.

    Raises:
        ConfigurationError: HF_HUB_OFFLINE keeps huggingface_hub from asking any server.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None,
        max_new_tokens: int,
        max_input_tokens: int,
        top_p: float,
        grammar: str = "",
    ) -> None:
        from huggingface_hub import (  # 0.5 s, for those who ask for it
            AsyncInferenceClient,
            TextGenerationInputGrammarType,
        )

        from llmatic_daemon.adapters.llm import hub_transport

        _check_environment(url)
        hub_transport.install()
        self._url = url
        redact(token)
        self._token = token
        self._client = AsyncInferenceClient(f"{url}/generate", token=token or _NO_TOKEN)
        self._session: aiohttp.ClientSession | None = None
        self._max_new_tokens = max_new_tokens
        self._max_input_tokens = max_input_tokens
        self._top_p = top_p if top_p < 1 else None
        self._grammar = TextGenerationInputGrammarType(type="regex", value=grammar) if grammar else None

    async def describe(self) -> Served:
        """Read `/info`."""
        info = await self._fetch("GET", "/info")
        if not isinstance(info, dict) or not isinstance(info.get("model_id"), str):
            raise EndpointFailed(
                f"{self._url}/info must describe a model, got {quote(json.dumps(info))}; "
                'for other servers set writer.name = "openai"'
            )
        return Served(
            model=without_surrogates(info["model_id"]),
            version=without_surrogates(str(info.get("model_sha") or info.get("version") or "")),
            max_input_tokens=self._input_limit(info),
            max_concurrency=_count(info, "max_concurrent_requests"),
        )

    def _input_limit(self, info: Mapping[str, Any]) -> int | None:
        """Leave room for the answer in what the server takes in all."""
        total, most = _count(info, "max_total_tokens"), _count(info, "max_input_tokens")
        rest = total - self._max_new_tokens if total else None
        limits = [limit for limit in (self._max_input_tokens, most, rest) if limit]
        if rest is not None and rest <= 0:
            raise EndpointRefused(
                f"writer.max_new_tokens must be below the {total} tokens that {self._url} takes "
                f"in all, got {self._max_new_tokens}",
                concerns_all=True,
            )
        return min(limits, default=None)

    async def generate(self, request: Request, served: Served) -> Completion | TooLong:
        """Have one completion written."""
        text = without_surrogates(request.continuation)
        length = await self._length(text, served.max_input_tokens)
        if length.is_too_much:
            return length.complaint()
        try:
            answer = await self._ask(text, request)
        except Exception as error:
            fault = _explained(error, self._url)
            if isinstance(fault, EndpointRefused) and is_length_complaint(str(fault)):
                return length.complaint()
            raise fault from error
        return self._completion(answer, text, request, served)

    async def _length(self, text: str, limit: int | None) -> Length:
        """Measure a request by `/tokenize`, unless its bytes tell that it fits.

        No token stands for less than a byte, those aside that a tokenizer puts around a text.
        """
        num_bytes = len(text.encode())
        if limit is None or num_bytes + _NUM_SPECIAL <= limit:
            return Length(num_bytes, limit)
        tokens = await self._fetch("POST", "/tokenize", {"inputs": text})
        if not isinstance(tokens, list):
            raise EndpointFailed(f"{self._url}/tokenize must answer with a list of tokens")
        return Length(len(tokens), limit)

    async def _ask(self, text: str, request: Request) -> Any:
        """Ask for one sample; without `do_sample` a temperature of 1 would mean none."""
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
        """Check an answer: `{}` under a 200 passes the library."""
        text, details = answer.generated_text, answer.details
        if not isinstance(text, str):
            raise EndpointFailed(f"{self._url} must answer with generated_text, got {quote(repr(answer))}")
        return Completion(
            text=cut_at_stop(text.removeprefix(asked), request.stops),
            writer="tgi",
            model=served.model,
            version=served.version,
            finish_reason=finish_reason(getattr(details, "finish_reason", None)),
            num_prompt_tokens=counted(_number(getattr(details, "prompt_tokens", None))),
            num_tokens=counted(getattr(details, "generated_tokens", None)),
        )

    async def _fetch(self, method: str, path: str, body: object = None) -> Any:
        """Ask what huggingface_hub does not ask an address of one's own."""
        import aiohttp

        if self._session is None:
            key = {"Authorization": f"Bearer {self._token}"} if self._token else {}
            is_local = urlsplit(self._url).hostname in LOOPBACK
            self._session = aiohttp.ClientSession(headers=key, trust_env=not is_local)
        try:
            url = f"{self._url}{path}"
            async with self._session.request(method, url, json=body) as response:
                content = await response.text(errors="replace")
        except (aiohttp.ClientError, OSError) as error:
            raise _unreachable(self._url, error) from error
        if response.status != 200:
            raise status_fault(response.status, quote(content), f"{self._url}{path}")
        try:
            return json.loads(content)
        except ValueError as error:
            raise _not_json(f"{self._url}{path}", content) from error

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()  # type: ignore[no-untyped-call]
        if self._session is not None:
            await self._session.close()
            await asyncio.sleep(0)  # its transports close in the loop's next round


def _check_environment(url: str) -> None:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise ConfigurationError(
            "HF_HUB_OFFLINE must not be set, as huggingface_hub would not even ask "
            f'{url}; unset it, or use writer.name = "openai"'
        )


def _number(header: str | None) -> int | None:
    return int(header) if header is not None and header.isdecimal() else None


def _count(info: Mapping[str, Any], name: str) -> int | None:
    return counted(info.get(name)) or None


def _explained(error: Exception, url: str) -> WriterUnavailable:
    """Map whatever huggingface_hub raises to our few errors; its transport differs by version."""
    from huggingface_hub import errors

    said = quote(str(error))
    if isinstance(error, errors.InferenceTimeoutError | TimeoutError):
        return EndpointTimeout(f"{url} must answer in time, got nothing whole")
    if isinstance(error, errors.OverloadedError):
        return EndpointOverloaded(f"{url} has no room: {said}")
    if isinstance(error, errors.ValidationError):
        return EndpointRefused(f"{url} refuses the request: {said}", concerns_all=False)
    if isinstance(error, errors.GenerationError | errors.IncompleteGenerationError):
        return EndpointFailed(f"{url} failed while it wrote: {said}")
    answered = error.__cause__ if isinstance(error, errors.TextGenerationError) else error
    if isinstance(answered, errors.HfHubHTTPError) and answered.response is not None:
        response = answered.response
        return status_fault(response.status_code, quote(response.text), url)
    if isinstance(error, json.JSONDecodeError):
        return _not_json(url, error.doc)
    if isinstance(error, OSError) or type(error).__module__.startswith(_TRANSPORTS):
        return _unreachable(url, error)
    if isinstance(error, ValueError | LookupError | TypeError | AttributeError):
        return EndpointFailed(f"{url} must answer with a completion, got {said}")
    raise error  # a bug


#: Whose errors a lost connection raises, by version of huggingface_hub.
_TRANSPORTS = ("httpx", "httpcore", "aiohttp")


def _unreachable(url: str, error: Exception) -> WriterUnavailable:
    said = quote(str(error) or type(error).__name__)
    return EndpointFailed(f"{url} must be reachable, got: {said}; is it running?")


def _not_json(url: str, content: str) -> WriterUnavailable:
    return EndpointFailed(f"{url} must answer in JSON, got: {quote(content)}")
