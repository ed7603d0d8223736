"""What candidates are written in: PyTorch, or the cells of a benchmark."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llmatic_daemon.core.cell_candidates import (
    TASK_PREFIX,
    initial_cell,
    read_cell,
    write_cell_request,
)
from llmatic_daemon.core.operators import initial_source
from llmatic_daemon.core.requests import write_request
from llmatic_daemon.core.source import read_source
from llmatic_daemon.records import Candidate, Completion, Proposal, Rejection, Request, Task


@dataclass(frozen=True, slots=True)
class Language:
    """How candidates begin, are asked for, and are read."""

    initial: Callable[[Task], str]
    ask: Callable[[Proposal, Sequence[str], Task], Request]
    read: Callable[[Completion, Proposal, tuple[str, ...], Task], Candidate | Rejection]


PYTORCH = Language(initial_source, write_request, read_source)
CELLS = Language(initial_cell, write_cell_request, read_cell)


def language_of(task: Task) -> Language:
    """Choose by the data set."""
    return CELLS if task.name.startswith(TASK_PREFIX) else PYTORCH
