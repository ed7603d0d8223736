"""One cell tried: an operation forward and backward in guarded memory, against float64 without oneDNN.

Random operations run at probability 0 or in evaluation. Integer and bool results must be equal. Results and
gradients of floats are compared relative to the largest magnitude of the same tensor in the reference.

A cell beyond the tolerance is compared again with how far the reference itself moves when each input moves by
one rounding step. So a sum that cancels out and a maximum of two equal numbers are no faults.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from llmatic_daemon.domain.kernels import KernelFault
from llmatic_daemon.worker.kernels.guarded_memory import GuardedMemory, damaged_slack
from llmatic_daemon.worker.kernels.kernel_cell import (
    KernelCell,
    KernelGrid,
    Layout,
    TensorSpec,
    Values,
    as_float32,
)
from llmatic_daemon.worker.training.loop import device_is_lost

#: How often the reference is moved.
_MOVES = 100
#: Moves the numbers of an argument or of an incoming gradient.
Move = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rounding:
    """What rounding explains in a precision."""

    #: Largest difference, relative to the largest magnitude of the tensor.
    tolerance: float
    #: One rounding step, relative, by up to which the reference is moved.
    step: float
    #: A result may differ by this often what the reference moves by.
    condition: float


#: A sum of 13,000 equal numbers, as below a mean, was wrong by 1e-4; of other tensors 99.9 % by 1e-5 at most.
_FLOAT32 = _Rounding(tolerance=1e-3, step=2.0**-23, condition=50.0)
_BFLOAT16 = _Rounding(tolerance=4e-2, step=2.0**-8, condition=10.0)
#: Convolutions of float32 on a GPU round their factors to 10 bits.
_TENSOR_FLOAT32 = _Rounding(tolerance=1e-2, step=2.0**-10, condition=10.0)


def _rounding(cell: KernelCell, device: str) -> _Rounding:
    if cell.precision == "bfloat16":
        return _BFLOAT16
    return _FLOAT32 if device == "cpu" else _TENSOR_FLOAT32


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialFinding:
    """What is wrong with a cell."""

    fault: KernelFault
    #: One line.
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Results:
    """All that a call returns and changes, each by its name."""

    names: tuple[str, ...]
    tensors: tuple[Tensor | None, ...]


def try_cell(
    grid: KernelGrid, cell: KernelCell, *, device: str = "cpu", checks_slack: bool = False
) -> TrialFinding | None:
    """Run a cell and compare it with the reference; None: nothing is wrong.

    The process dies if a kernel touches a guard page. All tensors of the cell are freed on return.

    Args:
        grid: Of the cell.
        cell: The call to try.
        device: `cpu`, or a CUDA device, whose memory is not guarded.
        checks_slack: Look behind the tensors that torch allocated.
    """
    torch.set_num_threads(cell.threads)
    memory = GuardedMemory(at_end=cell.number % 2 == 1)
    values = _values(cell)
    try:
        found = _run(grid, cell, [_placed(memory, each, device) for each in values])
    except _OutOfBounds as error:
        return TrialFinding(fault=KernelFault.OUT_OF_BOUNDS, detail=str(error))
    except RuntimeError as error:
        return _raised(grid, cell, error, device)
    if not memory.is_intact():
        return TrialFinding(fault=KernelFault.OUT_OF_BOUNDS, detail="wrote beside an argument")
    own = [tensor for tensor in found.tensors if tensor is not None and tensor.device.type == "cpu"]
    if checks_slack and damaged_slack(own):
        return TrialFinding(fault=KernelFault.OUT_OF_BOUNDS, detail="wrote behind a result")
    return _compared(grid, cell, values, found, _rounding(cell, device))


class _OutOfBounds(Exception):
    """A canary of an incoming gradient was overwritten; one line."""


def _raised(grid: KernelGrid, cell: KernelCell, error: RuntimeError, device: str) -> TrialFinding | None:
    """Judge an exception: the trainer avoids bfloat16 where an operation does not know it."""
    if device_is_lost(error):
        raise error  # only another process can go on
    if cell.precision == "bfloat16":
        return try_cell(grid, as_float32(cell), device=device)
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return TrialFinding(fault=KernelFault.RAISED, detail=line[:300])


# --- the arguments -------------------------------------------------------------------------------


def _values(cell: KernelCell) -> list[Any]:
    """CellDraw the tensors of a cell on the CPU, in its precision and layouts; lists and literals stay."""
    generator = torch.Generator().manual_seed(cell.number)

    def drawn(arg: Any) -> Any:
        if isinstance(arg, TensorSpec):
            return _laid_out(_numbers(arg, generator, cell.precision), arg)
        return [drawn(each) for each in arg] if isinstance(arg, list) else arg

    return [drawn(arg) for arg in cell.args]


def _numbers(spec: TensorSpec, generator: torch.Generator, precision: str) -> Tensor:
    if spec.values is Values.BOOL:
        return torch.rand(spec.shape, generator=generator) < 0.5
    if spec.values is Values.POSITIVE:
        numbers = torch.rand(spec.shape, generator=generator) + 0.5
    elif spec.values is Values.OFF_GRID:
        numbers = (2 * torch.randint(-39, 39, spec.shape, generator=generator) + 1) / 64
    else:
        numbers = torch.randn(spec.shape, generator=generator)
        numbers = numbers / 4 if spec.values is Values.SMALL else numbers
    narrow = precision == "bfloat16" and not (spec.is_weight or spec.is_buffer)
    numbers = numbers.to(torch.bfloat16) if narrow else numbers
    return numbers.requires_grad_(not spec.is_buffer)


def _laid_out(values: Tensor, spec: TensorSpec) -> Tensor:
    with torch.no_grad():
        wants_gradient = values.requires_grad
        if spec.layout is Layout.CHANNELS_LAST:
            values = values.to(memory_format=torch.channels_last, copy=True)
        elif spec.layout is Layout.TRANSPOSED:
            values = values.mT.contiguous().mT
    return values.detach().requires_grad_(wants_gradient)


def _placed(memory: GuardedMemory, value: Any, device: str) -> Any:
    """Return a copy of an argument where a kernel may be tried on it."""
    if isinstance(value, list):
        return [_placed(memory, each, device) for each in value]
    if not isinstance(value, Tensor):
        return value
    dense = value.detach()
    copied = memory.copy(dense) if device == "cpu" else dense.to(device)
    return copied.requires_grad_(value.requires_grad)


def _same(values: Tensor) -> Tensor:
    return values


def _in_float64(value: Any, move: Move = _same) -> Any:
    """Return a copy of an argument for the reference."""
    if isinstance(value, list):
        return [_in_float64(each, move) for each in value]
    if not (isinstance(value, Tensor) and value.is_floating_point()):
        return value
    return move(value.detach().double()).clone().requires_grad_(value.requires_grad)


def _moving(step: float, seed: int) -> Move:
    """Return what moves each number by a random part of a rounding step, relative."""
    generator = torch.Generator().manual_seed(seed)
    return lambda values: values * (1 + step * (2 * torch.rand(values.shape, generator=generator) - 1))


def _tensors(args: Sequence[Any]) -> Iterator[Tensor]:
    for arg in args:
        if isinstance(arg, list):
            yield from _tensors(arg)
        elif isinstance(arg, Tensor):
            yield arg


# --- forward and backward ------------------------------------------------------------------------


def _run(grid: KernelGrid, cell: KernelCell, args: list[Any], move: Move = _same) -> _Results:
    """Call the operation, then compute the gradients of all arguments for incoming ones that may move."""
    tensors = list(_tensors(args))
    device = tensors[0].device.type
    with torch.autocast(device, dtype=torch.bfloat16, enabled=_is_narrow(cell, tensors)):
        result = grid.call(cell, args)
    outputs = [result] if isinstance(result, Tensor) else list(result)
    leaves = [tensor for tensor in tensors if tensor.requires_grad]
    buffers = [tensor for tensor in tensors if not tensor.requires_grad]
    gradients = _gradients(cell, outputs, leaves, move)
    names = [
        *(f"result {n}" for n in range(len(outputs))),
        *(f"gradient {n}" for n in range(len(gradients))),
        *(f"buffer {n}" for n in range(len(buffers))),
    ]
    detached = [output.detach() for output in outputs]
    return _Results(names=tuple(names), tensors=(*detached, *gradients, *buffers))


def _is_narrow(cell: KernelCell, tensors: Sequence[Tensor]) -> bool:
    return cell.precision == "bfloat16" and not any(each.dtype is torch.float64 for each in tensors)


def _gradients(
    cell: KernelCell, outputs: Sequence[Tensor], leaves: Sequence[Tensor], move: Move
) -> list[Tensor | None]:
    """Return the gradients for incoming ones that are drawn, guarded, and laid out like the outputs."""
    trained = [output for output in outputs if output.requires_grad]
    if not (trained and leaves):
        return []
    generator = torch.Generator().manual_seed(cell.number + 1)
    memory = GuardedMemory(at_end=cell.number % 2 == 1)
    incoming = [move(_incoming(cell, output, generator, memory)) for output in trained]
    found = torch.autograd.grad(trained, leaves, incoming, allow_unused=True)
    if not memory.is_intact():
        raise _OutOfBounds("wrote beside an incoming gradient")
    return list(found)


def _incoming(cell: KernelCell, output: Tensor, generator: torch.Generator, memory: GuardedMemory) -> Tensor:
    shape = (1,) * output.dim() if cell.is_gradient_expanded else output.shape
    drawn = torch.randn(shape, generator=generator).to(
        torch.bfloat16 if cell.precision == "bfloat16" else None
    )
    drawn = drawn.to(output.dtype)
    if not cell.is_gradient_expanded and output.dim() == 4 and _is_channels_last(output):
        drawn = drawn.to(memory_format=torch.channels_last)
    placed = memory.copy(drawn) if output.device.type == "cpu" else drawn.to(output.device)
    return placed.expand(output.shape) if cell.is_gradient_expanded else placed


def _is_channels_last(tensor: Tensor) -> bool:
    return tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()


# --- comparison ----------------------------------------------------------------------------------


def _reference(grid: KernelGrid, cell: KernelCell, values: list[Any], move: Move = _same) -> _Results:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the flags warn where there is no GPU of Intel
        with torch.backends.mkldnn.flags(enabled=False):
            return _run(grid, cell, [_in_float64(value, move) for value in values], move)


def _compared(
    grid: KernelGrid, cell: KernelCell, values: list[Any], found: _Results, rounding: _Rounding
) -> TrialFinding | None:
    expected = _reference(grid, cell, values)
    errors = {
        name: _error(ours, reference)
        for name, ours, reference in zip(found.names, found.tensors, expected.tensors, strict=True)
    }
    beyond = {name: error for name, error in errors.items() if error > rounding.tolerance}
    left = _unexplained(grid, cell, values, expected, beyond, rounding) if beyond else {}
    if not left:
        return None
    worst = max(left, key=lambda name: left[name])
    detail = f"{worst} differs by {left[worst]:.3g} of its largest magnitude"
    return TrialFinding(fault=KernelFault.DIFFERS, detail=detail)


def _error(found: Tensor | None, expected: Tensor | None) -> float:
    """Return the largest difference, relative to the largest magnitude; infinity where kinds differ."""
    if found is None or expected is None:
        return 0.0 if found is expected else float("inf")
    if found.shape != expected.shape:
        return float("inf")
    found = found.detach().cpu()
    if not expected.is_floating_point():
        return 0.0 if torch.equal(found, expected) else float("inf")
    ours = found.double()
    if not torch.equal(ours.isfinite(), expected.isfinite()) or not torch.equal(
        ours.isnan(), expected.isnan()
    ):
        return float("inf")
    finite = expected.isfinite()
    ours, expected = ours.where(finite, 0.0), expected.where(finite, 0.0)
    if not expected.numel():
        return 0.0
    difference, scale = float((ours - expected).abs().max()), float(expected.abs().max())
    return difference / scale if scale else (float("inf") if difference else 0.0)


def _unexplained(
    grid: KernelGrid,
    cell: KernelCell,
    values: list[Any],
    expected: _Results,
    errors: Mapping[str, float],
    rounding: _Rounding,
) -> dict[str, float]:
    """Return the errors that rounding the inputs does not explain."""
    move, left = _moving(rounding.step, cell.number), dict(errors)
    for _ in range(_MOVES):
        if not left:
            break
        moved = _reference(grid, cell, values, move)
        for name, after, before in zip(expected.names, moved.tensors, expected.tensors, strict=True):
            if name in left and left[name] <= rounding.condition * _error(after, before):
                del left[name]
    return left
