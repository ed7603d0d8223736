"""What may be trained: the validator judges bytes alone."""

from dataclasses import replace

import pytest
import safetensors.torch
import torch

from llmatic_daemon.domain import Outcome
from llmatic_daemon.worker.graph import validation as validate_module
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
from llmatic_daemon.worker.graph.serialization import dumps
from llmatic_daemon.worker.graph.shapes import Shapes
from llmatic_daemon.worker.graph.validation import (
    GraphLimits,
    InvalidNetwork,
    Validated,
    _check_line,
    validate,
)
from tests.support.graphs import B, W, X, graph, head, n, op
from tests.support.graphs import judged as judged_freely

SHAPE = (3, 4, 4)
FLAT = Node(op="reshape.default", args=(Input(), (Extent(1, 0), 48)))
HEAD = Node(op="linear.default", args=(NodeResult(0), WeightRef(0)))
LIMITS = GraphLimits(max_parameters=1_000, max_flops=10_000, max_activation_bytes=10_000, max_nodes=20)


def network(*nodes: Node, shapes: tuple[tuple[int, ...], ...] = ((10, 48),)) -> Graph:
    """Lay out operations; the last one is the output, all weights are trained."""
    return Graph(
        input_shape=SHAPE,
        weights=tuple(Weight(shape=shape, trainable=True) for shape in shapes),
        nodes=nodes,
        output=NodeResult(len(nodes) - 1),
    )


def judged(graph: Graph, limits: GraphLimits = LIMITS, **weights: torch.Tensor) -> Validated:
    graph = canonical(graph).graph
    given = {f"w{n}": torch.ones(weight.shape) for n, weight in enumerate(graph.weights)}
    return validate(dumps(graph), safetensors.torch.save(given | weights), limits, SHAPE, 10)


def test_good_network_is_measured():
    valid = judged(network(FLAT, HEAD))

    assert (valid.measures.num_parameters, valid.measures.flops) == (480, 480)
    assert (valid.measures.width, valid.measures.depth) == (10, 1)
    assert valid.activation_bytes == 40


REFUSED = {
    "wrong width": (network(FLAT, HEAD, shapes=((9, 48),)), "must be (batch, 10), is (5, 9)"),
    "misfit": (network(FLAT, HEAD, shapes=((10, 47),)), "n1 (linear.default)"),
    "batch folded into features": (
        network(Node(op="reshape.default", args=(Input(), (16, Extent(3, 0)))), HEAD, shapes=((10, 15),)),
        "n1 (linear.default)",
    ),
    "no parameters": (
        network(Node(op="new_full.default", args=(Input(), (Extent(1, 0), 10), 0.5)), shapes=()),
        "no trainable parameters",
    ),
    "frozen parameters": (
        replace(network(FLAT, HEAD), weights=(Weight(shape=(10, 48), trainable=False),)),
        "no trainable parameters",
    ),
    "detached": (
        network(FLAT, HEAD, Node(op="detach.default", args=(NodeResult(1),))),
        "no gradient reaches",
    ),
    "a weight as output": (
        replace(network(FLAT, HEAD), nodes=(), output=WeightRef(0)),
        "no gradient reaches",
    ),
    "weights made inside": (
        network(
            FLAT,
            HEAD,
            Node(op="new_full.default", args=(Input(), (10, 10), 1.0)),
            Node(op="mm.default", args=(NodeResult(1), NodeResult(2))),
        ),
        "made inside forward",
    ),
    "trained statistics": (
        network(
            FLAT,
            HEAD,
            Node(
                op="batch_norm.default",
                args=(NodeResult(1), None, None, WeightRef(1), WeightRef(1), True, 0.1, 1e-5, True),
            ),
            shapes=((10, 48), (10,)),
        ),
        "running statistics must be buffers",
    ),
    "thousands of pieces": (
        network(
            FLAT,
            HEAD,
            Node(op="expand.default", args=(WeightRef(1), (5000,))),
            Node(op="unbind.int", args=(NodeResult(2),)),
            Node(op="add.Tensor", args=(NodeResult(1), NodeResult(3, 0))),
            shapes=((10, 48), (1,)),
        ),
        "at most 4096 pieces, got 5000",
    ),
    "a huge result": (
        network(
            FLAT,
            HEAD,
            Node(op="expand.default", args=(WeightRef(0), (100_000, 10, 48))),
            Node(op="sum.dim_IntList", args=(NodeResult(2), (0, 1, 2))),
            Node(op="add.Tensor", args=(NodeResult(1), NodeResult(3))),
        ),
        "more than 12500 numbers",
    ),
    "pieces of size 0": (
        network(
            FLAT,
            HEAD,
            Node(op="split_with_sizes.default", args=(NodeResult(1), (10, *(0,) * 4096), 1)),
            Node(op="relu.default", args=(NodeResult(2, 0),)),
        ),
        "at most 4096 pieces",
    ),
    "more pieces than fit": (
        network(
            FLAT,
            HEAD,
            *[Node(op="split_with_sizes.default", args=(NodeResult(1), (10, *(0,) * 4095), 1))] * 17,
            Node(op="cat.default", args=(tuple(NodeResult(n, 0) for n in range(2, 19)), 1)),
        ),
        "at most 65536 results",
    ),
    "a weight norm that reads beyond its end": (
        network(
            FLAT,
            Node(op="_weight_norm.default", args=(WeightRef(0), WeightRef(1))),
            Node(op="linear.default", args=(NodeResult(0), NodeResult(1))),
            shapes=((10, 48), (1, 1)),
        ),
        "a weight norm does not fit",
    ),
    "an unknown way to sample a grid": (
        network(
            FLAT,
            HEAD,
            Node(op="reshape.default", args=(NodeResult(1), (Extent(1, 0), 1, 5, 2))),
            Node(op="grid_sampler.default", args=(Input(), NodeResult(2), 7, 0, False)),
            Node(op="sum.dim_IntList", args=(NodeResult(3), (1, 2, 3))),
        ),
        "a mode is unknown",
    ),
    "a cell whose state does not fit": (
        network(
            FLAT,
            HEAD,
            Node(op="gru_cell.default", args=(NodeResult(0), NodeResult(1), WeightRef(1), WeightRef(2))),
            shapes=((10, 48), (27, 48), (27, 9)),
        ),
        "states do not fit",
    ),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_graph_is_refused(name):
    graph, reason = REFUSED[name]

    with pytest.raises(InvalidNetwork) as raised:
        judged(graph)

    assert reason in raised.value.detail
    assert raised.value.cause is Outcome.INVALID_GRAPH


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (replace(LIMITS, max_parameters=479), "at most 479 parameters, has 480"),
        (replace(LIMITS, max_flops=479), "at most 479 multiply-adds, has 480"),
        (replace(LIMITS, max_nodes=1), "at most 1 operations, has 2"),
        (replace(LIMITS, max_activation_bytes=100), "more than"),
    ],
)
def test_limit_is_kept(limits, reason):
    with pytest.raises(InvalidNetwork, match=reason):
        judged(network(FLAT, HEAD), limits)


def test_graph_that_is_not_canonical_is_refused():
    graph = network(FLAT, HEAD, Node(op="relu.default", args=(NodeResult(0),)))

    with pytest.raises(InvalidNetwork, match="canonical"):
        validate(dumps(replace(graph, output=NodeResult(1))), b"", LIMITS, SHAPE, 10)


def test_graph_for_other_images_is_refused():
    with pytest.raises(InvalidNetwork, match="must take images of shape"):
        validate(dumps(network(FLAT, HEAD)), b"", LIMITS, (1, 8, 8), 10)


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (torch.ones(10, 48, dtype=torch.float64), "more bytes|must be float32"),
        (torch.ones(10, 48, dtype=torch.float16), "must be float32"),
        (torch.ones(480), "must have shape"),
    ],
)
def test_weights_of_another_kind_are_refused(tensor, reason):
    with pytest.raises(InvalidNetwork, match=reason):
        judged(network(FLAT, HEAD), w0=tensor)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weight_that_is_not_finite_is_refused(value):
    weights = torch.ones(10, 48)
    weights[3, 7] = value

    with pytest.raises(InvalidNetwork) as raised:
        judged(network(FLAT, HEAD), w0=weights)

    assert raised.value.cause is Outcome.NAN


@pytest.mark.parametrize("data", [b"", b"\x80\x04.", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_weights_that_are_no_safetensors_are_refused(data):
    with pytest.raises(InvalidNetwork, match="weights must be"):
        validate(dumps(network(FLAT, HEAD)), data, LIMITS, SHAPE, 10)


def test_weights_beyond_those_of_the_graph_are_refused():
    with pytest.raises(InvalidNetwork, match="must be those of the graph"):
        judged(network(FLAT, HEAD), extra=torch.ones(1))


# --- what costs, and what can be smuggled in ------------------------------------------------------


def test_cost_that_is_quadratic_in_the_batch_is_refused():
    """A second look at it, should the images' lanes ever be lost."""
    small, large, least = (
        Shapes(
            results=(),
            output=torch.empty(0),
            flops=flops,
            activation_bytes=4 * flops,
            largest_bytes=0,
            live_bytes=0,
        )
        for flops in (25, 121, 1)
    )

    with pytest.raises(InvalidNetwork, match="multiply-adds must grow linearly with the batch"):
        _check_line(small, large, least)


def masked(size: int):
    """A constant of (size, 48) numbers, of which a weighted sum is used."""
    return graph(
        op("reshape.default", X, (B, 48)),
        op("mean.dim", W(1), (0,)),
        op("mul.Tensor", n(0), n(1)),
        op("linear.default", n(2), W(0)),
        weights=((10, 48), (size, 48)),
        frozen=1,
    )


def test_constants_may_say_as_much_as_a_source():
    assert judged_freely(masked(341), w0=torch.randn(341, 48)).measures.num_parameters == 480


def test_constants_beyond_a_source_are_refused():
    with pytest.raises(InvalidNetwork, match="not trained may hold at most 65536 bytes"):
        judged_freely(masked(400), w0=torch.randn(400, 48))


def test_large_mask_of_ones_says_little():
    assert judged_freely(masked(6000)).measures.num_parameters == 480


def test_information_is_bounded_by_the_setting():
    limits = GraphLimits(max_source_bytes=1024)

    with pytest.raises(InvalidNetwork, match="may hold at most 1024 bytes"):
        judged_freely(masked(6), limits, w0=torch.randn(6, 48))


def test_compression_stops_early(monkeypatch):
    seen = []

    class Packer:
        def compress(self, piece):
            seen.append(len(piece))
            return b"x" * len(piece)

    monkeypatch.setattr(validate_module.zlib, "compressobj", lambda level: Packer())

    assert not validate_module._compresses([torch.zeros(1 << 20)], 64 << 10)
    assert len(seen) == 2


def test_running_statistics_may_not_be_read_as_numbers():
    norm = op("batch_norm.default", n(1), None, None, W(1), W(2), True, 0.1, 1e-5, True)
    made = head(norm, op("add.Tensor", n(2), W(1)), weights=((10,), (10,)), frozen=2)

    with pytest.raises(InvalidNetwork, match="and nothing else"):
        judged_freely(made)


def test_mean_may_not_be_another_norms_variance():
    first = op("batch_norm.default", n(1), None, None, W(1), W(2), True, 0.1, 1e-5, True)
    second = op("batch_norm.default", n(2), None, None, W(2), W(1), True, 0.1, 1e-5, True)

    with pytest.raises(InvalidNetwork, match="and nothing else"):
        judged_freely(head(first, second, weights=((10,), (10,)), frozen=2))


def test_shared_norm_is_accepted():
    norms = [op("batch_norm.default", n(k), None, None, W(1), W(2), True, 0.1, 1e-5, True) for k in (1, 2)]

    assert judged_freely(head(*norms, weights=((10,), (10,)), frozen=2))


def test_scores_of_fused_attention_count_as_activations():
    made = head(
        op("reshape.default", X, (B, 48, 1)),
        op("scaled_dot_product_attention.default", n(2), n(2), n(2)),
        op("mean.dim", n(3), (1,)),
        op("add.Tensor", n(1), n(4)),
    )

    valid = judged_freely(made)

    assert valid.activation_bytes == 4 * (10 + 48 + 2 * 48 * 48 + 1 + 10)


def test_gates_of_recurrent_layers_count_as_activations():
    made = graph(
        op("reshape.default", X, (B, 6, 8)),
        op("new_full.default", X, (1, B, 10), 0.0),
        op("gru.input", n(0), n(1), (W(0), W(1)), False, 1, 0.0, True, False, True),
        op("select.int", n(2, 0), 1, 5),
        weights=((30, 8), (30, 10)),
    )

    assert judged_freely(made).activation_bytes == 4 * (10 + 60 + 10 + 6 * 10 * 5)
