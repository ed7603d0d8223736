"""Depth and width of a network, by the operations that are layers.

Depth is the number of layers, parallel ones included. A layer is
- a convolution or a linear layer;
- each layer of a recurrent stack, both directions as one; a recurrent cell counts each time it runs;
- a product (matmul, einsum and similar) with a parameter, or with a value computed from parameters alone.
The projections of an attention block are linear layers. The attention itself has no weights and is no layer.
A layer that is used twice counts twice, because an image passes it twice.

Width is the largest number of output features of any layer:
- channels of a convolution, features of a linear layer;
- hidden size times directions of a recurrent layer;
- for a product, the dimension of the parameter: its rows if it is the left factor, else its columns;
- for einsum, the product of the dimensions that only the parameter has.
"""

from typing import Any

from llmatic_daemon.worker.graph.nodes import Arg, Graph, Node, NodeResult, WeightRef, refs
from llmatic_daemon.worker.graph.operations import CONVOLUTIONS, RECURRENT, RECURRENT_CELLS, names
from llmatic_daemon.worker.graph.shapes import Shapes

#: Products of two matrices: rows of the left one, columns of the right one.
_MATRICES = names("matmul.default mm.default bmm.default mv.default addmm.default baddbmm.default")
_PRODUCTS = _MATRICES | {"linear.default", "einsum.default", "bilinear.default"}


def depth_and_width(graph: Graph, shapes: Shapes) -> tuple[int, int]:
    """Return the number of layers of a graph, and the largest number of output features."""
    weights = _Weights(graph)
    depth, width = 0, 0
    for node, result in zip(graph.nodes, shapes.results, strict=True):
        layers, features = _layers(weights, node, result)
        depth += layers
        width = max(width, features)
    return depth, width


class _Weights:
    """The values that are parameters, or computed from parameters alone.

    The output of a layer is no parameter, even if its input is one. So the scores of a projected, learned
    query are no layer, as for any other query.
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
    """Return how many layers an operation is, and its number of output features."""
    if node.op in CONVOLUTIONS:
        channels = -2 if "1d" in node.op else -3
        return 1, int(result.shape[channels])
    if node.op in RECURRENT:
        num_layers = node.args[4]
        assert isinstance(num_layers, int)
        return num_layers, int(result[0].shape[-1])
    if node.op in RECURRENT_CELLS:
        return 1, int((result[0] if isinstance(result, tuple) else result).shape[-1])
    operands = _operands(node)
    if node.op == "linear.default" or (
        node.op in _PRODUCTS and any(operand in weights for operand in operands)
    ):
        return 1, _features(weights, node, operands, result)
    return 0, 0


def _operands(node: Node) -> tuple[Arg, ...]:
    """Return the factors of a product, without the bias."""
    if node.op == "einsum.default":
        operands = node.args[1]
        return operands if isinstance(operands, tuple) else ()
    if node.op in ("addmm.default", "baddbmm.default"):
        return node.args[1:3]
    return node.args[:3] if node.op == "bilinear.default" else node.args[:2]


def _features(weights: _Weights, node: Node, operands: tuple[Arg, ...], result: Any) -> int:
    """Return the number of output features of a product with a parameter."""
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
    for dim, letter in [*enumerate(before), *enumerate(after, -len(after))]:
        features *= 1 if letter in given else int(result.shape[dim])
    return features
