"""Client for OpenAI's protocol: vLLM, SGLang, llama.cpp, `transformers serve`, hosted services."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from llmatic_daemon.adapters.llm import responses
from llmatic_daemon.adapters.llm.endpoint import Client, ClientOptions, Served
from llmatic_daemon.domain import Completion, Request, TooLong, errors
from llmatic_daemon.domain.text import without_surrogates

#: Lower estimate of a token's mean length in Python code; the protocol cannot count tokens.
_BYTES_PER_TOKEN = 3.0
#: Statuses of a server without a public list of models.
_NO_LIST = (403, 404, 405)


class OpenAIClient(Client):
    """Client of `/v1/completions` or `/v1/chat/completions`.

    Args:
        url: Of the server, without `/v1`.
        options: Without a token a dummy is sent.

    Raises:
        ConfigurationError: the package `openai` is missing.
    """

    def __init__(self, url: str, options: ClientOptions) -> None:
        openai = _openai()
        responses.redact(options.token)
        is_local = urlsplit(url).hostname in responses.LOOPBACK
        # A proxy must not be used for servers on this machine. The endpoint sets the timeout.
        http = openai.DefaultAsyncHttpxClient(trust_env=not is_local, timeout=None)
        self._client = openai.AsyncOpenAI(
            base_url=f"{url}/v1",
            api_key=options.token or "none",
            max_retries=0,
            http_client=http,
            timeout=None,
        )
        # The package reads them from the environment, but only OpenAI may get them.
        self._client.organization = self._client.project = None
        self._url = url
        self._model = options.model
        self._chat = options.chat
        self._max_new_tokens = options.max_new_tokens
        self._max_input_tokens = options.max_input_tokens
        self._options = {"max_tokens": options.max_new_tokens, "top_p": options.top_p}
        self._extra_body = dict(options.extra_body) or None

    async def describe(self) -> Served:
        """Request the list of models; for a server without one, use the model of the settings."""
        listed = await self._listing()
        if not listed and self._model:
            return Served(model=self._model, max_input_tokens=self._max_input_tokens or None)
        card = next((c for c in listed if self._model in ("", c["id"])), None)
        if card is None:
            known = ", ".join(repr(c["id"]) for c in listed) or "none"
            raise errors.EndpointRefused(
                f"{self._url} must serve {self._model or 'a model'}, found {known}; set writer.model",
                concerns_all=True,
            )
        return Served(model=without_surrogates(card["id"]), max_input_tokens=self._input_limit(card))

    def _input_limit(self, card: Mapping[str, Any]) -> int | None:
        """Return the limit of the settings, else the one that vLLM and SGLang report."""
        context = responses.counted(card.get("max_model_len"))
        if context and context <= self._max_new_tokens:
            raise responses.context_too_small(self._url, context, self._max_new_tokens)
        return self._max_input_tokens or (context - self._max_new_tokens if context else None)

    async def _listing(self) -> list[Mapping[str, Any]]:
        """Request the list of models without the package's types, which accept any content."""
        try:
            answer = await self._client.get("/models", cast_to=object)
        except Exception as error:
            if self._model and getattr(error, "status_code", None) in _NO_LIST:
                return []
            raise _explained(error, self._url) from error
        cards = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(cards, list):
            raise errors.EndpointFailed(
                f"{self._url} must list its models, got {responses.quote(repr(answer))}; does it support "
                "OpenAI's protocol?"
            )
        return [c for c in cards if isinstance(c, dict) and isinstance(c.get("id"), str)]

    async def generate(self, request: Request, served: Served) -> Completion | TooLong:
        """Request one completion."""
        text = request.system + request.question if self._chat else request.continuation
        num_tokens = round(len(text.encode(errors="replace")) / _BYTES_PER_TOKEN)
        length = responses.Length(num_tokens, served.max_input_tokens)
        if length.is_too_much:
            return length.complaint()
        try:
            answer = await self._ask(request, served.model)
        except Exception as error:
            if _is_too_long(error):
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
        """Check an answer, because a status 200 may come with any content."""
        try:
            choice = answer.choices[0]
            text = choice.message.content if self._chat else choice.text
            reason, usage = choice.finish_reason, answer.usage
        except (AttributeError, LookupError, TypeError):
            text = None
        if not isinstance(text, str):
            raise errors.EndpointFailed(
                f"{self._url} must answer with a completion, got {responses.quote(repr(answer))}"
            )
        stops = () if self._chat else request.stops
        return Completion(
            text=responses.cut_at_stop(text.removeprefix(without_surrogates(request.continuation)), stops),
            writer="openai",
            model=served.model,
            version=served.version,
            finish_reason=responses.finish_reason(reason),
            num_prompt_tokens=responses.counted(getattr(usage, "prompt_tokens", None)),
            num_tokens=responses.counted(getattr(usage, "completion_tokens", None)),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def _openai() -> Any:
    try:
        import openai  # takes 1 s and 60 MB, and only this client needs it
    except ImportError as error:
        raise errors.ConfigurationError(
            "writer.kind = \"openai\" needs the package 'openai'; pip install 'llmatic-daemon[openai]'"
        ) from error
    return openai


def _explained(error: Exception, url: str) -> errors.WriterUnavailable:
    """Map the package's exceptions to the errors of `WriterUnavailable`."""
    openai = _openai()
    if isinstance(error, errors.WriterUnavailable):
        return error
    if isinstance(error, openai.APITimeoutError | TimeoutError):
        return responses.timed_out(url)
    if isinstance(error, openai.APIStatusError):  # its own text leaves out the server's message
        return responses.status_fault(
            error.status_code, responses.quote(error.response.text or str(error)), url
        )
    if isinstance(error, openai.APIConnectionError):
        return responses.unreachable(url, str(error.__cause__ or error))
    if isinstance(error, openai.OpenAIError | json.JSONDecodeError | ValueError):
        return responses.not_json(url, str(error))
    raise error  # a bug in this package


def _is_too_long(error: Any) -> bool:
    """Return whether the server rejected a request for its length; a gateway's timeout is no such error."""
    if not isinstance(error, _openai().APIStatusError) or error.status_code not in (400, 413, 422):
        return False
    return responses.is_length_complaint(error.response.text)
