"""The kernel grid of the vocabulary: every operation that a graph may use, layers many times."""

from collections.abc import Mapping
from random import Random

import torch

from llmatic_daemon.worker.graph import avoided_kernels, operations
from llmatic_daemon.worker.kernels import layer_cells, tensor_cells
from llmatic_daemon.worker.kernels.kernel_cell import KernelCell, KernelGrid, Maker, TensorSpec

#: Groups of operations, and how often one round of the grid tries each operation of the group.
_ROUND: tuple[tuple[Mapping[str, Maker], int], ...] = (
    (layer_cells.CONVOLUTIONS, 25),
    (layer_cells.PRODUCTS, 4),
    (layer_cells.RECURRENT, 3),
    (layer_cells.POOLINGS, 6),
    (layer_cells.NORMS, 4),
    (tensor_cells.ACTIVATIONS, 1),
    (tensor_cells.SHAPES, 1),
    (tensor_cells.ARITHMETIC, 1),
)

#: What draws the arguments of each operation of the vocabulary.
MAKERS: Mapping[str, Maker] = {name: make for makers, _ in _ROUND for name, make in makers.items()}


def _order() -> tuple[str, ...]:
    """Return one round: operations that this version of torch knows, mixed in a fixed order."""
    known = operations.table()
    repeated = [name for makers, times in _ROUND for name in makers for _ in range(times) if name in known]
    Random(0).shuffle(repeated)
    return tuple(repeated)


def _avoided_by(cell: KernelCell) -> str | None:
    """Return the entry of the table of avoided kernels that covers a cell."""
    narrow = torch.bfloat16 if cell.precision == "bfloat16" else torch.float32
    args = [
        torch.empty(arg.shape, dtype=torch.float32 if arg.is_weight else narrow)
        if isinstance(arg, TensorSpec)
        else arg
        for arg in cell.args
    ]
    return avoided_kernels.avoided_by(cell.operation, args)


VOCABULARY_GRID = KernelGrid(
    makers=MAKERS,
    order=_order(),
    function=operations.function,
    avoided_by=_avoided_by,
    may_expand_gradient=frozenset({*layer_cells.CONVOLUTIONS, *layer_cells.PRODUCTS, *layer_cells.POOLINGS}),
)
