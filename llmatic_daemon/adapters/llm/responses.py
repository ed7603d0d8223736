"""What the protocols of LLM servers have in common: lengths, stops, and why an answer has ended."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from llmatic_daemon.domain import TooLong
from llmatic_daemon.domain.errors import (
    EndpointFailed,
    EndpointOverloaded,
    EndpointRefused,
    WriterUnavailable,
)

#: Words of TGI, vLLM, SGLang, llama.cpp and hosted services for a request that is too long.
_TOO_LONG = re.compile(
    r"context length|maximum context|context window|context size|context_length_exceeded"
    r"|`max_new_tokens` must be <=|must have less than \d+ tokens|too many tokens|too long",
    re.IGNORECASE,
)
#: What a server answers when a key or an address is wrong, whatever the request.
_HOPELESS = (401, 403, 404, 405)
#: More tokens than any model writes.
_MANY = 2**31
#: Hosts that no proxy of the environment is asked for.
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_LENGTH_WORDS = ("length", "max_tokens", "model_length")
_STOP_WORDS = ("stop", "eos_token", "stop_sequence", "end_turn")


@dataclass(frozen=True, slots=True)
class Length:
    """Tokens of a request, and how many there may be; None: nobody knows."""

    num_tokens: int
    max_tokens: int | None

    @property
    def is_too_much(self) -> bool:
        """Whether the request does not fit."""
        return self.max_tokens is not None and self.num_tokens > self.max_tokens

    def complaint(self) -> TooLong:
        """Say that it does not fit; the endpoint adds its name."""
        below = self.num_tokens - 1  # when only the server knows better
        known = below if self.max_tokens is None else min(self.max_tokens, below)
        return TooLong(endpoint="", num_tokens=self.num_tokens, max_tokens=known)


def is_length_complaint(text: str) -> bool:
    """Tell whether a server refuses a request for its length."""
    return _TOO_LONG.search(text) is not None


def without_surrogates(text: str) -> str:
    """Replace lone surrogates, which no request can hold: other answers may have brought them."""
    return text.encode(errors="replace").decode()


def counted(number: object) -> int:
    """Read a number of tokens as a server gives it; 0 for what is none."""
    return min(number, _MANY) if isinstance(number, int) and number > 0 else 0


def finish_reason(word: object) -> str:
    """Read a server's word for why an answer has ended: "length", "stop", or the word itself."""
    if word in _LENGTH_WORDS:
        return "length"
    return "stop" if word is None or word in _STOP_WORDS else without_surrogates(quote(str(word)))[:40]


def cut_at_stop(text: str, stops: Sequence[str]) -> str:
    """Cut a text at the first stop in it: some servers leave it there, some even go on behind it."""
    ends = [text.find(stop) for stop in stops]
    return text[: min((end for end in ends if end >= 0), default=len(text))]


def status_fault(status: int, said: str, url: str) -> WriterUnavailable:
    """Say what a status other than 200 means.

    Args:
        status: Of HTTP.
        said: What the server adds, in one line.
        url: Who was asked.
    """
    fault = f"{url} must answer with status 200, got {status}: {said or 'nothing more'}"
    if status == 429:
        return EndpointOverloaded(fault)
    if status in _HOPELESS:
        return EndpointRefused(f"{fault}; check the address and the key", concerns_all=True)
    if status in (400, 413, 415, 422):
        return EndpointRefused(f"{fault}; check the writer's settings", concerns_all=False)
    return EndpointFailed(fault)


#: Keys that were given to a client: a server may quote them back.
_SECRETS: set[str] = set()


def redact(secret: str | None) -> None:
    """Never quote this again, whoever says it."""
    if secret:
        _SECRETS.add(secret)


def quote(text: str) -> str:
    """Quote a stranger in one line of at most 200 characters, and without our keys."""
    for secret in _SECRETS:
        text = text.replace(secret, "***")
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:200]}..."
