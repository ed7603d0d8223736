"""Blocks of steps that edits insert."""

from llmatic_daemon.adapters.rewriter import steps
from llmatic_daemon.adapters.rewriter.context import EditContext
from llmatic_daemon.adapters.rewriter.shape_inference import Shape

#: All of them export to one ATen operation; ReLU twice because it trains fastest.
ACTIVATIONS = ("relu", "relu", "gelu", "silu", "leaky_relu", "elu", "tanh")


def channels_near(before: Shape, context: EditContext) -> int:
    """Draw a number of output channels for a convolution.

    Below 8 input channels, the width is drawn from a wide range. So lineages of the one-channel
    initial network become narrow and wide networks alike.
    """
    if before[0] < 8:
        return context.pick(8, 12, 16, 24, 32, 48, 64, 96)
    return context.width(before[0])


def convolution(before: Shape, context: EditContext) -> steps.Chain:
    """Draw a convolution with activation, mostly with a normalisation, sometimes separable."""
    width = channels_near(before, context)
    kernel = context.pick(3, 3, 3, 3, 5, 1, 7) if min(before[1:]) >= 5 else context.pick(3, 1)
    stride = 2 if min(before[1:]) >= 8 and context.chance(0.15) else 1
    conv = steps.Conv(out=width, kernel=kernel, stride=stride, padding=kernel // 2)
    after: steps.Chain = (steps.Norm(), steps.Activation()) if context.chance(0.7) else (steps.Activation(),)
    if before[0] >= 8 and kernel > 1 and context.chance(0.1 + 0.15 * context.strength):
        depthwise = steps.Conv(out=1, kernel=kernel, stride=stride, padding=kernel // 2, depthwise=True)
        return (depthwise, steps.Conv(out=width, kernel=1, padding=0), *after)
    return (conv, *after)


def residual(before: Shape, context: EditContext) -> steps.Chain:
    """Draw a residual block for feature maps or a vector."""
    function = context.pick(*ACTIVATIONS)
    inner: steps.Chain = (steps.Norm(), steps.Activation(function=function))
    if len(before) == 1:
        body = (steps.Dense(out=context.width(before[0], 8, 512)), *inner, steps.Dense(out=before[0]))
        return (steps.Residual(body=body), steps.Activation(function=function))
    width = channels_near(before, context) if before[0] < 8 else before[0]
    if context.chance(0.25):
        return (_bottleneck(width, inner), steps.Activation(function=function))
    stride = 2 if min(before[1:]) >= 8 and context.chance(0.15) else 1
    first = steps.Conv(out=width, stride=stride, bias=False)
    body = (first, *inner, steps.Conv(out=width, bias=False), steps.Norm())
    return (steps.Residual(body=body), steps.Activation(function=function))


def _bottleneck(width: int, inner: steps.Chain) -> steps.Step:
    narrow = steps.Conv(out=max(4, width // 2), kernel=1, padding=0, bias=False)
    middle = steps.Conv(out=max(4, width // 2), bias=False)
    last = steps.Conv(out=width, kernel=1, padding=0, bias=False)
    return steps.Residual(body=(narrow, *inner, middle, *inner, last, steps.Norm()))


def dense(before: Shape, context: EditContext) -> steps.Chain:
    """Draw a dense layer with activation, sometimes with a normalisation or dropout."""
    width = context.width(min(before[0], 256), 16, 512)
    extra: steps.Chain = (steps.Norm(),) if context.chance(0.3) else ()
    drop = dropout(before, context) if context.chance(0.2) else ()
    return (steps.Dense(out=width), *extra, steps.Activation(function=context.pick(*ACTIVATIONS)), *drop)


def dropout(before: Shape, context: EditContext) -> steps.Chain:
    """Draw a dropout: on feature maps one of whole channels, with a low probability."""
    if len(before) == 3:
        return (steps.Dropout(p=context.pick(0.05, 0.1, 0.15, 0.2), channels=True),)
    return (steps.Dropout(p=context.pick(0.1, 0.2, 0.25, 0.3, 0.4, 0.5)),)


def recurrent(context: EditContext) -> steps.Recurrent:
    """Draw a recurrent layer."""
    return steps.Recurrent(kind=context.pick("LSTM", "GRU"), out=context.width(64, 16, 192))


def stage(before: Shape, context: EditContext, width: int) -> steps.Chain:
    """Draw one stage of an image network: convolutions or a residual block."""
    if context.chance(0.4):
        lead = (steps.Conv(out=width), steps.Norm(), steps.Activation()) if before[0] != width else ()
        return (*lead, *residual((width, *before[1:]), context))
    chain: steps.Chain = ()
    for _ in range(context.pick(1, 2, 2)):
        chain += (steps.Conv(out=width), steps.Norm(), steps.Activation())
    return chain
