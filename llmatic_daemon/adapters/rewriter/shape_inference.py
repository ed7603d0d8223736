"""Shape inference without torch: the input and output shape of each step, and its cost."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd, prod

from llmatic_daemon.adapters.rewriter import steps

#: Shape of one image: (channels, height, width), a sequence (length, features), or (features,).
Shape = tuple[int, ...]

_GATES = {"LSTM": 4, "GRU": 3}


class Misfit(Exception):
    """A step does not accept its input shape."""

    def __init__(self, step: steps.Step, before: Shape, path: steps.Path = ()) -> None:
        super().__init__(f"{type(step).__name__} does not accept the shape {before}")
        self.step = step
        self.before = before
        self.path = path


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """A step with its path and its input and output shape."""

    path: steps.Path
    step: steps.Step
    before: Shape
    after: Shape


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """The cost of a network."""

    num_parameters: int
    #: Multiply-adds of the layers for one image.
    flops: int
    #: Number of layers with weights.
    depth: int
    #: Elements of the largest tensor.
    largest: int


def trace(chain: steps.Chain, shape: Shape, root: steps.Path = ()) -> list[Site]:
    """Infer the shapes of a chain for one image.

    Returns:
        Every step in order; the steps in the body of a residual block before the block itself.

    Raises:
        Misfit: a step does not accept its input shape; names the first.
    """
    sites: list[Site] = []
    for index, step in enumerate(chain):
        path = (*root, index)
        if isinstance(step, steps.Residual):
            sites += trace(step.body, shape, path)
        try:
            after = shape_after(step, shape)
        except Misfit as misfit:
            raise Misfit(misfit.step, misfit.before, path) from None
        sites.append(Site(path=path, step=step, before=shape, after=after))
        shape = after
    return sites


def shape_after(step: steps.Step, before: Shape) -> Shape:
    """Return the shape of one image after a step.

    Raises:
        Misfit: the step does not accept its input shape.
    """
    match step, before:
        case steps.Conv(), (channels, _, _):
            size = _slide(step, before, step.kernel, step.stride, step.padding, step.dilation)
            return (channels if step.depthwise else step.out, *size)
        case steps.Pool(), (channels, _, _) if 2 * step.padding <= step.kernel:
            return (channels, *_slide(step, before, step.kernel, step.stride, step.padding))
        case steps.GlobalPool(), (channels, height, width) if step.size <= min(height, width):
            return (channels, step.size, step.size)
        case steps.Dense(), (*leading, _) if len(before) < 3:
            return (*leading, step.out)
        case steps.Recurrent(), (length, _):
            return (length, step.out)
        case steps.Flatten(), _:
            return (prod(before),)
        case steps.Rows(), (channels, height, width):
            return (height, channels * width)
        case steps.SplitStep(), (features,):
            parts = num_parts(step, features)
            return (parts, features // parts)
        case steps.Collapse(), (_, features):
            return (features,)
        case steps.Residual(), _:
            return _residual_after(step, before)
        case steps.Norm(kind="layer" | "group"), _ if prod(before[-1:] if len(before) < 3 else before) < 2:
            # The normalisation of a single value is always 0.
            raise Misfit(step, before)
        case steps.Norm() | steps.Activation() | steps.Dropout(), _:
            return before
    raise Misfit(step, before)


def _slide(
    step: steps.Step, before: Shape, kernel: int, stride: int, padding: int, dilation: int = 1
) -> tuple[int, int]:
    height, width = ((size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1 for size in before[1:])
    if min(height, width) < 1:
        raise Misfit(step, before)
    return height, width


def _residual_after(step: steps.Residual, before: Shape) -> Shape:
    after = end(step.body, before)
    if end(step.shortcut, before) != after:
        raise Misfit(step, before)
    return after


def end(chain: steps.Chain, shape: Shape) -> Shape:
    """Return the shape of one image after a whole chain.

    Raises:
        Misfit: a step does not accept its input shape.
    """
    for step in chain:
        shape = shape_after(step, shape)
    return shape


def num_parts(step: steps.SplitStep, features: int) -> int:
    """Return the number of equal parts of a vector: its largest divisor up to `step.parts`."""
    return max(parts for parts in range(1, step.parts + 1) if features % parts == 0)


def groups_of(step: steps.Conv, channels: int) -> int:
    """Return the number of groups of a convolution, given its input channels."""
    return channels if step.depthwise else gcd(step.groups, channels, step.out)


def norm_groups(shape: Shape) -> int:
    """Return the number of groups of a group normalisation: 1, 2, 4 or 8.

    A group has at least 4 values, because the normalisation of fewer loses information.
    """
    channels, height, width = shape
    fits = [n for n in (2, 4, 8) if channels % n == 0 and channels // n * height * width >= 4]
    return max(fits, default=1)


def cost(step: steps.Layer, before: Shape, after: Shape) -> tuple[int, int]:
    """Count the parameters and multiply-adds of one layer."""
    match step:
        case steps.Conv():
            weights = before[0] // groups_of(step, before[0]) * after[0] * step.kernel**2
            return weights + after[0] * step.bias, weights * after[1] * after[2]
        case steps.Dense():
            weights = before[-1] * step.out
            return weights + step.out * step.bias, weights * prod(before[:-1])
        case steps.Recurrent():
            weights = _GATES[step.kind] * step.out * (before[1] + step.out)
            return weights + 2 * _GATES[step.kind] * step.out, weights * before[0]


def measure(chain: steps.Chain, shape: Shape) -> Size:
    """Return the cost of a network for one image of a shape.

    Raises:
        Misfit: a step does not accept its input shape.
    """
    num_parameters, flops, largest = 0, 0, prod(shape)
    for step, before, after in _everything(chain, shape):
        largest = max(largest, prod(after))
        if isinstance(step, steps.Layer):
            parameters, multiply_adds = cost(step, before, after)
            num_parameters, flops = num_parameters + parameters, flops + multiply_adds
        elif isinstance(step, steps.Norm):
            num_parameters += 2 * (prod(before) if step.kind == "layer" else before[0])
    depth = sum(1 for _ in steps.layers(chain))
    return Size(num_parameters=num_parameters, flops=flops, depth=depth, largest=largest)


def _everything(chain: steps.Chain, shape: Shape) -> Iterator[tuple[steps.Step, Shape, Shape]]:
    for step in chain:
        if isinstance(step, steps.Residual):
            yield from _everything(step.body, shape)
            yield from _everything(step.shortcut, shape)
        after = shape_after(step, shape)
        yield step, shape, after
        shape = after
