"""The graph format: canonical bytes, a strict reader, a module that runs them."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llmatic_daemon.worker.graph.nodes import (
    Extent,
    Graph,
    Input,
    Node,
    NodeResult,
    Weight,
    WeightRef,
    canonical,
)
from llmatic_daemon.worker.graph.serialization import GraphError, build, dumps, loads, read_order

GRAPH = Graph(
    input_shape=(3, 8, 8),
    weights=(
        Weight(shape=(10, 192), trainable=True),
        Weight(shape=(3,), trainable=False),
        Weight(shape=(3,), trainable=False),
        Weight(shape=(99,), trainable=True),
    ),
    nodes=(
        Node(op="tanh.default", args=(WeightRef(3),)),
        Node(
            op="batch_norm.default",
            args=(Input(), None, None, WeightRef(1), WeightRef(2), True, 0.1, 1e-5, True),
        ),
        Node(op="dropout.default", args=(NodeResult(1), 0.5, True)),
        Node(op="reshape.default", args=(NodeResult(2), (Extent(1, 0), 192))),
        Node(op="split.Tensor", args=(NodeResult(3), 96, 1)),
        Node(op="cat.default", args=((NodeResult(4, 1), NodeResult(4, 0)), 1)),
        Node(op="linear.default", args=(NodeResult(5), WeightRef(0))),
    ),
    output=NodeResult(6),
)
DATA = dumps(canonical(GRAPH).graph)
WEIGHTS = {"w0": torch.zeros(3), "w1": torch.ones(3), "w2": torch.rand(10, 192)}


def changed(**fields: object) -> bytes:
    return json.dumps({**json.loads(DATA), **fields}, separators=(",", ":")).encode()


def test_canonical_drops_what_is_dead_and_numbers_weights_by_use():
    made = canonical(GRAPH)

    assert made.weights == (1, 2, 0)
    assert [node.op.partition(".")[0] for node in made.graph.nodes] == [
        "batch_norm",
        "dropout",
        "reshape",
        "split",
        "cat",
        "linear",
    ]


def test_canonical_is_idempotent():
    graph = canonical(GRAPH).graph

    assert canonical(graph).graph == graph


def test_loads_gives_back_what_dumps_wrote():
    assert loads(DATA) == canonical(GRAPH).graph
    assert dumps(loads(DATA)) == DATA


def test_deep_graph_needs_no_recursion():
    nodes = [Node(op="relu.default", args=(Input(),))]
    nodes += [Node(op="relu.default", args=(NodeResult(n),)) for n in range(20_000)]
    deep = Graph(input_shape=(3, 8, 8), weights=(), nodes=tuple(nodes), output=NodeResult(20_000))

    assert loads(dumps(deep)) == deep


def test_build_switches_with_the_training_flag():
    network = build(loads(DATA), WEIGHTS)
    images = torch.randn(5, 3, 8, 8)

    assert not torch.equal(network.train()(images), network(images))
    assert torch.equal(network.eval()(images), network(images))
    assert network.get_buffer("w0").abs().sum() > 0, "running statistics are updated in training"


def test_build_owns_copies_of_the_weights():
    network = build(loads(DATA), WEIGHTS)

    network.train()(torch.randn(5, 3, 8, 8) + 1)

    assert WEIGHTS["w0"].tolist() == [0, 0, 0]
    assert [name for name, _ in network.named_parameters()] == ["w2"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff\x00", "must be JSON"),
        (b"[" * 100_000, "must be JSON"),
        (b"{}", "must be an object with"),
        (changed(version=2), "version 1"),
        (changed(nodes=[["load.default", "x"]]), "not an allowed operation"),
        (changed(nodes=[["relu.default"]]), "lacks self"),
        (changed(nodes=[["relu.default", {"value": "n7"}]]), "does not come before it"),
        (changed(nodes=[["relu.default", {"value": "w7"}]]), "does not exist"),
        (changed(nodes=[["relu.default", {"value": "/etc"}]]), "must name a value"),
        (changed(nodes=[["relu.default", 5]]), "'self' must be Tensor"),
        (changed(nodes=[["dropout.default", {"value": "x"}, 1, True]]), "'p' must be float"),
        (changed(nodes=[["relu.default", {"value": "x"}, 1]]), "arguments of 1"),
        (changed(nodes=[["flip.default", {"value": "x"}, [1 << 63]]]), "unknown argument"),
        (changed(input=[3, 0, 8]), "sizes above 0"),
        (changed(weights=[{"shape": [2**31 - 1] * 3, "trainable": True}]), "numbers in all"),
        (changed(output="x"), "canonical"),
        (changed(output="n3"), "no such result"),
        (DATA.replace(b":", b": "), "canonical"),
        (DATA.replace(b'"n1"', b'"n01"'), "canonical"),
    ],
)
def test_loads_refuses(data, reason):
    with pytest.raises(GraphError, match=reason):
        loads(data)


@given(st.binary(max_size=200))
def test_loads_raises_only_its_own_error_on_any_bytes(data):
    with pytest.raises(GraphError):
        loads(data)


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["x", "w0", "n0", "n3.1", "relu.default", {"value": "n0"}]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=6,
)


@given(st.sampled_from(["version", "input", "weights", "nodes", "output"]), _JSON)
def test_loads_raises_only_its_own_error_on_any_field(key, value):
    try:
        graph = loads(changed(**{key: value}))
    except GraphError:
        return
    assert dumps(graph) == changed(**{key: value})


@given(st.integers(0, len(DATA) - 1), st.binary(min_size=0, max_size=3))
def test_loads_raises_only_its_own_error_on_mutated_bytes(position, new):
    data = DATA[:position] + new + DATA[position + 1 :]
    try:
        graph = loads(data)
    except GraphError:
        return
    assert dumps(graph) == data


@given(st.integers(0, 5), st.integers(0, 9), _JSON)
def test_loads_raises_only_its_own_error_on_any_argument(number, position, value):
    nodes = json.loads(DATA)["nodes"]
    nodes[number][1:] = [*nodes[number][1:][:position], value]
    try:
        graph = loads(changed(nodes=nodes))
    except GraphError:
        return
    assert dumps(graph) == changed(nodes=nodes)


def test_canonical_remembers_the_order_of_the_source_without_naming_the_network_by_it():
    left, right = (Node(op=f"{name}.default", args=(Input(),)) for name in ("relu", "tanh"))
    both = Node(op="add.Tensor", args=(NodeResult(0), NodeResult(1)))
    swapped = Node(op="add.Tensor", args=(NodeResult(1), NodeResult(0)))
    one, other = (
        canonical(Graph(input_shape=(3, 8, 8), weights=(), nodes=nodes, output=NodeResult(2)))
        for nodes in ((left, right, both), (right, left, swapped))
    )

    assert one.graph == other.graph
    assert (one.order, other.order) == ((), (1, 0, 2))
    assert read_order(other.graph, [1, 0, 2]).nodes == (right, left, swapped)


@pytest.mark.parametrize(
    ("order", "why"),
    [
        ([0, 1, 2], "must be an empty list"),
        ([1, 0], "must name each of 3 operations once"),
        ([0, 0, 2], "must name each of 3 operations once"),
        ([2, 0, 1], "must put operation 0 before 2"),
        ([0, 2, 1], "must put operation 1 before 2"),
        (["0", 1, 2], "must be a list"),
        ([True, 0, 2], "must be a list"),
        ("102", "must be a list"),
        ({}, "must be a list"),
        (None, "must be a list"),
    ],
)
def test_order_that_is_none_is_refused(order, why):
    nodes = (
        Node(op="relu.default", args=(Input(),)),
        Node(op="tanh.default", args=(Input(),)),
        Node(op="add.Tensor", args=(NodeResult(0), NodeResult(1))),
    )
    graph = Graph(input_shape=(3, 8, 8), weights=(), nodes=nodes, output=NodeResult(2))

    with pytest.raises(GraphError, match=why):
        read_order(graph, order)
