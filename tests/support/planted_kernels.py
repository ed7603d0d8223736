"""Kernel grids with planted faults, which a check server loads by name."""

import ctypes
import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from llmatic_daemon.worker.graph import operations
from llmatic_daemon.worker.kernels.kernel_cell import (
    KernelCell,
    KernelGrid,
    Layout,
    Maker,
    TensorSpec,
    weight,
)

#: Set by one cell, so that a later one of the same process dies.
_armed: list[bool] = []


def _is_tried(x: Tensor) -> bool:
    """Decide whether this is the kernel that is tried: the reference computes in float64."""
    return x.dtype is not torch.float64


def _write_behind(x: Tensor) -> None:
    number = ctypes.c_float(1.0)
    ctypes.memmove(x.data_ptr() + x.numel() * x.element_size(), ctypes.addressof(number), x.element_size())


def _write_before(x: Tensor) -> None:
    ctypes.memset(x.data_ptr() - x.element_size(), 0, x.element_size())


def right(x: Tensor) -> Tensor:
    return torch.relu(x)


def behind_argument(x: Tensor) -> Tensor:
    if _is_tried(x):
        _write_behind(x)
    return torch.relu(x)


def before_argument(x: Tensor) -> Tensor:
    if _is_tried(x):
        _write_before(x)
    return torch.relu(x)


def behind_result(x: Tensor) -> Tensor:
    result = torch.relu(x)
    if _is_tried(x):
        _write_behind(result)
    return result


class _BehindGradient(torch.autograd.Function):
    """The identity, whose backward pass writes behind the incoming gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        if _is_tried(gradient):
            _write_behind(gradient)
        return gradient.clone()


def behind_gradient(x: Tensor) -> Tensor:
    return _BehindGradient.apply(x)


def wrong_channel(x: Tensor) -> Tensor:
    result = torch.relu(x)
    if _is_tried(x):
        result = torch.cat([result[:, :1], 1.5 * result[:, 1:2], result[:, 2:]], 1)
    return result


def not_a_number(x: Tensor) -> Tensor:
    return torch.relu(x) * (float("nan") if _is_tried(x) else 1.0)


def raises(x: Tensor) -> Tensor:
    if _is_tried(x):
        raise RuntimeError("could not create a primitive\nand more lines")
    return torch.relu(x)


def hangs(x: Tensor) -> Tensor:
    while _is_tried(x):
        time.sleep(1)
    return torch.relu(x)


def dies(x: Tensor) -> Tensor:
    if _is_tried(x):
        os.write(2, b"free(): planted pointer\n")
        os.abort()
    return torch.relu(x)


def arms(x: Tensor) -> Tensor:
    _armed.append(True)
    return torch.relu(x)


def dies_if_armed(x: Tensor) -> Tensor:
    return dies(x) if _armed else torch.relu(x)


def wrong_above_sse41(x: Tensor) -> Tensor:
    is_wrong = _is_tried(x) and os.environ.get("ONEDNN_MAX_CPU_ISA") != "SSE41"
    return torch.relu(x) + float(is_wrong)


def sum_that_cancels_out(x: Tensor) -> Tensor:
    """Return 1e8 + x - 1e8, in which float32 keeps nothing of x: rounding, no fault."""
    return x.sum() - x.flip(0).sum()


def _grid(*functions: Callable[[Tensor], Tensor], shape: tuple[int, ...] = (3, 5)) -> KernelGrid:
    by_name = {function.__name__: function for function in functions}
    makers: dict[str, Maker] = dict.fromkeys(by_name, lambda draw: (TensorSpec(shape=shape),))
    return KernelGrid(makers=makers, order=tuple(by_name), function=by_name.__getitem__)


def _entry(cell: KernelCell) -> str | None:
    return "a planted entry" if cell.operation in ("arms", "wrong_channel") else None


FAULTS = _grid(
    right,
    behind_argument,
    before_argument,
    behind_result,
    behind_gradient,
    wrong_channel,
    not_a_number,
    raises,
    dies,
)
RIGHT = _grid(right)
HANGS = _grid(right, hangs)
#: Cell 2 dies because of cell 0.
LATE = _grid(arms, right, dies_if_armed)
#: The same, of which the first is a known fault.
KNOWN = replace(LATE, avoided_by=_entry)
WRONG_ABOVE_SSE41 = _grid(right, wrong_above_sse41)
AVOIDED = replace(_grid(right, wrong_channel), avoided_by=_entry)
CANCELLING = _grid(sum_that_cancels_out, shape=(400,))


def _convolution(picture: TensorSpec, kernels: TensorSpec, stride: int, padding: int) -> KernelGrid:
    """Return a grid of one call of the real operation."""
    args = (picture, kernels, None, (stride,) * 2, (padding,) * 2, (1, 1), 1)
    return KernelGrid(
        makers={"conv2d.default": lambda draw: args}, order=("conv2d.default",), function=operations.function
    )


#: The shortcut of a residual block that reads the picture.
SHORTCUT = _convolution(
    TensorSpec(shape=(32, 4, 32, 32), layout=Layout.CHANNELS_LAST), weight(8, 4, 1, 1), 2, 0
)
#: A kernel of which all but the middle reads nothing but padding.
PADDING = _convolution(TensorSpec(shape=(8, 24, 1, 1)), weight(24, 24, 3, 3), 2, 1)
