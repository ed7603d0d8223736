"""The weights that a training begins with: whose they are, and how they are drawn."""

import pytest
import safetensors.torch
import torch
from torch import nn

from llmatic_daemon.worker.graph.validation import GraphLimits, Validated, validate
from llmatic_daemon.worker.lifting.export import export
from llmatic_daemon.worker.training.initial_weights import begin
from tests.support.graphs import B, W, X, graph, judged, n, op
from tests.support.network_sources import network

NORMED = graph(
    op("batch_norm.default", X, W(1), W(2), W(3), W(4), True, 0.1, 1e-5, True),
    op("reshape.default", n(0), (B, 48)),
    op("linear.default", n(1), W(0)),
    weights=((10, 48), (3,), (3,), (3,), (3,)),
    frozen=2,
)

#: Layers, and how an image of 3 x 32 x 32 reaches them.
LAYERS = {
    "conv": ("nn.Conv2d(3, 64, 5)", "y = self.l(x).mean((2, 3))", 64),
    "grouped": ("nn.Conv2d(3, 96, 5, groups=3)", "y = self.l(x).mean((2, 3))", 96),
    "transposed": ("nn.ConvTranspose2d(3, 64, 5)", "y = self.l(x).mean((2, 3))", 64),
    "linear": ("nn.Linear(96, 128)", "y = self.l(x.permute(0, 2, 1, 3).flatten(2)).mean(1)", 128),
    "lstm": (
        "nn.LSTM(96, 48, batch_first=True)",
        "y = self.l(x.permute(0, 2, 1, 3).flatten(2))[0][:, -1]",
        48,
    ),
    "gru": (
        "nn.GRU(96, 48, 2, batch_first=True, bidirectional=True)",
        "y = self.l(x.permute(0, 2, 1, 3).flatten(2))[0][:, -1]",
        96,
    ),
    "batch norm": ("nn.BatchNorm2d(3)", "y = self.l(x).flatten(1)", 3072),
    "group norm": ("nn.GroupNorm(1, 3)", "y = self.l(x).flatten(1)", 3072),
    "layer norm": ("nn.LayerNorm(32)", "y = self.l(x).flatten(1)", 3072),
    "bilinear": (
        "nn.Bilinear(96, 96, 20)",
        "z = x.permute(0, 2, 1, 3).flatten(2).mean(1)\ny = self.l(z, z)",
        20,
    ),
    "prelu": ("nn.PReLU(3)", "y = self.l(x).flatten(1)", 3072),
}


def lifted(source: str) -> Validated:
    torch.manual_seed(0)
    exported = export(source, "Net", (3, 32, 32), 10)
    weights = safetensors.torch.save(exported.weights)
    return validate(exported.graph, weights, GraphLimits(), (3, 32, 32), 10)


def test_running_statistics_are_the_trainers_whatever_the_lifter_says():
    valid = judged(NORMED, w2=torch.full((3,), 7.0), w3=torch.full((3,), 1e6))

    kept = begin(valid, 1, reseed=False)

    assert kept["w2"].tolist() == [0, 0, 0]
    assert kept["w3"].tolist() == [1, 1, 1]


def test_weights_are_kept_unless_they_are_drawn_anew():
    valid = judged(NORMED, w4=torch.full((10, 48), 0.5))

    assert torch.equal(begin(valid, 1, reseed=False)["w4"], valid.weights["w4"])
    assert not torch.equal(begin(valid, 1, reseed=True)["w4"], valid.weights["w4"])


def test_constants_are_kept_by_a_new_draw():
    made = graph(
        op("reshape.default", X, (B, 48)),
        op("mul.Tensor", n(0), W(1)),
        op("linear.default", n(1), W(0)),
        weights=((10, 48), (48,)),
        frozen=1,
    )
    valid = judged(made, w0=torch.arange(48.0))

    assert begin(valid, 1, reseed=True)["w0"].tolist() == list(range(48))


def test_same_seed_draws_the_same_bits():
    valid = judged(NORMED)

    one, same, other = (begin(valid, seed, reseed=True) for seed in (1, 1, 2))

    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["w4"], other["w4"])


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_new_draw_is_distributed_as_torchs_own(name):
    """Bounds within 5 %, mean and deviation within 10 % of a bound, of thousands of numbers."""
    layer, forward, width = LAYERS[name]
    valid = lifted(
        network(f"self.l = {layer}\nself.f = nn.Linear({width}, 10)", f"{forward}\nreturn self.f(y)")
    )
    own = [
        value for number, value in enumerate(valid.weights.values()) if valid.graph.weights[number].trainable
    ]
    drawn = begin(valid, 5, reseed=True)
    new = [drawn[f"w{number}"] for number, weight in enumerate(valid.graph.weights) if weight.trainable]

    for ours, theirs in zip(new, own, strict=True):
        scale = float(theirs.abs().max())
        few = ours.numel() < 500
        assert float(ours.abs().max()) == pytest.approx(scale, rel=0.7 if few else 0.05)
        assert float(ours.mean()) == pytest.approx(float(theirs.mean()), abs=scale * (0.5 if few else 0.1))
        if ours.numel() > 1 and not few:
            assert float(ours.std()) == pytest.approx(float(theirs.std()), abs=0.1 * scale)


def test_positions_and_tokens_are_small_and_scales_are_one():
    valid = lifted(
        network(
            "self.t = nn.Parameter(torch.ones(1, 1, 96))\nself.p = nn.Parameter(torch.ones(1, 33, 96))\n"
            "self.g = nn.Parameter(torch.zeros(96))\nself.b = nn.Parameter(torch.ones(96))\nself.f = nn.Linear(96, 10)",
            "x = x.permute(0, 2, 1, 3).flatten(2)\nx = torch.cat([self.t.expand(x.shape[0], -1, -1), x], 1)\n"
            "return self.f(((x + self.p) * self.g + self.b).mean(1))",
        )
    )
    drawn = list(begin(valid, 5, reseed=True).values())

    by_shape = {tuple(value.shape): value for value in drawn[:2]}
    assert float(by_shape[(1, 1, 96)].std()) == pytest.approx(0.02, rel=0.3)
    assert float(by_shape[(1, 33, 96)].std()) == pytest.approx(0.02, rel=0.1)
    assert drawn[2].unique().tolist() == [1.0]
    assert drawn[3].unique().tolist() == [0.0]
    assert nn.Linear(96, 10).weight.abs().max() <= 1 / 96**0.5
