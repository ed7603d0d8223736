"""One cell tried in this process: the cells of the vocabulary are right, rounding is no fault."""

import pytest
import torch

from llmatic_daemon.domain.kernels import KernelFault
from llmatic_daemon.worker.kernels.kernel_cell import KernelCell, Layout, TensorSpec
from llmatic_daemon.worker.kernels.kernel_trial import try_cell
from llmatic_daemon.worker.kernels.vocabulary_grid import VOCABULARY_GRID
from tests.support import planted_kernels


def cell_of(operation: str, *args: object, precision: str = "float32") -> KernelCell:
    return KernelCell(
        number=1, operation=operation, args=args, precision=precision, threads=1, is_gradient_expanded=False
    )


def test_sum_that_cancels_out_differs_by_rounding_alone():
    grid = planted_kernels.CANCELLING

    assert [try_cell(grid, grid.cell(number)) for number in range(8)] == [None] * 8


def test_logarithm_of_negative_numbers_is_equal_where_it_is_no_number():
    assert try_cell(VOCABULARY_GRID, cell_of("log.default", TensorSpec(shape=(50,)))) is None


def test_number_in_place_of_none_is_a_difference():
    grid = planted_kernels.FAULTS
    number = grid.order.index("not_a_number")

    found = try_cell(grid, grid.cell(number))

    assert found is not None
    assert found.fault is KernelFault.DIFFERS


def test_operation_that_does_not_know_bfloat16_is_tried_in_float32():
    """Autocast leaves it a float32 and a bfloat16 argument; the trainer then trains in float32."""
    args = (TensorSpec(shape=(4, 5)), TensorSpec(shape=(5,), is_weight=True))

    assert try_cell(VOCABULARY_GRID, cell_of("mv.default", *args, precision="bfloat16")) is None


def test_running_statistics_are_compared(monkeypatch: pytest.MonkeyPatch):
    shape = TensorSpec(shape=(8, 3, 4, 4), layout=Layout.CHANNELS_LAST)
    statistics = (TensorSpec(shape=(3,), is_buffer=True),) * 2
    cell = cell_of("batch_norm.default", shape, None, None, *statistics, True, 0.1, 1e-5, True)
    assert try_cell(VOCABULARY_GRID, cell) is None

    def forgets(*args: torch.Tensor) -> torch.Tensor:
        picture, scale, shift, mean, variance, *more = args
        kept = (mean, variance) if picture.dtype is torch.float64 else (mean.clone(), variance.clone())
        return torch.batch_norm(picture, scale, shift, *kept, *more)

    monkeypatch.setattr(
        type(VOCABULARY_GRID), "call", lambda grid, called, args: forgets(*args), raising=True
    )
    found = try_cell(VOCABULARY_GRID, cell)

    assert found is not None
    assert found.detail.startswith("buffer 1 differs")
