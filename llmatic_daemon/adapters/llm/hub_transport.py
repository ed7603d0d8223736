"""The HTTP transport for huggingface_hub: it drops the details of tokens and bypasses proxies on loopback."""

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.request import getproxies, proxy_bypass

import httpx2
from huggingface_hub import set_async_client_factory

from llmatic_daemon.adapters.llm import responses

#: Details of an answer that are kept. The library makes an object of each token, which costs 12 ms of
#: CPU for 230 tokens: ten times the cost of everything else. The client does not need them.
_LIGHT = ("finish_reason", "generated_tokens", "seed")
#: Start of the tokens; inside a text, these quotes would be escaped.
_TOKENS = re.compile(rb',\s*"tokens":\s*\[')
#: Field of the details for the server's count of the prompt's tokens.
PROMPT_TOKENS = "prompt_tokens"


def install() -> None:
    """Make huggingface_hub use this transport for its asynchronous clients."""
    set_async_client_factory(_client)


def _client() -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=LeanTransport(), timeout=None, follow_redirects=True)


class LeanTransport(httpx2.AsyncBaseTransport):
    """Transport that reads answers whole and drops their token details.

    Like httpx it uses the proxies of the environment, but never for this machine.
    """

    def __init__(self) -> None:
        self._direct = httpx2.AsyncHTTPTransport()
        self._by_proxy = {
            scheme: httpx2.AsyncHTTPTransport(proxy=address)
            for scheme, address in getproxies().items()
            if scheme in ("http", "https", "all")
        }

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request, and return its complete answer."""
        answer = await self._transport_for(request.url).handle_async_request(request)
        content = lean(await answer.aread(), answer.headers.get("x-prompt-tokens"))
        return httpx2.Response(answer.status_code, headers=_kept(answer.headers), content=content)

    def _transport_for(self, url: httpx2.URL) -> httpx2.AsyncBaseTransport:
        if url.host in responses.LOOPBACK or proxy_bypass(url.host):
            return self._direct
        return self._by_proxy.get(url.scheme) or self._by_proxy.get("all", self._direct)

    async def aclose(self) -> None:
        """Close all connections."""
        for transport in (self._direct, *self._by_proxy.values()):
            await transport.aclose()


def lean(content: bytes, num_prompt_tokens: str | None = None) -> bytes:
    """Return an answer of `/generate` without its token details; return other content unchanged.

    Args:
        content: The whole answer.
        num_prompt_tokens: From the answer's header; added to the details.
    """
    answer = _without_tokens(content) or _parsed(content)
    if answer is None:
        return content
    details = {name: answer["details"].get(name) for name in _LIGHT}
    details[PROMPT_TOKENS] = num_prompt_tokens
    return json.dumps({**answer, "details": details}).encode()


def _without_tokens(content: bytes) -> dict[str, Any] | None:
    """Parse the part before the tokens, which end the answer; return None if they do not."""
    tokens = _TOKENS.search(content)
    return _parsed(content[: tokens.start()] + b"}}") if tokens else None


def _parsed(content: bytes) -> dict[str, Any] | None:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(answer, dict) and isinstance(answer.get("details"), dict)
    return answer if whole and "generated_text" in answer else None


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers without those that describe the transfer of the content."""
    dropped = ("content-length", "content-encoding", "transfer-encoding")
    return {name: value for name, value in headers.items() if name.lower() not in dropped}
