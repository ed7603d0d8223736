"""The transport that huggingface_hub gets from us: no details of tokens, and loopback asked directly."""

import json
from collections.abc import Mapping
from urllib.request import getproxies, proxy_bypass

import httpx2
from huggingface_hub import set_async_client_factory

#: Of an answer's details; the library makes an object of each token, which costs 12 ms of CPU for
#: 230 tokens: ten times of all else. Nobody asks for them.
_HEAVY = ("tokens", "prefill", "best_of_sequences", "top_tokens")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def install() -> None:
    """Have huggingface_hub make its asynchronous clients with this transport."""
    set_async_client_factory(_client)


def _client() -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=LeanTransport(), timeout=None)


class LeanTransport(httpx2.AsyncBaseTransport):
    """Reads answers whole, and drops what is heavy in them.

    The proxies of the environment are asked for the world outside, as httpx does by itself, but
    never for this machine.
    """

    def __init__(self) -> None:
        self._direct = httpx2.AsyncHTTPTransport()
        self._by_proxy = {
            scheme: httpx2.AsyncHTTPTransport(proxy=address)
            for scheme, address in getproxies().items()
            if scheme in ("http", "https")
        }

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request, and read its answer to the end."""
        answer = await self._transport_for(request.url).handle_async_request(request)
        content = lean(await answer.aread())
        return httpx2.Response(answer.status_code, headers=_kept(answer.headers), content=content)

    def _transport_for(self, url: httpx2.URL) -> httpx2.AsyncBaseTransport:
        if url.host in _LOOPBACK or proxy_bypass(url.host):
            return self._direct
        return self._by_proxy.get(url.scheme, self._direct)

    async def aclose(self) -> None:
        """Close all connections."""
        for transport in (self._direct, *self._by_proxy.values()):
            await transport.aclose()


def lean(content: bytes) -> bytes:
    """Drop what is heavy from an answer of `/generate`; any other content stays as it is."""
    try:
        answer = json.loads(content)
        details = answer["details"]
        light = {name: value for name, value in details.items() if name not in _HEAVY}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return content
    return json.dumps({**answer, "details": light}).encode()


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    """Leave out what told of the content on its way."""
    dropped = ("content-length", "content-encoding", "transfer-encoding")
    return {name: value for name, value in headers.items() if name.lower() not in dropped}
