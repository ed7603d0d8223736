"""Build the adapters from the settings: adapters take plain values."""

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
from llmatic_daemon.search.candidates.cells import TASK_PREFIX


@dataclass(frozen=True, slots=True)
class Adapters:
    """The writer, the lifter and the trainer of a search, while their contexts last."""

    writer: Callable[[Sequence[Observer]], AbstractAsyncContextManager[Writer]]
    lifter: AbstractAsyncContextManager[Lifter]
    trainer: AbstractAsyncContextManager[Trainer]
    #: Writes the control arm and other rule-based candidates; None: the writer does.
    rewriter: Writer | None = None


def build_adapters(settings: Settings) -> Adapters:
    """Build the adapters of a search, or of a benchmark."""
    if settings.is_benchmark:
        return benchmark(settings, table(settings))
    return Adapters(partial(writer, settings), lifter(settings), trainers(settings), rewriter(settings))


def table(settings: Settings) -> Table:
    """Read the table of the benchmark that is searched.

    Raises:
        ConfigurationError: the file is missing or incomplete.
    """
    return Table.read(settings.data.folder, settings.data.name.removeprefix(TASK_PREFIX))


def benchmark(settings: Settings, table: Table) -> Adapters:
    """Build the adapters that look cells up in a table."""
    return Adapters(
        partial(writer, settings),
        nullcontext(CellLifter(table)),
        nullcontext(TableTrainer(table)),
        rewriter(settings),
    )


def prompt_path(settings: Settings) -> Path:
    """Return the folder of prompts: the user's, or the one that is shipped."""
    return Path(settings.prompts.folder or default_folder(for_cells=settings.is_benchmark))


def prompt_folder(settings: Settings) -> PromptFolder:
    """Build the watcher of the prompt folder."""
    prompts = settings.prompts
    return PromptFolder(prompt_path(settings), settle_s=prompts.settle_s, rescan_s=prompts.rescan_s)
