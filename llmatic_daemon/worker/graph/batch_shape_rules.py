"""Rules of the batch axis for operations that change shapes."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llmatic_daemon.worker.graph.batch_axis import (
    MIXES,
    AxisStep,
    BatchAxis,
    MixedBatchError,
    Rule,
    dimensions,
    require,
    require_separate,
)
from llmatic_daemon.worker.graph.nodes import Extent
from llmatic_daemon.worker.graph.operations import for_each

# --- operations that can create a batch axis --------------------------------------------------------


def _growing_axis(step: AxisStep, size: tuple[Any, ...]) -> BatchAxis | None:
    """Return the axis of a written size: the dimension that grows with the batch."""
    grows = [n for n, each in enumerate(size) if isinstance(each, Extent)]
    require(len(grows) <= 1, "at most one dimension may grow with the batch")
    if not grows:
        return None
    extent = size[grows[0]]
    require(extent.plus == 0 and extent.batch > 0, "a size must be a multiple of the batch")
    return BatchAxis(grows[0], extent.batch)


def _new_full(step: AxisStep) -> BatchAxis | None:
    return _growing_axis(step, step["size"])


def _expand(step: AxisStep) -> BatchAxis | None:
    size, axis = step["size"], step.axis("self")
    grown = _growing_axis(step, size)
    if axis is None:
        return grown
    moved = replace(axis, dim=axis.dim + len(size) - len(step.shape(step["self"])))
    require(grown is None or grown.dim == moved.dim, "at most one dimension may grow with the batch")
    return moved


def _repeat(step: AxisStep) -> BatchAxis | None:
    times = step["repeats" if step.node.op.startswith("repeat") else "dims"]
    shape, axis, grown = step.shape(step["self"]), step.axis("self"), _growing_axis(step, times)
    added = len(step.result.shape) - len(shape)
    if axis is None:
        if grown is None:
            return None
        dim = grown.dim + len(step.result.shape) - len(times)
        return BatchAxis(dim, grown.inner * (shape[dim - added] if dim >= added else 1))
    dim = axis.dim + added
    position = dim - (len(step.result.shape) - len(times))
    require_separate(grown is None and (position < 0 or times[position] == 1))
    return replace(axis, dim=dim)


# --- shapes ---------------------------------------------------------------------------------------


def _permute(step: AxisStep) -> BatchAxis:
    axis, shape = step.first()
    order = [each % len(shape) for each in step["dims"]]
    return replace(axis, dim=order.index(axis.dim))


def _transpose(step: AxisStep) -> BatchAxis:
    axis, shape = step.first()
    one, other = (step[name] % len(shape) for name in ("dim0", "dim1"))
    return replace(axis, dim={one: other, other: one}.get(axis.dim, axis.dim))


def _reshape(step: AxisStep) -> BatchAxis:
    """Find the new dimension of the axis, which must hold whole images."""
    axis, shape = step.first()
    before, passed = math.prod(shape[: axis.dim]) * axis.outer, 1
    for dim, size in enumerate(step.result.shape):
        if before < passed * size:
            outer, rest = divmod(before, passed)
            inner, torn = divmod(size, step.batch * outer)
            require_separate(not rest and not torn)
            return BatchAxis(dim, inner, outer)
        passed *= size
    raise MixedBatchError(MIXES)


def _cat(step: AxisStep) -> BatchAxis:
    axis = common_axis(step)
    rank = len(step.shape(step.tensors()[0]))
    require_separate(axis.dim != step["dim"] % rank)
    return axis


def _stack(step: AxisStep) -> BatchAxis:
    axis = common_axis(step)
    dim = step["dim"] % len(step.result.shape)
    return replace(axis, dim=axis.dim + (dim <= axis.dim))


def common_axis(step: AxisStep) -> BatchAxis:
    """Return the axis that all tensors share."""
    found = {step.axis_of(ref) for ref in step.tensors()}
    require_separate(len(found) == 1)
    (axis,) = found
    assert axis is not None
    return axis


def _select(step: AxisStep) -> BatchAxis:
    """Pick one position of another dimension, which is removed."""
    axis, shape = step.first()
    dim = step["dim"] % len(shape)
    require_separate(dim != axis.dim)
    return replace(axis, dim=axis.dim - (dim < axis.dim))


def _slice(step: AxisStep) -> BatchAxis:
    axis, shape = step.first()
    whole = step.result.shape[axis.dim] == shape[axis.dim] and step["step"] == 1
    require_separate(step["dim"] % len(shape) != axis.dim or whole)
    return axis


def _narrow(step: AxisStep) -> BatchAxis:
    axis, shape = step.first()
    require_separate(step["dim"] % len(shape) != axis.dim)
    return axis


def _repeat_interleave(step: AxisStep) -> BatchAxis:
    axis, shape = step.first()
    require_separate(step["dim"] is not None)
    longer = step["dim"] % len(shape) == axis.dim
    return replace(axis, inner=axis.inner * (step["repeats"] if longer else 1))


def _roll(step: AxisStep) -> BatchAxis:
    axis, shape = step.first()
    require_separate(bool(step["dims"]) and axis.dim not in dimensions(step["dims"], len(shape)))
    return axis


#: Rules of operations that can create a batch axis.
CREATING_RULES: Mapping[str, Rule] = {
    "new_full.default": _new_full,
    "expand.default": _expand,
    "repeat.default": _repeat,
    "tile.default": _repeat,
}

SHAPE_RULES: Mapping[str, Rule] = {
    **for_each("permute.default", _permute),
    **for_each("transpose.int", _transpose),
    **for_each("reshape.default", _reshape),
    **for_each("cat.default", _cat),
    **for_each("stack.default", _stack),
    **for_each("select.int unbind.int", _select),
    **for_each("split.Tensor split_with_sizes.default chunk.default narrow.default", _narrow),
    **for_each("slice.Tensor", _slice),
    **for_each("repeat_interleave.self_int", _repeat_interleave),
    **for_each("roll.default", _roll),
}
