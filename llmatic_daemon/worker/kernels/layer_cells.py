"""Cells of layers: convolutions, products, recurrent layers, poolings, norms. Kernels are special here."""

from collections.abc import Mapping

from llmatic_daemon.worker.kernels.kernel_cell import (
    CellArg,
    CellDraw,
    Layout,
    Maker,
    TensorSpec,
    Values,
    buffer,
    weight,
)

#: Most numbers of an activation, and most multiply-adds of a call: a cell takes milliseconds.
_MAX_NUMBERS = 40_000
_MAX_PRODUCTS = 3_000_000


def _batch(draw: CellDraw, numbers: int, products: int = 1) -> int:
    """Return a batch size within the limits.

    Args:
        draw: Of the cell.
        numbers: Largest activation of one image.
        products: Multiply-adds for one image.
    """
    most = min(64, _MAX_NUMBERS // max(numbers, 1), _MAX_PRODUCTS // max(products, 1))
    return draw.randint(1, max(1, most))


def _product(numbers: tuple[int, ...]) -> int:
    total = 1
    for number in numbers:
        total *= number
    return total


# --- convolutions --------------------------------------------------------------------------------


def _grouped(draw: CellDraw) -> tuple[int, int, int]:
    """Return channels in, channels out and groups: one group, some, or a group for each channel."""
    kind = draw.choice(("one", "one", "some", "depthwise"))
    if kind == "one":
        return draw.channels(), draw.channels(), 1
    groups = draw.channels() if kind == "depthwise" else draw.randint(2, 8)
    each = 1 if kind == "depthwise" else draw.randint(1, 64 // groups)
    return groups * each, groups * draw.randint(1, max(1, 64 // groups)), groups


def _window(draw: CellDraw, dimensions: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Return kernel, stride and dilation: square mostly, with 1x1 and 3x3 in front."""
    if draw.random() < 0.8:
        kernel, stride = draw.choice((1, 1, 2, 3, 3, 5, 7)), draw.choice((1, 1, 2, 2, 3, 4))
        dilation = draw.choice((1, 1, 1, 2, 3))
        return (kernel,) * dimensions, (stride,) * dimensions, (dilation,) * dimensions
    kernels = tuple(draw.randint(1, 5) for _ in range(dimensions))
    strides = tuple(draw.randint(1, 4) for _ in range(dimensions))
    return kernels, strides, tuple(draw.randint(1, 3) for _ in range(dimensions))


def _padding(draw: CellDraw, reach: tuple[int, ...]) -> tuple[int, ...]:
    """Return no padding, or some of at most half a window."""
    return tuple(draw.choice((0, draw.randint(0, each // 2))) for each in reach)


def _convolution(dimensions: int, transposed: bool = False) -> Maker:
    def make(draw: CellDraw) -> tuple[CellArg, ...]:
        if draw.random() < 0.2:
            return _shortcut(draw, dimensions, transposed)
        inputs, outputs, groups = _grouped(draw)
        kernel, stride, dilation = _window(draw, dimensions)
        reach = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
        padding = _padding(draw, reach)
        least = zip(reach, padding, draw.sides(dimensions), strict=True)
        sides = tuple(max(extent - 2 * pad, side, 1) for extent, pad, side in least)
        image = TensorSpec(
            shape=(_images(draw, inputs, outputs, groups, kernel, sides), inputs, *sides),
            layout=draw.layout(2 + dimensions),
        )
        bias = draw.choice((None, weight(outputs)))
        if not transposed:
            kernels = weight(outputs, inputs // groups, *kernel)
            return image, kernels, bias, stride, padding, dilation, groups
        extra = tuple(draw.randint(0, max(s, d) - 1) for s, d in zip(stride, dilation, strict=True))
        sides_out = _transposed_sides(sides, stride, padding, reach, extra)
        extra = tuple(e + max(0, 1 - out) for e, out in zip(extra, sides_out, strict=True))
        if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)):
            padding, extra = (0,) * dimensions, (0,) * dimensions
        return (
            image,
            weight(inputs, outputs // groups, *kernel),
            bias,
            stride,
            padding,
            extra,
            groups,
            dilation,
        )

    return make


def _shortcut(draw: CellDraw, dimensions: int, transposed: bool) -> tuple[CellArg, ...]:
    """Return a 1x1 kernel with a stride, on few channels of the pictures of a data set.

    A residual block that reads the pictures has such a shortcut. oneDNN 3.12 writes behind its scratch
    memory there, with fewer channels than a vector has numbers.
    """
    few, other, side = draw.randint(1, 16), draw.randint(1, 32), draw.choice((8, 16, 28, 32))
    ones, stride = (1,) * dimensions, (draw.randint(2, 4),) * dimensions
    inputs = other if transposed else few
    layout = draw.choice((Layout.CHANNELS_LAST, draw.layout(4))) if dimensions == 2 else Layout.CONTIGUOUS
    # The gradient of a transposed convolution reads as many numbers as a convolution's input has.
    sides = (-(-side // stride[0]) if transposed else side,) * dimensions
    image = TensorSpec(shape=(draw.choice((9, 16)), inputs, *sides), layout=layout)
    if not transposed:
        return image, weight(other, few, *ones), None, stride, (0,) * dimensions, ones, 1
    extra = (stride[0] - 1,) * dimensions
    return image, weight(other, few, *ones), None, stride, (0,) * dimensions, extra, 1, ones


def _transposed_sides(
    sides: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    reach: tuple[int, ...],
    extra: tuple[int, ...],
) -> list[int]:
    each = zip(sides, stride, padding, reach, extra, strict=True)
    return [(side - 1) * step - 2 * pad + extent + more for side, step, pad, extent, more in each]


def _images(
    draw: CellDraw, inputs: int, outputs: int, groups: int, kernel: tuple[int, ...], sides: tuple[int, ...]
) -> int:
    area = _product(sides)
    products = area * outputs * (inputs // groups) * _product(kernel)
    return _batch(draw, area * max(inputs, outputs), products)


def _named_padding(dimensions: int) -> Maker:
    whole = _convolution(dimensions)

    def make(draw: CellDraw) -> tuple[CellArg, ...]:
        image, kernels, bias, stride, _, dilation, groups = whole(draw)
        reach = [d * (k - 1) + 1 for k, d in zip(kernels.shape[2:], dilation, strict=True)]
        if draw.flag() or any(r > side for r, side in zip(reach, image.shape[2:], strict=True)):
            return image, kernels, bias, (1,) * dimensions, "same", dilation, groups
        return image, kernels, bias, stride, "valid", dilation, groups

    return make


CONVOLUTIONS: Mapping[str, Maker] = {
    "conv1d.default": _convolution(1),
    "conv2d.default": _convolution(2),
    "conv1d.padding": _named_padding(1),
    "conv2d.padding": _named_padding(2),
    "conv_transpose1d.default": _convolution(1, transposed=True),
    "conv_transpose2d.input": _convolution(2, transposed=True),
}

# --- products ------------------------------------------------------------------------------------


def _linear(draw: CellDraw) -> tuple[CellArg, ...]:
    inputs, outputs = draw.channels(), draw.channels()
    leading = draw.choice(((), (draw.randint(1, 64),), (draw.randint(1, 16), draw.randint(1, 9))))
    return draw.tensor(*leading, inputs), weight(outputs, inputs), draw.choice((None, weight(outputs)))


def _matmul(draw: CellDraw) -> tuple[CellArg, ...]:
    a, b, c, n = (draw.channels() for _ in range(4))
    return draw.choice(
        (
            (draw.tensor(a, b), draw.tensor(b, c)),
            (draw.tensor(n, a, b), draw.tensor(n, b, c)),
            (draw.tensor(n, a, b), draw.tensor(b, c)),
            (draw.tensor(2, 3, a, b), draw.tensor(2, 3, b, c)),
            (draw.tensor(a, b), draw.tensor(b)),
        )
    )


def _mm(draw: CellDraw) -> tuple[CellArg, ...]:
    a, b, c = (draw.channels() for _ in range(3))
    return draw.tensor(a, b), draw.tensor(b, c)


def _bmm(draw: CellDraw) -> tuple[CellArg, ...]:
    n, a, b, c = (draw.channels() for _ in range(4))
    return draw.tensor(n, a, b), draw.tensor(n, b, c)


def _addmm(draw: CellDraw) -> tuple[CellArg, ...]:
    a, b, c = (draw.channels() for _ in range(3))
    return weight(c), draw.tensor(a, b), draw.tensor(b, c), draw.choice((1, 0.5)), draw.choice((1, 2))


def _baddbmm(draw: CellDraw) -> tuple[CellArg, ...]:
    n, a, b, c = (draw.channels() for _ in range(4))
    return draw.tensor(n, a, c), draw.tensor(n, a, b), draw.tensor(n, b, c), draw.choice((1, 0.5)), 1


def _einsum(draw: CellDraw) -> tuple[CellArg, ...]:
    a, b, c, d = (draw.randint(1, 16) for _ in range(4))
    equation, shapes = draw.choice(
        (
            ("ij,jk->ik", ((a, b), (b, c))),
            ("bhd,bwd->bhw", ((a, b, c), (a, d, c))),
            ("bchw,dc->bdhw", ((a, b, c, d), (5, b))),
            ("bi,bj->bij", ((a, b), (a, c))),
        )
    )
    return equation, [draw.tensor(*shape) for shape in shapes]


def _bilinear(draw: CellDraw) -> tuple[CellArg, ...]:
    n, a, b, c = (draw.randint(1, 16) for _ in range(4))
    return draw.tensor(n, a), draw.tensor(n, b), weight(c, a, b), draw.choice((None, weight(c)))


def _attention(draw: CellDraw) -> tuple[CellArg, ...]:
    n, heads, width = draw.randint(1, 4), draw.randint(1, 4), draw.randint(1, 32)
    asked, known = draw.randint(1, 40), draw.randint(1, 40)
    causal = draw.random() < 0.3
    mask = None if causal or draw.flag() else draw.tensor(asked, known)
    query, key, value = ((n, heads, length, width) for length in (asked, known, known))
    return draw.tensor(*query), draw.tensor(*key), draw.tensor(*value), mask, 0.0, causal


def _mv(draw: CellDraw) -> tuple[CellArg, ...]:
    a, b = draw.channels(), draw.channels()
    return draw.tensor(a, b), draw.tensor(b)


def _dot(draw: CellDraw) -> tuple[CellArg, ...]:
    length = draw.channels()
    return draw.tensor(length, values=Values.POSITIVE), draw.tensor(length, values=Values.POSITIVE)


PRODUCTS: Mapping[str, Maker] = {
    "linear.default": _linear,
    "matmul.default": _matmul,
    "mm.default": _mm,
    "bmm.default": _bmm,
    "mv.default": _mv,
    "dot.default": _dot,
    "addmm.default": _addmm,
    "baddbmm.default": _baddbmm,
    "einsum.default": _einsum,
    "bilinear.default": _bilinear,
    "scaled_dot_product_attention.default": _attention,
}

# --- recurrent layers ----------------------------------------------------------------------------


def _recurrent_weight(*shape: int) -> TensorSpec:
    return weight(*shape, values=Values.SMALL)


def _stack(gates: int, num_states: int) -> Maker:
    def make(draw: CellDraw) -> tuple[CellArg, ...]:
        inputs, hidden = draw.randint(1, 24), draw.randint(1, 24)
        layers, both = draw.randint(1, 2), draw.flag()
        biases, batch_first = draw.flag(), draw.flag()
        length, batch = draw.randint(1, 12), draw.randint(1, 16)
        params: list[TensorSpec] = []
        for layer in range(layers):
            width = inputs if layer == 0 else hidden * (1 + both)
            for _ in range(1 + both):
                params += [
                    _recurrent_weight(gates * hidden, width),
                    _recurrent_weight(gates * hidden, hidden),
                ]
                params += (
                    [_recurrent_weight(gates * hidden), _recurrent_weight(gates * hidden)] if biases else []
                )
        steps = (batch, length) if batch_first else (length, batch)
        states = [TensorSpec(shape=(layers * (1 + both), batch, hidden)) for _ in range(num_states)]
        begin: CellArg = states if num_states > 1 else states[0]
        sequence = draw.tensor(*steps, inputs)
        return sequence, begin, params, biases, layers, 0.0, True, both, batch_first

    return make


def _step(gates: int, num_states: int) -> Maker:
    def make(draw: CellDraw) -> tuple[CellArg, ...]:
        batch, inputs, hidden = draw.randint(1, 32), draw.channels(), draw.channels()
        states = [draw.tensor(batch, hidden) for _ in range(num_states)]
        biases = (
            (_recurrent_weight(gates * hidden), _recurrent_weight(gates * hidden))
            if draw.flag()
            else (None, None)
        )
        begin: CellArg = states if num_states > 1 else states[0]
        weights = _recurrent_weight(gates * hidden, inputs), _recurrent_weight(gates * hidden, hidden)
        return draw.tensor(batch, inputs), begin, *weights, *biases

    return make


RECURRENT: Mapping[str, Maker] = {
    "lstm.input": _stack(4, 2),
    "gru.input": _stack(3, 1),
    "rnn_tanh.input": _stack(1, 1),
    "rnn_relu.input": _stack(1, 1),
    "lstm_cell.default": _step(4, 2),
    "gru_cell.default": _step(3, 1),
    "rnn_tanh_cell.default": _step(1, 1),
    "rnn_relu_cell.default": _step(1, 1),
}

# --- poolings ------------------------------------------------------------------------------------


def _pooled(draw: CellDraw, dimensions: int) -> tuple[TensorSpec, tuple[int, ...], tuple[int, ...]]:
    """Return a picture with a kernel and a stride that fit it."""
    channels, sides = draw.channels(), draw.sides(dimensions, 9 if dimensions == 3 else 20)
    kernel = tuple(draw.randint(1, min(5, side)) for side in sides)
    stride = tuple(draw.randint(1, 4) for _ in sides)
    batch = _batch(draw, channels * _product(sides))
    return draw.tensor(batch, channels, *sides), kernel, stride


def _maximum_pool(dimensions: int) -> Maker:
    def make(draw: CellDraw) -> tuple[CellArg, ...]:
        picture, kernel, stride = _pooled(draw, dimensions)
        padding = _padding(draw, kernel)
        sides = zip(kernel, padding, picture.shape[2:], strict=True)
        widest = [(side + 2 * pad - 1) // max(k - 1, 1) for k, pad, side in sides]
        dilation = tuple(draw.randint(1, max(1, min(2, most))) for most in widest)
        return picture, kernel, stride, padding, dilation, draw.random() < 0.3

    return make


def _average_pool(dimensions: int) -> Maker:
    def make(draw: CellDraw) -> tuple[CellArg, ...]:
        picture, kernel, stride = _pooled(draw, dimensions)
        args = (picture, kernel, stride, _padding(draw, kernel), draw.random() < 0.3, draw.flag())
        return args if dimensions == 1 else (*args, draw.choice((None, 3)))

    return make


def _adaptive_pool(dimensions: int) -> Maker:
    def make(draw: CellDraw) -> tuple[CellArg, ...]:
        picture, _, _ = _pooled(draw, dimensions)
        return picture, tuple(draw.choice((1, draw.randint(1, 9))) for _ in range(dimensions))

    return make


POOLINGS: Mapping[str, Maker] = {
    "max_pool1d.default": _maximum_pool(1),
    "max_pool2d.default": _maximum_pool(2),
    "max_pool2d_with_indices.default": _maximum_pool(2),
    "avg_pool1d.default": _average_pool(1),
    "avg_pool2d.default": _average_pool(2),
    "avg_pool3d.default": _average_pool(3),
    "adaptive_avg_pool1d.default": _adaptive_pool(1),
    "adaptive_avg_pool2d.default": _adaptive_pool(2),
    "adaptive_max_pool1d.default": _adaptive_pool(1),
    "adaptive_max_pool2d.default": _adaptive_pool(2),
}

# --- norms ---------------------------------------------------------------------------------------


def _picture(draw: CellDraw, channels: int) -> TensorSpec:
    """Return a picture, or rows of features, with enough numbers a channel for a variance."""
    sides = draw.choice(((), draw.sides(1), draw.sides(2), draw.sides(2)))
    least = max(1, 8 // _product(sides))
    batch = max(least, _batch(draw, channels * _product(sides)))
    return draw.tensor(batch, channels, *sides)


def _affine(draw: CellDraw, *shape: int) -> tuple[TensorSpec | None, TensorSpec | None]:
    return (weight(*shape), weight(*shape)) if draw.random() < 0.8 else (None, None)


def _batch_norm(draw: CellDraw) -> tuple[CellArg, ...]:
    channels = draw.channels()
    scale, shift = _affine(draw, channels)
    statistics = buffer(channels), buffer(channels, values=Values.POSITIVE)
    return _picture(draw, channels), scale, shift, *statistics, draw.random() < 0.7, 0.1, 1e-5, True


def _instance_norm(draw: CellDraw) -> tuple[CellArg, ...]:
    channels, sides = draw.channels(), (draw.randint(3, 12), draw.randint(3, 12))
    scale, shift = _affine(draw, channels)
    batch = _batch(draw, channels * _product(sides))
    picture = draw.tensor(batch, channels, *sides)
    return picture, scale, shift, None, None, True, 0.1, 1e-5, True


def _group_norm(draw: CellDraw) -> tuple[CellArg, ...]:
    groups = draw.randint(1, 8)
    channels = groups * draw.randint(1, 8)
    sides = (draw.randint(3, 12), draw.randint(3, 12))
    batch = _batch(draw, channels * _product(sides))
    return draw.tensor(batch, channels, *sides), groups, *_affine(draw, channels), 1e-5, True


def _layer_norm(draw: CellDraw) -> tuple[CellArg, ...]:
    shape = draw.choice(((draw.randint(8, 64),), (draw.randint(3, 8), draw.randint(3, 8))))
    leading = draw.choice(((draw.randint(1, 32),), (draw.randint(1, 8), draw.randint(1, 8))))
    return draw.tensor(*leading, *shape), shape, *_affine(draw, *shape), 1e-5, True


def _rms_norm(draw: CellDraw) -> tuple[CellArg, ...]:
    picture, shape, scale, *_ = _layer_norm(draw)
    return picture, shape, scale, draw.choice((None, 1e-5))


def _vector_norm(draw: CellDraw) -> tuple[CellArg, ...]:
    tensor = draw.any_tensor()
    dim = draw.randrange(len(tensor.shape))
    return tensor, draw.choice((1, 2, 2, 3)), draw.choice((None, (dim,))), draw.flag()


def _norm(draw: CellDraw) -> tuple[CellArg, ...]:
    tensor = draw.any_tensor()
    return tensor, draw.choice((1, 2, 2, 3)), (draw.randrange(len(tensor.shape)),), draw.flag()


def _weight_norm(draw: CellDraw) -> tuple[CellArg, ...]:
    outputs, inputs, kernel = draw.channels(), draw.channels(), draw.randint(2, 5)
    dim = draw.randint(0, 1)
    gains = weight(outputs, 1, 1, 1) if dim == 0 else weight(1, inputs, 1, 1)
    return weight(outputs, inputs, kernel, kernel), gains, dim


NORMS: Mapping[str, Maker] = {
    "batch_norm.default": _batch_norm,
    "layer_norm.default": _layer_norm,
    "group_norm.default": _group_norm,
    "instance_norm.default": _instance_norm,
    "rms_norm.default": _rms_norm,
    "linalg_vector_norm.default": _vector_norm,
    "norm.ScalarOpt_dim": _norm,
    "_weight_norm.default": _weight_norm,
}
