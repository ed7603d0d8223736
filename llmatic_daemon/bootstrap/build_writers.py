"""Build the writers from the settings: LLM endpoints, rule-based writers, recordings."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from llmatic_daemon.adapters.llm.circuit_breaker import BreakerRules
from llmatic_daemon.adapters.llm.endpoint import CallPolicy, Client, ClientOptions, Endpoint
from llmatic_daemon.adapters.llm.ensemble import LLMWriter
from llmatic_daemon.adapters.llm.recording import Recorder, Replay
from llmatic_daemon.adapters.nasbench.cell_rewriter import CellRewriter
from llmatic_daemon.adapters.rewriter.writer import OfflineRewriter
from llmatic_daemon.bootstrap.build_search import rules
from llmatic_daemon.config.credentials import token_of
from llmatic_daemon.config.settings import EndpointSettings, Settings, WriterSettings
from llmatic_daemon.domain.events import EventBus
from llmatic_daemon.domain.nasbench_cells import PATTERN
from llmatic_daemon.domain.plugins import WRITERS
from llmatic_daemon.domain.ports import Writer


def rewriter(settings: Settings) -> Writer:
    """Build the writer that needs no LLM."""
    return CellRewriter() if settings.is_benchmark else OfflineRewriter()


@asynccontextmanager
async def writer(settings: Settings, events: EventBus | None = None) -> AsyncIterator[Writer]:
    """Build the writer; its connections and files are open while the context lasts.

    Raises:
        ConfigurationError: a key, a recording or a package is missing.
    """
    async with AsyncExitStack() as stack:
        made = await _writer(settings.writer, events, stack, rewriter(settings))
        if settings.writer.record:
            ratio = rules(settings).control_ratio
            made = Recorder(made, Path(settings.writer.record), control_ratio=ratio)
            stack.callback(made.close)
        yield made


async def _writer(
    settings: WriterSettings, events: EventBus | None, stack: AsyncExitStack, rewriter: Writer
) -> Writer:
    if settings.kind == "replay":
        replay = Replay(Path(settings.replay))
        stack.callback(replay.close)
        return replay
    servers = endpoints(settings, events)
    if not servers:
        return rewriter
    fallback = rewriter if settings.on_outage == "fallback" else None
    return await stack.enter_async_context(LLMWriter(servers, fallback=fallback))


def endpoints(settings: WriterSettings, events: EventBus | None = None) -> list[Endpoint]:
    """Build the configured LLM endpoints; the caller closes them.

    Raises:
        ConfigurationError: a key or a package is missing.
    """
    servers = settings.servers.items()
    return [_endpoint(name, each, settings, events) for name, each in servers]


def _endpoint(
    name: str, server: EndpointSettings, settings: WriterSettings, events: EventBus | None
) -> Endpoint:
    token = token_of(name, server, is_only=len(settings.servers) == 1)
    return Endpoint(
        name,
        _client(server, token),
        CallPolicy(
            timeout_s=server.timeout_s,
            max_tries=settings.max_tries,
            retry_s=settings.retry_s,
            max_retry_s=settings.max_retry_s,
            breaker=BreakerRules(
                num_failures=settings.breaker_failures,
                # A call that hangs takes its whole time-out, which is not time between failures.
                window_s=settings.breaker_window_s + settings.breaker_failures * server.timeout_s,
                pause_s=settings.breaker_pause_s,
                max_pause_s=settings.max_breaker_pause_s,
            ),
        ),
        max_concurrency=server.max_concurrency,
        weight=server.weight,
        events=events,
    )


def _client(server: EndpointSettings, token: str | None) -> Client:
    options = ClientOptions(
        token=token,
        model=server.model,
        chat=server.style == "chat",
        max_new_tokens=server.max_new_tokens,
        max_input_tokens=server.max_input_tokens,
        top_p=server.top_p,
        grammar=PATTERN if server.grammar == "cells" else "",
        extra_body=server.extra_body,
    )
    client: Client = WRITERS.load(server.kind)(server.url, options)
    return client
