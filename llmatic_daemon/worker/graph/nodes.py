"""Values, operations and weights of a graph, and its canonical order."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Input:
    """The batch of images."""


@dataclass(frozen=True, slots=True)
class WeightRef:
    """A weight, by its number."""

    number: int


@dataclass(frozen=True, slots=True)
class NodeResult:
    """The result of an operation; `item` picks one of several, None is the only one."""

    node: int
    item: int | None = None


@dataclass(frozen=True, slots=True)
class Extent:
    """A size that grows with the batch: `batch * B + plus`, where `batch` is not 0."""

    batch: int
    plus: int


Ref = Input | WeightRef | NodeResult
Arg = None | bool | int | float | str | Extent | Ref | tuple["Arg", ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Weight:
    """A tensor that comes with the graph."""

    shape: tuple[int, ...]
    #: A parameter is trained; all others (running statistics, fixed encodings) are buffers.
    trainable: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """One operation."""

    #: A key of `operations.table()`.
    op: str
    args: tuple[Arg, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Graph:
    """A network without its weights."""

    #: Of one image: (channels, height, width).
    input_shape: tuple[int, ...]
    weights: tuple[Weight, ...]
    nodes: tuple[Node, ...]
    output: Ref


class Interpreter:
    """Maps the arguments of a graph's operations to the values of one run."""

    _input: Any
    _weights: Sequence[Any]

    def _value(self, arg: Arg) -> Any:
        """Return the value of an argument; a tuple becomes a list."""
        if isinstance(arg, tuple):
            return [self._value(each) for each in arg]
        if isinstance(arg, Input):
            return self._input
        if isinstance(arg, WeightRef):
            return self._weights[arg.number]
        if isinstance(arg, NodeResult):
            return self._result(arg)
        return self._extent(arg) if isinstance(arg, Extent) else arg

    def _result(self, ref: NodeResult) -> Any:
        raise NotImplementedError

    def _extent(self, extent: Extent) -> Any:
        raise NotImplementedError


def weight_name(number: int) -> str:
    """Name a weight, as in the safetensors file and on the rebuilt module."""
    return f"w{number}"


# --- canonical form ------------------------------------------------------------------------------


def refs(args: Iterable[Arg]) -> Iterator[Ref]:
    """Iterate over all values that arguments name, left to right."""
    for arg in args:
        if isinstance(arg, tuple):
            yield from refs(arg)
        elif isinstance(arg, Input | WeightRef | NodeResult):
            yield arg


def renumbered(node: Node, nodes: Mapping[int, int], weights: Mapping[int, int]) -> Node:
    """Return an operation with the new numbers of operations and weights."""
    return Node(op=node.op, args=tuple(_renumbered_arg(arg, nodes, weights) for arg in node.args))


def _renumbered_arg(arg: Arg, nodes: Mapping[int, int], weights: Mapping[int, int]) -> Arg:
    """Return an argument with the new numbers of operations and weights."""
    if isinstance(arg, tuple):
        return tuple(_renumbered_arg(each, nodes, weights) for each in arg)
    if isinstance(arg, WeightRef):
        return WeightRef(weights[arg.number])
    if isinstance(arg, NodeResult):
        return NodeResult(nodes[arg.node], arg.item)
    return arg


def _post_order(graph: Graph) -> list[int]:
    """List the operations that the output needs, each after its arguments; deep networks allow no recursion."""
    order: dict[int, None] = {}
    stack = [(graph.output.node, False)] if isinstance(graph.output, NodeResult) else []
    while stack:
        number, expanded = stack.pop()
        if number in order:
            continue
        if expanded:
            order[number] = None
            continue
        stack.append((number, True))
        needed = [ref.node for ref in refs(graph.nodes[number].args) if isinstance(ref, NodeResult)]
        stack.extend((each, False) for each in reversed(needed) if each not in order)
    return list(order)


@dataclass(frozen=True, kw_only=True, slots=True)
class Canonical:
    """A graph in canonical form, with the former weights and order."""

    graph: Graph
    #: For each weight, its former number.
    weights: tuple[int, ...]
    #: The operations in their former order (see `ordered`); empty: the same.
    order: tuple[int, ...]


def canonical(graph: Graph) -> Canonical:
    """Remove unused operations and weights, and number the rest in post-order."""
    order = _post_order(graph)
    weights: dict[int, int] = {}
    for ref in refs((*(arg for number in order for arg in graph.nodes[number].args), graph.output)):
        if isinstance(ref, WeightRef):
            weights.setdefault(ref.number, len(weights))
    nodes = {old: new for new, old in enumerate(order)}
    result = replace(
        graph,
        weights=tuple(graph.weights[old] for old in weights),
        nodes=tuple(renumbered(graph.nodes[old], nodes, weights) for old in order),
        output=next(refs([_renumbered_arg(graph.output, nodes, weights)])),
    )
    before = tuple(nodes[old] for old in sorted(order))
    return Canonical(
        graph=result, weights=tuple(weights), order=() if before == tuple(range(len(before))) else before
    )


def ordered(graph: Graph, order: Sequence[int]) -> Graph:
    """Return a graph with the operations in another order, in which they are computed.

    The function of a network does not depend on the order. The random numbers of dropouts and the sums of
    gradients of a shared value do, so each network keeps its source's order.

    Args:
        graph: Any graph.
        order: The number of each operation once, after those that it uses; empty: unchanged.

    Raises:
        ValueError: the order is invalid.
    """
    if not order:
        return graph
    if sorted(order) != list(range(len(graph.nodes))):
        raise ValueError(f"an order must name each of {len(graph.nodes)} operations once")
    nodes = {old: new for new, old in enumerate(order)}
    weights = {number: number for number in range(len(graph.weights))}
    made = tuple(renumbered(graph.nodes[old], nodes, weights) for old in order)
    for number, node in enumerate(made):
        for ref in refs(node.args):
            if isinstance(ref, NodeResult) and ref.node >= number:
                raise ValueError(f"an order must put operation {order[ref.node]} before {order[number]}")
    output = next(refs([_renumbered_arg(graph.output, nodes, weights)]))
    return replace(graph, nodes=made, output=output)
