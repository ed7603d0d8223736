"""Multiply-adds, exact, by ptflops' counter of ATen operations with our hooks.

ptflops is right about convolutions and plain products but errs on LSTM and fused attention (it does not see them),
counts biases, and has no hook for some products. We extend it in two ways, both its own:
- `HOOKS` replace or add the count of each ATen product (`custom_hooks`), biases aside;
- `shapes` runs the graph on meta tensors below the counter, and writes recurrent layers and fused attention out as
  the products that they consist of, so that nothing that multiplies is hidden.

One multiply-add counts as one. Counted are convolutions, linear layers, matrix products, attention
and recurrent layers, padding included and causal masks ignored. Not counted, as in fvcore: biases, norms,
activations, poolings, and everything elementwise.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from ptflops.aten_engine import FlopCounterMode

Hook = Callable[[tuple[Any, ...], tuple[Any, ...]], int]

_aten = torch.ops.aten


def _convolution(inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> int:
    """Each weight of a filter multiplies at every position: of the input where it is transposed."""
    data, weight, transposed = inputs[0], inputs[1], inputs[6]
    positions = data if transposed else outputs[0]
    return int(positions.numel() * weight[0].numel())


def _product(first: int) -> Hook:
    """Count a product of matrices, of which `first` is the position of the left one."""

    def count(inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> int:
        return int(outputs[0].numel() * inputs[first].shape[-1])

    return count


def _linear(inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> int:
    return int(outputs[0].numel() * inputs[1].shape[-1])


def _dot(inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> int:
    return int(inputs[0].numel())


def _trilinear(inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> int:
    """Count nn.Bilinear: every output feature weighs all pairs of input features."""
    return int(outputs[0].numel() * inputs[1].shape[-1] * inputs[1].shape[-2])


HOOKS: Mapping[Any, Hook] = {
    _aten.convolution: _convolution,
    _aten._convolution: _convolution,
    _aten.mm: _product(0),
    _aten.bmm: _product(0),
    _aten.mv: _product(0),
    _aten.addmm: _product(1),
    _aten.addmv: _product(1),
    _aten.baddbmm: _product(1),
    _aten.matmul: _product(0),
    _aten.linear: _linear,
    _aten.dot: _dot,
    _aten._trilinear: _trilinear,
}


def counter() -> Any:
    """Make a context that counts; its `complexity` holds the multiply-adds after it."""
    return FlopCounterMode(custom_hooks=dict(HOOKS))
