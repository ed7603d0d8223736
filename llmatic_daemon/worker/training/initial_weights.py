"""Initial weights of a training.

The trainer always sets running statistics to mean 0 and variance 1. With `initial_weights = "keep"` the other
weights are the candidate's, drawn from seeded generators. With `"reseed"` the trainer draws all trained weights
again, as torch does for the layer that uses them. So no source can bring trained weights; a custom
initialisation is lost. Constants do not change.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from llmatic_daemon.worker.graph.nodes import Arg, Graph, Node, NodeResult, WeightRef, refs
from llmatic_daemon.worker.graph.operations import names, table
from llmatic_daemon.worker.graph.serialization import weight_name
from llmatic_daemon.worker.graph.validation import Validated, running_statistics

Shape = tuple[int, ...]

#: Deviation for embeddings, tokens and positions, as in ViT.
_STD = 0.02
#: Operations after which a value is still the parameter: its first use comes after them.
_ALIASES = names(
    """
    reshape.default permute.default transpose.int expand.default slice.Tensor select.int repeat.default
    contiguous.default unbind.int chunk.default split.Tensor mul.Scalar div.Scalar
    """
)


@dataclass(frozen=True, slots=True)
class Draw:
    """Distribution of a weight: uniform in [-number, number], normal with deviation number, or constant."""

    kind: str
    number: float

    def __call__(self, shape: Shape, generator: torch.Generator) -> torch.Tensor:
        """Draw a weight."""
        if self.kind == "uniform":
            return torch.empty(shape).uniform_(-self.number, self.number, generator=generator)
        if self.kind == "normal":
            return torch.empty(shape).normal_(0.0, self.number, generator=generator)
        return torch.full(shape, self.number)


Rule = Callable[[Graph, Shape, Node, str], Draw]


def begin(valid: Validated, seed: int, *, reseed: bool) -> dict[str, torch.Tensor]:
    """Return the initial weights of a training.

    Args:
        valid: The network, with the candidate's weights.
        seed: Seed of the draw; same seed, same bits.
        reseed: Draw all trained weights again.
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
    """Return the distribution of each trained weight, by the first operation that uses it."""
    uses: dict[int, tuple[Node, str]] = {}
    origin: dict[int, int] = {}
    for number, node in enumerate(graph.nodes):
        for name, arg in _named(node):
            for source in _origins(arg, origin):
                if node.op in _ALIASES:
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
    """Return the weights that an argument is, in any shape."""
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
    """Return the shape of an argument that is a weight; None if it is none."""
    arg = dict(_named(node)).get(name)
    return graph.weights[arg.number].shape if isinstance(arg, WeightRef) else None


def _by_fan_in(fan_in: Callable[[Shape], int]) -> Rule:
    """Draw weights and biases of a layer by the number of inputs of one output."""

    def rule(graph: Graph, shape: Shape, node: Node, name: str) -> Draw:
        weight = shape if name == "weight" else _shape_of(graph, node, "weight")
        return Draw("constant", 0.0) if weight is None else _uniform(fan_in(weight))

    return rule


def _constant(number: float) -> Rule:
    return lambda graph, shape, node, name: Draw("constant", number)


def _norm(graph: Graph, shape: Shape, node: Node, name: str) -> Draw:
    return Draw("constant", 1.0 if name == "weight" else 0.0)


def _recurrent(graph: Graph, shape: Shape, node: Node, name: str) -> Draw:
    """Draw all weights by the hidden size; a learned first state is 0."""
    params = dict(_named(node))["params"]
    assert isinstance(params, tuple)
    state = params[1]
    if name != "params" or not isinstance(state, WeightRef):
        return Draw("constant", 0.0)
    return _uniform(graph.weights[state.number].shape[-1])


def _product(graph: Graph, shape: Shape, node: Node, name: str) -> Draw:
    """Draw a right matrix by its rows, a left one by its columns; an added bias is 0."""
    if name in ("mat2", "batch2", "other", "vec"):
        return _uniform(shape[-2] if len(shape) > 1 else shape[0])
    if node.op.startswith(("addmm", "baddbmm")) and name == "self":
        return Draw("constant", 0.0)
    return _uniform(shape[-1] if shape else 1)


def _other(graph: Graph, shape: Shape, node: Node, name: str) -> Draw:
    """Draw tokens and positions; a single added row, such as a bias, is 0."""
    rows = [size for size in shape if size > 1]
    is_added = node.op.partition(".")[0] in ("add", "sub", "rsub")
    return Draw("constant", 0.0) if is_added and len(rows) <= 1 else Draw("normal", _STD)


_RULES: Mapping[str, Rule] = {
    # torch takes the second dimension of transposed kernels too
    **dict.fromkeys(
        ("conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d"),
        _by_fan_in(lambda kernel: math.prod(kernel[1:])),
    ),
    "linear": _by_fan_in(lambda matrix: matrix[-1]),
    "bilinear": _by_fan_in(lambda matrix: matrix[1]),
    **dict.fromkeys(("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm"), _norm),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), _recurrent),
    **dict.fromkeys(("matmul", "mm", "bmm", "mv", "addmm", "baddbmm", "einsum"), _product),
    "prelu": _constant(0.25),
    **dict.fromkeys(("mul", "div"), _constant(1.0)),
}
