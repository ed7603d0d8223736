"""Kernels of torch that are wrong on some processors, and the calls that avoid them.

An entry of AVOIDED is all that is known of a kernel. The trainer's modules and the lifter's comparison obey
it, and `doctor --kernels` names it. An entry changes no measure, no digest, no computation on a GPU, and no
bit of a result that the kernel computes correctly.
"""

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.nn.functional import pad
from torch.overrides import TorchFunctionMode

from llmatic_daemon.worker.graph import operations
from llmatic_daemon.worker.graph.nodes import Graph, WeightRef


@dataclass(frozen=True, kw_only=True, slots=True)
class AvoidedKernel:
    """A kernel that is wrong on some processors, and how to avoid it."""

    name: str
    #: Operations that may run it, as in the allow-list.
    operations: frozenset[str]
    #: Where the fault was seen.
    processors: str
    versions: str
    #: What the kernel does.
    fault: str
    #: Decides by the arguments of a call, by name, whether it may run the kernel.
    applies: Callable[[dict[str, Any]], bool]
    #: Calls a function with other arguments that avoid the kernel.
    call: Callable[[Callable[..., Any], dict[str, Any]], Any]


#: Channels from which on oneDNN runs other kernels, which are right: the floats of a vector of AVX-512.
_FULL_BLOCK = 16


def _lacks_channels(call: dict[str, Any]) -> bool:
    """Decide whether a convolution on a CPU is a strided 1x1 one with less than a full block of channels."""
    weight, stride = call["weight"], call.get("stride", 1)
    if weight.shape[1] >= _FULL_BLOCK or weight.device.type != "cpu":
        return False
    is_strided = stride > 1 if isinstance(stride, int) else max(stride) > 1
    return is_strided and call.get("groups", 1) == 1 and weight.shape[2:].numel() == 1


def _filled(tensor: Tensor) -> Tensor:
    """Return the tensor with zeros behind its second dimension, up to a full block."""
    return pad(tensor, [0] * (2 * (tensor.dim() - 2)) + [0, _FULL_BLOCK - tensor.shape[1]])


def _convolution(function: Callable[..., Any], call: dict[str, Any]) -> Any:
    """Append channels of zeros to images and weight: the same sums.

    Computing every n-th row and column with stride 1 would avoid the kernel too, but another kernel then
    adds the products in another order.
    """
    return function(**{**call, "input": _filled(call["input"]), "weight": _filled(call["weight"])})


def _transposed_convolution(function: Callable[..., Any], call: dict[str, Any]) -> Any:
    """Compute further output channels with weights of zero, and drop them."""
    channels, bias = call["weight"].shape[1], call.get("bias")
    bias = None if bias is None else pad(bias, [0, _FULL_BLOCK - channels])
    output = function(**{**call, "weight": _filled(call["weight"]), "bias": bias})
    layout = torch.channels_last if output.dim() == 4 and output.stride(1) == 1 else torch.contiguous_format
    return output[:, :channels].contiguous(memory_format=layout)


def _reads_padding_only(call: dict[str, Any]) -> bool:
    """Decide whether a bfloat16 convolution on a CPU has weights that read nothing but padding."""
    images = call["input"]
    return images.device.type == "cpu" and _is_bfloat16(images) and not all(map(all, _reads(call)))


def _masked_convolution(function: Callable[..., Any], call: dict[str, Any]) -> Any:
    """Put zeros in place of the weights that read nothing but padding: the same sums, and gradients of 0."""
    axes = torch.meshgrid(*map(torch.tensor, _reads(call)), indexing="ij")
    mask = functools.reduce(operator.mul, axes)
    return function(**{**call, "weight": torch.where(mask, call["weight"], 0.0)})


def _reads(call: dict[str, Any]) -> list[list[bool]]:
    """Return for each position of the kernel, along each dimension, whether it ever reads a pixel."""
    sizes, kernel = call["input"].shape[2:], call["weight"].shape[2:]
    rest = (_each(call.get(name), len(kernel)) for name in ("stride", "padding", "dilation"))
    return [_is_read(*extents) for extents in zip(kernel, sizes, *rest, strict=True)]


def _is_bfloat16(images: Tensor) -> bool:
    return images.dtype is torch.bfloat16 or (
        torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") is torch.bfloat16
    )


def _each(value: Any, dimensions: int) -> Sequence[int]:
    """Return an argument for each dimension; None is its default, which reads all that matters here."""
    if value is None or isinstance(value, str):  # padding in words: without, or with a stride of 1
        return [0] * dimensions
    return [value] * dimensions if isinstance(value, int) else value


def _is_read(kernel: int, size: int, stride: int, padding: int, dilation: int) -> list[bool]:
    """Decide for each position of a kernel whether it ever reads a pixel."""
    stride, dilation = stride or 1, dilation or 1
    num_outputs = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    first = [position * dilation - padding for position in range(kernel)]
    return [any(0 <= at + stride * n < size for n in range(num_outputs)) for at in first]


_SEEN = {
    "processors": "oneDNN at AVX2, and at AVX-512 with several threads; channels-last images",
    "versions": "torch 2.7.0, 2.14.1, 2.15.0",
    "fault": "writes behind its buffers (github.com/uxlfoundation/oneDNN/issues/6035)",
}
AVOIDED = (
    AvoidedKernel(
        name="backward pass of a strided 1x1 convolution with fewer than 16 input channels",
        operations=frozenset(f"conv{n}d.{name}" for n in (1, 2, 3) for name in ("default", "padding")),
        applies=_lacks_channels,
        call=_convolution,
        **_SEEN,
    ),
    AvoidedKernel(
        name="backward pass of a strided, transposed 1x1 convolution with fewer than 16 output channels",
        operations=frozenset(
            {"conv_transpose1d.default", "conv_transpose2d.input", "conv_transpose3d.input"}
        ),
        applies=_lacks_channels,
        call=_transposed_convolution,
        **_SEEN,
    ),
    AvoidedKernel(
        name="weight's gradient of a bfloat16 convolution whose kernel is larger than the picture",
        operations=frozenset(f"conv{n}d.default" for n in (1, 2, 3)),
        processors="oneDNN at AVX-512, strides above 1 with padding",
        versions="torch 2.14.1",
        fault="leaves uninitialised memory where the kernel reads nothing but padding",
        applies=_reads_padding_only,
        call=_masked_convolution,
    ),
)


@functools.cache
def function(name: str) -> Callable[..., Any]:
    """Return the fastest callable for an operation that runs no kernel of the table."""
    return avoiding(name, operations.function(name))


def avoiding(name: str, called: Callable[..., Any]) -> Callable[..., Any]:
    """Return a callable of an operation that runs no kernel of the table."""
    for kernel in AVOIDED:
        if name in kernel.operations:
            called = _avoiding(called, kernel, _argument_names(name))
    return called


def _avoiding(called: Callable[..., Any], kernel: AvoidedKernel, names: Sequence[str]) -> Callable[..., Any]:
    def call(*args: Any, **keywords: Any) -> Any:
        by_name = {**dict(zip(names, args, strict=False)), **keywords}
        return kernel.call(called, by_name) if kernel.applies(by_name) else called(*args, **keywords)

    return call


def avoided_by(name: str, args: Sequence[Any]) -> str | None:
    """Return the name of the first entry that a call of an operation would run; None: there is none."""
    kernels = [kernel for kernel in AVOIDED if name in kernel.operations]
    by_name = dict(zip(_argument_names(name), args, strict=False)) if kernels else {}
    return next((kernel.name for kernel in kernels if kernel.applies(by_name)), None)


def may_be_run_by(graph: Graph) -> bool:
    """Decide whether a network in float32 may run a kernel of the table; a weight that is computed may."""
    for node in graph.nodes:
        if any(node.op in kernel.operations for kernel in AVOIDED):
            weight = node.args[1]
            if not isinstance(weight, WeightRef):
                return True
            shape = graph.weights[weight.number].shape
            if avoided_by(node.op, [torch.empty(0), torch.empty(shape), *node.args[2:]]) is not None:
                return True
    return False


def _argument_names(name: str) -> list[str]:
    return [argument.name for argument in _overload(name)._schema.arguments]


def _overload(name: str) -> OpOverload[..., Any]:
    base, _, overload = name.partition(".")
    found: OpOverload[..., Any] = getattr(getattr(torch.ops.aten, base), overload)
    return found


class AvoidingMode(TorchFunctionMode):
    """Avoids the kernels of the table in code that calls torch by itself; a context of one thread."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch, with other arguments if it might run a kernel of the table."""
        return _substitutes().get(func, func)(*args, **(kwargs or {}))


@functools.cache
def _substitutes() -> Mapping[Callable[..., Any], Callable[..., Any]]:
    """Return a substitute for each function of torch that may run a kernel of the table."""
    names = frozenset[str]().union(*(kernel.operations for kernel in AVOIDED))
    found: dict[Callable[..., Any], Callable[..., Any]] = {}
    for name in names:
        overload = _overload(name)
        packet = overload.overloadpacket
        for called in (getattr(torch, packet.__name__), packet, overload):
            found[called] = avoiding(name, called)
    return found
