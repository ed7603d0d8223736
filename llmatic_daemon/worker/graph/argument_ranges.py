"""Ranges of the arguments of operations: one table, by the name of the argument."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from llmatic_daemon.worker.graph.nodes import Arg, Extent, Graph
from llmatic_daemon.worker.graph.operations import for_each, table


class RangeError(Exception):
    """An argument is out of its range; one line."""


@dataclass(frozen=True, slots=True)
class Range:
    """The interval of an argument, or of each number in a list; both ends included."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"in [{_shown(self.low)}, {_shown(self.high)}]"


@dataclass(frozen=True, slots=True)
class Words:
    """The words that an argument may be."""

    known: tuple[str, ...]

    def __contains__(self, value: object) -> bool:
        return value in self.known

    def __str__(self) -> str:
        return "one of " + ", ".join(self.known)


def _shown(number: float) -> str:
    return f"{number:g}" if abs(number) < 1e6 else f"{number:.3g}"


_BELOW_1 = math.nextafter(1.0, 0.0)
_ABOVE_0 = 1e-20
_ANY = Range(-math.inf, math.inf)
_FINITE = Range(-3.4e38, 3.4e38)
_SIZE = Range(1, 1 << 31)
_PROBABILITY = Range(0.0, _BELOW_1)

#: By name of the argument, in every operation.
RANGES: Mapping[str, Range | Words] = {
    # probabilities, and the terms that keep a norm from dividing by 0 (below 1e-20 a square is 0)
    **for_each("p dropout_p dropout", _PROBABILITY),
    "eps": Range(_ABOVE_0, 1.0),
    "momentum": Range(0.0, 1.0),
    "correction": Range(0, 1024),
    # windows
    **for_each("kernel_size step output_size chunks", Range(1, 4096)),
    **for_each("stride dilation", Range(1, 1024)),
    "padding": Range(0, 4096),
    "output_padding": Range(0, 1024),
    "divisor_override": Range(1, 1 << 20),
    "scale_factors": Range(1 / 1024, 1024),
    "pad": Range(-4096, 4096),
    # copies and pieces
    **for_each("groups num_groups repeats", Range(1, 1 << 16)),
    **for_each("num_layers upscale_factor downscale_factor", Range(1, 64)),
    **for_each("split_size normalized_shape", _SIZE),
    **for_each("split_sizes length", Range(0, 1 << 31)),
    **for_each("size shape", Range(-1, 1 << 31)),
    # dimensions and positions
    **for_each("dim dims dim0 dim1 dimension", Range(-16, 15)),
    "index": Range(-(1 << 31), 1 << 31),
    **for_each("start end", Range(-(1 << 63), (1 << 63) - 1)),
    "shifts": Range(-(1 << 31), 1 << 31),
    "diagonal": Range(-(1 << 16), 1 << 16),
    # words
    "approximate": Words(("none", "tanh")),
    "mode": Words(("constant", "reflect", "replicate", "circular")),
    # numbers that may be infinite: masks and borders
    **for_each("value fill_value min max min_val max_val ord", _ANY),
    # where.Scalar*, sums and comparisons
    **for_each("other self", _ANY),
}
#: Ranges of arguments whose name means something else in one operation.
EXCEPTIONS: Mapping[tuple[str, str], Range | Words] = {
    ("norm.ScalarOpt_dim", "p"): _ANY,
    ("tile.default", "dims"): Range(1, 1 << 16),
    ("unfold.default", "size"): _SIZE,
    ("new_full.default", "size"): Range(0, 1 << 31),
    ("conv1d.padding", "padding"): Words(("same", "valid")),
    ("conv2d.padding", "padding"): Words(("same", "valid")),
}
#: Arguments that may grow with the batch: sizes, and a group for each image.
_MAY_NAME_THE_BATCH: Mapping[str, str] = {
    **for_each("new_full.default expand.default affine_grid_generator.default", "size"),
    **for_each("conv1d.default conv2d.default", "groups"),
    "repeat.default": "repeats",
    "tile.default": "dims",
    "reshape.default": "shape",
}
#: Longest word: an einsum equation names at most 16 dimensions of some operands.
MAX_WORD = 256


def check_ranges(graph: Graph) -> None:
    """Compare every number and word of a graph with its range.

    Raises:
        RangeError: names the first that is out of range, in one line.
    """
    for number, node in enumerate(graph.nodes):
        for arg, argument in zip(node.args, table()[node.op].arguments, strict=False):
            allowed = EXCEPTIONS.get((node.op, argument.name)) or RANGES.get(argument.name, _FINITE)
            for value in arg if isinstance(arg, tuple) else (arg,):
                if isinstance(value, Extent) and _MAY_NAME_THE_BATCH.get(node.op) != argument.name:
                    raise RangeError(f"n{number} ({node.op}) may not use the batch size as a number")
                if not _is_within(value, allowed):
                    raise RangeError(
                        f"n{number} ({node.op}): {argument.name} must be {allowed}, got {value!r:.60}"
                    )


def _is_within(value: Arg, allowed: Range | Words) -> bool:
    if isinstance(value, str):
        return value in allowed if isinstance(allowed, Words) else len(value) <= MAX_WORD
    if isinstance(value, bool) or not isinstance(value, int | float):
        return True
    return isinstance(allowed, Range) and value in allowed
