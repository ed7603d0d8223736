"""Kernels of torch that are wrong on some processors, and the calls that avoid them.

An entry of AVOIDED is all that is known of a kernel. The trainer's modules and the lifter's comparison obey
it, and `doctor --kernels` names it. An entry changes no measure, no digest, no computation on a GPU, and no
bit of a result that the kernel computes correctly.
"""

import functools
import operator
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.nn.functional import pad
from torch.overrides import TorchFunctionMode

from llmatic_daemon.worker.graph import operations


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
    #: Calls the function with the arguments of a call, by name, or with others that avoid the kernel.
    call: Callable[[Callable[..., Any], dict[str, Any]], Any]


def _num_missing(call: dict[str, Any], channels: int) -> int:
    """Return how many channels a strided 1x1 convolution on a CPU lacks to a full block of its kernels.

    Source: faults were seen below 8 channels at AVX2, and below 16 at AVX-512; those blocks are the vectors'.
    """
    weight, stride = call["weight"], call.get("stride", 1)
    is_strided = stride > 1 if isinstance(stride, int) else max(stride) > 1
    is_hit = is_strided and call.get("groups", 1) == 1 and weight.shape[2:].numel() == 1
    if not is_hit or weight.device.type != "cpu":
        return 0
    return max(0, _full_block() - channels)


@functools.cache
def _full_block() -> int:
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", "")).upper()
    return 8 if limit in ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2") else 16


def _appended(tensor: Tensor, missing: int) -> Tensor:
    """Return the tensor with zeros behind its second dimension."""
    return pad(tensor, [0] * (2 * (tensor.dim() - 2)) + [0, missing])


def _convolution(function: Callable[..., Any], call: dict[str, Any]) -> Any:
    """Append channels of zeros to images and weight: the same sums.

    Computing every n-th row and column with stride 1 would avoid the kernel too, but another kernel then
    adds the products in another order.
    """
    if missing := _num_missing(call, call["weight"].shape[1]):
        images, weight = call["input"], call["weight"]
        call = {**call, "input": _appended(images, missing), "weight": _appended(weight, missing)}
    return function(**call)


def _transposed_convolution(function: Callable[..., Any], call: dict[str, Any]) -> Any:
    """Compute further output channels with weights of zero, and drop them."""
    channels = call["weight"].shape[1]
    missing = _num_missing(call, channels)
    if not missing:
        return function(**call)
    bias = call.get("bias")
    bias = None if bias is None else pad(bias, [0, missing])
    output = function(**{**call, "weight": _appended(call["weight"], missing), "bias": bias})
    layout = torch.channels_last if output.dim() == 4 and output.stride(1) == 1 else torch.contiguous_format
    return output[:, :channels].contiguous(memory_format=layout)


def _bfloat16_convolution(function: Callable[..., Any], call: dict[str, Any]) -> Any:
    """Put zeros in place of the weights that read nothing but padding: the same sums, and gradients of 0."""
    images, weight = call["input"], call["weight"]
    if images.device.type != "cpu" or not _is_bfloat16(images):
        return function(**call)
    dimensions = weight.dim() - 2
    stride, padding, dilation = (
        _each(call.get(name), dimensions) for name in ("stride", "padding", "dilation")
    )
    reads = [
        _is_read(*extents)
        for extents in zip(weight.shape[2:], images.shape[2:], stride, padding, dilation, strict=True)
    ]
    if all(map(all, reads)):
        return function(**call)
    mask = functools.reduce(operator.mul, torch.meshgrid(*map(torch.tensor, reads), indexing="ij"))
    return function(**{**call, "weight": torch.where(mask, weight, 0.0)})


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
        call=_convolution,
        **_SEEN,
    ),
    AvoidedKernel(
        name="backward pass of a strided, transposed 1x1 convolution with fewer than 16 output channels",
        operations=frozenset(
            {"conv_transpose1d.default", "conv_transpose2d.input", "conv_transpose3d.input"}
        ),
        call=_transposed_convolution,
        **_SEEN,
    ),
    AvoidedKernel(
        name="weight's gradient of a bfloat16 convolution whose kernel is larger than the picture",
        operations=frozenset(f"conv{n}d.default" for n in (1, 2, 3)),
        processors="oneDNN at AVX-512, strides above 1 with padding",
        versions="torch 2.14.1",
        fault="leaves uninitialised memory where the kernel reads nothing but padding",
        call=_bfloat16_convolution,
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
            names = [argument.name for argument in _overload(name)._schema.arguments]
            called = _by_name(called, kernel, names)
    return called


def _by_name(called: Callable[..., Any], kernel: AvoidedKernel, names: Sequence[str]) -> Callable[..., Any]:
    def call(*args: Any, **keywords: Any) -> Any:
        return kernel.call(called, {**dict(zip(names, args, strict=False)), **keywords})

    return call


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
