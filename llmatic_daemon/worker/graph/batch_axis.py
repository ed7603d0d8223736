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

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from llmatic_daemon.worker.graph.nodes import Arg, Extent, Graph, Input, Node, NodeResult, Ref, refs
from llmatic_daemon.worker.graph.operations import CONVOLUTIONS, for_each, table
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


def propagate(graph: Graph, shapes: Shapes, batch: int) -> BatchAxis | None:
    """Propagate the batch axis from the input to the output of a graph.

    Args:
        graph: A graph whose shapes were inferred.
        shapes: For this batch.
        batch: Number of images.

    Returns:
        The batch axis of the output; None if it has none.

    Raises:
        MixedBatchError: an operation may mix images.
    """
    found: list[BatchAxes] = []
    for number, node in enumerate(graph.nodes):
        step = _Step(graph, node, shapes, batch, found)
        try:
            found.append(_axes_of_results(step))
        except MixedBatchError as error:
            raise MixedBatchError(f"n{number} ({node.op}): {error}") from error
    return _axis_of(graph.output, found)


def _axis_of(ref: Arg, found: list[BatchAxes]) -> BatchAxis | None:
    if isinstance(ref, Input):
        return BatchAxis(0)
    if not isinstance(ref, NodeResult):
        return None
    axes = found[ref.node]
    return axes[ref.item or 0] if isinstance(axes, tuple) else axes


class _Step:
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
        return self.axis_of(self._args[name])

    def axis_of(self, arg: Arg) -> BatchAxis | None:
        return _axis_of(arg, self._found)

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
        return list(refs(self.node.args))

    def first(self) -> tuple[BatchAxis, tuple[int, ...]]:
        """Return the batch axis and shape of the first tensor; no other tensor may have one."""
        data, *others = self.tensors()
        _require(not any(map(self.axis_of, others)), "its weights must be the same for all images")
        axis = self.axis_of(data)
        _require(axis is not None, "its input must carry the images")
        assert axis is not None
        return axis, self.shape(data)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise MixedBatchError(message)


_MIXES = "an image's output may not depend on the other images of its batch"


def _require_separate(condition: bool) -> None:
    _require(condition, _MIXES)


def _axes_of_results(step: _Step) -> BatchAxes:
    create = _CREATING_RULES.get(step.node.op)
    if create is not None:
        return create(step)
    if not any(map(step.axis_of, step.tensors())):
        return None
    rule = _RULES.get(step.node.op)
    _require(rule is not None, "it is not known how it treats the images of a batch")
    assert rule is not None
    return rule(step)


def _dims(given: Any, rank: int) -> set[int]:
    """Return dimensions counted from 0; none given means all."""
    listed = given if isinstance(given, tuple) else () if given is None else (given,)
    return {each % max(1, rank) for each in listed} if listed else set(range(rank))


# --- operations that can create a batch axis --------------------------------------------------------


def _growing_axis(step: _Step, size: tuple[Any, ...]) -> BatchAxis | None:
    """Return the axis of a written size: the dimension that grows with the batch."""
    grows = [n for n, each in enumerate(size) if isinstance(each, Extent)]
    _require(len(grows) <= 1, "at most one dimension may grow with the batch")
    if not grows:
        return None
    extent = size[grows[0]]
    _require(extent.plus == 0 and extent.batch > 0, "a size must be a multiple of the batch")
    return BatchAxis(grows[0], extent.batch)


def _new_full(step: _Step) -> BatchAxis | None:
    return _growing_axis(step, step["size"])


def _expand(step: _Step) -> BatchAxis | None:
    size, axis = step["size"], step.axis("self")
    grown = _growing_axis(step, size)
    if axis is None:
        return grown
    moved = replace(axis, dim=axis.dim + len(size) - len(step.shape(step["self"])))
    _require(grown is None or grown.dim == moved.dim, "at most one dimension may grow with the batch")
    return moved


def _repeat(step: _Step) -> BatchAxis | None:
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
    _require_separate(grown is None and (position < 0 or times[position] == 1))
    return replace(axis, dim=dim)


# --- operations that keep the axis ------------------------------------------------------------------------


def _elementwise(step: _Step) -> BatchAxis:
    operands = step.tensors()
    return _broadcast_axis(step, operands, max(len(step.shape(ref)) for ref in operands))


def _broadcast_axis(step: _Step, operands: list[Ref], rank: int) -> BatchAxis:
    """Return the axis of operands that are aligned from the right, as broadcasting does.

    An operand without the axis must not have its dimension, or have size 1 there.
    """
    found = {
        replace(axis, dim=axis.dim + rank - len(step.shape(ref)))
        for ref in operands
        if (axis := step.axis_of(ref)) is not None
    }
    _require_separate(len(found) == 1)
    (axis,) = found
    for ref in operands:
        _require_separate(step.axis_of(ref) is not None or _is_broadcast(step.shape(ref), axis.dim, rank))
    return axis


def _is_broadcast(shape: tuple[int, ...], dim: int, rank: int) -> bool:
    """Decide whether a shape has no dimension, or size 1, at `dim` of a larger rank."""
    own = dim - (rank - len(shape))
    return own < 0 or shape[own] == 1


def _outside_dims(*names: str) -> Callable[[_Step], BatchAxis]:
    """Keep an axis outside the named dimensions."""

    def rule(step: _Step) -> BatchAxis:
        axis, shape = step.first()
        for name in names:
            _require_separate(axis.dim not in _dims(step[name], len(shape)))
        return axis

    return rule


def _reduction(step: _Step) -> BatchAxis:
    axis, shape = step.first()
    dims = _dims(step["dim"], len(shape))
    _require_separate(axis.dim not in dims)
    if step["keepdim"]:
        return axis
    return replace(axis, dim=axis.dim - sum(dim < axis.dim for dim in dims))


def _mixing(step: _Step) -> BatchAxis:
    raise MixedBatchError(_MIXES)


def _before_last(count: int) -> Callable[[_Step], BatchAxis]:
    """Keep an axis before the last `count` dimensions."""

    def rule(step: _Step) -> BatchAxis:
        axis, shape = step.first()
        _require_separate(axis.dim < len(shape) - count)
        return axis

    return rule


def _layer_norm(step: _Step) -> BatchAxis:
    return _before_last(len(step["normalized_shape"]))(step)


def _padded(step: _Step) -> BatchAxis:
    return _before_last(len(step["pad"]) // 2)(step)


def _per_image(step: _Step) -> BatchAxis:
    """Norm each image by itself."""
    axis, shape = step.first()
    _require_separate(axis.dim == 0 and len(shape) == len(step.result.shape))
    return axis


def _convolution(step: _Step) -> BatchAxis:
    if isinstance(step["groups"], Extent):
        return _grouped_by_image(step)
    axis, shape = step.first()
    _require_separate(axis.dim == 0 and len(shape) == (3 if "1d" in step.node.op else 4))
    return axis


def _grouped_by_image(step: _Step) -> BatchAxis:
    """Convolve in one group for each image: each has its own channels and kernels."""
    _require(step["groups"] == Extent(1, 0), "there must be as many groups as images, or a number")
    channels, kernels = step.axis("input"), step.axis("weight")
    _require_separate(channels is not None and channels == BatchAxis(1, channels.inner))
    _require_separate(kernels is not None and kernels == BatchAxis(0, kernels.inner))
    assert kernels is not None
    biases = step.axis("bias")
    _require_separate(step["bias"] is None or biases == kernels)
    return BatchAxis(1, kernels.inner)


def _im2col(step: _Step) -> BatchAxis:
    axis, shape = step.first()
    _require_separate(axis.dim == 0 and len(shape) == 4)
    return axis


def _not_channels(step: _Step) -> BatchAxis:
    axis, _ = step.first()
    _require_separate(axis.dim != 1)
    return axis


def _batch_norm(step: _Step) -> BatchAxis:
    """Allow statistics of the batch where running statistics replace them in evaluation."""
    axis = _not_channels(step)
    _require(
        step["running_mean"] is not None,
        "a norm over the batch must keep running statistics: " + _MIXES,
    )
    return axis


# --- products -------------------------------------------------------------------------------------


def _matmul(step: _Step) -> BatchAxis:
    left, right = step.tensors()[-2:]
    return _product(step, left, right)


def _product(step: _Step, left: Ref, right: Ref) -> BatchAxis:
    """Contract the last dimension of the left with the last but one of the right."""
    (a, b) = step.axis_of(left), step.axis_of(right)
    ranks = len(step.shape(left)), len(step.shape(right))
    _require_separate(a is None or a.dim != ranks[0] - 1)
    _require_separate(b is None or b.dim != max(0, ranks[1] - 2))
    if min(ranks) == 1:
        return _product_with_vector(a, b, ranks)
    rank = max(ranks)
    a = a and replace(a, dim=a.dim + rank - ranks[0])
    b = b and replace(b, dim=b.dim + rank - ranks[1])
    axis = a or b
    assert axis is not None
    _require_separate(a is None or b is None or (a == b and a.dim < rank - 2))
    return axis


def _product_with_vector(a: BatchAxis | None, b: BatchAxis | None, ranks: tuple[int, int]) -> BatchAxis:
    if ranks[1] == 1:
        assert a is not None
        return a
    assert b is not None
    return replace(b, dim=b.dim - (b.dim == ranks[1] - 1))


def _added_product(step: _Step) -> BatchAxis:
    """Add to a product a value with the same axis, or one that is broadcast along it."""
    added, left, right = step.tensors()
    if step.axis_of(left) is None and step.axis_of(right) is None:
        raise MixedBatchError("the images must be in the product")
    axis = _product(step, left, right)
    own, shape = step.axis_of(added), step.shape(added)
    dim = axis.dim - (len(step.result.shape) - len(shape))
    if own is None:
        _require_separate(_is_broadcast(shape, axis.dim, len(step.result.shape)))
    else:
        _require_separate(own == replace(axis, dim=dim))
    return axis


def _bilinear(step: _Step) -> BatchAxis:
    first, second, weight, *bias = step.tensors()
    a, b = step.axis_of(first), step.axis_of(second)
    _require_separate(a == b and a is not None and a.dim < len(step.shape(first)) - 1)
    _require_separate(not any(map(step.axis_of, (weight, *bias))))
    assert a is not None
    return a


def _einsum(step: _Step) -> BatchAxis:
    """Require that one letter names the axis in all operands and in the result."""
    words = re.fullmatch(r"([A-Za-z,]+)->([A-Za-z]*)", step["equation"].replace(" ", ""))
    _require(words is not None, "an equation must be written out, with letters and an arrow")
    assert words is not None
    operands, result = words[1].split(","), words[2]
    letters = set()
    for ref, names in zip(step.tensors(), operands, strict=True):
        axis = step.axis_of(ref)
        if axis is not None:
            letters.add((names[axis.dim], replace(axis, dim=0)))
            _require_separate(names.count(names[axis.dim]) == 1)
    _require_separate(len(letters) == 1)
    ((letter, axis),) = letters
    _require_separate(letter in result)
    for ref, names in zip(step.tensors(), operands, strict=True):
        shape = step.shape(ref)
        _require_separate(
            step.axis_of(ref) is not None or letter not in names or shape[names.index(letter)] == 1
        )
    return replace(axis, dim=result.index(letter))


def _attention(step: _Step) -> BatchAxis:
    """Require one axis for queries, keys and values, before the last two dimensions."""
    rank = len(step.result.shape)
    given = [step[name] for name in ("query", "key", "value", "attn_mask") if step[name] is not None]
    axis = _broadcast_axis(step, given, rank)
    _require_separate(axis.dim < rank - 2)
    return axis


def _recurrent(step: _Step) -> tuple[BatchAxis, ...]:
    axis = step.axis("input")
    _require_separate(axis is not None and axis.dim == (0 if step["batch_first"] else 1))
    assert axis is not None
    states = step["hx"] if isinstance(step["hx"], tuple) else (step["hx"],)
    state = replace(axis, dim=1)
    _require_separate(all(step.axis_of(each) == state for each in states))
    _require_separate(not any(map(step.axis_of, step["params"])))
    return (axis, *(state for _ in states))


def _single_cell(step: _Step) -> BatchAxes:
    data, *others = step.tensors()
    is_pair = isinstance(step["hx"], tuple)
    states, weights = others[: 1 + is_pair], others[1 + is_pair :]
    axis = step.axis_of(data)
    _require_separate(axis is not None and axis.dim == 0)
    assert axis is not None
    _require_separate(all(step.axis_of(each) == axis for each in states))
    _require_separate(not any(map(step.axis_of, weights)))
    return (axis, axis) if is_pair else axis


# --- shapes ---------------------------------------------------------------------------------------


def _permute(step: _Step) -> BatchAxis:
    axis, shape = step.first()
    order = [each % len(shape) for each in step["dims"]]
    return replace(axis, dim=order.index(axis.dim))


def _transpose(step: _Step) -> BatchAxis:
    axis, shape = step.first()
    one, other = (step[name] % len(shape) for name in ("dim0", "dim1"))
    return replace(axis, dim={one: other, other: one}.get(axis.dim, axis.dim))


def _reshape(step: _Step) -> BatchAxis:
    """Find the new dimension of the axis, which must hold whole images."""
    axis, shape = step.first()
    before, passed = math.prod(shape[: axis.dim]) * axis.outer, 1
    for dim, size in enumerate(step.result.shape):
        if before < passed * size:
            outer, rest = divmod(before, passed)
            inner, torn = divmod(size, step.batch * outer)
            _require_separate(not rest and not torn)
            return BatchAxis(dim, inner, outer)
        passed *= size
    raise MixedBatchError(_MIXES)


def _cat(step: _Step) -> BatchAxis:
    axis = _common_axis(step)
    rank = len(step.shape(step.tensors()[0]))
    _require_separate(axis.dim != step["dim"] % rank)
    return axis


def _stack(step: _Step) -> BatchAxis:
    axis = _common_axis(step)
    dim = step["dim"] % len(step.result.shape)
    return replace(axis, dim=axis.dim + (dim <= axis.dim))


def _common_axis(step: _Step) -> BatchAxis:
    found = {step.axis_of(ref) for ref in step.tensors()}
    _require_separate(len(found) == 1)
    (axis,) = found
    assert axis is not None
    return axis


def _select(step: _Step) -> BatchAxis:
    """Pick one position of another dimension, which is removed."""
    axis, shape = step.first()
    dim = step["dim"] % len(shape)
    _require_separate(dim != axis.dim)
    return replace(axis, dim=axis.dim - (dim < axis.dim))


def _slice(step: _Step) -> BatchAxis:
    axis, shape = step.first()
    whole = step.result.shape[axis.dim] == shape[axis.dim] and step["step"] == 1
    _require_separate(step["dim"] % len(shape) != axis.dim or whole)
    return axis


def _narrow(step: _Step) -> BatchAxis:
    axis, shape = step.first()
    _require_separate(step["dim"] % len(shape) != axis.dim)
    return axis


def _repeat_interleave(step: _Step) -> BatchAxis:
    axis, shape = step.first()
    _require_separate(step["dim"] is not None)
    longer = step["dim"] % len(shape) == axis.dim
    return replace(axis, inner=axis.inner * (step["repeats"] if longer else 1))


def _roll(step: _Step) -> BatchAxis:
    axis, shape = step.first()
    _require_separate(bool(step["dims"]) and axis.dim not in _dims(step["dims"], len(shape)))
    return axis


def _grid(step: _Step) -> BatchAxis:
    """Sample each image by its own grid."""
    axis = _common_axis(step)
    _require_separate(axis.dim == 0)
    return axis


def _prelu(step: _Step) -> BatchAxis:
    axis, _ = step.first()
    _require_separate(axis.dim != 1 or math.prod(step.shape(step["weight"])) == 1)
    return axis


#: Rules of operations that can create a batch axis.
_CREATING_RULES: Mapping[str, Callable[[_Step], BatchAxes]] = {
    "new_full.default": _new_full,
    "expand.default": _expand,
    "repeat.default": _repeat,
    "tile.default": _repeat,
}

_ELEMENTWISE = """
relu.default relu6.default leaky_relu.default elu.default selu.default celu.default gelu.default
silu.default mish.default hardtanh.default hardswish.default hardsigmoid.default sigmoid.default
log_sigmoid.default tanh.default softplus.default softshrink.default hardshrink.default
threshold.default dropout.default feature_dropout.default alpha_dropout.default
feature_alpha_dropout.default contiguous.default detach.default add.Tensor add.Scalar sub.Tensor
sub.Scalar rsub.Scalar rsub.Tensor mul.Tensor mul.Scalar div.Tensor div.Scalar neg.default
abs.default exp.default expm1.default log.default log1p.default log2.default sqrt.default
rsqrt.default square.default reciprocal.default sin.default cos.default erf.default atan.default
sign.default pow.Tensor_Scalar pow.Tensor_Tensor pow.Scalar clamp.default clamp.Tensor
clamp_min.default clamp_max.default maximum.default minimum.default addcmul.default addcdiv.default
lerp.Scalar lerp.Tensor max.other min.other where.self where.ScalarSelf where.ScalarOther gt.Scalar
gt.Tensor ge.Scalar ge.Tensor lt.Scalar lt.Tensor le.Scalar le.Tensor eq.Scalar eq.Tensor ne.Scalar
ne.Tensor logical_not.default bitwise_not.default masked_fill.Scalar
"""
_REDUCTIONS = """
mean.dim sum.dim_IntList amax.default amin.default max.dim min.dim var.correction std.correction
var.dim std.dim logsumexp.default prod.dim_int argmax.default linalg_vector_norm.default
norm.ScalarOpt_dim
"""
_PLANE = """
max_pool2d.default avg_pool2d.default adaptive_avg_pool2d.default adaptive_max_pool2d.default
max_pool2d_with_indices.default upsample_nearest2d.vec upsample_bilinear2d.vec
upsample_bicubic2d.vec tril.default triu.default
"""
_LINE = """
max_pool1d.default avg_pool1d.default adaptive_avg_pool1d.default adaptive_max_pool1d.default
upsample_nearest1d.vec upsample_linear1d.vec
"""
_RULES: Mapping[str, Callable[[_Step], BatchAxes]] = {
    **for_each(_ELEMENTWISE, _elementwise),
    **for_each(_REDUCTIONS, _reduction),
    **for_each("mean.default sum.default dot.default _weight_norm.default", _mixing),
    **dict.fromkeys(CONVOLUTIONS, _convolution),
    **for_each(_PLANE, _before_last(2)),
    **for_each(_LINE, _before_last(1)),
    **for_each("affine_grid_generator.default grid_sampler.default", _grid),
    **for_each("pixel_shuffle.default pixel_unshuffle.default avg_pool3d.default", _before_last(3)),
    **for_each("softmax.int log_softmax.int cumsum.default glu.default", _outside_dims("dim")),
    **for_each("flip.default", _outside_dims("dims")),
    **for_each("unfold.default", _outside_dims("dimension")),
    **for_each("layer_norm.default rms_norm.default", _layer_norm),
    **for_each("group_norm.default instance_norm.default", _per_image),
    **for_each("batch_norm.default", _batch_norm),
    **for_each("channel_shuffle.default", _not_channels),
    **for_each("im2col.default", _im2col),
    **for_each("pad.default constant_pad_nd.default", _padded),
    **for_each("prelu.default", _prelu),
    **for_each("linear.default", _before_last(1)),
    **for_each("matmul.default mm.default bmm.default mv.default", _matmul),
    **for_each("addmm.default baddbmm.default", _added_product),
    **for_each("bilinear.default", _bilinear),
    **for_each("einsum.default", _einsum),
    **for_each("scaled_dot_product_attention.default", _attention),
    **for_each("lstm_cell.default gru_cell.default", _single_cell),
    **for_each("rnn_tanh_cell.default rnn_relu_cell.default", _single_cell),
    **for_each("lstm.input gru.input rnn_tanh.input rnn_relu.input", _recurrent),
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
