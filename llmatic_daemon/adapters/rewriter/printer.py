"""Printer of a chain of steps: Python source of one `nn.Module` without constructor arguments."""

import ast
from itertools import count

from llmatic_daemon.adapters.rewriter import steps
from llmatic_daemon.adapters.rewriter.shape_inference import (
    Shape,
    groups_of,
    norm_groups,
    num_parts,
    shape_after,
)

_SOURCE = """
import torch
from torch import nn
from torch.nn import functional as F

class {class_name}(nn.Module):
    def __init__(self):
        super().__init__()
{layers}
    def forward(self, x):
{forward}
"""

_NAMES: dict[type[steps.Step], str] = {
    steps.Conv: "conv",
    steps.Dense: "fc",
    steps.Norm: "norm",
    steps.Dropout: "drop",
}
#: Attributes of every module.
_RESERVED = {"forward", "training", "train", "eval", "half", "float", "double", "apply", "type"}


def print_network(chain: steps.Chain, shape: Shape, class_name: str = "Net") -> str:
    """Print a network for images of a shape, as `ast.unparse` formats it.

    Raises:
        Misfit: a step does not accept its input shape.
    """
    printer = _Printer({step.name for step in steps.walk(chain) if step.name})
    printer.chain(chain, shape)
    forward = [*printer.forward, f"return {printer.value}"]
    source = _SOURCE.format(
        class_name=class_name, layers=_indented(printer.layers), forward=_indented(forward)
    )
    return ast.unparse(ast.parse(source)) + "\n"


def _indented(lines: list[str]) -> str:
    return "\n".join(f"        {line}" for line in lines)


class _Printer:
    """Collector of the lines of both methods; `value` is the pending expression."""

    def __init__(self, wanted: set[str]) -> None:
        self.layers: list[str] = []
        self.forward: list[str] = []
        self.value = "x"
        self._used: set[str] = set(_RESERVED)
        self._wanted = wanted
        self._depth = 0
        self._composing = False

    def chain(self, chain: steps.Chain, shape: Shape) -> None:
        """Print a chain that starts at the pending value."""
        for step in chain:
            self._step(step, shape)
            shape = shape_after(step, shape)

    def _step(self, step: steps.Step, shape: Shape) -> None:
        match step:
            case steps.Conv() | steps.Dense():
                self._assign()
                self._layer(step, shape)
            case steps.Norm() | steps.Dropout():
                self._layer(step, shape)
            case steps.Recurrent():
                self._assign()
                self._layer(step, shape)
                self.forward.append(f"x, _ = {self.value}")
                self.value = "x"
            case steps.Residual():
                self._residual(step, shape)
            case steps.Activation():
                self.value = f"F.{step.function}({self.value})"
            case _:
                self._assign()
                self.value = _view(step, self.value, shape)

    def _assign(self) -> None:
        if self.value != "x" and not self._composing:
            self.forward.append(f"x = {self.value}")
            self.value = "x"

    def _layer(self, step: steps.Step, shape: Shape) -> None:
        name = self._name(step)
        self.layers.append(f"self.{name} = nn.{_constructor(step, shape)}")
        self.value = f"self.{name}({self.value})"

    def _residual(self, step: steps.Residual, shape: Shape) -> None:
        self._assign()
        self._depth += 1
        shortcut = "shortcut" if self._depth == 1 else f"shortcut{self._depth}"
        # The body still needs x, so a shortcut must be one expression.
        self._composing = True
        self.chain(step.shortcut, shape)
        self._composing = False
        self.forward.append(f"{shortcut} = {self.value}")
        self.value = "x"
        self.chain(step.body, shape)
        self._assign()
        self.value = f"x + {shortcut}"
        self._depth -= 1

    def _name(self, step: steps.Step) -> str:
        name = step.name
        if not name or name in self._used:
            stem = step.kind.lower() if isinstance(step, steps.Recurrent) else _NAMES[type(step)]
            names = (f"{stem}{number}" for number in count(1))
            name = next(name for name in names if name not in self._used | self._wanted)
        self._used.add(name)
        return name


def _constructor(step: steps.Step, shape: Shape) -> str:
    match step:
        case steps.Conv():
            return _conv(step, shape[0])
        case steps.Dense():
            return f"Linear({shape[-1]}, {step.out}{'' if step.bias else ', bias=False'})"
        case steps.Recurrent():
            return f"{step.kind}({shape[-1]}, {step.out}, batch_first=True)"
        case steps.Dropout():
            return f"{'Dropout2d' if step.channels and len(shape) == 3 else 'Dropout'}({step.p})"
        case steps.Norm():
            return _norm(step, shape)
    raise AssertionError(step)


def _conv(step: steps.Conv, channels: int) -> str:
    out = channels if step.depthwise else step.out
    options = {"stride": (step.stride, 1), "padding": (step.padding, 0)}
    options |= {"dilation": (step.dilation, 1), "groups": (groups_of(step, channels), 1)}
    options |= {"bias": (step.bias, True)}
    extra = "".join(f", {key}={value}" for key, (value, usual) in options.items() if value != usual)
    return f"Conv2d({channels}, {out}, {step.kernel}{extra})"


def _norm(step: steps.Norm, shape: Shape) -> str:
    if len(shape) == 3 and step.kind == "batch":
        return f"BatchNorm2d({shape[0]})"
    if len(shape) == 3 and step.kind == "group":
        return f"GroupNorm({norm_groups(shape)}, {shape[0]})"
    if len(shape) == 1 and step.kind == "batch":
        return f"BatchNorm1d({shape[0]})"
    return f"LayerNorm({list(shape) if len(shape) == 3 else shape[-1]})"


def _view(step: steps.Step, value: str, shape: Shape) -> str:
    match step:
        case steps.Pool():
            stride = "" if step.stride == step.kernel else f", stride={step.stride}"
            padding = f", padding={step.padding}" if step.padding else ""
            return f"F.{step.kind}_pool2d({value}, {step.kernel}{stride}{padding})"
        case steps.GlobalPool():
            return f"F.adaptive_avg_pool2d({value}, {step.size})"
        case steps.Flatten():
            return f"torch.flatten({value}, 1)"
        case steps.Rows():
            return f"{value}.permute(0, 2, 1, 3).flatten(2)"
        case steps.SplitStep():
            parts = num_parts(step, shape[0])
            return f"{value}.unflatten(1, ({parts}, {shape[0] // parts}))"
        case steps.Collapse():
            return f"{value}[:, -1]" if step.kind == "last" else f"{value}.mean(1)"
    raise AssertionError(step)
