"""The client for OpenAI's protocol: vLLM, SGLang, llama.cpp, `transformers serve`, hosted services."""

import json
from collections.abc import Mapping
from typing import Any
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
    EndpointRefused,
    EndpointTimeout,
    WriterUnavailable,
)

#: Bytes that a token stands for, at least on average, in Python: the protocol counts no tokens.
_BYTES_PER_TOKEN = 3.0
#: What a server answers that has no list of models, or shows it to nobody.
_NO_LIST = (403, 404, 405)


class OpenAIClient(Client):
    """Asks `/v1/completions` or `/v1/chat/completions`.

    Args:
        url: Of the server, without `/v1`.
        token: API key; None: a dummy is sent, never one from the environment.
        model: Empty: the first that the server lists.
        chat: Ask as in a chat; else the model continues a file.
        max_new_tokens: That an answer may have.
        max_input_tokens: That a request may have; 0: as far as the server tells.
        top_p: In (0, 1].
        extra_body: What goes into each request beside that.

    Raises:
        ConfigurationError: the package `openai` is missing.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None,
        model: str,
        chat: bool,
        max_new_tokens: int,
        max_input_tokens: int,
        top_p: float,
        extra_body: Mapping[str, Any],
    ) -> None:
        openai = _openai()
        redact(token)
        is_local = urlsplit(url).hostname in LOOPBACK
        # A proxy for the world outside must not be asked for what runs on this machine; and how
        # long a call may take is not decided here.
        http = openai.DefaultAsyncHttpxClient(trust_env=not is_local, timeout=None)
        self._client = openai.AsyncOpenAI(
            base_url=f"{url}/v1", api_key=token or "none", max_retries=0, http_client=http, timeout=None
        )
        # Read from the environment, and for nobody but OpenAI.
        self._client.organization = self._client.project = None
        self._url = url
        self._model = model
        self._chat = chat
        self._max_new_tokens = max_new_tokens
        self._max_input_tokens = max_input_tokens
        self._options = {"max_tokens": max_new_tokens, "top_p": top_p}
        self._extra_body = dict(extra_body) or None

    async def describe(self) -> Served:
        """Ask for the list of models; a server without one must have its model in the settings."""
        listed = await self._listing()
        if not listed and self._model:
            return Served(model=self._model, max_input_tokens=self._max_input_tokens or None)
        card = next((c for c in listed if self._model in ("", c["id"])), None)
        if card is None:
            known = ", ".join(repr(c["id"]) for c in listed) or "none"
            raise EndpointRefused(
                f"{self._url} must serve {self._model or 'a model'}, found {known}; set writer.model",
                concerns_all=True,
            )
        return Served(model=without_surrogates(card["id"]), max_input_tokens=self._input_limit(card))

    def _input_limit(self, card: Mapping[str, Any]) -> int | None:
        """Read what vLLM and SGLang say; the settings win."""
        context = counted(card.get("max_model_len"))
        if context and context <= self._max_new_tokens:
            raise EndpointRefused(
                f"writer.max_new_tokens must be below the {context} tokens that {self._url} takes "
                f"in all, got {self._max_new_tokens}",
                concerns_all=True,
            )
        return self._max_input_tokens or (context - self._max_new_tokens if context else None)

    async def _listing(self) -> list[Mapping[str, Any]]:
        """Read the list of models as it stands; the package takes what is none for one."""
        try:
            said = await self._client.get("/models", cast_to=object)
        except Exception as error:
            if self._model and getattr(error, "status_code", None) in _NO_LIST:
                return []
            raise _explained(error, self._url) from error
        cards = said.get("data") if isinstance(said, dict) else None
        if not isinstance(cards, list):
            raise EndpointFailed(
                f"{self._url} must list its models, got {quote(repr(said))}; is it a server "
                "of OpenAI's protocol?"
            )
        return [c for c in cards if isinstance(c, dict) and isinstance(c.get("id"), str)]

    async def generate(self, request: Request, served: Served) -> Completion | TooLong:
        """Have one completion written."""
        length = Length(
            round(len(_text(request, chat=self._chat).encode(errors="replace")) / _BYTES_PER_TOKEN),
            served.max_input_tokens,
        )
        if length.is_too_much:
            return length.complaint()
        try:
            answer = await self._ask(request, served.model)
        except Exception as error:
            if _says_too_long(error):
                return length.complaint()
            raise _explained(error, self._url) from error
        return self._completion(answer, request, served)

    async def _ask(self, request: Request, model: str) -> Any:
        options = {
            **self._options,
            "model": model,
            "temperature": request.temperature,
            "seed": request.seed,
            "extra_body": self._extra_body,
        }
        if self._chat:
            messages: Any = [
                {"role": "system", "content": without_surrogates(request.system)},
                {"role": "user", "content": without_surrogates(request.question)},
            ]
            return await self._client.chat.completions.create(messages=messages, **options)
        return await self._client.completions.create(
            prompt=without_surrogates(request.continuation), stop=list(request.stops), **options
        )

    def _completion(self, answer: Any, request: Request, served: Served) -> Completion:
        """Check an answer: anything comes under a 200."""
        try:
            choice = answer.choices[0]
            text = choice.message.content if self._chat else choice.text
            reason, usage = choice.finish_reason, answer.usage
        except (AttributeError, LookupError, TypeError):
            text = None
        if not isinstance(text, str):
            raise EndpointFailed(f"{self._url} must answer with a completion, got {quote(repr(answer))}")
        stops = () if self._chat else request.stops
        return Completion(
            text=cut_at_stop(text.removeprefix(without_surrogates(request.continuation)), stops),
            writer="openai",
            model=served.model,
            version=served.version,
            finish_reason=finish_reason(reason),
            num_prompt_tokens=counted(getattr(usage, "prompt_tokens", None)),
            num_tokens=counted(getattr(usage, "completion_tokens", None)),
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()


def _openai() -> Any:
    try:
        import openai  # 1 s and 60 MB, for those who ask for it
    except ImportError as error:
        raise ConfigurationError(
            "writer.name = \"openai\" needs the package 'openai'; pip install 'llmatic-daemon[openai]'"
        ) from error
    return openai


def _text(request: Request, *, chat: bool) -> str:
    return request.system + request.question if chat else request.continuation


def _explained(error: Exception, url: str) -> WriterUnavailable:
    """Map whatever the package raises to our few errors."""
    openai = _openai()
    if isinstance(error, WriterUnavailable):
        return error
    if isinstance(error, openai.APITimeoutError | TimeoutError):
        return EndpointTimeout(f"{url} must answer in time, got nothing whole")
    if isinstance(error, openai.APIStatusError):
        return status_fault(error.status_code, _said(error), url)
    if isinstance(error, openai.APIConnectionError):
        why = str(error.__cause__ or error)
        return EndpointFailed(f"{url} must be reachable, got: {quote(why)}; is it running?")
    if isinstance(error, openai.OpenAIError | json.JSONDecodeError | ValueError):
        return EndpointFailed(f"{url} must answer in JSON, got: {quote(str(error))}")
    raise error  # a bug of ours


def _said(error: Any) -> str:
    """Quote the server; the package's own text leaves it out."""
    return quote(error.response.text or str(error))


def _says_too_long(error: Any) -> bool:
    """Read the refusal of a request; a gateway that waited too long says nothing of its length."""
    if not isinstance(error, _openai().APIStatusError) or error.status_code not in (400, 413, 422):
        return False
    return is_length_complaint(error.response.text)
