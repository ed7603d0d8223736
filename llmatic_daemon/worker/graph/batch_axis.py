"""Batch axis: the dimension of each value that carries the images; proof that no image sees another one.

A value without a batch axis is the same for all images: weights, and what is computed from them alone. The
batch axis of any other value has size `outer * batch * inner`, and its position `(o * batch + b) * inner + i`
belongs to image b. A rule for each operation keeps the images separate or raises `MixedBatchError`. It raises
at sums, sorts, softmax and shifts over the batch axis, products that contract it, and reshapes that split it.
It also raises at norms that use a batch's statistics in evaluation. An operation without a rule must not meet
a batch axis.

Images never mix, so every size is linear in the batch, for any batch. The one exception is batch norm in
training: its statistics are the trainer's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llmatic_daemon.worker.graph.nodes import Arg, Graph, Input, Node, NodeResult, Ref, refs
from llmatic_daemon.worker.graph.operations import table
from llmatic_daemon.worker.graph.shapes import Shapes


@dataclass(frozen=True, slots=True)
class BatchAxis:
    """The dimension that carries the images: `shape[dim] == outer * batch * inner`."""

    dim: int
    inner: int = 1
    outer: int = 1


#: One for each result, or one for all results.
BatchAxes = BatchAxis | None | tuple[BatchAxis, ...]


class MixedBatchError(Exception):
    """An operation mixes images, or depends on their number; one line."""


def axis_of(ref: Arg, found: list[BatchAxes]) -> BatchAxis | None:
    """Return the axis of a value, by the axes found so far."""
    if isinstance(ref, Input):
        return BatchAxis(0)
    if not isinstance(ref, NodeResult):
        return None
    axes = found[ref.node]
    return axes[ref.item or 0] if isinstance(axes, tuple) else axes


class AxisStep:
    """One operation: its arguments by name, their shapes and batch axes."""

    def __init__(self, graph: Graph, node: Node, shapes: Shapes, batch: int, found: list[BatchAxes]) -> None:
        self.node, self.batch = node, batch
        self._graph, self._shapes, self._found = graph, shapes, found
        arguments = table()[node.op].arguments
        self._args = {argument.name: argument.default for argument in arguments}
        self._args.update(zip(self._args, node.args, strict=False))
        self.result: Any = shapes.results[len(found)]

    def __getitem__(self, name: str) -> Any:
        return self._args[name]

    def axis(self, name: str) -> BatchAxis | None:
        """Return the axis of an argument."""
        return self.axis_of(self._args[name])

    def axis_of(self, arg: Arg) -> BatchAxis | None:
        """Return the axis of a value."""
        return axis_of(arg, self._found)

    def shape(self, arg: Any) -> tuple[int, ...]:
        """Return the shape of a value."""
        if isinstance(arg, Input):
            return (self.batch, *self._graph.input_shape)
        if isinstance(arg, NodeResult):
            result = self._shapes.results[arg.node]
            return tuple(result.shape if arg.item is None else result[arg.item].shape)
        weight: int = arg.number
        return self._graph.weights[weight].shape

    def tensors(self) -> list[Ref]:
        """Return all tensors among the arguments."""
        return list(refs(self.node.args))

    def first(self) -> tuple[BatchAxis, tuple[int, ...]]:
        """Return the batch axis and shape of the first tensor; no other tensor may have one."""
        data, *others = self.tensors()
        require(not any(map(self.axis_of, others)), "its weights must be the same for all images")
        axis = self.axis_of(data)
        require(axis is not None, "its input must carry the images")
        assert axis is not None
        return axis, self.shape(data)


def require(condition: bool, message: str) -> None:
    """Raise MixedBatchError with a message unless a condition holds."""
    if not condition:
        raise MixedBatchError(message)


MIXES = "an image's output may not depend on the other images of its batch"


def require_separate(condition: bool) -> None:
    """Raise MixedBatchError unless a condition keeps the images separate."""
    require(condition, MIXES)


def dimensions(given: Any, rank: int) -> set[int]:
    """Return dimensions counted from 0; none given means all."""
    listed = given if isinstance(given, tuple) else () if given is None else (given,)
    return {each % max(1, rank) for each in listed} if listed else set(range(rank))


Rule = Callable[[AxisStep], BatchAxes]
