"""The network of a cell, as the benchmark trained it: its PyTorch source, its parameters and FLOPs."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import NamedTuple

from llmatic_daemon.adapters.nasbench.table import DATA_SETS
from llmatic_daemon.domain.nasbench_cells import EDGES, Cell

#: Channels of the three stages, and cells in each.
STAGES = (16, 32, 64)
NUM_CELLS_IN_STAGE = 5

#: Operations that are modules; `none` and `skip_connect` are expressions in `forward`.
_MODULES = {
    "nor_conv_1x1": "ReLUConvBN(channels, channels, 1)",
    "nor_conv_3x3": "ReLUConvBN(channels, channels, 3)",
    "avg_pool_3x3": "nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)",
}


def source_of(cell: Cell, data_set: str) -> str:
    """Return the source of a cell's network: a stem, three stages of five cells, residual blocks between.

    Args:
        cell: Cell that is repeated fifteen times.
        data_set: One of `DATA_SETS`; it determines the number of classes.

    Source: Dong & Yang 2020, section 2.1.
    """
    template = resources.files(__package__).joinpath("network.py.txt").read_text("utf-8")
    return template.format(
        cell=cell,
        data_set=data_set,
        num_classes=DATA_SETS[data_set][1],
        edges="".join(
            f"\n        self.edge{source}{target} = {_MODULES[operation]}"
            for operation, (source, target) in zip(cell.operations, EDGES, strict=True)
            if operation in _MODULES
        ),
        nodes="\n".join(f"        node{node} = {_sum_into(cell, node)}" for node in (1, 2, 3)),
    )


def _sum_into(cell: Cell, target: int) -> str:
    return " + ".join(_term(operation, source, target) for operation, source in cell.into(target))


def _term(operation: str, source: int, target: int) -> str:
    if operation == "none":
        return f"0.0 * node{source}"
    return f"node{source}" if operation == "skip_connect" else f"self.edge{source}{target}(node{source})"


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkSize:
    """The size of a cell's network."""

    num_parameters: int
    #: Multiply-adds of one forward pass of one image, including the classifier's biases as in the benchmark.
    flops: int


def size_of(cell: Cell, data_set: str) -> NetworkSize:
    """Return the exact size of a cell's network, in which unused convolutions count.

    Args:
        cell: The cell.
        data_set: One of `DATA_SETS`.
    """
    kernels = sorted(int(name[-1]) for name in cell.operations if name.startswith("nor_conv"))
    return _size(tuple(kernels), data_set)


@cache  # 28 for each data set
def _size(kernels: tuple[int, ...], data_set: str) -> NetworkSize:
    _, num_classes, side = DATA_SETS[data_set]
    convolutions = list(_convolutions(kernels, side))
    classifier = (STAGES[-1] + 1) * num_classes
    norms = sum(each.outputs for each in convolutions if each.has_norm) + STAGES[-1]
    return NetworkSize(
        num_parameters=sum(each.num_weights for each in convolutions) + 2 * norms + classifier,
        flops=sum(each.num_weights * each.side**2 for each in convolutions) + classifier,
    )


class _Convolution(NamedTuple):
    inputs: int
    outputs: int
    kernel: int
    #: Side of the output, in pixels.
    side: int
    has_norm: bool = True

    @property
    def num_weights(self) -> int:
        return self.inputs * self.outputs * self.kernel**2


def _convolutions(kernels: tuple[int, ...], side: int) -> Iterator[_Convolution]:
    """Yield the convolutions of a network from the stem on; `kernels` are those of its cell."""
    before = 3
    yield _Convolution(before, STAGES[0], 3, side)
    for channels in STAGES:
        if channels != STAGES[0]:
            side //= 2
            yield _Convolution(before, channels, 3, side)
            yield _Convolution(channels, channels, 3, side)
            yield _Convolution(before, channels, 1, side, has_norm=False)
        for kernel in NUM_CELLS_IN_STAGE * kernels:
            yield _Convolution(channels, channels, kernel, side)
        before = channels
