"""The steps of a network's forward pass, as immutable values.

A network is a chain of steps on one tensor; a residual connection holds a chain of its own. Steps store
no input sizes. These follow from the step before, so an edit never leaves a stale number.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One operation on a tensor."""

    #: Attribute of the layer in the parent's source, kept for a readable difference.
    name: str = field(default="", compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Conv(Step):
    """A two-dimensional convolution with a square kernel."""

    out: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    dilation: int = 1
    #: Lowered to a common divisor of input and output channels where it does not divide them.
    groups: int = 1
    #: One filter for each channel; then `out` and `groups` follow the input.
    depthwise: bool = False
    bias: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Dense(Step):
    """A linear layer on the last dimension."""

    out: int
    bias: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Recurrent(Step):
    """An LSTM or GRU over a sequence."""

    #: "LSTM" or "GRU".
    kind: str
    out: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Norm(Step):
    """A normalisation: "batch", "layer" or "group"."""

    kind: str = "batch"


@dataclass(frozen=True, kw_only=True, slots=True)
class Dropout(Step):
    """A dropout of single values, or of whole channels of feature maps."""

    p: float
    channels: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Pool(Step):
    """A pooling: "max" or "avg"."""

    kind: str = "max"
    kernel: int = 2
    stride: int = 2
    padding: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class GlobalPool(Step):
    """An average of each channel over a grid of size x size."""

    size: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Activation(Step):
    """An activation function of `torch.nn.functional`."""

    function: str = "relu"


@dataclass(frozen=True, kw_only=True, slots=True)
class Flatten(Step):
    """Conversion of any shape to one vector."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows(Step):
    """Conversion of feature maps (channels, height, width) to the sequence of their rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitStep(Step):
    """Conversion of a vector to a sequence of at most `parts` equal parts."""

    parts: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Collapse(Step):
    """Conversion of a sequence to one vector: its "last" element or its "mean"."""

    kind: str = "last"


@dataclass(frozen=True, kw_only=True, slots=True)
class Residual(Step):
    """The sum of a chain and a shortcut around it; an empty shortcut is the identity."""

    body: "Chain"
    shortcut: "Chain" = ()


Chain = tuple[Step, ...]
#: Position of a step: its index, or the index of a residual block and the index in its body, and so on.
Path = tuple[int, ...]
Layer = Conv | Dense | Recurrent

#: Steps that belong to the layer before them. Every other step begins a unit.
TRAILING = (Norm, Activation, Dropout)


def layers(chain: Chain) -> Iterator[Layer]:
    """Iterate over all layers with weights, including those in residual connections."""
    return (step for step in walk(chain) if isinstance(step, Layer))


def walk(chain: Chain) -> Iterator[Step]:
    """Yield all steps, each residual connection before its contents."""
    for step in chain:
        yield step
        if isinstance(step, Residual):
            yield from walk(step.body)
            yield from walk(step.shortcut)


def unit_end(chain: Chain, start: int) -> int:
    """Return the end index of the unit that begins at `start`."""
    stop = start + 1
    while stop < len(chain) and isinstance(chain[stop], TRAILING):
        stop += 1
    return stop


def splice(chain: Chain, path: Path, new: Chain, num_removed: int = 0) -> Chain:
    """Insert new steps at a path, and remove the `num_removed` steps that were there."""
    index, *deeper = path
    if not deeper:
        return chain[:index] + new + chain[index + num_removed :]
    residual = chain[index]
    assert isinstance(residual, Residual)
    changed = replace(residual, body=splice(residual.body, tuple(deeper), new, num_removed))
    return (*chain[:index], changed, *chain[index + 1 :])
