"""Which dimension of each value carries the images: proof that no image sees another one.

The images of a batch travel in lanes: a value either has none (weights, and what is made of them) or one dimension
of size `outer * batch * inner`, whose position `(o * batch + b) * inner + i` belongs to image b. An operation keeps the
lanes apart, or is refused: sums, sorts, softmax and shifts over the lane's dimension, a product that contracts it, a
reshape that tears it, norms that use a batch's statistics in evaluation too. What is not in the tables below is
refused where it meets a lane.

Because lanes never mix, every size is linear in the batch, whatever the batch. The one exception is batch
norm in training, whose statistics are the trainer's.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from llmatic_daemon.worker.graph.nodes import Arg, Extent, Graph, Input, Node, NodeResult, Ref, refs
from llmatic_daemon.worker.graph.operations import table
from llmatic_daemon.worker.graph.shapes import Shapes


@dataclass(frozen=True, slots=True)
class Lane:
    """Where a value carries the images: `shape[dim] == outer * batch * inner`."""

    dim: int
    inner: int = 1
    outer: int = 1


#: One for each result, where they differ; else the lane of all results.
Lanes = Lane | None | tuple[Lane, ...]


class LaneError(Exception):
    """An operation mixes images, or asks how many there are; one line."""


def trace(graph: Graph, shapes: Shapes, batch: int) -> Lane | None:
    """Follow the images through a graph.

    Args:
        graph: A graph whose shapes were inferred.
        shapes: For this batch.
        batch: Number of images.

    Returns:
        The lane of the output.

    Raises:
        LaneError: images may be mixed.
    """
    found: list[Lanes] = []
    for number, node in enumerate(graph.nodes):
        step = _Step(graph, node, shapes, batch, found)
        try:
            found.append(_lanes(step))
        except LaneError as error:
            raise LaneError(f"n{number} ({node.op}): {error}") from error
    return _lane_of(graph.output, found)


def _lane_of(ref: Arg, found: list[Lanes]) -> Lane | None:
    if isinstance(ref, Input):
        return Lane(0)
    if not isinstance(ref, NodeResult):
        return None
    lanes = found[ref.node]
    return lanes[ref.item or 0] if isinstance(lanes, tuple) else lanes


class _Step:
    """One operation, its arguments by name, and what is known of them."""

    def __init__(self, graph: Graph, node: Node, shapes: Shapes, batch: int, found: list[Lanes]) -> None:
        self.node, self.batch = node, batch
        self._graph, self._shapes, self._found = graph, shapes, found
        arguments = table()[node.op].arguments
        self._args = {argument.name: argument.default for argument in arguments}
        self._args.update(zip(self._args, node.args, strict=False))
        self.result: Any = shapes.results[len(found)]

    def __getitem__(self, name: str) -> Any:
        return self._args[name]

    def lane(self, name: str) -> Lane | None:
        return self.lane_of(self._args[name])

    def lane_of(self, arg: Arg) -> Lane | None:
        return _lane_of(arg, self._found)

    def shape(self, arg: Any) -> tuple[int, ...]:
        """Say the shape of a value."""
        if isinstance(arg, Input):
            return (self.batch, *self._graph.input_shape)
        if isinstance(arg, NodeResult):
            result = self._shapes.results[arg.node]
            return tuple(result.shape if arg.item is None else result[arg.item].shape)
        weight: int = arg.number
        return self._graph.weights[weight].shape

    def tensors(self) -> list[Ref]:
        return list(refs(self.node.args))

    def first(self) -> tuple[Lane, tuple[int, ...]]:
        """Take the lane and shape of the first tensor; no other one may have a lane."""
        data, *others = self.tensors()
        _require(not any(map(self.lane_of, others)), "its weights must be the same for all images")
        lane = self.lane_of(data)
        _require(lane is not None, "its input must carry the images")
        assert lane is not None
        return lane, self.shape(data)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise LaneError(message)


_MIXES = "an image's output may not depend on the other images of its batch"


def _apart(condition: bool) -> None:
    _require(condition, _MIXES)


def _lanes(step: _Step) -> Lanes:
    made = _MADE.get(step.node.op)
    if made is not None:
        return made(step)
    if not any(map(step.lane_of, step.tensors())):
        return None
    rule = _RULES.get(step.node.op)
    _require(rule is not None, "it is not known how it treats the images of a batch")
    assert rule is not None
    return rule(step)


def _dims(given: Any, rank: int) -> set[int]:
    """Read a list of dimensions; none given means all."""
    listed = given if isinstance(given, tuple) else () if given is None else (given,)
    return {each % max(1, rank) for each in listed} if listed else set(range(rank))


# --- values without a lane that may get one -------------------------------------------------------


def _laid_out(step: _Step, size: tuple[Any, ...]) -> Lane | None:
    """Find the dimension that grows with the batch in a size that is written out."""
    grows = [n for n, each in enumerate(size) if isinstance(each, Extent)]
    _require(len(grows) <= 1, "at most one dimension may grow with the batch")
    if not grows:
        return None
    extent = size[grows[0]]
    _require(extent.plus == 0 and extent.batch > 0, "a size must be a multiple of the batch")
    return Lane(grows[0], extent.batch)


def _new_full(step: _Step) -> Lane | None:
    return _laid_out(step, step["size"])


def _expand(step: _Step) -> Lane | None:
    size, lane = step["size"], step.lane("self")
    grown = _laid_out(step, size)
    if lane is None:
        return grown
    moved = replace(lane, dim=lane.dim + len(size) - len(step.shape(step["self"])))
    _require(grown is None or grown.dim == moved.dim, "at most one dimension may grow with the batch")
    return moved


def _repeat(step: _Step) -> Lane | None:
    times = step["repeats" if step.node.op.startswith("repeat") else "dims"]
    shape, lane, grown = step.shape(step["self"]), step.lane("self"), _laid_out(step, times)
    added = len(step.result.shape) - len(shape)
    if lane is None:
        if grown is None:
            return None
        dim = grown.dim + len(step.result.shape) - len(times)
        return Lane(dim, grown.inner * (shape[dim - added] if dim >= added else 1))
    dim = lane.dim + added
    position = dim - (len(step.result.shape) - len(times))
    _apart(grown is None and (position < 0 or times[position] == 1))
    return replace(lane, dim=dim)


# --- one lane that is kept ------------------------------------------------------------------------


def _elementwise(step: _Step) -> Lane:
    """Line operands up from the right, as broadcasting does."""
    shapes = [step.shape(ref) for ref in step.tensors()]
    rank = max(map(len, shapes))
    found = {
        replace(lane, dim=lane.dim + rank - len(shape))
        for ref, shape in zip(step.tensors(), shapes, strict=True)
        if (lane := step.lane_of(ref)) is not None
    }
    _apart(len(found) == 1)
    (lane,) = found
    for ref, shape in zip(step.tensors(), shapes, strict=True):
        dim = lane.dim - (rank - len(shape))
        _apart(step.lane_of(ref) is not None or dim < 0 or shape[dim] == 1)
    return lane


def _spared(*names: str) -> Callable[[_Step], Lane]:
    """Keep a lane that none of the named dimensions is."""

    def rule(step: _Step) -> Lane:
        lane, shape = step.first()
        for name in names:
            _apart(lane.dim not in _dims(step[name], len(shape)))
        return lane

    return rule


def _reduction(step: _Step) -> Lane:
    lane, shape = step.first()
    dims = _dims(step["dim"], len(shape))
    _apart(lane.dim not in dims)
    if step["keepdim"]:
        return lane
    return replace(lane, dim=lane.dim - sum(dim < lane.dim for dim in dims))


def _total(step: _Step) -> Lane:
    raise LaneError(_MIXES)


def _last(count: int) -> Callable[[_Step], Lane]:
    """Keep a lane that lies before the last dimensions."""

    def rule(step: _Step) -> Lane:
        lane, shape = step.first()
        _apart(lane.dim < len(shape) - count)
        return lane

    return rule


def _whole_norm(step: _Step) -> Lane:
    return _last(len(step["normalized_shape"]))(step)


def _padded(step: _Step) -> Lane:
    lane, shape = step.first()
    _apart(lane.dim < len(shape) - len(step["pad"]) // 2)
    return lane


def _per_image(step: _Step) -> Lane:
    """Convolutions, and norms of each image by itself."""
    lane, shape = step.first()
    _apart(lane.dim == 0 and len(shape) == len(step.result.shape))
    return lane


def _convolution(step: _Step) -> Lane:
    if isinstance(step["groups"], Extent):
        return _grouped_by_image(step)
    lane, shape = step.first()
    _apart(lane.dim == 0 and len(shape) == (3 if "1d" in step.node.op else 4))
    return lane


def _grouped_by_image(step: _Step) -> Lane:
    """As many groups as images: each image lies in the channels of its group, with kernels of its own."""
    _require(step["groups"] == Extent(1, 0), "there must be as many groups as images, or a number")
    channels, kernels = step.lane("input"), step.lane("weight")
    _apart(channels is not None and channels == Lane(1, channels.inner))
    _apart(kernels is not None and kernels == Lane(0, kernels.inner))
    assert kernels is not None
    biases = step.lane("bias")
    _apart(step["bias"] is None or biases == kernels)
    return Lane(1, kernels.inner)


def _im2col(step: _Step) -> Lane:
    lane, shape = step.first()
    _apart(lane.dim == 0 and len(shape) == 4)
    return lane


def _batch_norm(step: _Step) -> Lane:
    """Statistics of the batch are the trainer's, and only in training."""
    lane, _ = step.first()
    _apart(lane.dim != 1)
    _require(
        step["running_mean"] is not None,
        "a norm over the batch must keep running statistics: " + _MIXES,
    )
    return lane


def _channelwise(step: _Step) -> Lane:
    lane, _ = step.first()
    _apart(lane.dim != 1)
    return lane


# --- products -------------------------------------------------------------------------------------


def _linear(step: _Step) -> Lane:
    return _last(1)(step)


def _matmul(step: _Step) -> Lane:
    left, right = step.tensors()[-2:]
    return _product(step, left, right)


def _product(step: _Step, left: Ref, right: Ref) -> Lane:
    """Contract the last dimension of the left with the last but one of the right."""
    (a, b) = step.lane_of(left), step.lane_of(right)
    ranks = len(step.shape(left)), len(step.shape(right))
    _apart(a is None or a.dim != ranks[0] - 1)
    _apart(b is None or b.dim != max(0, ranks[1] - 2))
    if min(ranks) == 1:
        return _product_with_vector(a, b, ranks)
    rank = max(ranks)
    a = a and replace(a, dim=a.dim + rank - ranks[0])
    b = b and replace(b, dim=b.dim + rank - ranks[1])
    lane = a or b
    assert lane is not None
    _apart(a is None or b is None or (a == b and a.dim < rank - 2))
    return lane


def _product_with_vector(a: Lane | None, b: Lane | None, ranks: tuple[int, int]) -> Lane:
    if ranks[1] == 1:
        assert a is not None
        return a
    assert b is not None
    return replace(b, dim=b.dim - (b.dim == ranks[1] - 1))


def _added_product(step: _Step) -> Lane:
    """A product, to which something is added that has its lane, or none and no such dimension."""
    added, left, right = step.tensors()
    if step.lane_of(left) is None and step.lane_of(right) is None:
        raise LaneError("the images must be in the product")
    lane = _product(step, left, right)
    own, shape = step.lane_of(added), step.shape(added)
    dim = lane.dim - (len(step.result.shape) - len(shape))
    if own is None:
        _apart(dim < 0 or shape[dim] == 1)
    else:
        _apart(own == replace(lane, dim=dim))
    return lane


def _bilinear(step: _Step) -> Lane:
    first, second, weight, *bias = step.tensors()
    a, b = step.lane_of(first), step.lane_of(second)
    _apart(a == b and a is not None and a.dim < len(step.shape(first)) - 1)
    _apart(not any(map(step.lane_of, (weight, *bias))))
    assert a is not None
    return a


def _einsum(step: _Step) -> Lane:
    """The images must go by one letter, which the result keeps."""
    words = re.fullmatch(r"([A-Za-z,]+)->([A-Za-z]*)", step["equation"].replace(" ", ""))
    _require(words is not None, "an equation must be written out, with letters and an arrow")
    assert words is not None
    operands, result = words[1].split(","), words[2]
    letters = set()
    for ref, names in zip(step.tensors(), operands, strict=True):
        lane = step.lane_of(ref)
        if lane is not None:
            letters.add((names[lane.dim], replace(lane, dim=0)))
            _apart(names.count(names[lane.dim]) == 1)
    _apart(len(letters) == 1)
    ((letter, lane),) = letters
    _apart(letter in result)
    for ref, names in zip(step.tensors(), operands, strict=True):
        shape = step.shape(ref)
        _apart(step.lane_of(ref) is not None or letter not in names or shape[names.index(letter)] == 1)
    return replace(lane, dim=result.index(letter))


def _attention(step: _Step) -> Lane:
    """Queries, keys and values of an image stay together, in a dimension before the last two."""
    rank = len(step.result.shape)
    found = set()
    for name in ("query", "key", "value", "attn_mask"):
        if step[name] is None:
            continue
        shape, lane = step.shape(step[name]), step.lane(name)
        if lane is not None:
            found.add(replace(lane, dim=lane.dim + rank - len(shape)))
    _apart(len(found) == 1)
    (lane,) = found
    _apart(lane.dim < rank - 2)
    for name in ("query", "key", "value", "attn_mask"):
        if step[name] is not None and step.lane(name) is None:
            shape = step.shape(step[name])
            dim = lane.dim - (rank - len(shape))
            _apart(dim < 0 or shape[dim] == 1)
    return lane


def _recurrent(step: _Step) -> tuple[Lane, ...]:
    lane = step.lane("input")
    _apart(lane is not None and lane.dim == (0 if step["batch_first"] else 1))
    assert lane is not None
    states = step["hx"] if isinstance(step["hx"], tuple) else (step["hx"],)
    state = replace(lane, dim=1)
    _apart(all(step.lane_of(each) == state for each in states))
    _apart(not any(map(step.lane_of, step["params"])))
    return (lane, *(state for _ in states))


def _single_cell(step: _Step) -> Lanes:
    data, *others = step.tensors()
    is_pair = isinstance(step["hx"], tuple)
    states, weights = others[: 1 + is_pair], others[1 + is_pair :]
    lane = step.lane_of(data)
    _apart(lane is not None and lane.dim == 0)
    assert lane is not None
    _apart(all(step.lane_of(each) == lane for each in states))
    _apart(not any(map(step.lane_of, weights)))
    return (lane, lane) if is_pair else lane


# --- shapes ---------------------------------------------------------------------------------------


def _permute(step: _Step) -> Lane:
    lane, shape = step.first()
    order = [each % len(shape) for each in step["dims"]]
    return replace(lane, dim=order.index(lane.dim))


def _transpose(step: _Step) -> Lane:
    lane, shape = step.first()
    one, other = (step[name] % len(shape) for name in ("dim0", "dim1"))
    return replace(lane, dim={one: other, other: one}.get(lane.dim, lane.dim))


def _reshape(step: _Step) -> Lane:
    """Find the dimension that the images fall into; it must hold them whole."""
    lane, shape = step.first()
    before, passed = math.prod(shape[: lane.dim]) * lane.outer, 1
    for dim, size in enumerate(step.result.shape):
        if before < passed * size:
            outer, rest = divmod(before, passed)
            inner, torn = divmod(size, step.batch * outer)
            _apart(not rest and not torn)
            return Lane(dim, inner, outer)
        passed *= size
    raise LaneError(_MIXES)


def _cat(step: _Step) -> Lane:
    lane = _elementwise_alike(step)
    rank = len(step.shape(step.tensors()[0]))
    _apart(lane.dim != step["dim"] % rank)
    return lane


def _stack(step: _Step) -> Lane:
    lane = _elementwise_alike(step)
    dim = step["dim"] % len(step.result.shape)
    return replace(lane, dim=lane.dim + (dim <= lane.dim))


def _elementwise_alike(step: _Step) -> Lane:
    found = {step.lane_of(ref) for ref in step.tensors()}
    _apart(len(found) == 1)
    (lane,) = found
    assert lane is not None
    return lane


def _dropped(step: _Step) -> Lane:
    """One position of a dimension is taken, and the dimension goes."""
    lane, shape = step.first()
    dim = step["dim"] % len(shape)
    _apart(dim != lane.dim)
    return replace(lane, dim=lane.dim - (dim < lane.dim))


def _slice(step: _Step) -> Lane:
    lane, shape = step.first()
    whole = step.result.shape[lane.dim] == shape[lane.dim] and step["step"] == 1
    _apart(step["dim"] % len(shape) != lane.dim or whole)
    return lane


def _narrow(step: _Step) -> Lane:
    lane, shape = step.first()
    _apart(step["dim"] % len(shape) != lane.dim)
    return lane


def _repeat_interleave(step: _Step) -> Lane:
    lane, shape = step.first()
    _apart(step["dim"] is not None)
    longer = step["dim"] % len(shape) == lane.dim
    return replace(lane, inner=lane.inner * (step["repeats"] if longer else 1))


def _roll(step: _Step) -> Lane:
    lane, shape = step.first()
    _apart(bool(step["dims"]) and lane.dim not in _dims(step["dims"], len(shape)))
    return lane


def _grid(step: _Step) -> Lane:
    """Each image has a grid of its own, and is sampled by it."""
    lane = _elementwise_alike(step)
    _apart(lane.dim == 0)
    return lane


def _prelu(step: _Step) -> Lane:
    lane, _ = step.first()
    _apart(lane.dim != 1 or math.prod(step.shape(step["weight"])) == 1)
    return lane


def _names(text: str, rule: Callable[[_Step], Lanes]) -> dict[str, Callable[[_Step], Lanes]]:
    return dict.fromkeys(text.split(), rule)


#: They make a lane where there was none.
_MADE: Mapping[str, Callable[[_Step], Lanes]] = {
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
_CONVOLUTIONS = """
conv1d.default conv1d.padding conv2d.default conv2d.padding conv_transpose1d.default
conv_transpose2d.input
"""
_RULES: Mapping[str, Callable[[_Step], Lanes]] = {
    **_names(_ELEMENTWISE, _elementwise),
    **_names(_REDUCTIONS, _reduction),
    **_names("mean.default sum.default dot.default _weight_norm.default", _total),
    **_names(_CONVOLUTIONS, _convolution),
    **_names(_PLANE, _last(2)),
    **_names(_LINE, _last(1)),
    **_names("affine_grid_generator.default grid_sampler.default", _grid),
    **_names("pixel_shuffle.default pixel_unshuffle.default avg_pool3d.default", _last(3)),
    **_names("softmax.int log_softmax.int cumsum.default glu.default", _spared("dim")),
    **_names("flip.default", _spared("dims")),
    **_names("unfold.default", _spared("dimension")),
    **_names("layer_norm.default rms_norm.default", _whole_norm),
    **_names("group_norm.default instance_norm.default", _per_image),
    **_names("batch_norm.default", _batch_norm),
    **_names("channel_shuffle.default", _channelwise),
    **_names("im2col.default", _im2col),
    **_names("pad.default constant_pad_nd.default", _padded),
    **_names("prelu.default", _prelu),
    **_names("linear.default", _linear),
    **_names("matmul.default mm.default bmm.default mv.default", _matmul),
    **_names("addmm.default baddbmm.default", _added_product),
    **_names("bilinear.default", _bilinear),
    **_names("einsum.default", _einsum),
    **_names("scaled_dot_product_attention.default", _attention),
    **_names("lstm_cell.default gru_cell.default", _single_cell),
    **_names("rnn_tanh_cell.default rnn_relu_cell.default", _single_cell),
    **_names("lstm.input gru.input rnn_tanh.input rnn_relu.input", _recurrent),
    **_names("permute.default", _permute),
    **_names("transpose.int", _transpose),
    **_names("reshape.default", _reshape),
    **_names("cat.default", _cat),
    **_names("stack.default", _stack),
    **_names("select.int unbind.int", _dropped),
    **_names("split.Tensor split_with_sizes.default chunk.default narrow.default", _narrow),
    **_names("slice.Tensor", _slice),
    **_names("repeat_interleave.self_int", _repeat_interleave),
    **_names("roll.default", _roll),
}
