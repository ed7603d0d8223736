"""Canonical JSON of a graph of allow-listed operations: its writer and its strict reader.

A graph is a list of operations without branches. Values are named by position: `x` is the input batch, `w3`
the fourth weight, `n5` the result of the sixth operation and `n5.1` its second result. A size that grows with
the batch is `{"batch": a, "plus": c}` for `a * batch + c`; there is no other symbol.

In canonical form the operations are in post-order from the output, so none is unused. Weights are numbered by
first use, arguments follow the operation's schema, and trailing defaults are left out. Two sources of one
network give the same bytes, also with other names, another order, or unused layers. The order in which a
source computes the operations is stored separately (`ordered`).
"""

import json
import math
from typing import Any

from llmatic_daemon.worker.graph.module import build
from llmatic_daemon.worker.graph.nodes import (
    Arg,
    Extent,
    Graph,
    Input,
    Node,
    NodeResult,
    Ref,
    Weight,
    WeightRef,
    canonical,
    ordered,
    refs,
    weight_name,
)
from llmatic_daemon.worker.graph.operations import Argument, Operation, table

__all__ = ["Graph", "GraphError", "build", "dumps", "loads", "read_order", "trimmed", "weight_name"]

#: The reader rejects every other version.
VERSION = 1
#: The reader rejects a larger graph unread.
MAX_GRAPH_BYTES = 16 << 20
MAX_NODES = 50_000
MAX_RANK = 16
MAX_DIMENSION = 1 << 31
#: Numbers in a weight or an image; torch cannot describe a tensor of more than 2^63 bytes.
MAX_ELEMENTS = 1 << 40
_MAX_INT = (1 << 63) - 1


class GraphError(Exception):
    """The bytes are no graph in canonical form; the text gives the reason in one line."""


# --- writing -------------------------------------------------------------------------------------


def _ref_name(ref: Ref) -> str:
    if isinstance(ref, Input):
        return "x"
    if isinstance(ref, WeightRef):
        return f"w{ref.number}"
    return f"n{ref.node}" + ("" if ref.item is None else f".{ref.item}")


def _to_json(arg: Arg) -> Any:
    if isinstance(arg, tuple):
        return [_to_json(each) for each in arg]
    if isinstance(arg, Extent):
        return {"batch": arg.batch, "plus": arg.plus}
    if isinstance(arg, Input | WeightRef | NodeResult):
        return {"value": _ref_name(arg)}
    if isinstance(arg, float) and not math.isfinite(arg):
        return {"float": repr(arg)}
    return arg


def dumps(graph: Graph) -> bytes:
    """Return a graph as JSON; the caller must bring it into canonical form first (`canonical`)."""
    document = {
        "version": VERSION,
        "input": list(graph.input_shape),
        "weights": [{"shape": list(weight.shape), "trainable": weight.trainable} for weight in graph.weights],
        "nodes": [[node.op, *map(_to_json, node.args)] for node in graph.nodes],
        "output": _ref_name(graph.output),
    }
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()


# --- reading -------------------------------------------------------------------------------------


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise GraphError(message)


def _is_int(value: Any) -> bool:
    return type(value) is int and -_MAX_INT - 1 <= value <= _MAX_INT


def _read_shape(value: Any, where: str) -> tuple[int, ...]:
    _expect(
        isinstance(value, list)
        and len(value) <= MAX_RANK
        and all(type(size) is int and 0 < size < MAX_DIMENSION for size in value)
        and math.prod(value) < MAX_ELEMENTS,
        f"{where} must be a list of at most {MAX_RANK} sizes above 0, of {MAX_ELEMENTS} numbers in all",
    )
    return tuple(value)


def _read_ref(value: Any, where: str) -> Ref:
    _expect(isinstance(value, str) and len(value) < 32, f"{where} must name a value")
    if value == "x":
        return Input()
    number, _, item = value[1:].partition(".")
    _expect(
        value[:1] in ("w", "n")
        and number.isascii()
        and number.isdigit()
        and (not item or (item.isascii() and item.isdigit())),
        f"{where} must name a value, got {value!r}",
    )
    if value[0] == "w":
        return WeightRef(int(number))
    return NodeResult(int(number), int(item) if item else None)


def _read_arg(value: Any, where: str) -> Arg:
    if isinstance(value, list):
        return tuple(_read_scalar(each, where) for each in value)
    return _read_scalar(value, where)


def _read_scalar(value: Any, where: str) -> Arg:
    if isinstance(value, dict):
        return _read_tagged(value, where)
    if value is None or isinstance(value, bool | str) or _is_int(value):
        return value  # type: ignore[no-any-return]
    _expect(isinstance(value, float) and math.isfinite(value), f"{where} has an unknown argument")
    return float(value)


def _read_tagged(value: dict[str, Any], where: str) -> Arg:
    keys = tuple(value)
    if keys == ("value",):
        return _read_ref(value["value"], where)
    if keys == ("float",):
        _expect(value["float"] in ("inf", "-inf"), f"{where} has a number that is not finite")
        return float(value["float"])
    _expect(keys == ("batch", "plus"), f"{where} has an unknown argument {sorted(keys)!r}")
    batch, plus = value["batch"], value["plus"]
    _expect(
        all(_is_int(n) and abs(n) < MAX_DIMENSION for n in (batch, plus)) and batch != 0,
        f"{where} has a size out of range",
    )
    return Extent(batch, plus)


def _read_weight(value: Any, number: int) -> Weight:
    where = f"weight w{number}"
    _expect(
        isinstance(value, dict) and tuple(value) == ("shape", "trainable"),
        f"{where} must have a shape and whether it is trainable",
    )
    _expect(isinstance(value["trainable"], bool), f"{where}: trainable must be true or false")
    return Weight(shape=_read_shape(value["shape"], where), trainable=value["trainable"])


def _fits(arg: Arg, kind: str) -> bool:
    """Decide whether an argument has the type of the schema."""
    if kind.startswith("Optional["):
        return arg is None or _fits(arg, kind[9:-1])
    if kind.startswith("List["):
        return isinstance(arg, tuple) and all(_fits(each, kind[5:-1]) for each in arg)
    if kind == "Tensor":
        return isinstance(arg, Input | WeightRef | NodeResult)
    if kind == "int":
        return isinstance(arg, Extent) or _is_int(arg)
    if kind == "number":
        return isinstance(arg, bool | float) or _is_int(arg)
    python = {"float": float, "bool": bool, "str": str}.get(kind)
    return python is not None and type(arg) is python


def _check_arg(arg: Arg, argument: Argument, where: str) -> None:
    if argument.unset:
        _expect(arg == argument.default, f"{where} may not set {argument.name!r}")
    elif argument.kernel_choice:
        _expect(arg is True, f"{where}: {argument.name!r} must be true")
    else:
        _expect(_fits(arg, argument.type), f"{where}: {argument.name!r} must be {argument.type}")


def check_args(operation: Operation, args: tuple[Arg, ...], where: str) -> None:
    """Compare arguments with the operation's schema.

    Raises:
        GraphError: too few, too many, of a wrong type, or a trailing default that is written out.
    """
    allowed = operation.arguments
    _expect(len(args) <= len(allowed), f"{where} has {len(args)} arguments of {len(allowed)}")
    for arg, argument in zip(args, allowed, strict=False):
        _check_arg(arg, argument, where)
    missing = [argument.name for argument in allowed[len(args) :] if not argument.has_default]
    _expect(not missing, f"{where} lacks {', '.join(missing)}")
    _expect(trimmed(operation, args) == args, f"{where} writes out a default")


def trimmed(operation: Operation, args: tuple[Arg, ...]) -> tuple[Arg, ...]:
    """Return the arguments without trailing defaults."""
    end = len(args)
    while end and _is_default(args[end - 1], operation.arguments[end - 1]):
        end -= 1
    return args[:end]


def _is_default(arg: Arg, argument: Argument) -> bool:
    return (
        argument.has_default
        and not argument.kernel_choice
        and type(arg) is type(argument.default)
        and arg == argument.default
    )


def _read_node(value: Any, number: int, num_weights: int) -> Node:
    where = f"operation n{number}"
    _expect(isinstance(value, list) and bool(value), f"{where} must be a list")
    operation = table().get(value[0]) if isinstance(value[0], str) else None
    if operation is None:
        raise GraphError(f"{where}: {str(value[0])[:60]!r} is not an allowed operation")
    where = f"{where} ({operation.name})"
    args = tuple(_read_arg(each, where) for each in value[1:])
    check_args(operation, args, where)
    for ref in refs(args):
        _check_ref(ref, number, num_weights, where)
    return Node(op=operation.name, args=args)


def _check_ref(ref: Ref, num_nodes: int, num_weights: int, where: str) -> None:
    if isinstance(ref, WeightRef):
        _expect(ref.number < num_weights, f"{where} uses w{ref.number}, which does not exist")
    if isinstance(ref, NodeResult):
        _expect(ref.node < num_nodes, f"{where} uses n{ref.node}, which does not come before it")


def _check_items(graph: Graph) -> None:
    """Check the picked results against the number of results of each operation."""
    for ref in refs((graph.output, *(arg for node in graph.nodes for arg in node.args))):
        if isinstance(ref, NodeResult):
            num_outputs = table()[graph.nodes[ref.node].op].num_outputs
            known = num_outputs is None or (ref.item or 0) < num_outputs
            single = num_outputs == 1
            _expect(known and single == (ref.item is None), f"n{ref.node} has no such result")


def _parse(data: bytes) -> dict[str, Any]:
    _expect(len(data) <= MAX_GRAPH_BYTES, f"a graph has at most {MAX_GRAPH_BYTES} bytes")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise GraphError(f"a graph must be JSON: {error}") from error
    keys = ("version", "input", "weights", "nodes", "output")
    _expect(
        isinstance(document, dict) and tuple(document) == keys,
        f"a graph must be an object with {', '.join(keys)}",
    )
    _expect(document["version"] == VERSION, f"a graph must have version {VERSION}")
    for key in ("weights", "nodes"):
        _expect(
            isinstance(document[key], list) and len(document[key]) <= MAX_NODES,
            f"{key!r} must be a list of at most {MAX_NODES}",
        )
    return document  # type: ignore[no-any-return]


def read_order(graph: Graph, order: Any) -> Graph:
    """Return a graph with its operations in an untrusted order.

    Args:
        graph: A canonical graph.
        order: As for `nodes.ordered`; an order that changes nothing must be an empty list.

    Raises:
        GraphError: the order is invalid.
    """
    _expect(
        isinstance(order, list | tuple)
        and len(order) <= MAX_NODES
        and all(type(number) is int for number in order),
        f"an order must be a list of at most {MAX_NODES} numbers",
    )
    _expect(
        not order or list(order) != list(range(len(order))),
        "an order that changes nothing must be an empty list",
    )
    try:
        return ordered(graph, order)
    except ValueError as error:
        raise GraphError(str(error)) from error


def loads(data: bytes) -> Graph:
    """Read a graph strictly; only canonical bytes are accepted.

    Raises:
        GraphError: not JSON, unknown operation or argument, dangling name, or not canonical.
    """
    document = _parse(data)
    weights = tuple(_read_weight(each, n) for n, each in enumerate(document["weights"]))
    nodes = tuple(_read_node(each, n, len(weights)) for n, each in enumerate(document["nodes"]))
    output = _read_ref(document["output"], "the output")
    _check_ref(output, len(nodes), len(weights), "the output")
    graph = Graph(
        input_shape=_read_shape(document["input"], "the input"), weights=weights, nodes=nodes, output=output
    )
    _check_items(graph)
    _expect(dumps(canonical(graph).graph) == data, "a graph must be in canonical form")
    return graph
