"""Small graphs by hand, and the validator's verdict on them."""

import safetensors.torch
import torch

from llmatic_daemon.worker.graph.nodes import (
    Arg,
    Extent,
    Graph,
    Input,
    Node,
    NodeResult,
    Weight,
    WeightRef,
    canonical,
)
from llmatic_daemon.worker.graph.serialization import dumps
from llmatic_daemon.worker.graph.validation import GraphLimits, Validated, validate

SHAPE = (3, 4, 4)
B = Extent(1, 0)
X = Input()
W = WeightRef


def n(number: int, item: int | None = None) -> NodeResult:
    return NodeResult(number, item)


def op(name: str, *args: Arg) -> Node:
    return Node(op=name, args=args)


#: Logits of ten classes: (batch, 10), from the weight (10, 48).
FLAT = op("reshape.default", X, (B, 48))
HEAD = op("linear.default", n(0), W(0))


def graph(*nodes: Node, weights: tuple[tuple[int, ...], ...] = ((10, 48),), frozen: int = 0) -> Graph:
    """Lay out operations; the last one is the output, and the last `frozen` weights are constants."""
    return Graph(
        input_shape=SHAPE,
        weights=tuple(
            Weight(shape=shape, trainable=number < len(weights) - frozen)
            for number, shape in enumerate(weights)
        ),
        nodes=nodes,
        output=NodeResult(len(nodes) - 1),
    )


def head(*nodes: Node, weights: tuple[tuple[int, ...], ...] = (), frozen: int = 0) -> Graph:
    """Begin with the logits n1; what follows works on them."""
    return graph(FLAT, HEAD, *nodes, weights=((10, 48), *weights), frozen=frozen)


def judged(made: Graph, limits: GraphLimits | None = None, **weights: torch.Tensor) -> Validated:
    """Validate a graph; all weights are 1 but those given, by their canonical names."""
    made = canonical(made).graph
    given = {f"w{number}": torch.ones(weight.shape) for number, weight in enumerate(made.weights)}
    data = safetensors.torch.save(given | weights)
    return validate(dumps(made), data, limits or GraphLimits(), SHAPE, 10)
