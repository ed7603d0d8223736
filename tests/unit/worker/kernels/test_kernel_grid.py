"""The grid of the vocabulary: every operation has cells, and a cell is its number."""

from llmatic_daemon.commands.doctor_kernels import SHORT_CELLS
from llmatic_daemon.worker.graph import operations
from llmatic_daemon.worker.kernels import layer_cells
from llmatic_daemon.worker.kernels.kernel_cell import KernelCell, Layout, specs
from llmatic_daemon.worker.kernels.vocabulary_grid import MAKERS, VOCABULARY_GRID


def cells(num: int) -> list[KernelCell]:
    return [VOCABULARY_GRID.cell(number) for number in range(num)]


def test_every_operation_of_the_vocabulary_has_cells():
    """An operation that is new in the vocabulary needs a maker in `layer_cells` or `tensor_cells`."""
    assert set(operations.table()) - set(MAKERS) == set()
    assert set(VOCABULARY_GRID.order) == set(operations.table())


def test_short_form_tries_every_operation():
    assert {cell.operation for cell in cells(SHORT_CELLS)} == set(operations.table())


def test_cell_is_the_same_for_the_same_number():
    assert cells(300) == cells(300)
    assert len(set(map(str, cells(300)))) > 290


def test_cell_is_one_line_with_its_call():
    cell = next(cell for cell in cells(300) if cell.operation == "conv2d.default")

    assert "\n" not in str(cell)
    assert str(cell).startswith("conv2d.default([")


def test_layers_are_tried_in_all_that_the_grid_varies():
    convolutions = [cell for cell in cells(8000) if cell.operation == "conv2d.default"]

    images = [next(specs(cell.args)) for cell in convolutions]
    channels = {image.shape[1] for image in images}
    assert channels >= set(range(1, 17))
    assert len(channels) > 40
    assert max(channels) == 64
    assert {image.layout for image in images} == {Layout.CONTIGUOUS, Layout.CHANNELS_LAST}
    assert {cell.precision for cell in convolutions} == {"float32", "bfloat16"}
    assert {cell.args[3][0] for cell in convolutions} == {1, 2, 3, 4}
    assert {cell.args[5][0] for cell in convolutions} == {1, 2, 3}
    assert {cell.args[6] for cell in convolutions} >= set(range(1, 9))
    assert {cell.args[1].shape[2] for cell in convolutions} >= {1, 2, 3, 5, 7}


def test_layers_are_most_of_the_cells():
    """Layers have kernels of their own for channels and strides; a cosine has one."""
    layers = (
        layer_cells.CONVOLUTIONS,
        layer_cells.PRODUCTS,
        layer_cells.RECURRENT,
        layer_cells.POOLINGS,
        layer_cells.NORMS,
    )
    dense = {name for makers in layers for name in makers}

    share = sum(name in dense for name in VOCABULARY_GRID.order) / len(VOCABULARY_GRID.order)

    assert share > 0.6
