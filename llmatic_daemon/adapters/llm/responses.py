"""Helpers that all protocols of LLM servers share: lengths, stop texts, finish reasons, errors."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from llmatic_daemon.domain import TooLong, errors
from llmatic_daemon.domain.text import without_surrogates

#: Error messages of TGI, vLLM, SGLang, llama.cpp and hosted services for a request that is too long.
_TOO_LONG = re.compile(
    r"context length|maximum context|context window|context size|context_length_exceeded"
    r"|`max_new_tokens` must be <=|must have less than \d+ tokens|too many tokens|too long",
    re.IGNORECASE,
)
#: Statuses of a wrong key or address, for any request.
_HOPELESS = (401, 403, 404, 405)
#: Upper bound of a number of tokens.
_MANY = 2**31
#: Hosts for which no proxy of the environment is used.
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_LENGTH_WORDS = ("length", "max_tokens", "model_length")
_STOP_WORDS = ("stop", "eos_token", "stop_sequence", "end_turn")


@dataclass(frozen=True, slots=True)
class Length:
    """Number of tokens of a request, and the maximum; None: unknown."""

    num_tokens: int
    max_tokens: int | None

    @property
    def is_too_much(self) -> bool:
        """Whether the request does not fit."""
        return self.max_tokens is not None and self.num_tokens > self.max_tokens

    def complaint(self) -> TooLong:
        """Return the answer for a request that is too long; the endpoint adds its name."""
        below = self.num_tokens - 1  # if the server has rejected what seemed to fit
        known = below if self.max_tokens is None else min(self.max_tokens, below)
        return TooLong(endpoint="", num_tokens=self.num_tokens, max_tokens=known)


def is_length_complaint(text: str) -> bool:
    """Return whether a server's error message rejects a request for its length."""
    return _TOO_LONG.search(text) is not None


def counted(number: object) -> int:
    """Return a server's number of tokens; 0 if it is not a positive integer."""
    return min(number, _MANY) if isinstance(number, int) and number > 0 else 0


def finish_reason(word: object) -> str:
    """Normalize a server's finish reason: "length", "stop", or the server's own word."""
    if word in _LENGTH_WORDS:
        return "length"
    return "stop" if word is None or word in _STOP_WORDS else without_surrogates(quote(str(word)))[:40]


def cut_at_stop(text: str, stops: Sequence[str]) -> str:
    """Cut a text at its first stop text, because some servers return it or continue after it."""
    ends = [text.find(stop) for stop in stops]
    return text[: min((end for end in ends if end >= 0), default=len(text))]


def status_fault(status: int, said: str, url: str) -> errors.WriterUnavailable:
    """Return the error for an HTTP status other than 200.

    Args:
        status: HTTP status.
        said: The server's message, in one line.
        url: Address of the request.
    """
    fault = f"{url} must answer with status 200, got {status}: {said or 'no message'}"
    if status == 429:
        return errors.EndpointOverloaded(fault)
    if status in _HOPELESS:
        return errors.EndpointRefused(f"{fault}; check the address and the key", concerns_all=True)
    if status in (400, 413, 415, 422):
        return errors.EndpointRefused(f"{fault}; check the writer's settings", concerns_all=False)
    return errors.EndpointFailed(fault)


def context_too_small(url: str, num_tokens: int, max_new_tokens: int) -> errors.EndpointRefused:
    """Return the error for a context that has no room for a request beside the answer."""
    return errors.EndpointRefused(
        f"writer.max_new_tokens must be below the {num_tokens} tokens that {url} accepts in all, "
        f"got {max_new_tokens}",
        concerns_all=True,
    )


def timed_out(url: str) -> errors.EndpointTimeout:
    """Return the error for an answer that did not come in time."""
    return errors.EndpointTimeout(f"{url} must answer in time, got no complete answer")


def unreachable(url: str, why: str) -> errors.EndpointFailed:
    """Return the error for a connection that failed."""
    return errors.EndpointFailed(f"{url} must be reachable, got: {quote(why)}; is it running?")


def not_json(url: str, content: str) -> errors.EndpointFailed:
    """Return the error for an answer that is not JSON."""
    return errors.EndpointFailed(f"{url} must answer in JSON, got: {quote(content)}")


#: Keys of the clients, because a server may quote them in its messages.
_SECRETS: set[str] = set()


def redact(secret: str | None) -> None:
    """Replace a secret by *** in all later quotes."""
    if secret:
        _SECRETS.add(secret)


def quote(text: str) -> str:
    """Quote a server in one line of at most 200 characters, without secrets."""
    for secret in _SECRETS:
        text = text.replace(secret, "***")
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:200]}..."
