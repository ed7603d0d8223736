"""Rules of the batch axis for layers, products, and elementwise operations."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from llmatic_daemon.worker.graph.batch_axis import (
    MIXES,
    AxisStep,
    BatchAxes,
    BatchAxis,
    MixedBatchError,
    Rule,
    dimensions,
    require,
    require_separate,
)
from llmatic_daemon.worker.graph.batch_shape_rules import common_axis
from llmatic_daemon.worker.graph.nodes import Extent, Ref
from llmatic_daemon.worker.graph.operations import CONVOLUTIONS, for_each

# --- operations that keep the axis ------------------------------------------------------------------------


def _elementwise(step: AxisStep) -> BatchAxis:
    operands = step.tensors()
    return _broadcast_axis(step, operands, max(len(step.shape(ref)) for ref in operands))


def _broadcast_axis(step: AxisStep, operands: list[Ref], rank: int) -> BatchAxis:
    """Return the axis of operands that are aligned from the right, as broadcasting does.

    An operand without the axis must not have its dimension, or have size 1 there.
    """
    found = {
        replace(axis, dim=axis.dim + rank - len(step.shape(ref)))
        for ref in operands
        if (axis := step.axis_of(ref)) is not None
    }
    require_separate(len(found) == 1)
    (axis,) = found
    for ref in operands:
        require_separate(step.axis_of(ref) is not None or _is_broadcast(step.shape(ref), axis.dim, rank))
    return axis


def _is_broadcast(shape: tuple[int, ...], dim: int, rank: int) -> bool:
    """Decide whether a shape has no dimension, or size 1, at `dim` of a larger rank."""
    own = dim - (rank - len(shape))
    return own < 0 or shape[own] == 1


def _outside_dims(*names: str) -> Callable[[AxisStep], BatchAxis]:
    """Keep an axis outside the named dimensions."""

    def rule(step: AxisStep) -> BatchAxis:
        axis, shape = step.first()
        for name in names:
            require_separate(axis.dim not in dimensions(step[name], len(shape)))
        return axis

    return rule


def _reduction(step: AxisStep) -> BatchAxis:
    axis, shape = step.first()
    dims = dimensions(step["dim"], len(shape))
    require_separate(axis.dim not in dims)
    if step["keepdim"]:
        return axis
    return replace(axis, dim=axis.dim - sum(dim < axis.dim for dim in dims))


def _mixing(step: AxisStep) -> BatchAxis:
    raise MixedBatchError(MIXES)


def _before_last(count: int) -> Callable[[AxisStep], BatchAxis]:
    """Keep an axis before the last `count` dimensions."""

    def rule(step: AxisStep) -> BatchAxis:
        axis, shape = step.first()
        require_separate(axis.dim < len(shape) - count)
        return axis

    return rule


def _layer_norm(step: AxisStep) -> BatchAxis:
    return _before_last(len(step["normalized_shape"]))(step)


def _padded(step: AxisStep) -> BatchAxis:
    return _before_last(len(step["pad"]) // 2)(step)


def _per_image(step: AxisStep) -> BatchAxis:
    """Norm each image by itself."""
    axis, shape = step.first()
    require_separate(axis.dim == 0 and len(shape) == len(step.result.shape))
    return axis


def _convolution(step: AxisStep) -> BatchAxis:
    if isinstance(step["groups"], Extent):
        return _grouped_by_image(step)
    axis, shape = step.first()
    require_separate(axis.dim == 0 and len(shape) == (3 if "1d" in step.node.op else 4))
    return axis


def _grouped_by_image(step: AxisStep) -> BatchAxis:
    """Convolve in one group for each image: each has its own channels and kernels."""
    require(step["groups"] == Extent(1, 0), "there must be as many groups as images, or a number")
    channels, kernels = step.axis("input"), step.axis("weight")
    require_separate(channels is not None and channels == BatchAxis(1, channels.inner))
    require_separate(kernels is not None and kernels == BatchAxis(0, kernels.inner))
    assert kernels is not None
    biases = step.axis("bias")
    require_separate(step["bias"] is None or biases == kernels)
    return BatchAxis(1, kernels.inner)


def _im2col(step: AxisStep) -> BatchAxis:
    axis, shape = step.first()
    require_separate(axis.dim == 0 and len(shape) == 4)
    return axis


def _not_channels(step: AxisStep) -> BatchAxis:
    axis, _ = step.first()
    require_separate(axis.dim != 1)
    return axis


def _batch_norm(step: AxisStep) -> BatchAxis:
    """Allow statistics of the batch where running statistics replace them in evaluation."""
    axis = _not_channels(step)
    require(step["running_mean"] is not None, "a norm over the batch must keep running statistics: " + MIXES)
    return axis


# --- products -------------------------------------------------------------------------------------


def _matmul(step: AxisStep) -> BatchAxis:
    left, right = step.tensors()[-2:]
    return _product(step, left, right)


def _product(step: AxisStep, left: Ref, right: Ref) -> BatchAxis:
    """Contract the last dimension of the left with the last but one of the right."""
    (a, b) = step.axis_of(left), step.axis_of(right)
    ranks = len(step.shape(left)), len(step.shape(right))
    require_separate(a is None or a.dim != ranks[0] - 1)
    require_separate(b is None or b.dim != max(0, ranks[1] - 2))
    if min(ranks) == 1:
        return _product_with_vector(a, b, ranks)
    rank = max(ranks)
    a = a and replace(a, dim=a.dim + rank - ranks[0])
    b = b and replace(b, dim=b.dim + rank - ranks[1])
    axis = a or b
    assert axis is not None
    require_separate(a is None or b is None or (a == b and a.dim < rank - 2))
    return axis


def _product_with_vector(a: BatchAxis | None, b: BatchAxis | None, ranks: tuple[int, int]) -> BatchAxis:
    if ranks[1] == 1:
        assert a is not None
        return a
    assert b is not None
    return replace(b, dim=b.dim - (b.dim == ranks[1] - 1))


def _added_product(step: AxisStep) -> BatchAxis:
    """Add to a product a value with the same axis, or one that is broadcast along it."""
    added, left, right = step.tensors()
    if step.axis_of(left) is None and step.axis_of(right) is None:
        raise MixedBatchError("the images must be in the product")
    axis = _product(step, left, right)
    own, shape = step.axis_of(added), step.shape(added)
    dim = axis.dim - (len(step.result.shape) - len(shape))
    if own is None:
        require_separate(_is_broadcast(shape, axis.dim, len(step.result.shape)))
    else:
        require_separate(own == replace(axis, dim=dim))
    return axis


def _bilinear(step: AxisStep) -> BatchAxis:
    first, second, weight, *bias = step.tensors()
    a, b = step.axis_of(first), step.axis_of(second)
    require_separate(a == b and a is not None and a.dim < len(step.shape(first)) - 1)
    require_separate(not any(map(step.axis_of, (weight, *bias))))
    assert a is not None
    return a


def _einsum(step: AxisStep) -> BatchAxis:
    """Require that one letter names the axis in all operands and in the result."""
    words = re.fullmatch(r"([A-Za-z,]+)->([A-Za-z]*)", step["equation"].replace(" ", ""))
    require(words is not None, "an equation must be written out, with letters and an arrow")
    assert words is not None
    operands, result = words[1].split(","), words[2]
    letters = set()
    for ref, names in zip(step.tensors(), operands, strict=True):
        axis = step.axis_of(ref)
        if axis is not None:
            letters.add((names[axis.dim], replace(axis, dim=0)))
            require_separate(names.count(names[axis.dim]) == 1)
    require_separate(len(letters) == 1)
    ((letter, axis),) = letters
    require_separate(letter in result)
    for ref, names in zip(step.tensors(), operands, strict=True):
        shape = step.shape(ref)
        require_separate(
            step.axis_of(ref) is not None or letter not in names or shape[names.index(letter)] == 1
        )
    return replace(axis, dim=result.index(letter))


def _attention(step: AxisStep) -> BatchAxis:
    """Require one axis for queries, keys and values, before the last two dimensions."""
    rank = len(step.result.shape)
    given = [step[name] for name in ("query", "key", "value", "attn_mask") if step[name] is not None]
    axis = _broadcast_axis(step, given, rank)
    require_separate(axis.dim < rank - 2)
    return axis


def _recurrent(step: AxisStep) -> tuple[BatchAxis, ...]:
    axis = step.axis("input")
    require_separate(axis is not None and axis.dim == (0 if step["batch_first"] else 1))
    assert axis is not None
    states = step["hx"] if isinstance(step["hx"], tuple) else (step["hx"],)
    state = replace(axis, dim=1)
    require_separate(all(step.axis_of(each) == state for each in states))
    require_separate(not any(map(step.axis_of, step["params"])))
    return (axis, *(state for _ in states))


def _single_cell(step: AxisStep) -> BatchAxes:
    data, *others = step.tensors()
    is_pair = isinstance(step["hx"], tuple)
    states, weights = others[: 1 + is_pair], others[1 + is_pair :]
    axis = step.axis_of(data)
    require_separate(axis is not None and axis.dim == 0)
    assert axis is not None
    require_separate(all(step.axis_of(each) == axis for each in states))
    require_separate(not any(map(step.axis_of, weights)))
    return (axis, axis) if is_pair else axis


def _grid(step: AxisStep) -> BatchAxis:
    """Sample each image by its own grid."""
    axis = common_axis(step)
    require_separate(axis.dim == 0)
    return axis


def _prelu(step: AxisStep) -> BatchAxis:
    axis, _ = step.first()
    require_separate(axis.dim != 1 or math.prod(step.shape(step["weight"])) == 1)
    return axis


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

LAYER_RULES: Mapping[str, Rule] = {
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
}
