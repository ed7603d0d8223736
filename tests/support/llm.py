"""Helpers for tests of LLM endpoints: a scripted client, a scripted server, a clean environment."""

import asyncio
import contextlib
import os
import re
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from huggingface_hub import constants

from llmatic_daemon.adapters.llm.circuit_breaker import BreakerRules
from llmatic_daemon.adapters.llm.endpoint import CallPolicy, Client, Endpoint, Served
from llmatic_daemon.domain import Completion, PromptKind, Request, TooLong
from tests.support.fakes import Barrier, prompt, request_for

MUTATION = prompt("deepen", "Add a layer to the network.")
CROSSOVER = prompt("crossover", "Combine the networks.", kind=PromptKind.CROSSOVER)

#: What would send a test elsewhere, or send its server what is nobody's business.
_MEDDLING = re.compile(
    r"(HF|HUGGINGFACE|HUGGING_FACE|OPENAI)_.*|.*_PROXY|LLMATIC_LLM_TOKEN|CREDENTIALS_DIRECTORY", re.IGNORECASE
)


def forget_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep proxies, keys, certificates and huggingface_hub's switches of this machine out of a test."""
    for name in filter(_MEDDLING.fullmatch, list(os.environ)):
        monkeypatch.delenv(name)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    # 50 ms for each client, and no test speaks TLS.
    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", lambda *_, **__: None)
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda *_, **__: None)


def mutation(seed: int = 1, **changes: Any) -> Request:
    return request_for(MUTATION, seed=seed, **changes)


def crossover(seed: int = 1) -> Request:
    return request_for(CROSSOVER, "class A: pass\n", "class B: pass\n", seed=seed)


# --- a client by script --------------------------------------------------------------------------

Answer = Completion | TooLong | Exception

WRITTEN = Completion(text="class Net: pass\n", writer="script", model="scripted")
TOO_LONG = TooLong(endpoint="", num_tokens=9, max_tokens=5)


@dataclass
class Script(Client):
    """Answers by a list, then with `otherwise`; an exception in it is raised."""

    answers: list[Answer] = field(default_factory=list)
    otherwise: Answer = WRITTEN
    served: Served = field(default_factory=lambda: Served(model="scripted"))
    describe_faults: list[Exception] = field(default_factory=list)
    barrier: Barrier | None = None
    asked: list[Request] = field(default_factory=list)
    num_described: int = 0
    num_in_flight: int = 0
    max_in_flight: int = 0
    is_closed: bool = False

    async def describe(self) -> Served:
        self.num_described += 1
        if self.describe_faults:
            raise self.describe_faults.pop(0)
        return self.served

    async def generate(self, request: Request, served: Served) -> Completion | TooLong:
        self.asked.append(request)
        self.num_in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.num_in_flight)
        answer = self.answers.pop(0) if self.answers else self.otherwise
        try:
            await (self.barrier.wait() if self.barrier else asyncio.sleep(0))
        finally:
            self.num_in_flight -= 1
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        self.is_closed = True


def breaker_rules(**changes: Any) -> BreakerRules:
    numbers = {"num_failures": 3, "window_s": 60.0, "pause_s": 5.0, "max_pause_s": 30.0}
    return BreakerRules(**(numbers | changes))


def policy(**changes: Any) -> CallPolicy:
    """Say how to ask, without a pause between tries."""
    parts = {"timeout_s": 30.0, "max_tries": 1, "retry_s": 1e-6, "max_retry_s": 1e-6}
    return CallPolicy(**({"breaker": breaker_rules()} | parts | changes))


def endpoint(client: Client, name: str = "here", **changes: Any) -> Endpoint:
    """Make an endpoint; changes are those of its policy, or its own."""
    own = {n: changes.pop(n) for n in ("weight", "events", "clock") if n in changes}
    most = changes.pop("max_concurrency", 8)
    return Endpoint(name, client, policy(**changes), max_concurrency=most, **own)


async def until(condition: Callable[[], bool]) -> None:
    """Let others run until something holds that no event tells of."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - it is a matter of turns of the loop
            await asyncio.sleep(0)


async def turns(number: int = 10) -> None:
    """Let others run for a while."""
    for _ in range(number):
        await asyncio.sleep(0)


# --- a server by script --------------------------------------------------------------------------

#: Status, content type and text.
Said = tuple[int, str, str]

JSON = "application/json"
HTML = "<html><body>Please log in</body></html>"


@dataclass
class Stub:
    """A server that says what it is told, by path; 404 elsewhere."""

    says: dict[str, Said]
    url: str = ""
    bodies: list[Any] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    async def _answer(self, http: web.Request) -> web.Response:
        self.paths.append(http.path)
        self.headers.append(dict(http.headers))
        self.bodies.append(await http.json() if http.can_read_body else None)
        status, content_type, text = self.says.get(http.path, (404, "text/plain", "nothing here"))
        return web.Response(status=status, content_type=content_type, text=text)


@contextlib.asynccontextmanager
async def stub(**says: Said) -> AsyncIterator[Stub]:
    """Serve on loopback; `v1__models=...` is what /v1/models says."""
    server = Stub({"/" + path.replace("__", "/"): said for path, said in says.items()})
    app = web.Application(client_max_size=1 << 24)
    app.router.add_route("*", "/{path:.*}", server._answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


async def gathered(calls: Sequence[Any]) -> list[Any]:
    return await asyncio.gather(*calls, return_exceptions=True)
