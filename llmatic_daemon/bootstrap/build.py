"""Builds the adapters and the engine from the settings: adapters take plain values, which come from here."""

from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from llmatic_daemon.adapters.nasbench.lookup import CellLifter, TableTrainer
from llmatic_daemon.adapters.nasbench.table import Table
from llmatic_daemon.adapters.prompts.prompt_files import default_folder, read_prompts
from llmatic_daemon.adapters.prompts.watcher import PromptFolder
from llmatic_daemon.adapters.storage.state_folder import database_path
from llmatic_daemon.bootstrap.build_processes import lifter, trainers
from llmatic_daemon.bootstrap.build_writers import rewriter, writer
from llmatic_daemon.config.settings import Settings
from llmatic_daemon.domain import Prompt, Task
from llmatic_daemon.domain.errors import ConfigurationError
from llmatic_daemon.domain.events import EventBus
from llmatic_daemon.domain.ports import Lifter, Ports, Trainer, Writer
from llmatic_daemon.engine.engine import Engine
from llmatic_daemon.search.candidates.cells import TASK_PREFIX
from llmatic_daemon.search.evolution import Evolution
from llmatic_daemon.search.prompt_book import EMPTY_BOOK


@dataclass(frozen=True, slots=True)
class Adapters:
    """Writer, lifter and trainer, each usable while its context lasts; and the bus that all publish to."""

    writer: AbstractAsyncContextManager[Writer]
    lifter: AbstractAsyncContextManager[Lifter]
    trainer: AbstractAsyncContextManager[Trainer]
    #: Writes all rule-based candidates while an LLM writes the others; None: the writer does.
    rewriter: Writer | None = None
    events: EventBus = field(default_factory=EventBus)


def build_adapters(settings: Settings) -> Adapters:
    """Build the real adapters, or those of a benchmark."""
    if settings.is_benchmark:
        return benchmark(settings, table(settings))
    events = EventBus()
    return Adapters(
        writer(settings, events), lifter(settings), trainers(settings, events), rewriter(settings), events
    )


def table(settings: Settings) -> Table:
    """Read the table of the benchmark that is searched.

    Raises:
        ConfigurationError: the file is missing or incomplete.
    """
    return Table.read(settings.data.folder, settings.data.name.removeprefix(TASK_PREFIX))


def benchmark(settings: Settings, table: Table) -> Adapters:
    """Build the adapters that read the results of cells from a table."""
    events = EventBus()
    return Adapters(
        writer(settings, events),
        nullcontext(CellLifter(table)),
        nullcontext(TableTrainer(table)),
        rewriter(settings),
        events,
    )


def prompt_path(settings: Settings) -> Path:
    """Return the folder of prompts: the user's, else the one that the package contains."""
    return Path(settings.prompts.folder or default_folder(for_cells=settings.is_benchmark))


def first_prompts(settings: Settings) -> tuple[Prompt, ...] | ConfigurationError:
    """Read the prompts of the start; return the error if an existing search can go on with its own.

    Raises:
        ConfigurationError: they are invalid, and the state folder is new.
    """
    try:
        prompts = read_prompts(prompt_path(settings))
        EMPTY_BOOK.numbered(prompts, settings.archives.prompt_axis_size)
        return prompts
    except ConfigurationError as error:
        if database_path(settings.state_dir).exists():
            return error
        raise


def prompt_folder(settings: Settings) -> PromptFolder:
    """Build the prompt folder, to be watched."""
    prompts = settings.prompts
    return PromptFolder(prompt_path(settings), settle_s=prompts.settle_s, rescan_s=prompts.rescan_s)


def engine(settings: Settings, evolution: Evolution, task: Task, ports: Ports) -> Engine:
    """Build the engine of a search."""
    return Engine(
        evolution,
        task,
        ports,
        num_slots=settings.engine.slots,
        budget=settings.budget,
        retry_policy=settings.engine,
    )
