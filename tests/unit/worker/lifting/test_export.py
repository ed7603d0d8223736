"""From source to graph: honest networks train as they did, the same network has one spelling."""

import copy
import functools

import pytest
import torch
from torch import nn

from llmatic_daemon.worker.graph.serialization import build, loads
from llmatic_daemon.worker.lifting.export import ExportedNetwork, ExportError, describe, export
from llmatic_daemon.worker.lifting.translate import Translator
from tests.support.network_sources import BROKEN, DENSE, HEADER, HONEST, network

SHAPE = (3, 32, 32)


@functools.cache
def lift(source: str, seed: int = 0) -> ExportedNetwork:
    torch.manual_seed(seed)
    return export(source, "Net", SHAPE, 10)


def eager(source: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    names: dict[str, type[nn.Module]] = {}
    exec(source, names)
    network = names["Net"]().train()
    if any(nn.parameter.is_lazy(each) for each in network.parameters()):
        torch.randn(4, *SHAPE)  # as the lifter draws, before it tries a forward pass
        network.eval()(torch.randn(4, *SHAPE))
    return network.train()


def losses(module: nn.Module, num_steps: int = 3) -> list[float]:
    """Train a few steps with the same seeds and data."""
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9)
    seen = []
    for step in range(num_steps):
        torch.manual_seed(step)
        images, labels = torch.randn(7, *SHAPE), torch.randint(0, 10, (7,))
        loss = nn.functional.cross_entropy(module(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(loss.item())
    return seen


@pytest.mark.parametrize("name", [name for name in HONEST if name != "lazy"])
def test_lifted_network_trains_bit_identically(name):
    rebuilt, original = _both(HONEST[name])

    assert losses(rebuilt) == losses(original)
    assert _statistics(rebuilt) == _statistics(original)


def _both(source: str) -> tuple[nn.Module, nn.Module]:
    exported = lift(source)
    return build(loads(exported.graph), exported.weights), eager(source)


def _statistics(module: nn.Module) -> list[list[float]]:
    floats = [each for each in module.buffers() if each.dtype is torch.float32]
    return sorted(each.tolist() for each in floats)


@pytest.mark.parametrize("name", sorted(HONEST))
def test_lifted_network_works_for_any_batch_size(name):
    exported = lift(HONEST[name])
    rebuilt = build(loads(exported.graph), exported.weights).eval()

    assert [rebuilt(torch.randn(n, *SHAPE)).shape for n in (1, 2, 9)] == [(1, 10), (2, 10), (9, 10)]


def test_lifted_network_works_with_channels_last():
    exported = lift(HONEST["initial"])
    rebuilt = build(loads(exported.graph), exported.weights)
    images = torch.randn(4, *SHAPE)

    output = rebuilt(images.contiguous(memory_format=torch.channels_last))

    assert torch.allclose(output, rebuilt(images), atol=1e-5)


def test_evaluation_uses_running_statistics_and_no_dropout():
    exported = lift(
        network(
            "self.b = nn.BatchNorm2d(3)\nself.d = nn.Dropout(0.5)\nself.f = nn.Linear(3072, 10)",
            "return self.f(self.d(self.b(x)).flatten(1))",
        )
    )
    rebuilt = build(loads(exported.graph), exported.weights).eval()
    images = torch.randn(4, *SHAPE)

    assert torch.equal(rebuilt(images), rebuilt(images))
    assert torch.allclose(rebuilt(images)[:1], rebuilt(images[:1]), atol=1e-6)


def test_norm_without_statistics_uses_the_batch_in_evaluation_too():
    source = network(
        "self.b = nn.BatchNorm2d(3, track_running_stats=False)\nself.f = nn.Linear(3072, 10)",
        "return self.f(self.b(x).flatten(1))",
    )
    rebuilt, original = _both(source)
    images = torch.randn(4, *SHAPE)

    assert torch.equal(rebuilt.eval()(images), original.eval()(images))


def test_dropout_outside_the_training_flag_stays_as_the_source_says():
    exported = lift(
        network("self.f = nn.Linear(3072, 10)", "return self.f(F.dropout(x, 0.5, training=False).flatten(1))")
    )

    assert b"dropout" not in exported.graph


def test_shared_weights_stay_shared():
    exported = lift(HONEST["shared"])

    assert len(exported.weights) == 4
    assert exported.graph.count(b'{"value":"w0"}') == 2


SAME = {
    "names and order": network(
        "self.last = nn.Linear(16, 10)\nself.norm = nn.BatchNorm2d(16)\nself.first = nn.Conv2d(3, 16, 3)",
        "y = self.first(x)\ny = F.relu(self.norm(y))\ny = F.adaptive_avg_pool2d(y, 1)\n"
        "return self.last(y.view(y.size(0), -1))",
    ),
    "modules": network(
        "self.c = nn.Conv2d(3, 16, 3)\nself.b = nn.BatchNorm2d(16)\nself.r = nn.ReLU()\n"
        "self.p = nn.AdaptiveAvgPool2d(1)\nself.f = nn.Linear(16, 10)",
        "return self.f(torch.flatten(self.p(self.r(self.b(self.c(x)))), 1))",
    ),
    "in place, squeezed": network(
        "self.c = nn.Conv2d(3, 16, 3)\nself.b = nn.BatchNorm2d(16)\nself.r = nn.ReLU(inplace=True)\n"
        "self.f = nn.Linear(16, 10)",
        "y = self.r(self.b(self.c(x))).clone().contiguous()\n"
        "y = F.adaptive_avg_pool2d(y, (1, 1)).squeeze(-1).squeeze(-1)\nreturn self.f(y)",
    ),
    "unused layers": network(
        "self.u = nn.Linear(5, 5)\nself.c = nn.Conv2d(3, 16, 3)\nself.b = nn.BatchNorm2d(16)\n"
        "self.v = nn.Dropout(0.0)\nself.f = nn.Linear(16, 10)",
        "unused = torch.randn(3)\ndead = self.f.weight * 2\n"
        "y = self.v(F.relu(self.b(self.c(x))))\nreturn self.f(F.adaptive_avg_pool2d(y, 1)[:, :, 0, 0])".replace(
            "[:, :, 0, 0]", ".reshape(-1, 16)"
        ),
    ),
}


def test_graph_is_the_same_for_every_source_of_a_network():
    graphs = {name: lift(source).graph for name, source in SAME.items()}

    assert len(set(graphs.values())) == 1, graphs


def test_graph_differs_for_another_network():
    other = SAME["modules"].replace("nn.ReLU()", "nn.GELU()")

    assert lift(other).graph != lift(SAME["modules"]).graph


def test_embedding_of_positions_is_its_weight():
    head = "\nself.f = nn.Linear(32, 10)"
    forward = "return self.f((x[:, 0] + {}).mean(1))"
    looked_up = network("self.e = nn.Embedding(32, 32)" + head, forward.format("self.e(torch.arange(32))"))
    plain = network("self.e = nn.Parameter(torch.randn(32, 32))" + head, forward.format("self.e"))

    assert lift(looked_up).graph == lift(plain).graph


def test_graph_does_not_depend_on_the_seed_but_weights_do():
    first, second = lift(DENSE, seed=1), lift(DENSE, seed=2)

    assert first.graph == second.graph
    assert not torch.equal(first.weights["w0"], second.weights["w0"])


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_broken_source_is_told_in_one_line(name):
    source, reason = BROKEN[name]

    with pytest.raises(BaseException) as raised:  # noqa: PT011 - a candidate may raise anything
        lift(source)

    assert reason in describe(raised.value)
    assert "\n" not in describe(raised.value)


def test_graph_that_computes_something_else_is_refused(monkeypatch):
    """Export is wrong at times, silently; then the comparison with the module must tell."""
    translate = Translator.translate

    def wrong(self):
        translation = translate(self)
        translation.tensors[0].data = torch.zeros_like(translation.tensors[0])
        return translation

    monkeypatch.setattr(Translator, "translate", wrong)

    with pytest.raises(ExportError, match="does not compute what the module does"):
        lift.__wrapped__(DENSE)


def test_candidate_line_is_that_of_the_candidate():
    source = f"{HEADER}def helper(x):\n    return x.no_such_method()\nclass Net(nn.Module):\n    def forward(self, x):\n        return helper(x)\n"

    with pytest.raises(AttributeError) as raised:
        lift(source)

    assert describe(raised.value).endswith("(line 6)")


def test_copy_of_a_rebuilt_network_is_independent():
    exported = lift(DENSE)
    rebuilt = build(loads(exported.graph), exported.weights)

    copied = copy.deepcopy(rebuilt)
    copied.get_parameter("w0").data.zero_()

    assert rebuilt.get_parameter("w0").abs().sum() > 0
