"""What the trainer process does with a configuration and with a network, without the process."""

import io
from typing import Any

import pytest
import safetensors.torch
import torch

from llmatic_daemon.worker.lifting.export import export
from llmatic_daemon.worker.training import train_server
from llmatic_daemon.worker.training.datasets import DataError
from llmatic_daemon.worker.training.recipes import RecipeError

SOURCE = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
"""
#: 3 x 3 x 4 weights at 6 x 6 positions, and 144 x 10.
MEASURES = {"num_parameters": 1498, "flops": 2736, "width": 10, "depth": 2}
CONFIGURATION: dict[str, Any] = {
    "device": "cpu",
    "threads": 1,
    "data": {"name": "digits", "num_train": 90},
    "recipe": {"preset": "fast", "epochs": 2, "batch_size": None},
    "limits": {"max_parameters": 100_000},
    "timeout_s": 60.0,
}


@pytest.fixture(scope="module")
def setup() -> train_server.Setup:
    return train_server.set_up(CONFIGURATION)


@pytest.fixture(scope="module")
def network() -> tuple[bytes, bytes]:
    torch.manual_seed(0)
    exported = export(SOURCE, "Net", (1, 8, 8), 10)
    return exported.graph, safetensors.torch.save(exported.weights)


def never_asked() -> bool:
    raise AssertionError("there is no look")


def _asked(**more: Any) -> dict[str, Any]:
    return {
        "seed": 3,
        "epochs": None,
        "keep_weights": False,
        "measures": MEASURES,
        "order": [],
        "rung_ratio": None,
        **more,
    }


def test_ready_describes_the_data_set(setup):
    assert train_server.ready(setup) == {
        "name": "digits",
        "input_shape": [1, 8, 8],
        "num_classes": 10,
        "num_train": 90,
        "num_validation": 10,
        "num_test": 359,
    }


def test_a_network_is_answered_by_epochs_and_a_report(setup, network):
    said = list(train_server.answer(setup, _asked(), *network, never_asked))

    numbers = [header["epoch"]["number"] for header, _ in said[:-1]]
    report = said[-1][0]["report"]
    assert numbers == [0, 1, 2]
    assert said[0][0]["epoch"] == {"number": 0, "num_epochs": 2, "train_loss": None, "accuracy": None}
    assert [point[0] for point in report["curve"]] == [1, 2]
    assert report["objective"] == report["curve"][-1][2]
    assert said[-1][1] == []


def test_network_that_is_looked_at_goes_on_as_if_nobody_had_looked(setup, network):
    plain = list(train_server.answer(setup, _asked(epochs=4), *network, never_asked))
    looked = list(train_server.answer(setup, _asked(epochs=4, rung_ratio=0.5), *network, lambda: True))

    assert [header.get("at_rung", False) for header, _ in looked[:-1]] == [False, False, True, False, False]
    report = looked[-1][0]["report"]
    assert report["rung_accuracy"] == report["curve"][1][2]
    assert plain[-1][0]["report"]["rung_accuracy"] is None
    assert report["curve"] == plain[-1][0]["report"]["curve"]
    assert report["test_loss"] == plain[-1][0]["report"]["test_loss"]


def test_network_that_promises_too_little_is_not_trained_on(setup, network):
    said = list(train_server.answer(setup, _asked(epochs=4, rung_ratio=0.25), *network, lambda: False))

    *_, (epoch, _), (last, blobs) = said
    assert epoch["at_rung"]
    assert epoch["epoch"]["number"] == 1
    assert last == {"stopped": {"rung_accuracy": epoch["epoch"]["accuracy"], "cost": 0.25}}
    assert blobs == []


@pytest.mark.parametrize(("ratio", "epochs"), [(0.9, 1), (0.99, 4), (None, 4), (0.5, 0)])
def test_there_is_no_look_where_nothing_would_be_saved(setup, network, ratio, epochs):
    said = list(train_server.answer(setup, _asked(epochs=epochs, rung_ratio=ratio), *network, never_asked))

    assert not any("at_rung" in header for header, _ in said)
    assert said[-1][0]["report"]["rung_accuracy"] is None


def test_the_same_request_gives_the_same_answer(setup, network):
    first, second = (
        list(train_server.answer(setup, _asked(), *network, never_asked))[-1][0] for _ in range(2)
    )

    for said in (first, second):
        said["report"].pop("train_s")
    assert first == second


def test_weights_are_kept_when_asked(setup, network):
    graph, weights = network

    *_, (_, blobs) = train_server.answer(setup, _asked(keep_weights=True), graph, weights, never_asked)

    kept, before = safetensors.torch.load(blobs[0]), safetensors.torch.load(weights)
    assert {name: value.shape for name, value in kept.items()} == {
        name: value.shape for name, value in before.items()
    }
    assert not torch.equal(kept["w0"], before["w0"])


def test_no_epochs_measure_the_untrained_network(setup, network):
    said = [header for header, _ in train_server.answer(setup, _asked(epochs=0), *network, never_asked)]

    assert [next(iter(header)) for header in said] == ["epoch", "report"]


def test_measures_that_the_lifter_made_up_are_a_failure(setup, network):
    *_, (said, _) = train_server.answer(
        setup, _asked(measures={**MEASURES, "flops": 1}), *network, never_asked
    )

    assert said["failure"]["cause"] == "invalid_graph"
    assert "flops=2736" in said["failure"]["detail"]


@pytest.mark.parametrize("broken", [(b"{}", b""), (b"\xff", b"x")])
def test_a_graph_that_is_none_is_a_failure(setup, broken):
    *_, (said, _) = train_server.answer(setup, _asked(), *broken, never_asked)

    assert said["failure"]["cause"] == "invalid_graph"


def test_weights_that_do_not_fit_are_a_failure(setup, network):
    weights = safetensors.torch.save({"w0": torch.zeros(3)})

    *_, (said, _) = train_server.answer(setup, _asked(), network[0], weights, never_asked)

    assert said["failure"]["cause"] == "invalid_graph"


def test_a_training_that_fails_is_a_failure_with_its_cause(setup, network):
    weights = safetensors.torch.load(network[1])
    weights["w0"] = weights["w0"].fill_(1e38)

    *_, (said, _) = train_server.answer(
        setup, _asked(), network[0], safetensors.torch.save(weights), never_asked
    )

    assert said["failure"]["cause"] == "nan"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"data": {"name": "digit"}}, DataError, "did you mean 'digits'"),
        ({"data": {"nam": "digits"}}, train_server.SetupError, "unknown data set setting 'nam'"),
        ({"recipe": {"preset": "slow"}}, RecipeError, "recipe must be one of"),
        ({"recipe": {"epoch": 1}}, RecipeError, "did you mean 'epochs'"),
        ({"limits": {"max_parameter": 1}}, train_server.SetupError, "unknown limit setting"),
        ({"device": "gpu"}, train_server.SetupError, "device 'gpu' must be usable here"),
    ],
)
def test_a_configuration_that_cannot_be_followed_says_why(change, error, message):
    with pytest.raises(error, match=message):
        train_server.set_up({**CONFIGURATION, **change})


def test_requests_are_read_in_order():
    first, second = train_server.frames.encode({"a": 1}), train_server.frames.encode({"b": 2}, b"blob")

    class Open(io.BytesIO):
        """A pipe that stays open after its last frame."""

        def read(self, size: int | None = -1) -> bytes:
            content = super().read(size)
            if not content:
                train_server.threading.Event().wait()
            return content

    requests = train_server._requests(Open(first + second))

    assert next(requests) == ({"a": 1}, [])
    assert next(requests) == ({"b": 2}, [b"blob"])
