"""Arguments of operations: each out of its range is refused, in one line that says the range."""

import math

import pytest

from llmatic_daemon.worker.graph.nodes import Input
from llmatic_daemon.worker.graph.validation import InvalidNetwork
from tests.support.graphs import HEAD, B, W, X, graph, head, judged, n, op


def conv(*args, shape=(48, 3, 1, 1)):
    """A convolution with arguments, before the head."""
    return graph(
        op("conv2d.default", X, W(0), None, *args),
        op("mean.dim", n(0), (2, 3)),
        op("linear.default", n(1), W(1)),
        weights=(shape, (10, 48)),
    )


def norm(momentum=0.1, eps=1e-5):
    return head(
        op("batch_norm.default", n(1), None, None, W(1), W(2), True, momentum, eps, True),
        weights=((10,), (10,)),
        frozen=2,
    )


REFUSED = {
    "dropout of all": (head(op("dropout.default", n(1), 1.0, True)), "p must be in [0, 1], got 1.0"),
    "dropout below 0": (head(op("dropout.default", n(1), -0.5, True)), "p must be in"),
    "eps of 0": (norm(eps=0.0), "eps must be in [1e-20, 1], got 0.0"),
    "eps below 0": (norm(eps=-1e-5), "eps must be in"),
    "momentum above 1": (norm(momentum=1.5), "momentum must be in [0, 1], got 1.5"),
    "stride 0": (conv((0, 1)), "stride must be in [1, 1024], got 0"),
    "stride below 0": (conv((1, -1)), "stride must be in"),
    "huge stride": (conv((1 << 30, 1)), "stride must be in"),
    "dilation 0": (conv((1, 1), (0, 0), (0, 1)), "dilation must be in"),
    "huge padding": (conv((1, 1), (1 << 20, 0)), "padding must be in [0, 4096], got 1048576"),
    "no groups": (conv((1, 1), (0, 0), (1, 1), 0), "groups must be in"),
    "a stride that grows with the batch": (conv((1, B)), "batch size as a number"),
    "huge pad": (head(op("constant_pad_nd.default", n(1), (1 << 30, 0))), "pad must be in"),
    "no copies": (head(op("repeat.default", n(1), (1, 0))), "repeats must be in"),
    "huge number of copies": (head(op("repeat.default", n(1), (1, 1 << 30))), "repeats must be in"),
    "a dimension far away": (head(op("softmax.int", n(1), 1 << 40)), "dim must be in [-16, 15]"),
    "another word": (head(op("gelu.default", n(1), "erf")), "approximate must be one of none, tanh"),
    "a word too long": (head(op("einsum.default", "i" * 1000, (n(1),))), "equation must be"),
    "an infinite factor": (head(op("mul.Scalar", n(1), math.inf)), None),
    "an infinite slope": (head(op("leaky_relu.default", n(1), math.inf)), "negative_slope must be"),
    "hundreds of layers": (
        graph(
            op("reshape.default", X, (B, 3, 16)),
            op("new_full.default", X, (1, B, 10), 0.0),
            op("gru.input", n(0), n(1), (W(0), W(1)), False, 1 << 20, 0.0, True, False, True),
            op("select.int", n(2, 0), 1, 0),
            weights=((30, 16), (30, 10)),
        ),
        "num_layers must be in",
    ),
}


@pytest.mark.parametrize("name", sorted(name for name, (_, why) in REFUSED.items() if why))
def test_argument_out_of_its_range_is_refused(name):
    made, reason = REFUSED[name]

    with pytest.raises(InvalidNetwork) as raised:
        judged(made)

    assert reason in raised.value.detail
    assert "\n" not in raised.value.detail


@pytest.mark.parametrize(
    "made",
    [
        head(op("dropout.default", n(1), 0.9, True)),
        norm(momentum=1.0, eps=1.0),
        conv((2, 2), (1, 1), (1, 1), 3, shape=(48, 1, 1, 1)),
        head(op("clamp.default", n(1), -math.inf, math.inf)),
    ],
)
def test_argument_at_the_end_of_its_range_is_accepted(made):
    assert judged(made).graph.input_shape == (3, 4, 4)


def test_mask_may_be_infinite():
    made = head(op("gt.Scalar", n(1), 0), op("masked_fill.Scalar", n(1), n(2), -math.inf))

    assert isinstance(judged(made).graph.nodes[0].args[0], Input)
    assert made.nodes[1] == HEAD
