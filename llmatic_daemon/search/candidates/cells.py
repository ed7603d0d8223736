"""Candidates that are cells of NAS-Bench-201: the request to a writer, and the parser of its answer."""

import re
from collections.abc import Sequence

from llmatic_daemon.domain import Candidate, Completion, Outcome, Proposal, Rejection, Request, Task
from llmatic_daemon.domain.nasbench_cells import OPERATIONS, PATTERN, Cell
from llmatic_daemon.search.candidates.requests import filled

#: Prefix of the data sets whose candidates are cells, such as nasbench201-cifar10.
TASK_PREFIX = "nasbench201-"
BENCHMARKS = tuple(f"{TASK_PREFIX}{images}" for images in ("cifar10", "cifar100", "imagenet16-120"))
#: Class name of a cell, which has no class.
CELL_NAME = "cell"
#: A minimal cell with layers: three 1 x 1 convolutions in a row.
INITIAL_CELL = str(Cell(("nor_conv_1x1", "none", "nor_conv_1x1", "none", "none", "nor_conv_1x1")))
SYSTEM = f"""\
You are an expert in neural network architectures, and write cells of NAS-Bench-201. A cell has four nodes; \
each edge between them has one of the operations {", ".join(OPERATIONS)}. A cell is written \
|op~0|+|op~0|op~1|+|op~0|op~1|op~2|, where op~n is an operation on what node n holds. Answer with one cell and \
nothing else."""
_HEAD = """\
# Cells of NAS-Bench-201 for {task}: |op~0|+|op~0|op~1|+|op~0|op~1|op~2|
# Operations: {operations}
"""
_CELL = re.compile(PATTERN)


def initial_cell(_: Task) -> str:
    """Return the cell that the first mutations change."""
    return INITIAL_CELL


def write_cell_request(proposal: Proposal, cells: Sequence[str], task: Task) -> Request:
    """Return the request of a proposal: the parents' cells and the prompt.

    Args:
        proposal: The proposal.
        cells: Cells of the parents, in their order, the one to change first.
        task: Task of the benchmark.
    """
    results = [f"  # accuracy {result:.4f}" for result in proposal.results] or [""] * len(cells)
    listed = "".join(f"{cell.strip()}{result}\n" for cell, result in zip(cells, results, strict=True))
    values = {"task": task.name.removeprefix(TASK_PREFIX), "source": listed}
    values |= {"shape": " x ".join(map(str, task.input_shape)), "num_classes": str(task.num_classes)}
    text = filled(proposal.prompt.text, values)
    head = filled(_HEAD, {**values, "operations": ", ".join(OPERATIONS)})
    return Request(
        operator=proposal.operator,
        prompt=proposal.prompt,
        parents=tuple(cells),
        temperature=proposal.sampling_temperature,
        seed=proposal.seed,
        task=task,
        continuation=f"{head}{listed}# {text}\n",
        stops=("\n\n", "\n#"),
        system=SYSTEM,
        question=f"{listed}\n{text}",
    )


def read_cell(
    completion: Completion, proposal: Proposal, parents: tuple[str, ...], task: Task
) -> Candidate | Rejection:
    """Return the cell in a writer's answer: the first one that is not a parent, else the first one.

    Returns:
        The candidate, whose source is the cell, or a rejection as NOT_CODE.
    """
    found = _CELL.findall(completion.text)
    if not found:
        detail = f"no cell |op~0|+|op~0|op~1|+|op~0|op~1|op~2| of {', '.join(OPERATIONS)}"
        return Rejection(cause=Outcome.NOT_CODE, detail=detail)
    known = {cell.strip() for cell in parents}
    cell = next((each for each in found if each not in known), found[0])
    return Candidate(source=cell, class_name=CELL_NAME, seed=proposal.seed, task=task)
