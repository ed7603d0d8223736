"""Depth and width of a network: which operations are layers.

A layer is a convolution, a linear layer, a recurrent layer, or a product with a parameter by matmul,
einsum and their like, also where the parameter was reshaped, split, scaled, normalised or otherwise computed
from parameters alone. A stack of recurrent layers counts each of its layers, both directions as one; a recurrent cell
counts each time it runs. Of an attention block the projections
are linear layers; the attention itself, which has no weights, is none. A layer that is used twice counts
twice: depth is about what an image passes. All layers count, also those side by side.

Width is the largest number of output features or channels of any layer: channels of a convolution, features of
a linear layer, hidden size times directions of a recurrent layer; of a product the dimension that the
parameter brings: rows where it is the left factor, columns where it is the right one, and of einsum
the dimensions that only the parameter has.
"""

from typing import Any

from llmatic_daemon.worker.graph.nodes import Arg, Graph, Node, NodeResult, WeightRef, refs
from llmatic_daemon.worker.graph.shapes import Shapes

_CONVOLUTIONS = frozenset(
    [
        "conv1d.default",
        "conv1d.padding",
        "conv2d.default",
        "conv2d.padding",
        "conv_transpose1d.default",
        "conv_transpose2d.input",
    ]
)
_RECURRENT = frozenset(["lstm.input", "gru.input", "rnn_tanh.input", "rnn_relu.input"])
_CELLS = frozenset(
    ["lstm_cell.default", "gru_cell.default", "rnn_tanh_cell.default", "rnn_relu_cell.default"]
)
#: Products whose two factors are matrices: rows of the left one, columns of the right one.
_MATRICES = frozenset(
    [
        "matmul.default",
        "mm.default",
        "bmm.default",
        "mv.default",
        "addmm.default",
        "baddbmm.default",
    ]
)
_PRODUCTS = _MATRICES | {"linear.default", "einsum.default", "bilinear.default"}


def depth_and_width(graph: Graph, shapes: Shapes) -> tuple[int, int]:
    """Count the layers of a graph, and find the widest one."""
    weights = _Weights(graph)
    depth, width = 0, 0
    for node, result in zip(graph.nodes, shapes.results, strict=True):
        layers, features = _layers(weights, node, result)
        depth += layers
        width = max(width, features)
    return depth, width


class _Weights:
    """Knows which values are parameters, or computed from parameters alone.

    What a layer puts out is no parameter, not even where its input is one: the score of a learned query
    that was projected is as little a layer as that of any other.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._computed: list[bool] = []
        for node in graph.nodes:
            values = list(refs(node.args))
            alone = all(value in self or isinstance(value, WeightRef) for value in values)
            of_weights = alone and any(value in self for value in values)
            self._computed.append(of_weights and node.op not in _PRODUCTS)

    def __contains__(self, value: Arg) -> bool:
        if isinstance(value, WeightRef):
            return self._graph.weights[value.number].trainable
        return isinstance(value, NodeResult) and self._computed[value.node]


def _layers(weights: _Weights, node: Node, result: Any) -> tuple[int, int]:
    """Tell how many layers an operation is, and its number of output features."""
    if node.op in _CONVOLUTIONS:
        channels = -2 if "1d" in node.op else -3
        return 1, int(result.shape[channels])
    if node.op in _RECURRENT:
        num_layers = node.args[4]
        assert isinstance(num_layers, int)
        return num_layers, int(result[0].shape[-1])
    if node.op in _CELLS:
        return 1, int((result[0] if isinstance(result, tuple) else result).shape[-1])
    operands = _operands(node)
    if node.op == "linear.default" or (
        node.op in _PRODUCTS and any(operand in weights for operand in operands)
    ):
        return 1, _features(weights, node, operands, result)
    return 0, 0


def _operands(node: Node) -> tuple[Arg, ...]:
    """List what is multiplied: not the bias."""
    if node.op == "einsum.default":
        operands = node.args[1]
        return operands if isinstance(operands, tuple) else ()
    if node.op in ("addmm.default", "baddbmm.default"):
        return node.args[1:3]
    return node.args[:3] if node.op == "bilinear.default" else node.args[:2]


def _features(weights: _Weights, node: Node, operands: tuple[Arg, ...], result: Any) -> int:
    """Find the output features that a product with a parameter has."""
    if node.op == "einsum.default" and "->" in str(node.args[0]):
        return _letters(weights, str(node.args[0]), operands, result)
    left_only = operands[0] in weights and operands[1] not in weights
    if node.op in _MATRICES and left_only and result.ndim >= 2:
        return int(result.shape[-2])
    return int(result.shape[-1]) if result.ndim else 1


def _letters(weights: _Weights, equation: str, operands: tuple[Arg, ...], result: Any) -> int:
    """Multiply the dimensions of an einsum's result that come from its parameters alone."""
    inputs, output = equation.replace(" ", "").split("->")
    given = "".join(
        letters
        for letters, operand in zip(inputs.split(","), operands, strict=True)
        if operand not in weights
    )
    before, _, after = output.partition("...")
    features = 1
    for place, letter in [*enumerate(before), *enumerate(after, -len(after))]:
        features *= 1 if letter in given else int(result.shape[place])
    return features
