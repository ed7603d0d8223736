"""Kernels of torch that are wrong on some processors, and the calls that avoid them.

An entry of AVOIDED is all that is known of a kernel. The trainer's modules and the lifter's comparison obey
it where the processor may run the kernel, and `doctor --kernels` names it. An entry changes no measure, no
digest, no computation on a GPU, and no bit of a result that the kernel computes correctly.
"""

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
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
    #: Decides whether this process may run it, by its processor and environment.
    may_run: Callable[[], bool]
    #: Takes the arguments of a call, by name, and returns those that avoid the kernel.
    arguments: Callable[[dict[str, Any]], dict[str, Any]]


#: Input channels from which on oneDNN runs another kernel, which is right.
_FULL_BLOCK = 8


def _with_full_block(call: dict[str, Any]) -> dict[str, Any]:
    """Append channels of zeros to the images and the weight of a strided 1x1 convolution: the same sums.

    Computing every n-th row and column with stride 1 would avoid the kernel too, but another kernel then
    adds the products in another order.
    """
    images, weight = call["input"], call["weight"]
    kernel, missing = weight.shape[2:], _FULL_BLOCK - weight.shape[1]
    if missing <= 0 or kernel.numel() != 1 or images.device.type != "cpu":
        return call
    if call.get("groups", 1) != 1 or not _is_strided(call.get("stride", 1)):
        return call
    behind = [0] * (2 * len(kernel)) + [0, missing]
    return {**call, "input": pad(images, behind), "weight": pad(weight, behind)}


def _is_strided(stride: int | Sequence[int]) -> bool:
    return stride > 1 if isinstance(stride, int) else max(stride) > 1


def _is_below_avx512() -> bool:
    """Decide whether oneDNN may choose kernels for a processor without AVX-512 in this process."""
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", "DEFAULT")).upper()
    is_limited = limit not in ("DEFAULT", "ALL") and not limit.startswith(("AVX512", "AVX10"))
    return is_limited or torch.backends.cpu.get_cpu_capability() != "AVX512"


AVOIDED = (
    AvoidedKernel(
        name="backward pass of a strided 1x1 convolution with fewer than 8 input channels",
        operations=frozenset(f"conv{n}d.{name}" for n in (1, 2, 3) for name in ("default", "padding")),
        processors="oneDNN at AVX2: processors without AVX-512, or ONEDNN_MAX_CPU_ISA=AVX2",
        versions="torch 2.7.0, 2.14.1, 2.15.0",
        fault="writes behind its buffers for channels-last images, in a process with one thread",
        may_run=_is_below_avx512,
        arguments=_with_full_block,
    ),
)


@functools.cache
def function(name: str) -> Callable[..., Any]:
    """Return the fastest callable for an operation that runs no kernel of the table here."""
    return avoiding(name, operations.function(name), [each for each in AVOIDED if each.may_run()])


def avoiding(
    name: str, called: Callable[..., Any], kernels: Sequence[AvoidedKernel] = AVOIDED
) -> Callable[..., Any]:
    """Return a callable of an operation that runs none of these kernels, on any processor."""
    for kernel in kernels:
        if name in kernel.operations:
            called = _with_other_arguments(
                called, kernel, [argument.name for argument in _overload(name)._schema.arguments]
            )
    return called


def _with_other_arguments(
    called: Callable[..., Any], kernel: AvoidedKernel, names: Sequence[str]
) -> Callable[..., Any]:
    def call(*args: Any, **keywords: Any) -> Any:
        return called(**kernel.arguments({**dict(zip(names, args, strict=False)), **keywords}))

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
