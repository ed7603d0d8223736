"""The trainer cannot be cheated: what a hand-written graph may try, and what comes of it."""

from dataclasses import asdict, replace
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from llmatic_daemon.domain import Outcome
from llmatic_daemon.worker.graph.nodes import Graph, Node, NodeResult, Weight, canonical
from llmatic_daemon.worker.graph.serialization import build, dumps
from llmatic_daemon.worker.graph.validation import GraphLimits, validate
from llmatic_daemon.worker.training import loop, memory, recipes, train_server
from llmatic_daemon.worker.training.datasets import DataSet, Split
from llmatic_daemon.worker.training.loop import Deadline, TrainingRun, measure
from tests.support.graphs import B, W, X, judged, n, op

RECIPE = recipes.Recipe(epochs=2, batch_size=8, learning_rate=0.05)
NODES = (
    op("reshape.default", X, (B, 48)),
    op("batch_norm.default", n(0), None, None, W(1), W(2), True, 0.1, 1e-5, True),
    op("dropout.default", n(1), 0.5, True),
    op("linear.default", n(2), W(0)),
)


def made(*nodes: Node) -> Graph:
    weights = (
        Weight(shape=(10, 48), trainable=True),
        Weight(shape=(48,), trainable=False),
        Weight(shape=(48,), trainable=False),
    )
    return canonical(
        Graph(input_shape=(3, 4, 4), weights=weights, nodes=nodes, output=NodeResult(len(nodes) - 1))
    ).graph


def split(count: int, seed: int) -> Split:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn((count, 4, 4, 3), generator=generator)
    return Split(images=images, labels=torch.arange(count) * 10 // count)


DATA = DataSet(name="made up", num_classes=10, train=split(60, 0), validation=split(40, 1), test=split(50, 2))
SETUP = train_server.Setup(
    device=torch.device("cpu"),
    data=DATA,
    recipe=RECIPE,
    limits=GraphLimits(),
    initial_weights="keep",
    timeout_s=60.0,
)


def trained(setup: train_server.Setup = SETUP, **weights: torch.Tensor) -> dict[str, Any]:
    """Train the graph as the trainer is asked to; the last answer."""
    graph = made(*NODES)
    given = {f"w{k}": torch.ones(w.shape) for k, w in enumerate(graph.weights)} | weights
    data = safetensors.torch.save(given)
    measures = asdict(validate(dumps(graph), data, GraphLimits(), (3, 4, 4), 10).measures)
    asked = {
        "seed": 1,
        "epochs": None,
        "keep_weights": False,
        "measures": measures,
        "order": [],
        "rung_ratio": None,
    }
    *_, (said, _) = train_server.answer(setup, asked, dumps(graph), data, lambda: True)
    if "report" in said:
        said["report"].pop("train_s")
    return said


def test_running_statistics_that_the_lifter_made_up_change_nothing():
    honest = trained()
    forged = trained(w0=torch.randn(48) * 1e3, w1=torch.rand(48) * 1e6)

    assert forged == honest


def test_reseeded_training_does_not_know_the_candidates_weights():
    setup = replace(SETUP, initial_weights="reseed")

    assert trained(setup, w2=torch.randn(10, 48)) == trained(setup, w2=torch.zeros(10, 48))
    assert trained(w2=torch.randn(10, 48)) != trained(w2=torch.zeros(10, 48))


def test_network_is_given_images_and_nothing_else():
    """Labels never enter: all that a forward pass ever gets is one tensor of images."""
    seen: list[tuple[Any, ...]] = []

    class Looks(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = build(
                made(*NODES), {f"w{k}": torch.ones(s) for k, s in enumerate([(48,), (48,), (10, 48)])}
            )

        def forward(self, *args):
            seen.append(args)
            return self.inner(*args)

    run = TrainingRun(Looks(), DATA, RECIPE, seed=0, timeout_s=60.0)
    list(run.epochs())
    run.result()

    assert all(len(args) == 1 and args[0].shape[1:] == (3, 4, 4) for args in seen)


def test_scores_do_not_depend_on_order_or_size_of_the_batches():
    network = build(made(*NODES), {"w0": torch.zeros(48), "w1": torch.ones(48), "w2": torch.randn(10, 48)})
    test = DATA.test
    order = torch.randperm(len(test))
    mixed = Split(images=test.images[order], labels=test.labels[order])

    scores = [
        measure(network, each, RECIPE, Deadline(60.0), at_once)
        for each in (test, mixed)
        for at_once in (1, 7, 50)
    ]

    assert len({accuracy for accuracy, _ in scores}) == 1
    assert all(loss == pytest.approx(scores[0][1], rel=1e-5) for _, loss in scores)


def test_measuring_leaves_no_trace_in_the_network():
    network = build(made(*NODES), {"w0": torch.zeros(48), "w1": torch.ones(48), "w2": torch.randn(10, 48)})
    before = {name: value.clone() for name, value in network.state_dict().items()}

    first = measure(network.train(), DATA.test, RECIPE, Deadline(60.0), 10)

    assert measure(network, DATA.test, RECIPE, Deadline(60.0), 10) == first
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


# --- memory, before the device sees the network ---------------------------------------------------


def test_network_that_does_not_fit_is_refused_before_it_is_built(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda device, limit: 1000)
    monkeypatch.setattr(train_server, "build", None)

    said = trained(replace(SETUP, memory_bytes=1 << 30))

    assert said["failure"]["cause"] == Outcome.OOM.value
    assert "in batches of 8 would take about" in said["failure"]["detail"]


def test_network_that_fits_is_trained():
    assert "report" in trained(replace(SETUP, memory_bytes=1 << 40))


def test_memory_grows_with_the_batch_and_the_weights():
    valid = judged(made(*NODES))
    sizes = [
        memory.needed_bytes(valid, replace(RECIPE, batch_size=size), loop.at_once("cpu", RECIPE, 1 << 40))
        for size in (8, 800)
    ]

    assert memory.weight_bytes(valid, RECIPE) == 8 * 576 + 8 * 480 + 8 * 480
    assert memory.weight_bytes(valid, replace(RECIPE, precision="bfloat16")) == 10 * 576 + 8 * 480 + 8 * 480
    assert sizes[0] < sizes[1] < 100 * sizes[0]
