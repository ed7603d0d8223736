"""Groups of steps that belong together: what an edit puts in."""

from llmatic_daemon.adapters.rewriter.context import Workbench
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


def channels_near(before: Shape, bench: Workbench) -> int:
    """Draw a number of channels for a convolution on such maps.

    A few channels say nothing about what a good width is: then it is drawn from a wide range, so
    that lineages from the one-channel initial network spread over slim and wide ones.
    """
    if before[0] < 8:
        return bench.pick(8, 12, 16, 24, 32, 48, 64, 96)
    return bench.width(before[0])


def convolution(before: Shape, bench: Workbench, out: int | None = None) -> Chain:
    """Draw a convolution with activation, mostly with a normalisation, sometimes separable."""
    width = channels_near(before, bench) if out is None else out
    kernel = bench.pick(3, 3, 3, 3, 5, 1, 7) if min(before[1:]) >= 5 else bench.pick(3, 1)
    stride = 2 if min(before[1:]) >= 8 and bench.chance(0.15) else 1
    conv = Conv(out=width, kernel=kernel, stride=stride, padding=kernel // 2)
    after: Chain = (Norm(), Activation()) if bench.chance(0.7) else (Activation(),)
    if before[0] >= 8 and kernel > 1 and bench.chance(0.1 + 0.15 * bench.freedom):
        depthwise = Conv(out=1, kernel=kernel, stride=stride, padding=kernel // 2, depthwise=True)
        return (depthwise, Conv(out=width, kernel=1, padding=0), *after)
    return (conv, *after)


def residual(before: Shape, bench: Workbench) -> Chain:
    """Draw a residual block for feature maps or a vector."""
    function = bench.pick(*ACTIVATIONS)
    inner: Chain = (Norm(), Activation(function=function))
    if len(before) == 1:
        body = (Dense(out=bench.width(before[0], 8, 512)), *inner, Dense(out=before[0]))
        return (Residual(body=body), Activation(function=function))
    width = channels_near(before, bench) if before[0] < 8 else before[0]
    if bench.chance(0.25):
        return (_bottleneck(width, inner), Activation(function=function))
    stride = 2 if min(before[1:]) >= 8 and bench.chance(0.15) else 1
    first = Conv(out=width, stride=stride, bias=False)
    body = (first, *inner, Conv(out=width, bias=False), Norm())
    return (Residual(body=body), Activation(function=function))


def _bottleneck(width: int, inner: Chain) -> Step:
    narrow = Conv(out=max(4, width // 2), kernel=1, padding=0, bias=False)
    middle = Conv(out=max(4, width // 2), bias=False)
    last = Conv(out=width, kernel=1, padding=0, bias=False)
    return Residual(body=(narrow, *inner, middle, *inner, last, Norm()))


def dense(before: Shape, bench: Workbench) -> Chain:
    """Draw a dense layer with activation, sometimes with a normalisation or dropout."""
    width = bench.width(min(before[0], 256), 16, 512)
    extra: Chain = (Norm(),) if bench.chance(0.3) else ()
    drop: Chain = (dropout(before, bench),) if bench.chance(0.2) else ()
    return (Dense(out=width), *extra, Activation(function=bench.pick(*ACTIVATIONS)), *drop)


def dropout(before: Shape, bench: Workbench) -> Dropout:
    """Draw a dropout: gentle and of whole channels on feature maps."""
    if len(before) == 3:
        return Dropout(p=bench.pick(0.05, 0.1, 0.15, 0.2), channels=True)
    return Dropout(p=bench.pick(0.1, 0.2, 0.25, 0.3, 0.4, 0.5))


def recurrent(bench: Workbench) -> Recurrent:
    """Draw a recurrent layer."""
    return Recurrent(kind=bench.pick("LSTM", "GRU"), out=bench.width(64, 16, 192))


def stage(before: Shape, bench: Workbench, width: int) -> Chain:
    """Draw what networks for images are stacked from: convolutions or a residual block."""
    if bench.chance(0.4):
        lead = (Conv(out=width), Norm(), Activation()) if before[0] != width else ()
        return (*lead, *residual((width, *before[1:]), bench))
    chain: Chain = ()
    for _ in range(bench.pick(1, 2, 2)):
        chain += (Conv(out=width), Norm(), Activation())
    return chain
