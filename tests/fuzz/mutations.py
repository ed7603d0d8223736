"""What a hostile lifter could write: results, graphs and weights, mutated with their structure in mind.

Everything is a function of a `random.Random`, so that one number names an input.
"""

import copy
import json
import math
import random
import struct
from pathlib import Path
from typing import Any

from llmatic_daemon.domain import frames
from llmatic_daemon.worker.graph import serialization as format_
from llmatic_daemon.worker.graph.nodes import Graph, canonical
from llmatic_daemon.worker.graph.operations import table

#: Graphs of honest networks for images of 3 x 32 x 32, as our lifter wrote them; one a line.
GRAPHS = [json.loads(line) for line in (Path(__file__).parent / "graphs.jsonl").read_text().splitlines()]
OPERATIONS = sorted(table())
INTEGERS = [
    0,
    1,
    -1,
    2,
    3,
    5,
    7,
    10,
    11,
    16,
    64,
    255,
    4096,
    65536,
    1 << 20,
    1 << 31,
    -(1 << 31),
    (1 << 62),
    (1 << 63) - 1,
    -(1 << 63),
    1 << 63,
    10**30,
]
#: Weights of more numbers than this are not made; the graph is then judged without them.
MAX_NUMBERS = 200_000


def atom(rng: random.Random) -> Any:
    """Draw an argument, or what is none."""
    return rng.choice(
        [
            lambda: rng.choice(INTEGERS),
            lambda: rng.randrange(-4, 40),
            lambda: rng.choice([0.0, -0.0, 1e-5, 0.5, 1.0, 1e308, -1e308, 5e-324]),
            lambda: rng.choice([True, False, None, "x", "none", "ij,jk->ik", "...", "same", "é\ud800"]),
            lambda: {"float": rng.choice(["inf", "-inf", "nan", "1"])},
            lambda: {"batch": rng.choice([1, -1, 0, 2, 1 << 30, True]), "plus": rng.choice(INTEGERS)},
            lambda: {"value": reference(rng)},
            lambda: [rng.randrange(-2, 70) for _ in range(rng.randrange(6))],
            lambda: [rng.choice(INTEGERS)] * rng.choice([1, 2, 3, 17, 1000]),
            lambda: [{"value": reference(rng)} for _ in range(rng.randrange(4))],
        ]
    )()


def reference(rng: random.Random) -> str:
    kind, number = rng.choice("xwwnnnn"), rng.randrange(24)
    tail = f".{rng.randrange(3)}" if rng.random() < 0.15 else ""
    return "x" if kind == "x" else f"{kind}{number}{tail}"


def _swap_operation(document: Any, rng: random.Random) -> None:
    rng.choice(document["nodes"])[0] = rng.choice(OPERATIONS)


def _replace_argument(document: Any, rng: random.Random) -> None:
    node = rng.choice(document["nodes"])
    if len(node) > 1:
        node[rng.randrange(1, len(node))] = atom(rng)


def _nudge_number(document: Any, rng: random.Random) -> None:
    """Change one number somewhere within a node."""
    node = rng.choice(document["nodes"])
    places = [(node, n) for n in range(1, len(node))]
    for each in list(node[1:]):
        if isinstance(each, list):
            places += [(each, n) for n in range(len(each))]
        elif isinstance(each, dict):
            places += [(each, key) for key in each]
    place, key = rng.choice(places) if places else ([0], 0)
    if type(place[key]) in (int, float):
        place[key] = rng.choice(
            [place[key] + 1, place[key] - 1, -place[key], place[key] * 2, rng.choice(INTEGERS)]
        )


def _change_reference(document: Any, rng: random.Random) -> None:
    node = rng.choice(document["nodes"])
    for n in range(1, len(node)):
        if isinstance(node[n], dict) and "value" in node[n] and rng.random() < 0.6:
            node[n] = {"value": reference(rng)}


def _add_argument(document: Any, rng: random.Random) -> None:
    rng.choice(document["nodes"]).append(atom(rng))


def _drop_argument(document: Any, rng: random.Random) -> None:
    node = rng.choice(document["nodes"])
    if len(node) > 1:
        node.pop(rng.randrange(1, len(node)))


def _insert_node(document: Any, rng: random.Random) -> None:
    """Put an operation behind the last one, with as many arguments as it needs."""
    name = rng.choice(OPERATIONS)
    needed = [a for a in table()[name].arguments if not a.has_default]
    last = {"value": f"n{len(document['nodes']) - 1}"}
    args = [last if a.type == "Tensor" and rng.random() < 0.7 else atom(rng) for a in needed]
    document["nodes"].append([name, *args])
    document["output"] = f"n{len(document['nodes']) - 1}"


def _swap_nodes(document: Any, rng: random.Random) -> None:
    nodes = document["nodes"]
    a, b = rng.randrange(len(nodes)), rng.randrange(len(nodes))
    nodes[a], nodes[b] = nodes[b], nodes[a]


def _change_weight(document: Any, rng: random.Random) -> None:
    if not document["weights"]:
        return
    weight = rng.choice(document["weights"])
    choice = rng.random()
    if choice < 0.3:
        weight["trainable"] = rng.choice([True, False, 1, None])
    elif weight["shape"] and choice < 0.8:
        weight["shape"][rng.randrange(len(weight["shape"]))] = rng.choice([*INTEGERS[:12], 3, 8])
    else:
        weight["shape"] = [rng.choice(INTEGERS) for _ in range(rng.randrange(20))]


def _change_field(document: Any, rng: random.Random) -> None:
    key = rng.choice(list(document))
    document[key] = rng.choice([atom(rng), [], {}, [atom(rng)], [[]], [[atom(rng)]]])


def _nest(document: Any, rng: random.Random) -> None:
    deep: Any = atom(rng)
    for _ in range(rng.choice([2, 10, 500])):
        deep = [deep] if rng.random() < 0.5 else {"value": deep}
    rng.choice(document["nodes"]).append(deep)


_MUTATIONS = [
    _swap_operation,
    _replace_argument,
    _replace_argument,
    _nudge_number,
    _nudge_number,
    _nudge_number,
    _change_reference,
    _add_argument,
    _drop_argument,
    _insert_node,
    _insert_node,
    _swap_nodes,
    _change_weight,
]
_RARE = [_change_field, _nest]


def document(rng: random.Random) -> Any:
    """Draw an honest graph and change it in one to four places."""
    made = copy.deepcopy(rng.choice(GRAPHS))
    for _ in range(rng.choice([1, 1, 2, 2, 3, 4])):
        try:
            rng.choice(_RARE if rng.random() < 0.04 else _MUTATIONS)(made, rng)
        except (LookupError, TypeError, ValueError, AttributeError):  # a rare one has broken the document
            break
    return made


def graph_bytes(rng: random.Random) -> bytes:
    """Write a changed graph; mostly in canonical form, so that it gets beyond the reader."""
    made = document(rng)
    if rng.random() < 0.85:
        canonical_form = _canonical(made)
        if canonical_form is not None:
            return canonical_form
    text = json.dumps(made, separators=(",", ":"), ensure_ascii=rng.random() < 0.9)
    return text.encode(errors="surrogatepass")


def _canonical(made: Any) -> bytes | None:
    try:
        weights = tuple(format_._read_weight(w, n) for n, w in enumerate(made["weights"]))
        nodes = []
        for number, node in enumerate(made["nodes"]):
            operation = table()[node[0]]
            args = tuple(format_._read_arg(each, "") for each in node[1:])
            trimmed = format_.trimmed(operation, args[: len(operation.arguments)])
            nodes.append(format_.Node(op=operation.name, args=trimmed))
            for ref in format_.refs(trimmed):
                format_._check_ref(ref, number, len(weights), "")
        output = format_._read_ref(made["output"], "")
        format_._check_ref(output, len(nodes), len(weights), "")
        shape = format_._read_shape(made["input"], "")
        read = Graph(input_shape=shape, weights=weights, nodes=tuple(nodes), output=output)
        return format_.dumps(canonical(read).graph)
    except (format_.GraphError, LookupError, TypeError, ValueError, StopIteration):
        return None


def order(rng: random.Random, graph: bytes) -> Any:
    """Draw an order of a graph's operations: mostly none or a good one, else one that is wrong."""
    kind = rng.random()
    if kind < 0.5:
        return []
    if kind < 0.6:
        return rng.choice([atom(rng), [atom(rng)], {"0": 0}])
    try:
        numbers = list(range(len(json.loads(graph)["nodes"])))
    except (ValueError, LookupError, TypeError, RecursionError):
        return [1, 0]
    for _ in range(rng.choice([1, 1, 2, 5])):  # neighbours that do not use each other may swap
        if len(numbers) > 1:
            left = rng.randrange(len(numbers) - 1)
            numbers[left : left + 2] = reversed(numbers[left : left + 2])
    if kind > 0.95 and numbers:
        numbers[rng.randrange(len(numbers))] = rng.choice(INTEGERS)
    return numbers


def weight_bytes(rng: random.Random, graph: bytes) -> bytes:
    """Write the weights that a graph asks for, mostly; else with a changed header, or noise."""
    try:
        shapes = [weight["shape"] for weight in json.loads(graph)["weights"]]
        sizes = [4 * math.prod(shape) for shape in shapes]
    except (ValueError, LookupError, TypeError, RecursionError):
        shapes, sizes = [[10, 3]], [120]
    if sum(sizes) > 4 * MAX_NUMBERS or any(size <= 0 for size in sizes):
        shapes, sizes = shapes[:1], [120]
    header: dict[str, Any] = {}
    end = 0
    for number, (shape, size) in enumerate(zip(shapes, sizes, strict=False)):
        header[f"w{number}"] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    body = bytes(end)
    if rng.random() < 0.4:
        _break_header(header, rng)
        body = rng.choice([body, body[: end // 2], rng.randbytes(min(end, 4000)), body + b"\x01"])
    text = json.dumps(header, separators=(",", ":")).encode()
    length = len(text) if rng.random() < 0.95 else rng.choice([0, 1, 1 << 20, 1 << 62, len(text) + 1])
    return struct.pack("<Q", length) + text + body


def _break_header(header: dict[str, Any], rng: random.Random) -> None:
    if not header:
        return
    name = rng.choice(list(header))
    entry = header[name]
    change = rng.choice(
        [
            lambda: entry.update(
                dtype=rng.choice(["F64", "F16", "BF16", "I64", "BOOL", "F8_E5M2", "X", 3, None])
            ),
            lambda: entry.update(shape=[rng.choice(INTEGERS) for _ in range(rng.randrange(5))]),
            lambda: entry.update(data_offsets=[rng.choice(INTEGERS), rng.choice(INTEGERS)]),
            lambda: entry.update(shape=atom(rng)),
            lambda: header.update({f"w{rng.randrange(9)}": header.pop(name)}),
            lambda: header.update({"__metadata__": atom(rng)}),
            lambda: header.update({"\x00" * 500: entry}),
            lambda: header.pop(name),
        ]
    )
    change()


def result_bytes(rng: random.Random) -> bytes:
    """Write what a candidate's process may put on its pipe."""
    kind = rng.random()
    if kind < 0.1:
        return rng.randbytes(rng.randrange(200))
    if kind < 0.4:
        header = {
            rng.choice(["cause", "detail", "blobs", "é", "outcome"]): atom(rng)
            for _ in range(rng.randrange(4))
        }
        text = json.dumps(header).encode(errors="surrogatepass")
        return struct.pack(">I", rng.choice([len(text), len(text), 1 << 31, 0])) + text
    graph = json.dumps(rng.choice(GRAPHS), separators=(",", ":")).encode()
    header = {"order": order(rng, graph)} if rng.random() < 0.5 else {}
    whole = bytearray(frames.encode(header, graph, weight_bytes(rng, graph)))
    for _ in range(rng.choice([0, 1, 2, 8])):
        whole[rng.randrange(min(len(whole), 400))] = rng.randrange(256)
    return bytes(whole[: rng.randrange(len(whole) + 1)] if rng.random() < 0.2 else whole) + b"\x00" * (
        rng.random() < 0.1
    )
