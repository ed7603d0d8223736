"""The weights that a training begins with.

Running statistics are the trainer's, always: mean 0, variance 1. With `initial_weights = "keep"` the others are the
candidate's, drawn from generators that we seeded. With `"reseed"` all trained weights are drawn anew, as torch draws
those of the layer that uses them, so that no source can bring trained ones along; a custom
initialisation is lost. Constants stay as they are.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from llmatic_daemon.worker.graph.nodes import Arg, Graph, Node, NodeResult, WeightRef, refs
from llmatic_daemon.worker.graph.operations import table
from llmatic_daemon.worker.graph.serialization import weight_name
from llmatic_daemon.worker.graph.validation import Validated, running_statistics

Shape = tuple[int, ...]

#: Of embeddings, tokens and positions, as in ViT.
_STD = 0.02
#: What leaves a parameter a parameter: its first use is looked for behind them.
_RENAMES = frozenset(
    [
        "reshape.default",
        "permute.default",
        "transpose.int",
        "expand.default",
        "slice.Tensor",
        "select.int",
        "repeat.default",
        "contiguous.default",
        "unbind.int",
        "chunk.default",
        "split.Tensor",
        "mul.Scalar",
        "div.Scalar",
    ]
)


@dataclass(frozen=True, slots=True)
class Draw:
    """How a weight is drawn: uniform in [-bound, bound], normal, or one number."""

    kind: str
    number: float

    def __call__(self, shape: Shape, generator: torch.Generator) -> torch.Tensor:
        """Draw a weight."""
        if self.kind == "uniform":
            return torch.empty(shape).uniform_(-self.number, self.number, generator=generator)
        if self.kind == "normal":
            return torch.empty(shape).normal_(0.0, self.number, generator=generator)
        return torch.full(shape, self.number)


def begin(valid: Validated, seed: int, *, reseed: bool) -> dict[str, torch.Tensor]:
    """Give the weights that a training begins with.

    Args:
        valid: The network, with the candidate's weights.
        seed: Of the draw; same seed, same bits.
        reseed: Draw what is trained anew.
    """
    weights = dict(valid.weights)
    for number, first in running_statistics(valid.graph).items():
        name = weight_name(number)
        weights[name] = torch.full_like(weights[name], first)
    if reseed:
        generator = torch.Generator().manual_seed(seed)
        for number, draw in draws(valid.graph).items():
            shape = valid.graph.weights[number].shape
            weights[weight_name(number)] = draw(shape, generator)
    return weights


def draws(graph: Graph) -> dict[int, Draw]:
    """Say for each trained weight how it is drawn, by the first operation that uses it."""
    uses: dict[int, tuple[Node, str]] = {}
    origin: dict[int, int] = {}
    for number, node in enumerate(graph.nodes):
        for name, arg in _named(node):
            for source in _origins(arg, origin):
                if node.op in _RENAMES:
                    origin[number] = source
                else:
                    uses.setdefault(source, (node, name))
    return {
        number: _draw(graph, number, *uses[number]) if number in uses else Draw("normal", _STD)
        for number, weight in enumerate(graph.weights)
        if weight.trainable
    }


def _named(node: Node) -> list[tuple[str, Arg]]:
    names = [argument.name for argument in table()[node.op].arguments]
    return list(zip(names, node.args, strict=False))


def _origins(arg: Arg, origin: Mapping[int, int]) -> list[int]:
    """List the weights that an argument is, under whatever shape."""
    found = []
    for ref in refs((arg,)):
        if isinstance(ref, WeightRef):
            found.append(ref.number)
        elif isinstance(ref, NodeResult) and ref.node in origin:
            found.append(origin[ref.node])
    return found


def _draw(graph: Graph, number: int, node: Node, name: str) -> Draw:
    rule = _RULES.get(node.op.partition(".")[0], _other)
    return rule(graph, graph.weights[number].shape, node, name)


def _uniform(fan_in: int) -> Draw:
    return Draw("uniform", 1 / math.sqrt(max(1, fan_in)))


def _shape_of(graph: Graph, node: Node, name: str) -> Shape | None:
    """Say the shape of an argument, where it is a weight itself."""
    arg = dict(_named(node)).get(name)
    return graph.weights[arg.number].shape if isinstance(arg, WeightRef) else None


def _convolution(graph: Graph, shape: Shape, node: Node, name: str) -> Draw:
    """Kernels and biases by the inputs of one output; torch takes the second dimension for both kinds."""
    kernel = shape if name == "weight" else _shape_of(graph, node, "weight")
    return Draw("constant", 0.0) if kernel is None else _uniform(math.prod(kernel[1:]))


def _linear(graph: Graph, shape: Shape, node: Node, name: str) -> Draw:
    matrix = shape if name == "weight" else _shape_of(graph, node, "weight")
    return Draw("constant", 0.0) if matrix is None else _uniform(matrix[-1])


def _bilinear(graph: Graph, shape: Shape, node: Node, name: str) -> Draw:
    matrix = shape if name == "weight" else _shape_of(graph, node, "weight")
    return Draw("constant", 0.0) if matrix is None else _uniform(matrix[1])


def _norm(graph: Graph, shape: Shape, node: Node, name: str) -> Draw:
    return Draw("constant", 1.0 if name == "weight" else 0.0)


def _recurrent(graph: Graph, shape: Shape, node: Node, name: str) -> Draw:
    """All by the hidden size; a first state that is learnt begins with 0."""
    params = dict(_named(node))["params"]
    assert isinstance(params, tuple)
    state = params[1]
    if name != "params" or not isinstance(state, WeightRef):
        return Draw("constant", 0.0)
    return _uniform(graph.weights[state.number].shape[-1])


def _product(graph: Graph, shape: Shape, node: Node, name: str) -> Draw:
    """The right matrix by its rows, the left one by its columns; what is added like any bias."""
    if name in ("mat2", "batch2", "other", "vec"):
        return _uniform(shape[-2] if len(shape) > 1 else shape[0])
    if node.op.startswith(("addmm", "baddbmm")) and name == "self":
        return Draw("constant", 0.0)
    return _uniform(shape[-1] if shape else 1)


def _prelu(graph: Graph, shape: Shape, node: Node, name: str) -> Draw:
    return Draw("constant", 0.25)


def _factor(graph: Graph, shape: Shape, node: Node, name: str) -> Draw:
    return Draw("constant", 1.0)


def _other(graph: Graph, shape: Shape, node: Node, name: str) -> Draw:
    """Tokens and positions are drawn; a single row, such as a bias, begins with 0."""
    rows = [size for size in shape if size > 1]
    is_added = node.op.partition(".")[0] in ("add", "sub", "rsub")
    return Draw("constant", 0.0) if is_added and len(rows) <= 1 else Draw("normal", _STD)


_RULES: Mapping[str, Callable[[Graph, Shape, Node, str], Draw]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d"), _convolution),
    "linear": _linear,
    "bilinear": _bilinear,
    **dict.fromkeys(("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm"), _norm),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), _recurrent),
    **dict.fromkeys(("matmul", "mm", "bmm", "mv", "addmm", "baddbmm", "einsum"), _product),
    "prelu": _prelu,
    **dict.fromkeys(("mul", "div"), _factor),
}
