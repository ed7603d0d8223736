"""Depth and width of a network: which operations are layers.

A layer is a convolution, a linear layer, a recurrent layer, or a product with a parameter by matmul,
einsum and their like (also where the parameter was reshaped, permuted, expanded, sliced or scaled by a number first). A
stack of recurrent layers counts each of its layers, both directions as one. Of an attention block the projections
are linear layers; the attention itself, which has no weights, is none. A layer that is used twice counts
twice: depth is about what an image passes. All layers count, also those side by side.

Width is the largest number of output features or channels of any layer: channels of a convolution, features of
a linear layer, hidden size times directions of a recurrent layer, last dimension of a product
(of the parameter, where it is one).
"""

from typing import Any

from llmatic_daemon.worker.nodes import Arg, Graph, Node, Result, WeightRef, refs
from llmatic_daemon.worker.shapes import Shapes

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
_PRODUCTS = frozenset(
    [
        "linear.default",
        "matmul.default",
        "mm.default",
        "bmm.default",
        "mv.default",
        "addmm.default",
        "baddbmm.default",
        "einsum.default",
        "bilinear.default",
    ]
)
#: What leaves a parameter a parameter.
_RENAMES = frozenset(
    [
        "reshape.default",
        "permute.default",
        "expand.default",
        "slice.Tensor",
        "select.int",
        "mul.Scalar",
        "div.Scalar",
        "unbind.int",
        "chunk.default",
        "split.Tensor",
    ]
)


def depth_and_width(graph: Graph, shapes: Shapes) -> tuple[int, int]:
    """Count the layers of a graph, and find the widest one."""
    depth, width = 0, 0
    for node, result in zip(graph.nodes, shapes.results, strict=True):
        layers, features = _layers(graph, node, result)
        depth += layers
        width = max(width, features)
    return depth, width


def _layers(graph: Graph, node: Node, result: Any) -> tuple[int, int]:
    """Tell how many layers an operation is, and its number of output features."""
    if node.op in _CONVOLUTIONS:
        channels = -2 if "1d" in node.op else -3
        return 1, int(result.shape[channels])
    if node.op in _RECURRENT:
        num_layers = node.args[4]
        assert isinstance(num_layers, int)
        return num_layers, int(result[0].shape[-1])
    operands = _operands(node)
    if node.op in _PRODUCTS and any(_is_weight(graph, operand) for operand in operands):
        return 1, int(result.shape[-1]) if result.ndim else 1
    return 0, 0


def _operands(node: Node) -> tuple[Arg, ...]:
    """List what is multiplied: not the bias."""
    if node.op == "einsum.default":
        operands = node.args[1]
        return operands if isinstance(operands, tuple) else ()
    if node.op in ("addmm.default", "baddbmm.default"):
        return node.args[1:3]
    return node.args[:3] if node.op == "bilinear.default" else node.args[:2]


def _is_weight(graph: Graph, value: Arg) -> bool:
    """Tell whether a value is a parameter, whatever its shape was turned into."""
    while isinstance(value, Result) and graph.nodes[value.node].op in _RENAMES:
        value = next(refs(graph.nodes[value.node].args))
    return isinstance(value, WeightRef) and graph.weights[value.number].trainable
