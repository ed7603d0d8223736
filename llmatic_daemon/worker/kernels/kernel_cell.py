"""A cell of the kernel grid: one call of one operation, reproduced from its number alone."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random
from typing import Any

from llmatic_daemon.worker.graph import operations


class Values(StrEnum):
    """How the numbers of a tensor are drawn."""

    #: Standard normal.
    NORMAL = "normal"
    #: A quarter of that: weights of recurrent layers, which forget rounding errors only if they are small.
    SMALL = "small"
    #: In [0.5, 1.5]: divisors, variances, and terms of sums that must not cancel out.
    POSITIVE = "positive"
    #: Odd 64ths in [-1.2, 1.2]: on images of 8 x 8 never on a pixel's border, where a sample jumps.
    OFF_GRID = "off-grid"
    BOOL = "bool"


class Layout(StrEnum):
    """How a tensor lies in memory."""

    CONTIGUOUS = "contiguous"
    CHANNELS_LAST = "channels_last"
    #: The last two dimensions are exchanged.
    TRANSPOSED = "transposed"


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorSpec:
    """A tensor among the arguments of a cell."""

    shape: tuple[int, ...]
    values: Values = Values.NORMAL
    layout: Layout = Layout.CONTIGUOUS
    #: A parameter of a layer: it stays float32 under autocast, as in the trainer.
    is_weight: bool = False
    #: A running statistic: no gradient, but the operation may change it.
    is_buffer: bool = False

    def __str__(self) -> str:
        size = "x".join(map(str, self.shape)) or "scalar"
        words = [size]
        if self.layout is not Layout.CONTIGUOUS:
            words.append(self.layout)
        if self.values is not Values.NORMAL:
            words.append(self.values)
        return " ".join(words)


#: A tensor, a list of tensors, or a literal of torch's schemas.
CellArg = Any


@dataclass(frozen=True, kw_only=True, slots=True)
class KernelCell:
    """One call of one operation, forward and backward."""

    number: int
    operation: str
    args: tuple[CellArg, ...]
    #: float32, or bfloat16: activations in bfloat16 under autocast, weights in float32.
    precision: str
    threads: int
    #: The incoming gradient is one number, expanded, as below a mean.
    is_gradient_expanded: bool

    def __str__(self) -> str:
        args = ", ".join(_shown(arg) for arg in self.args)
        words = [f"{self.operation}({args}) {self.precision}"]
        if self.threads > 1:
            words.append(f"{self.threads} threads")
        if self.is_gradient_expanded:
            words.append("expanded gradient")
        return ", ".join(words)


def _shown(arg: CellArg) -> str:
    if isinstance(arg, TensorSpec):
        return f"[{arg}]"
    if isinstance(arg, list):
        return "[" + ", ".join(map(_shown, arg)) + "]"
    return repr(arg)


class CellDraw(Random):
    """Random choices of a cell; seeded by its number."""

    def channels(self) -> int:
        """Return 1 to 64 channels; kernels have their special cases among the small numbers."""
        return self.randint(1, self.choice((8, 8, 16, 64)))

    def flag(self) -> bool:
        """Return True or False."""
        return self.random() < 0.5

    def sides(self, dimensions: int, most: int = 20) -> tuple[int, ...]:
        """Return the sizes of a picture: square mostly, as pictures are."""
        most = most * 4 if dimensions == 1 else most
        if self.random() < 0.5:
            return (self.choice((most, self.randint(1, most))),) * dimensions
        return tuple(self.randint(1, most) for _ in range(dimensions))

    def layout(self, dimensions: int) -> Layout:
        """Return a layout that a tensor of so many dimensions can have."""
        if dimensions == 4:
            return self.choice(list(Layout)[:2])
        return Layout.TRANSPOSED if dimensions > 1 and self.random() < 0.25 else Layout.CONTIGUOUS

    def tensor(self, *shape: int, values: Values = Values.NORMAL) -> TensorSpec:
        """Return an activation in a random layout."""
        return TensorSpec(shape=shape, values=values, layout=self.layout(len(shape)))

    def any_tensor(self, values: Values = Values.NORMAL, least: int = 1) -> TensorSpec:
        """Return an activation of 1 to 4 dimensions, of `least` numbers a dimension at least."""
        dimensions = self.randint(1, 4)
        most = (257, 33, 17, 9)[dimensions - 1]
        return self.tensor(*(self.randint(least, most) for _ in range(dimensions)), values=values)


def weight(*shape: int, values: Values = Values.NORMAL) -> TensorSpec:
    """Return a parameter of a layer."""
    return TensorSpec(shape=shape, values=values, is_weight=True)


def buffer(*shape: int, values: Values = Values.NORMAL) -> TensorSpec:
    """Return a running statistic."""
    return TensorSpec(shape=shape, values=values, is_buffer=True)


#: Draws the arguments of an operation.
Maker = Callable[[CellDraw], tuple[CellArg, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class KernelGrid:
    """Operations, and the cells on which each is tried."""

    #: What draws the arguments, by operation.
    makers: Mapping[str, Maker]
    #: Operations in the order in which cells try them; the order repeats, so each of its lengths has all.
    order: tuple[str, ...]
    #: The operation itself, by name.
    function: Callable[[str], Callable[..., Any]]
    #: Operations whose incoming gradient may be one number, as below a mean. A norm's gradient is then 0
    #: but for rounding, which cannot be compared.
    may_expand_gradient: frozenset[str] = frozenset()
    #: The known fault that covers a cell and that the trainer avoids, in a few words; None: none does.
    avoided_by: Callable[[KernelCell], str | None] = lambda cell: None

    def cell(self, number: int) -> KernelCell:
        """Return a cell; the same for the same number, on every machine."""
        operation = self.order[number % len(self.order)]
        draw = CellDraw(number)
        return KernelCell(
            number=number,
            operation=operation,
            args=self.makers[operation](draw),
            precision=draw.choice(("float32", "float32", "bfloat16")),
            threads=draw.choice((1, 1, 1, 2)),
            is_gradient_expanded=operation in self.may_expand_gradient and draw.random() < 0.1,
        )

    def call(self, cell: KernelCell, args: list[Any]) -> Any:
        """Call the operation of a cell on tensors and literals."""
        name = cell.operation
        known = name in operations.table()
        positional, keywords = operations.split_arguments(name, args) if known else (args, {})
        return self.function(name)(*positional, **keywords)


def specs(args: tuple[CellArg, ...]) -> Iterator[TensorSpec]:
    """List the tensors among the arguments of a cell, in order."""
    for arg in args:
        if isinstance(arg, TensorSpec):
            yield arg
        elif isinstance(arg, list):
            yield from (each for each in arg if isinstance(each, TensorSpec))


def as_float32(cell: KernelCell) -> KernelCell:
    """Return the cell in the precision that every operation has."""
    return replace(cell, precision="float32")
