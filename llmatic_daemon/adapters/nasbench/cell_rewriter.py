"""The rule-based writer of cells: it changes the parent's operations as the prompt asks."""

from random import Random

from llmatic_daemon.domain import SAMPLE_PROMPT_ID, Completion, Operator, Request
from llmatic_daemon.domain.nasbench_cells import EDGES, OPERATIONS, Cell
from llmatic_daemon.domain.ports import Writer

_MAX_TRIES = 20


class CellRewriter(Writer):
    """Rule-based writer of cells; it inserts the operations that the prompt names.

    The same request gives the same cell; the number of changes grows with the temperature. For the prompt
    `SAMPLE_PROMPT_ID` it draws a cell uniformly, independent of the parents.
    """

    async def complete(self, request: Request) -> Completion:
        """Return a cell that computes a different function from its parents."""
        rng = Random(request.seed)
        parents = [Cell.parse(text.strip()) for text in request.parents]
        known = {parent.canonical for parent in parents}
        crosses = request.operator is Operator.CROSSOVER and len(parents) > 1
        wanted = [each for each in OPERATIONS if each in request.prompt.text] or list(OPERATIONS)
        if request.prompt.id == SAMPLE_PROMPT_ID:
            return _written(Cell(tuple(rng.choice(OPERATIONS) for _ in EDGES)))
        child = parents[0]
        for attempt in range(_MAX_TRIES):
            if crosses and attempt < _MAX_TRIES // 2:
                child = Cell(tuple(rng.choice(parents).operations[edge] for edge in range(len(EDGES))))
            else:
                choice = wanted if attempt < _MAX_TRIES // 2 else list(OPERATIONS)
                child = _changed(parents[0], choice, request.temperature, rng)
            if child.canonical not in known:
                break
        return _written(child)


def _written(cell: Cell) -> Completion:
    return Completion(text=f"{cell}\n", writer="offline", model="cell rewriter")


def _changed(cell: Cell, wanted: list[str], temperature: float, rng: Random) -> Cell:
    """Change one to three edges; a higher temperature changes more."""
    num_changes = 1 + sum(rng.random() < temperature / 2 for _ in range(2))
    for edge in rng.sample(range(len(EDGES)), num_changes):
        others = [each for each in wanted if each != cell.operations[edge]]
        if others:
            cell = cell.with_operation(edge, rng.choice(others))
    return cell
