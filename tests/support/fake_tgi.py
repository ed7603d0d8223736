"""A fake text-generation-inference 3.3 over real HTTP: its routes, its rules, its faults.

In a test: `async with fake_tgi(max_input_tokens=100) as tgi:` and ask `tgi.url`. As a process to be
killed or measured against: `python -m tests.support.fake_tgi --port 0`, which prints its URL first.

Not imitated: a model (a function answers), CodeGen's tokens (words and signs are counted), log
probabilities, prefill and top tokens, penalties, batching and queueing, the losers of `best_of`, and
streams of the OpenAI routes. The chat template is our own.
"""

import argparse
import asyncio
import contextlib
import functools
import json
import random
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from aiohttp import web

from tests.support.fake_tgi_responses import Answer, Latency, Model, Written, _token, chatter, continuation
from tests.support.fake_tgi_rules import (
    GenerateRequest,
    Limits,
    Malformed,
    Refused,
    read_chat,
    read_completion,
    read_json,
    read_request,
    token_id,
    tokenize,
)

#: Routes that write, in the order of the manual: those that faults and `in_flight` are about.
WRITING = ("/generate", "/", "/generate_stream", "/v1/completions", "/v1/chat/completions")
#: Routes that need no key.
OPEN = ("/info", "/health", "/metrics")
#: The default of the launcher's `--payload-limit`.
MAX_BODY_BYTES = 2_000_000


# What goes wrong


class FaultPlan:
    """Which requests to the writing routes go wrong: the next ones by a list, others by chance."""

    def __init__(self, *kinds: str, share: float = 0.0, seed: int = 0) -> None:
        """Set what goes wrong.

        Args:
            kinds: Of the next requests, in their order; "none" leaves one alone.
            share: Of the requests after these, in [0, 1]; any kind.
            seed: Of the chance.
        """
        self.share = share
        #: What "restart" and "other_model" change in /info.
        self.after_restart = {"max_input_tokens": 1024, "max_total_tokens": 1536}
        self.after_other_model = {"model_id": "Salesforce/codegen-2B-mono", "model_sha": "0" * 40}
        #: Seconds between two bytes of "drip".
        self.drip_s = 0.01
        self._next: deque[str] = deque()
        self._chance = random.Random(seed)
        self.then(*kinds)

    def then(self, *kinds: str) -> None:
        """Append to the list."""
        if unknown := set(kinds) - {"none", *KINDS}:
            raise ValueError(f"a fault must be 'none' or one of {KINDS}, got {unknown}")
        self._next.extend(kinds)

    def draw(self) -> str:
        """Take the next, "none" for a request that goes well."""
        if self._next:
            return self._next.popleft()
        unlucky = self._chance.random() < self.share
        return self._chance.choice(KINDS) if unlucky else "none"


_PROXY = "<html><head><title>{0}</title></head><body><h1>{0}</h1><hr>nginx</body></html>\n"

#: Errors in the router's own words: status, error_type, error.
REFUSALS = {
    "overloaded": (429, "overloaded", "Model is overloaded"),
    "generation": (424, "generation", "Request failed during generation: CUDA out of memory."),
    "incomplete": (500, "incomplete_generation", "Incomplete generation"),
}
#: Answers that are none of the router's: status, content type, text.
STRANGE = {
    "half_json": (200, "application/json", '{"generated_text": "class N'),
    "empty_object": (200, "application/json", "{}"),
    "text_error": (500, "text/plain", "Internal Server Error"),
    "html": (502, "text/html", _PROXY.format("502 Bad Gateway")),
    "html_504": (504, "text/html", _PROXY.format("504 Gateway Time-out")),
    "html_200": (200, "text/html", _PROXY.format("Please log in")),
}
#: hang: no answer until the client goes. drip: a byte from time to time, for ever. drop: the
#: connection ends within the body. restart: all connections end, then /info tells other limits.
#: other_model: /info tells another model, and the request is answered as usual.
KINDS = (*REFUSALS, *STRANGE, "hang", "drip", "drop", "restart", "other_model")


async def play(kind: str, tgi: "FakeTgi", http: web.Request) -> web.StreamResponse | None:
    """Do a fault to a request.

    Returns:
        What to answer; None: the request goes on as usual.
    """
    if kind in REFUSALS:
        raise Refused(*REFUSALS[kind])
    if kind in STRANGE:
        status, content_type, text = STRANGE[kind]
        text = "[{}]" if (text, http.path) == ("{}", "/") else text
        return web.Response(status=status, content_type=content_type, text=text)
    if kind == "other_model":
        tgi.change(**tgi.faults.after_other_model)
        return None
    if kind == "restart":
        tgi.change(**tgi.faults.after_restart)
        tgi.disconnect()
    if kind in ("drip", "drop"):
        await _begin(kind, tgi, http)
    await asyncio.get_running_loop().create_future()  # cancelled with the connection
    return None


async def _begin(kind: str, tgi: "FakeTgi", http: web.Request) -> None:
    """Begin a body that has no end."""
    length = {"Content-Length": "1000"} if kind == "drop" else {}
    response = web.StreamResponse(headers={"Content-Type": "application/json"} | length)
    await response.prepare(http)
    while kind == "drip":
        await response.write(b" ")
        await asyncio.sleep(tgi.faults.drip_s)
    await response.write(b'{"generated_text": "class N')
    assert http.transport is not None
    http.transport.close()


# The server


@dataclass(kw_only=True, slots=True)
class Received:
    """A request as it came, and what became of it."""

    route: str
    headers: dict[str, str]
    json: dict[str, Any] = field(default_factory=dict)
    #: The fault played on it.
    fault: str = "none"
    #: None: no body that asks for sampling or not.
    sampled: bool | None = None
    #: None: not answered, or not to the end.
    status: int | None = None
    #: When it came, on the monotonic clock.
    at_s: float = field(default_factory=time.monotonic)

    @property
    def streams(self) -> bool:
        asked = self.route == "/" and self.json.get("stream") is True
        return asked or self.route == "/generate_stream"


Handler = Callable[[web.Request, Received], Awaitable[web.StreamResponse]]


class FakeTgi:
    """The server: what it was asked is in `requests`, what it shall do wrong in `faults`."""

    def __init__(
        self, model: Model, *, faults: FaultPlan, api_key: str | None = None, chat: bool = False
    ) -> None:
        self.model = model
        self.faults = faults
        self.healthy = True
        self.requests: list[Received] = []
        #: Requests to the writing routes that are not answered yet, and the most there were.
        self.in_flight = 0
        self.max_in_flight = 0
        self._api_key = api_key
        self._chat = chat
        self._port = 0
        self._listener: asyncio.Server | None = None
        self._runner = web.AppRunner(self._app(), handler_cancellation=True, access_log=None)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def asked(self) -> list[Received]:
        """What came to the writing routes."""
        return [received for received in self.requests if received.route in WRITING]

    def change(self, **limits: Any) -> None:
        """Go on with other limits, as after a restart with other settings."""
        self.model.limits = replace(self.model.limits, **limits)

    async def start(self, port: int = 0) -> None:
        self._port = port
        await self._runner.setup()
        await self.up()

    async def close(self) -> None:
        """End, whoever still waits for an answer."""
        self.down()
        await self._runner.cleanup()

    async def up(self) -> None:
        """Listen, on the same port as before."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._server(), "127.0.0.1", self._port)
        self._port = self._listener.sockets[0].getsockname()[1]

    def down(self) -> None:
        """Refuse connections, and cut those that there are."""
        if self._listener:
            self._listener.close()
        self.disconnect()

    def disconnect(self) -> None:
        """Cut all connections; their handlers are cancelled."""
        for connection in self._server().connections:
            if connection.transport:
                connection.transport.abort()

    def _server(self) -> web.Server:
        assert self._runner.server is not None
        return self._runner.server

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        writing = (self._generate, self._compat, self._stream, self._completions, self._talk)
        posts = dict(zip(WRITING, writing, strict=True)) | {"/tokenize": self._tokenize}
        gets = {"/info": self._info, "/health": self._health, "/metrics": self._metrics}
        for add, handlers in ((app.router.add_post, posts), (app.router.add_get, gets)):
            for route, handler in handlers.items():
                add(route, functools.partial(self._receive, handler))
        return app

    async def _receive(self, handler: Handler, http: web.Request) -> web.StreamResponse:
        """Record a request and its fate."""
        received = Received(route=http.path, headers=dict(http.headers))
        self.requests.append(received)
        writing = http.path in WRITING
        self.in_flight += writing
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            response = await self._settle(handler, http, received)
            received.status = response.status
        finally:
            self.in_flight -= writing
        return response

    async def _settle(self, handler: Handler, http: web.Request, received: Received) -> web.StreamResponse:
        """Ask for the key, read the body, play a fault, and only then answer."""
        key = f"Bearer {self._api_key}"
        if self._api_key and http.path not in OPEN and http.headers.get("Authorization") != key:
            return web.Response(status=401)
        try:
            return await self._play(http, received) or await handler(http, received)
        except Malformed as error:
            return web.Response(status=error.status, text=str(error))
        except Refused as error:
            if received.streams:
                return web.Response(body=_event(error.body), content_type="text/event-stream")
            return web.json_response(error.body, status=error.status)

    async def _play(self, http: web.Request, received: Received) -> web.StreamResponse | None:
        if http.method == "POST":
            received.json = await read_json(http)
        if http.path in WRITING:
            received.fault = self.faults.draw()
        return None if received.fault == "none" else await play(received.fault, self, http)

    async def _write(self, received: Received, *requests: GenerateRequest) -> list[Written]:
        received.sampled = any(request.sampled for request in requests)
        tasks = [asyncio.create_task(self.model.generate(request)) for request in requests]
        try:
            return await asyncio.gather(*tasks)
        finally:  # one refused prompt ends the others
            for task in tasks:
                task.cancel()

    async def _generate(self, http: web.Request, received: Received) -> web.StreamResponse:
        return await self._single(http, received, read_request(received.json))

    async def _compat(self, http: web.Request, received: Received) -> web.StreamResponse:
        """As /generate, but a list, and with the prompt in front unless told otherwise."""
        request = read_request(received.json)
        if request.return_full_text is None:
            request = request.model_copy(update={"return_full_text": True})
        answer = self._events if received.streams else self._single
        return await answer(http, received, request)

    async def _single(
        self, http: web.Request, received: Received, request: GenerateRequest
    ) -> web.StreamResponse:
        [written] = await self._write(received, request)
        body: dict[str, Any] = {"generated_text": _full(request, written)}
        if request.details:
            body["details"] = written.details()
        whole = [body] if received.route == "/" else body
        return web.json_response(whole, headers=_headers(received, [written]))

    async def _stream(self, http: web.Request, received: Received) -> web.StreamResponse:
        return await self._events(http, received, read_request(received.json))

    async def _events(
        self, http: web.Request, received: Received, request: GenerateRequest
    ) -> web.StreamResponse:
        """Send an event for each token; the last one has the whole text."""
        [written] = await self._write(received, request)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(http)
        end: dict[str, Any] = {"generated_text": _full(request, written), "details": None}
        if request.details:
            end["details"] = written.details()
        for index, token in enumerate(written.tokens, start=1):
            rest = end if index == len(written.tokens) else dict.fromkeys(end)
            await response.write(_event({"index": index, "token": _token(token)} | rest))
        return response

    async def _completions(self, http: web.Request, received: Received) -> web.StreamResponse:
        requests = read_completion(received.json, self.model.limits)
        written = await self._write(received, *requests)
        texts = [{"text": one.text.removesuffix(one.stop)} for one in written]
        return self._openai(received, "text_completion", texts, written)

    async def _talk(self, http: web.Request, received: Received) -> web.StreamResponse:
        if not self._chat:
            raise Refused(422, "template_error", "Template error: template not found")
        [one] = written = await self._write(received, read_chat(received.json))
        message = {"role": "assistant", "content": one.text.removesuffix(one.stop)}
        return self._openai(received, "chat.completion", [{"message": message}], written)

    def _openai(
        self, received: Received, kind: str, texts: list[dict[str, Any]], written: list[Written]
    ) -> web.Response:
        prompt, new = sum(one.prompt_tokens for one in written), sum(len(w.tokens) for w in written)
        usage = {"prompt_tokens": prompt, "completion_tokens": new, "total_tokens": prompt + new}
        reasons = [one.finish_reason.replace("eos_token", "stop") for one in written]
        choices = [
            {"index": index, "logprobs": None, "finish_reason": reason} | text
            for index, (text, reason) in enumerate(zip(texts, reasons, strict=True))
        ]
        body = {"id": "", "object": kind, "created": int(time.time()), "choices": choices}
        body |= {"model": self.model.limits.model_id, "usage": usage}
        return web.json_response(body, headers=_headers(received, written))

    async def _tokenize(self, http: web.Request, received: Received) -> web.StreamResponse:
        tokens, start = [], 0
        for token in tokenize(read_request(received.json).inputs):
            place = {"start": start, "stop": start + len(token)}
            tokens.append({"id": token_id(token), "text": token} | place)
            start += len(token)
        return web.json_response(tokens)

    async def _info(self, http: web.Request, received: Received) -> web.StreamResponse:
        told = asdict(self.model.limits)
        del told["disable_grammar_support"]
        return web.json_response(told | {"router": "text-generation-router"})

    async def _health(self, http: web.Request, received: Received) -> web.StreamResponse:
        if not self.healthy:
            raise Refused(503, "healthcheck", "unhealthy")
        return web.Response()

    async def _metrics(self, http: web.Request, received: Received) -> web.StreamResponse:
        answers = Counter("success" if one.status == 200 else "failure" for one in self.asked)
        lines = [f"tgi_request_count {len(self.asked)}", f"tgi_batch_size {self.model.num_writing}"]
        lines += ["tgi_queue_size 0"]
        lines += [f"tgi_request_{how} {count}" for how, count in sorted(answers.items())]
        return web.Response(text="\n".join(lines) + "\n")


def _full(request: GenerateRequest, written: Written) -> str:
    return (request.inputs if request.return_full_text else "") + written.text


def _event(body: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(body)}\n\n".encode()


def _headers(received: Received, written: list[Written]) -> dict[str, str]:
    spent_ms = str(int((time.monotonic() - received.at_s) * 1000))
    return {
        "x-prompt-tokens": str(sum(one.prompt_tokens for one in written)),
        "x-generated-tokens": str(sum(len(one.tokens) for one in written)),
        "x-queue-time": "0",
        "x-inference-time": spent_ms,
        "x-total-time": spent_ms,
    }


@contextlib.asynccontextmanager
async def fake_tgi(
    *,
    answer: Answer | None = None,
    latency_s: Latency = lambda request: 0.0,
    faults: FaultPlan | None = None,
    api_key: str | None = None,
    chat: bool = False,
    port: int = 0,
    **limits: Any,
) -> AsyncIterator[FakeTgi]:
    """Serve on loopback; `limits` are fields of `Limits`."""
    model = Model(Limits(**limits), answer or (chatter if chat else continuation), latency_s)
    tgi = FakeTgi(model, faults=faults or FaultPlan(), api_key=api_key, chat=chat)
    await tgi.start(port)
    try:
        yield tgi
    finally:
        await tgi.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency-s", type=float, default=0.0)
    parser.add_argument("--api-key")
    parser.add_argument("--chat", action="store_true")
    parser.add_argument("--faults", nargs="*", default=[], choices=["none", *KINDS])
    parser.add_argument("--fault-share", type=float, default=0.0)
    parser.add_argument("--fault-seed", type=int, default=0)
    for name in ("max_input_tokens", "max_total_tokens", "max_concurrent_requests"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(Limits(), name))
    return parser.parse_args()


async def main(options: argparse.Namespace) -> None:
    """Serve until killed."""
    given = vars(options).copy()
    latency_s = given.pop("latency_s")
    share, seed = given.pop("fault_share"), given.pop("fault_seed")
    faults = FaultPlan(*given.pop("faults"), share=share, seed=seed)
    async with fake_tgi(faults=faults, latency_s=lambda request: latency_s, **given) as tgi:
        print(tgi.url, flush=True)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(_options()))
