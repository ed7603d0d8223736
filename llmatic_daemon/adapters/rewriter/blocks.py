"""Blocks of steps that edits insert."""

from llmatic_daemon.adapters.rewriter.context import EditContext
from llmatic_daemon.adapters.rewriter.shape_inference import Shape
from llmatic_daemon.adapters.rewriter.steps import (
    Activation,
    Chain,
    Conv,
    Dense,
    Dropout,
    Norm,
    Recurrent,
    Residual,
    Step,
)

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


def convolution(before: Shape, context: EditContext) -> Chain:
    """Draw a convolution with activation, mostly with a normalisation, sometimes separable."""
    width = channels_near(before, context)
    kernel = context.pick(3, 3, 3, 3, 5, 1, 7) if min(before[1:]) >= 5 else context.pick(3, 1)
    stride = 2 if min(before[1:]) >= 8 and context.chance(0.15) else 1
    conv = Conv(out=width, kernel=kernel, stride=stride, padding=kernel // 2)
    after: Chain = (Norm(), Activation()) if context.chance(0.7) else (Activation(),)
    if before[0] >= 8 and kernel > 1 and context.chance(0.1 + 0.15 * context.strength):
        depthwise = Conv(out=1, kernel=kernel, stride=stride, padding=kernel // 2, depthwise=True)
        return (depthwise, Conv(out=width, kernel=1, padding=0), *after)
    return (conv, *after)


def residual(before: Shape, context: EditContext) -> Chain:
    """Draw a residual block for feature maps or a vector."""
    function = context.pick(*ACTIVATIONS)
    inner: Chain = (Norm(), Activation(function=function))
    if len(before) == 1:
        body = (Dense(out=context.width(before[0], 8, 512)), *inner, Dense(out=before[0]))
        return (Residual(body=body), Activation(function=function))
    width = channels_near(before, context) if before[0] < 8 else before[0]
    if context.chance(0.25):
        return (_bottleneck(width, inner), Activation(function=function))
    stride = 2 if min(before[1:]) >= 8 and context.chance(0.15) else 1
    first = Conv(out=width, stride=stride, bias=False)
    body = (first, *inner, Conv(out=width, bias=False), Norm())
    return (Residual(body=body), Activation(function=function))


def _bottleneck(width: int, inner: Chain) -> Step:
    narrow = Conv(out=max(4, width // 2), kernel=1, padding=0, bias=False)
    middle = Conv(out=max(4, width // 2), bias=False)
    last = Conv(out=width, kernel=1, padding=0, bias=False)
    return Residual(body=(narrow, *inner, middle, *inner, last, Norm()))


def dense(before: Shape, context: EditContext) -> Chain:
    """Draw a dense layer with activation, sometimes with a normalisation or dropout."""
    width = context.width(min(before[0], 256), 16, 512)
    extra: Chain = (Norm(),) if context.chance(0.3) else ()
    drop = dropout(before, context) if context.chance(0.2) else ()
    return (Dense(out=width), *extra, Activation(function=context.pick(*ACTIVATIONS)), *drop)


def dropout(before: Shape, context: EditContext) -> Chain:
    """Draw a dropout: on feature maps one of whole channels, with a low probability."""
    if len(before) == 3:
        return (Dropout(p=context.pick(0.05, 0.1, 0.15, 0.2), channels=True),)
    return (Dropout(p=context.pick(0.1, 0.2, 0.25, 0.3, 0.4, 0.5)),)


def recurrent(context: EditContext) -> Recurrent:
    """Draw a recurrent layer."""
    return Recurrent(kind=context.pick("LSTM", "GRU"), out=context.width(64, 16, 192))


def stage(before: Shape, context: EditContext, width: int) -> Chain:
    """Draw one stage of an image network: convolutions or a residual block."""
    if context.chance(0.4):
        lead = (Conv(out=width), Norm(), Activation()) if before[0] != width else ()
        return (*lead, *residual((width, *before[1:]), context))
    chain: Chain = ()
    for _ in range(context.pick(1, 2, 2)):
        chain += (Conv(out=width), Norm(), Activation())
    return chain
