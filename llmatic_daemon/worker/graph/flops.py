"""Exact multiply-adds, by ptflops' counter of ATen operations with additional hooks.

ptflops counts convolutions and plain products correctly. It does not count LSTM and fused attention, it counts
biases, and it has no hook for some products. Two extensions correct that:
- `HOOKS` replace or add the count of each ATen product (`custom_hooks`), without biases;
- `shapes` runs the graph on meta tensors under the counter. It replaces recurrent layers and fused attention by
  the products that they consist of.

One multiply-add counts as one. Counted are convolutions, linear layers, matrix products, attention and
recurrent layers. Padding counts; causal masks are ignored. Not counted, as in fvcore: biases, norms,
activations, poolings, and all elementwise operations.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from ptflops.aten_engine import FlopCounterMode

Hook = Callable[[tuple[Any, ...], tuple[Any, ...]], int]

_aten = torch.ops.aten


def _convolution(inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> int:
    """Count each weight of a filter at every output position; a transposed one at every input position."""
    data, weight, transposed = inputs[0], inputs[1], inputs[6]
    positions = data if transposed else outputs[0]
    return int(positions.numel() * weight[0].numel())


def _product(first: int) -> Hook:
    """Return a hook for a product of matrices; `first` is the position of the left one."""

    def count(inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> int:
        return int(outputs[0].numel() * inputs[first].shape[-1])

    return count


def _linear(inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> int:
    return int(outputs[0].numel() * inputs[1].shape[-1])


def _dot(inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> int:
    return int(inputs[0].numel())


def _trilinear(inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> int:
    """Count nn.Bilinear: every output feature weights all pairs of input features."""
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
    """Return a counting context; after it, its `complexity` holds the multiply-adds."""
    return FlopCounterMode(custom_hooks=dict(HOOKS))
