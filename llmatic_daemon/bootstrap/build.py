"""The hands, built from the settings: adapters take plain values, and this is where they get them."""

from collections.abc import Callable, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    nullcontext,
)
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from llmatic_daemon.adapters.nasbench.lookup import CellLifter, TableTrainer
from llmatic_daemon.adapters.nasbench.table import Table
from llmatic_daemon.adapters.prompts.files import default_folder
from llmatic_daemon.adapters.prompts.watcher import PromptFolder
from llmatic_daemon.bootstrap.build_processes import lifter, trainers
from llmatic_daemon.bootstrap.build_writers import rewriter, writer
from llmatic_daemon.config.settings import Settings
from llmatic_daemon.domain.ports import Lifter, Observer, Trainer, Writer
from llmatic_daemon.engine.engine import RetryPolicy
from llmatic_daemon.search.budget import Budget
from llmatic_daemon.search.candidates.cells import TASK_PREFIX


@dataclass(frozen=True, slots=True)
class Adapters:
    """Who writes, lifts and trains, while their context lasts; the writer tells of its calls."""

    writer: Callable[[Sequence[Observer]], AbstractAsyncContextManager[Writer]]
    lifter: AbstractAsyncContextManager[Lifter]
    trainer: AbstractAsyncContextManager[Trainer]
    #: Writes what is to be written by rule while an LLM writes the rest; None: the writer does.
    rewriter: Writer | None = None


def build_adapters(settings: Settings) -> Adapters:
    """Make the real ones, or those of a benchmark."""
    if settings.is_benchmark:
        return benchmark(settings, table(settings))
    return Adapters(partial(writer, settings), lifter(settings), trainers(settings), rewriter(settings))


def table(settings: Settings) -> Table:
    """Read the table of the benchmark that is searched.

    Raises:
        ConfigurationError: it is not there, or not whole.
    """
    return Table.read(settings.data.folder, settings.data.name.removeprefix(TASK_PREFIX))


def benchmark(settings: Settings, table: Table) -> Adapters:
    """Make the hands that look cells up in a table."""
    return Adapters(
        partial(writer, settings),
        nullcontext(CellLifter(table)),
        nullcontext(TableTrainer(table)),
        rewriter(settings),
    )


def prompt_path(settings: Settings) -> Path:
    """Find the folder of prompts: the user's, else the one that we ship."""
    return Path(settings.prompts.folder or default_folder(for_cells=settings.is_benchmark))


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


def retry_policy(settings: Settings) -> RetryPolicy:
    """Say how often the world may fail."""
    engine = settings.engine
    return RetryPolicy(
        max_attempts=engine.max_attempts, retry_s=engine.retry_s, max_retry_s=engine.max_retry_s
    )
