"""Cells of operations that work number by number, move numbers, or reduce them: a handful for each."""

from collections.abc import Mapping

from llmatic_daemon.worker.graph.operations import for_each
from llmatic_daemon.worker.kernels.kernel_cell import CellArg, CellDraw, Maker, TensorSpec, Values, weight


def _with(*literals: CellArg, values: Values = Values.NORMAL) -> Maker:
    """Return a maker of a tensor, followed by the same literals."""
    return lambda draw: (draw.any_tensor(values), *literals)


def _dim(draw: CellDraw, tensor: TensorSpec) -> int:
    return draw.randrange(len(tensor.shape))


def _along(*literals: CellArg, values: Values = Values.NORMAL) -> Maker:
    """Return a maker of a tensor, followed by one of its dimensions and literals."""

    def make(draw: CellDraw) -> tuple[CellArg, ...]:
        tensor = draw.any_tensor(values)
        return tensor, _dim(draw, tensor), *literals

    return make


def _over(*literals: CellArg, values: Values = Values.NORMAL, least: int = 1) -> Maker:
    """Return a maker of a tensor, followed by a list of one of its dimensions and literals."""

    def make(draw: CellDraw) -> tuple[CellArg, ...]:
        tensor = draw.any_tensor(values, least)
        return tensor, (_dim(draw, tensor),), *literals

    return make


def _pair(*literals: CellArg, second: Values = Values.NORMAL, first: Values = Values.NORMAL) -> Maker:
    """Return a maker of two tensors of one shape, or of one that is broadcast, followed by literals."""

    def make(draw: CellDraw) -> tuple[CellArg, ...]:
        left = draw.any_tensor(first)
        shape = draw.choice((left.shape, left.shape, left.shape[-1:], (1,) * len(left.shape)))
        return left, draw.tensor(*shape, values=second), *literals

    return make


def _three(*values: Values, literals: tuple[CellArg, ...] = ()) -> Maker:
    """Return a maker of three tensors of one shape."""

    def make(draw: CellDraw) -> tuple[CellArg, ...]:
        shape = draw.any_tensor().shape
        return *(draw.tensor(*shape, values=each) for each in values), *literals

    return make


_NORMAL, _POSITIVE, _BOOL = Values.NORMAL, Values.POSITIVE, Values.BOOL

# --- activations ---------------------------------------------------------------------------------


def _prelu(draw: CellDraw) -> tuple[CellArg, ...]:
    channels = draw.channels()
    return draw.tensor(draw.randint(1, 16), channels, 3, 5), weight(draw.choice((1, channels)))


def _glu(draw: CellDraw) -> tuple[CellArg, ...]:
    return draw.tensor(draw.randint(1, 16), 2 * draw.channels(), draw.randint(1, 9)), 1


def _dropout(draw: CellDraw) -> tuple[CellArg, ...]:
    """Return arguments without randomness: probability 0, or evaluation."""
    return draw.tensor(draw.randint(1, 8), draw.channels(), 5, 3), *draw.choice(((0.0, True), (0.5, False)))


ACTIVATIONS: Mapping[str, Maker] = {
    **for_each(
        """
        relu.default relu6.default selu.default silu.default mish.default hardswish.default
        hardsigmoid.default sigmoid.default log_sigmoid.default tanh.default
        """,
        _with(),
    ),
    **for_each("leaky_relu.default celu.default", _with(0.3)),
    **for_each("softshrink.default hardshrink.default", _with(0.4)),
    "elu.default": _with(1.3, 1.1, 0.9),
    "gelu.default": lambda draw: (draw.any_tensor(), draw.choice(("none", "tanh"))),
    "hardtanh.default": _with(-0.7, 0.9),
    "softplus.default": _with(2.0, 3.0),
    "threshold.default": _with(0.1, 0.5),
    "prelu.default": _prelu,
    "glu.default": _glu,
    **for_each("softmax.int log_softmax.int", _along()),
    **for_each(
        """
        dropout.default feature_dropout.default alpha_dropout.default feature_alpha_dropout.default
        """,
        _dropout,
    ),
}

# --- shapes --------------------------------------------------------------------------------------


def _reshape(draw: CellDraw) -> tuple[CellArg, ...]:
    a, b, c = (draw.randint(1, 12) for _ in range(3))
    return draw.tensor(a, b, c, 4), draw.choice(((a, -1), (b * a, c, 4), (-1,), (2, a, b, c, 2)))


def _permute(draw: CellDraw) -> tuple[CellArg, ...]:
    tensor = draw.any_tensor()
    return tensor, tuple(draw.sample(range(len(tensor.shape)), len(tensor.shape)))


def _transpose(draw: CellDraw) -> tuple[CellArg, ...]:
    tensor = draw.any_tensor()
    return tensor, _dim(draw, tensor), _dim(draw, tensor)


def _expand(draw: CellDraw) -> tuple[CellArg, ...]:
    a, b, c = (draw.randint(1, 12) for _ in range(3))
    return draw.tensor(a, 1, c), (a, b, c)


def _cat(draw: CellDraw) -> tuple[CellArg, ...]:
    a, b, c = (draw.randint(1, 9) for _ in range(3))
    return [draw.tensor(a, draw.channels(), b, c) for _ in range(draw.randint(1, 4))], 1


def _stack(draw: CellDraw) -> tuple[CellArg, ...]:
    shape = draw.any_tensor().shape
    return [draw.tensor(*shape) for _ in range(draw.randint(1, 4))], draw.randint(0, len(shape))


def _sliced(*more: int) -> Maker:
    """Return a maker of a tensor, one of its dimensions, and a piece of it of a few numbers."""

    def make(draw: CellDraw) -> tuple[CellArg, ...]:
        tensor = draw.any_tensor()
        dim = _dim(draw, tensor)
        start = draw.randrange(tensor.shape[dim])
        length = draw.randint(1, tensor.shape[dim] - start)
        return tensor, dim, start, *((start + length, draw.randint(1, 3)) if more else (length,))

    return make


def _select(draw: CellDraw) -> tuple[CellArg, ...]:
    tensor = draw.any_tensor()
    dim = _dim(draw, tensor)
    return tensor, dim, draw.randrange(tensor.shape[dim])


def _split(draw: CellDraw) -> tuple[CellArg, ...]:
    tensor = draw.any_tensor()
    return tensor, draw.randint(1, 5), _dim(draw, tensor)


def _split_sizes(draw: CellDraw) -> tuple[CellArg, ...]:
    sizes = tuple(draw.randint(1, 5) for _ in range(draw.randint(1, 4)))
    return draw.tensor(3, sum(sizes), 4, 2), sizes, 1


def _unbind(draw: CellDraw) -> tuple[CellArg, ...]:
    tensor = draw.tensor(draw.randint(1, 5), draw.randint(1, 5), draw.randint(1, 9))
    return tensor, _dim(draw, tensor)


def _pad(draw: CellDraw) -> tuple[CellArg, ...]:
    mode = draw.choice(("constant", "reflect", "replicate", "circular"))
    a, b = draw.randint(4, 12), draw.randint(4, 12)
    pad = tuple(draw.randint(0, 3) for _ in range(4))
    return draw.tensor(draw.randint(1, 4), draw.channels(), a, b), pad, mode, None


def _constant_pad(draw: CellDraw) -> tuple[CellArg, ...]:
    pad = tuple(draw.randint(-1, 3) for _ in range(4))
    return draw.tensor(draw.randint(1, 4), draw.channels(), 5, 7), pad, 0.5


def _repeat(draw: CellDraw) -> tuple[CellArg, ...]:
    tensor = draw.tensor(draw.randint(1, 9), draw.randint(1, 9))
    return tensor, tuple(draw.randint(1, 3) for _ in range(draw.randint(2, 3)))


def _roll(draw: CellDraw) -> tuple[CellArg, ...]:
    tensor = draw.any_tensor()
    return tensor, (draw.randint(-5, 5),), (_dim(draw, tensor),)


def _shuffled(up: bool) -> Maker:
    def make(draw: CellDraw) -> tuple[CellArg, ...]:
        factor, channels, side = draw.randint(1, 3), draw.randint(1, 8), draw.randint(1, 6)
        shape = (channels * factor**2, side, side + 1) if up else (channels, side * factor, side * factor)
        return draw.tensor(draw.randint(1, 4), *shape), factor

    return make


def _channel_shuffle(draw: CellDraw) -> tuple[CellArg, ...]:
    groups = draw.randint(1, 8)
    return draw.tensor(draw.randint(1, 4), groups * draw.randint(1, 8), 3, 5), groups


def _unfold(draw: CellDraw) -> tuple[CellArg, ...]:
    tensor = draw.any_tensor()
    dim = _dim(draw, tensor)
    return tensor, dim, draw.randint(1, min(5, tensor.shape[dim])), draw.randint(1, 3)


def _im2col(draw: CellDraw) -> tuple[CellArg, ...]:
    kernel, dilation = draw.randint(1, 3), draw.randint(1, 2)
    pads = (draw.randint(0, 1),) * 2
    picture = draw.tensor(draw.randint(1, 4), draw.channels(), draw.randint(5, 9), draw.randint(5, 9))
    return picture, (kernel, kernel), (dilation, dilation), pads, (draw.randint(1, 3),) * 2


def _upsample(dimensions: int, *literals: CellArg) -> Maker:
    """Return a maker of a picture that grows by whole factors: others round differently in float32."""

    def make(draw: CellDraw) -> tuple[CellArg, ...]:
        sides, factors = draw.sides(dimensions, 8), [draw.randint(1, 3) for _ in range(dimensions)]
        picture = draw.tensor(draw.randint(1, 4), draw.channels(), *sides)
        if draw.flag():
            return picture, None, *literals, tuple(map(float, factors))
        return picture, tuple(s * f for s, f in zip(sides, factors, strict=True)), *literals, None

    return make


def _repeat_interleave(draw: CellDraw) -> tuple[CellArg, ...]:
    tensor = draw.any_tensor()
    return tensor, draw.randint(1, 3), _dim(draw, tensor)


def _affine_grid(draw: CellDraw) -> tuple[CellArg, ...]:
    batch = draw.randint(1, 8)
    size = (batch, 1, draw.randint(2, 9), draw.randint(2, 9))
    return TensorSpec(shape=(batch, 2, 3)), size, draw.flag()


def _grid_sampler(draw: CellDraw) -> tuple[CellArg, ...]:
    batch = draw.randint(1, 4)
    grid = TensorSpec(shape=(batch, draw.randint(1, 9), draw.randint(1, 9), 2), values=Values.OFF_GRID)
    picture = draw.tensor(batch, draw.channels(), 8, 8)
    return picture, grid, draw.randint(0, 2), draw.randint(0, 2), draw.flag()


SHAPES: Mapping[str, Maker] = {
    **for_each("contiguous.default detach.default", _with()),
    "reshape.default": _reshape,
    "permute.default": _permute,
    "transpose.int": _transpose,
    "expand.default": _expand,
    "cat.default": _cat,
    "stack.default": _stack,
    **for_each("split.Tensor chunk.default", _split),
    "split_with_sizes.default": _split_sizes,
    "unbind.int": _unbind,
    "slice.Tensor": _sliced(1),
    "narrow.default": _sliced(),
    "select.int": _select,
    "pad.default": _pad,
    "constant_pad_nd.default": _constant_pad,
    **for_each("repeat.default tile.default", _repeat),
    "flip.default": _over(),
    "roll.default": _roll,
    "pixel_shuffle.default": _shuffled(up=True),
    "pixel_unshuffle.default": _shuffled(up=False),
    "channel_shuffle.default": _channel_shuffle,
    "unfold.default": _unfold,
    "im2col.default": _im2col,
    "upsample_nearest1d.vec": _upsample(1),
    "upsample_nearest2d.vec": _upsample(2),
    "upsample_linear1d.vec": _upsample(1, False),
    "upsample_bilinear2d.vec": _upsample(2, False),
    "upsample_bicubic2d.vec": _upsample(2, False),
    "new_full.default": lambda draw: (draw.any_tensor(), (draw.randint(1, 9), 5), 0.25),
    "repeat_interleave.self_int": _repeat_interleave,
    "affine_grid_generator.default": _affine_grid,
    "grid_sampler.default": _grid_sampler,
}

# --- arithmetic ----------------------------------------------------------------------------------


def _masked(*literals: CellArg) -> Maker:
    def make(draw: CellDraw) -> tuple[CellArg, ...]:
        tensor = draw.any_tensor()
        return tensor, draw.tensor(*tensor.shape, values=_BOOL), *literals

    return make


def _matrix(draw: CellDraw) -> tuple[CellArg, ...]:
    return draw.tensor(draw.randint(1, 4), draw.randint(1, 33), draw.randint(1, 33)), draw.randint(-5, 5)


def _where_self(draw: CellDraw) -> tuple[CellArg, ...]:
    shape = draw.any_tensor().shape
    return draw.tensor(*shape, values=_BOOL), draw.tensor(*shape), draw.tensor(*shape)


def _where_scalar(first: bool) -> Maker:
    def make(draw: CellDraw) -> tuple[CellArg, ...]:
        shape = draw.any_tensor().shape
        mask, tensor = draw.tensor(*shape, values=_BOOL), draw.tensor(*shape)
        return (mask, 0.5, tensor) if first else (mask, tensor, 0.5)

    return make


def _variance(draw: CellDraw) -> tuple[CellArg, ...]:
    tensor = draw.any_tensor(least=3)
    return tensor, (_dim(draw, tensor),), draw.choice((0, 1))


def _variance_dim(draw: CellDraw) -> tuple[CellArg, ...]:
    tensor = draw.any_tensor(least=3)
    return tensor, (_dim(draw, tensor),), draw.flag(), draw.flag()


def _mean_dim(draw: CellDraw) -> tuple[CellArg, ...]:
    tensor = draw.any_tensor(_POSITIVE)
    return tensor, draw.choice((None, (_dim(draw, tensor),))), draw.flag()


def _argmax(draw: CellDraw) -> tuple[CellArg, ...]:
    tensor = draw.any_tensor()
    return tensor, draw.choice((None, _dim(draw, tensor))), draw.flag()


def _prod(draw: CellDraw) -> tuple[CellArg, ...]:
    return draw.tensor(draw.randint(1, 16), draw.randint(1, 12), values=_POSITIVE), draw.randint(0, 1)


_COMPARED = "gt ge lt le eq ne"

ARITHMETIC: Mapping[str, Maker] = {
    **for_each(
        """
        neg.default abs.default exp.default expm1.default square.default sin.default cos.default
        erf.default atan.default sign.default log.default log2.default sqrt.default
        """,
        _with(),
    ),
    **for_each("log1p.default rsqrt.default reciprocal.default", _with(values=_POSITIVE)),
    **for_each("mean.default sum.default", _with(values=_POSITIVE)),
    **for_each("add.Scalar sub.Scalar rsub.Scalar", _with(0.7, 1.5)),
    **for_each("mul.Scalar div.Scalar", _with(0.7)),
    **for_each("add.Tensor sub.Tensor rsub.Tensor", _pair(0.5)),
    **for_each("mul.Tensor maximum.default minimum.default max.other min.other", _pair()),
    "div.Tensor": _pair(second=_POSITIVE),
    "pow.Tensor_Scalar": lambda draw: (draw.any_tensor(_POSITIVE), draw.choice((2, 3, 0.5, -1))),
    "pow.Tensor_Tensor": _pair(first=_POSITIVE),
    "pow.Scalar": lambda draw: (draw.choice((2.0, 0.5)), draw.any_tensor()),
    "clamp.default": _with(-0.5, 0.7),
    "clamp.Tensor": lambda draw: _three(_NORMAL, _NORMAL, _POSITIVE)(draw),
    "clamp_min.default": _with(-0.3),
    "clamp_max.default": _with(0.3),
    "addcmul.default": _three(_NORMAL, _NORMAL, _NORMAL, literals=(0.5,)),
    "addcdiv.default": _three(_NORMAL, _NORMAL, _POSITIVE, literals=(0.5,)),
    "lerp.Scalar": _pair(0.3),
    "lerp.Tensor": _three(_NORMAL, _NORMAL, _NORMAL),
    "mean.dim": _mean_dim,
    "sum.dim_IntList": _mean_dim,
    **for_each("amax.default amin.default logsumexp.default", _over()),
    **for_each("max.dim min.dim", _along()),
    **for_each("var.correction std.correction", _variance),
    **for_each("var.dim std.dim", _variance_dim),
    "cumsum.default": _along(values=_POSITIVE),
    "prod.dim_int": _prod,
    "where.self": _where_self,
    "where.ScalarSelf": _where_scalar(first=True),
    "where.ScalarOther": _where_scalar(first=False),
    **{f"{name}.Scalar": _with(0.25) for name in _COMPARED.split()},
    **{f"{name}.Tensor": _pair() for name in _COMPARED.split()},
    **for_each("logical_not.default bitwise_not.default", _with(values=_BOOL)),
    "masked_fill.Scalar": _masked(0.5),
    **for_each("tril.default triu.default", _matrix),
    "argmax.default": _argmax,
}
