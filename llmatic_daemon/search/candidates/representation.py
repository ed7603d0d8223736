"""The representation of candidates: PyTorch sources, or the cells of a benchmark."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llmatic_daemon.domain import Candidate, Completion, Proposal, Rejection, Request, Task
from llmatic_daemon.search.candidates import cells
from llmatic_daemon.search.candidates.requests import write_request
from llmatic_daemon.search.candidates.source import class_name_of, read_source
from llmatic_daemon.search.operators import initial_source


@dataclass(frozen=True, slots=True)
class Representation:
    """The functions that depend on the representation: initial candidate, request, parser, name."""

    initial: Callable[[Task], str]
    ask: Callable[[Proposal, Sequence[str], Task], Request]
    read: Callable[[Completion, Proposal, tuple[str, ...], Task], Candidate | Rejection]
    #: Returns the class name of a stored source.
    name_of: Callable[[str], str]
    #: A prompt to test an LLM with.
    instruction: str


PYTORCH = Representation(
    initial_source,
    write_request,
    read_source,
    class_name_of,
    "Write a class that inherits from nn.Module and improves the network above by adding one layer.",
)
CELLS = Representation(
    cells.initial_cell,
    cells.write_cell_request,
    cells.read_cell,
    lambda _: cells.CELL_NAME,
    "Write a cell that performs better than the one above, by changing one operation.",
)


def representation_of(task: Task) -> Representation:
    """Return the representation of a task's candidates."""
    return CELLS if task.name.startswith(cells.TASK_PREFIX) else PYTORCH
