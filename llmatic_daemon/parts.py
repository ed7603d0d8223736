"""The hands, built from the settings: adapters take plain values, and this is where they get them."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    nullcontext,
)
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from llmatic_daemon.adapters.breaker import BreakerRules
from llmatic_daemon.adapters.endpoint import Client, Endpoint, Persistence
from llmatic_daemon.adapters.lifter import ProcessLifter
from llmatic_daemon.adapters.llm import LLMWriter
from llmatic_daemon.adapters.nasbench.hands import CellLifter, TableTrainer
from llmatic_daemon.adapters.nasbench.rewriter import CellRewriter
from llmatic_daemon.adapters.nasbench.table import Table
from llmatic_daemon.adapters.offline import OfflineRewriter
from llmatic_daemon.adapters.openai_client import OpenAIClient
from llmatic_daemon.adapters.prompt_folder import PromptFolder
from llmatic_daemon.adapters.prompts import default_folder
from llmatic_daemon.adapters.recording import Recorder, Replay
from llmatic_daemon.adapters.tgi_client import TGIClient
from llmatic_daemon.adapters.trainer import TrainerPool
from llmatic_daemon.cells import PATTERN
from llmatic_daemon.config import EndpointSettings, Settings, WriterSettings
from llmatic_daemon.core.budget import Budget
from llmatic_daemon.core.cell_candidates import TASK_PREFIX
from llmatic_daemon.credentials import token_of
from llmatic_daemon.engine import Patience
from llmatic_daemon.ports import Lifter, Observer, Trainer, Writer
from llmatic_daemon.sandbox import Sandbox
from llmatic_daemon.search import rules


@dataclass(frozen=True, slots=True)
class Hands:
    """Who writes, lifts and trains, while their context lasts; the writer tells of its calls."""

    writer: Callable[[Sequence[Observer]], AbstractAsyncContextManager[Writer]]
    lifter: AbstractAsyncContextManager[Lifter]
    trainer: AbstractAsyncContextManager[Trainer]
    #: Writes what is to be written by rule while an LLM writes the rest; None: the writer does.
    rewriter: Writer | None = None


def hands(settings: Settings) -> Hands:
    """Make the real ones, or those of a benchmark."""
    if is_benchmark(settings):
        return benchmark(settings, table(settings))
    return Hands(partial(writer, settings), lifter(settings), trainers(settings), rewriter(settings))


def is_benchmark(settings: Settings) -> bool:
    """Tell whether candidates are cells that are looked up."""
    return settings.data.name.startswith(TASK_PREFIX)


def table(settings: Settings) -> Table:
    """Read the table of the benchmark that is searched.

    Raises:
        ConfigurationError: it is not there, or not whole.
    """
    return Table.read(settings.data.folder, settings.data.name.removeprefix(TASK_PREFIX))


def benchmark(settings: Settings, table: Table) -> Hands:
    """Make the hands that look cells up in a table."""
    return Hands(
        partial(writer, settings),
        nullcontext(CellLifter(table)),
        nullcontext(TableTrainer(table)),
        rewriter(settings),
    )


def limits(settings: Settings) -> dict[str, int]:
    """Say what a network may cost, in the words of the lifter and the trainers."""
    return {
        "max_parameters": settings.lifter.max_parameters,
        "max_flops": settings.lifter.max_flops,
        "max_activation_bytes": settings.lifter.max_activation_mib << 20,
        "max_source_bytes": settings.lifter.max_source_kib << 10,
    }


def rewriter(settings: Settings) -> Writer:
    """Make the writer that needs no LLM."""
    return CellRewriter() if is_benchmark(settings) else OfflineRewriter()


@asynccontextmanager
async def writer(settings: Settings, observers: Sequence[Observer] = ()) -> AsyncIterator[Writer]:
    """Make the writer; it has connections and files open while the context lasts.

    Raises:
        ConfigurationError: a key, a recording or a package is missing.
    """
    async with AsyncExitStack() as stack:
        made = await _writer(settings.writer, observers, stack, rewriter(settings))
        if settings.writer.record:
            ratio = rules(settings).control_ratio
            made = Recorder(made, Path(settings.writer.record), control_ratio=ratio)
            stack.callback(made.close)
        yield made


async def _writer(
    settings: WriterSettings,
    observers: Sequence[Observer],
    stack: AsyncExitStack,
    rewriter: Writer,
) -> Writer:
    if settings.name == "replay":
        replay = Replay(Path(settings.replay))
        stack.callback(replay.close)
        return replay
    servers = endpoints(settings, observers)
    if not servers:
        return rewriter
    stand_in = rewriter if settings.outage == "offline" else None
    return await stack.enter_async_context(LLMWriter(servers, stand_in=stand_in))


def endpoints(settings: WriterSettings, observers: Sequence[Observer] = ()) -> list[Endpoint]:
    """Make the LLM servers that are configured; whoever gets them closes them.

    Raises:
        ConfigurationError: a key or a package is missing.
    """
    servers = settings.servers.items()
    return [_endpoint(name, each, settings, observers) for name, each in servers]


def _endpoint(
    name: str, server: EndpointSettings, settings: WriterSettings, observers: Sequence[Observer]
) -> Endpoint:
    token = token_of(name, server, is_only=len(settings.servers) == 1)
    return Endpoint(
        name,
        _client(server, token),
        Persistence(
            timeout_s=server.timeout_s,
            max_tries=settings.max_tries,
            retry_s=settings.retry_s,
            max_retry_s=settings.max_retry_s,
            breaker=BreakerRules(
                num_failures=settings.breaker_failures,
                # A call that hangs takes its whole time: that is not time between failures.
                window_s=settings.breaker_window_s + settings.breaker_failures * server.timeout_s,
                pause_s=settings.breaker_pause_s,
                max_pause_s=settings.max_breaker_pause_s,
            ),
        ),
        max_concurrency=server.max_concurrency,
        weight=server.weight,
        observers=observers,
    )


def _client(server: EndpointSettings, token: str | None) -> Client:
    options: dict[str, Any] = {
        "token": token,
        "max_new_tokens": server.max_new_tokens,
        "max_input_tokens": server.max_input_tokens,
        "top_p": server.top_p,
    }
    if server.name == "tgi":
        grammar = PATTERN if server.grammar == "cells" else ""
        return TGIClient(server.url, grammar=grammar, **options)
    return OpenAIClient(
        server.url,
        model=server.model,
        chat=server.style == "chat",
        extra_body=server.extra_body,
        **options,
    )


def sandbox(settings: Settings) -> Sandbox:
    """Say which layers are around the code that an LLM wrote."""
    return Sandbox(require=frozenset(settings.sandbox.require), user=settings.sandbox.user)


def lifter(settings: Settings) -> ProcessLifter:
    """Make the lifter; entering it starts its warm parents."""
    hidden = [settings.state_dir, *([settings.data.folder] if settings.data.folder.name else [])]
    return ProcessLifter(
        num_parents=settings.lifter.places,
        timeout_s=settings.lifter.timeout_s,
        memory_bytes=settings.lifter.memory_mib << 20,
        limits=limits(settings),
        sandbox=sandbox(settings),
        hidden=hidden,
    )


def trainers(settings: Settings) -> TrainerPool:
    """Make the trainers; entering the pool starts them."""
    return TrainerPool(
        places=settings.training.places,
        configuration={
            "data": _data(settings),
            "recipe": _recipe(settings),
            "limits": limits(settings),
            "initial_weights": settings.training.initial_weights,
            "threads": settings.training.threads,
            "timeout_s": settings.training.timeout_s,
            "memory_bytes": settings.training.memory_mib << 20,
        },
    )


def _data(settings: Settings) -> dict[str, Any]:
    data = settings.data
    held_out = data.validation_ratio if data.fitness_split == "validation" else 0.0
    return {
        "name": data.name,
        "folder": str(data.folder),
        "download": data.download,
        "num_train": data.num_train or None,
        "image_size": data.image_size,
        "validation_ratio": held_out,
        "seed": settings.search.seed,
    }


def _recipe(settings: Settings) -> dict[str, Any]:
    """Read 0, a negative number or an empty word as what the recipe says."""
    training = settings.training
    return {
        "preset": training.recipe,
        "epochs": training.epochs or None,
        "batch_size": training.batch_size or None,
        "learning_rate": training.learning_rate or None,
        "momentum": _unless_negative(training.momentum),
        "weight_decay": _unless_negative(training.weight_decay),
        "label_smoothing": _unless_negative(training.label_smoothing),
        "schedule": training.schedule or None,
        "augmentation": training.augmentation or None,
        "precision": training.precision or None,
    }


def _unless_negative(number: float) -> float | None:
    return None if number < 0 else number


def prompt_path(settings: Settings) -> Path:
    """Find the folder of prompts: the user's, else the one that we ship."""
    return Path(settings.prompts.folder or default_folder(for_cells=is_benchmark(settings)))


def prompt_folder(settings: Settings) -> PromptFolder:
    """Make the prompt folder, to be watched."""
    prompts = settings.prompts
    return PromptFolder(prompt_path(settings), settle_s=prompts.settle_s, rescan_s=prompts.rescan_s)


def budget(settings: Settings) -> Budget:
    """Read 0 as no limit."""
    limit = settings.budget
    return Budget(
        max_evaluations=limit.max_evaluations or None,
        max_trainings=limit.max_trainings or None,
        max_gpu_hours=limit.max_gpu_hours or None,
        max_hours=limit.max_hours or None,
        target_accuracy=limit.target_accuracy or None,
    )


def patience(settings: Settings) -> Patience:
    """Say how often the world may fail."""
    engine = settings.engine
    return Patience(max_attempts=engine.max_attempts, retry_s=engine.retry_s, max_retry_s=engine.max_retry_s)
