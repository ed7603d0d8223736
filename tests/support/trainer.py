"""Pools of quick trainer processes that only pretend to train."""

import asyncio
import os
from collections.abc import Callable
from typing import Any

import pytest

from llmatic_daemon.adapters.processes.trainer import TrainerPool
from llmatic_daemon.domain import Failure, Measures, Network, Progress, Report, Training


def trainer_pool(*devices: str, timeout_s: float = 60.0, **more: Any) -> TrainerPool:
    data = more.pop("data", {"name": "made up"})
    return TrainerPool(
        devices=devices or ("cpu",),
        configuration={"data": data, "timeout_s": timeout_s},
        **{"module": "tests.support.trainer_child", "first_backoff_s": 0.01, "grace_s": 0.0, **more},
    )


def tiny_network(graph: bytes = b"train", weights: bytes = b"") -> Network:
    measures = Measures(num_parameters=1, flops=1, width=1, depth=1)
    return Network(graph=graph, weights=weights, measures=measures, lift_s=0.0)


class ProgressWatcher:
    """Keeps what it hears, and tells when a place is held."""

    def __init__(self) -> None:
        self.heard: list[Progress] = []
        self.holds = asyncio.Event()

    def __call__(self, progress: Progress) -> None:
        self.heard.append(progress)
        self.holds.set()


def start_training(
    pool: TrainerPool, graph: bytes = b"train", watch: Callable[[Progress], None] = lambda _: None
) -> "asyncio.Task[Report | Failure]":
    return asyncio.create_task(pool.train(tiny_network(graph), Training(seed=1), watch))


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


#: Of the real trainer: quick, on one thread.
CONFIGURATION = {
    "threads": 1,
    "data": {"name": "digits", "num_train": 400},
    "recipe": {"preset": "fast"},
    "limits": {},
    "timeout_s": 60.0,
}


def lifted_network(layers: str) -> Network:
    """Lift a network of layers for the digits data set, in this process."""
    export = pytest.importorskip("llmatic_daemon.worker.lifting.export").export
    safetensors = pytest.importorskip("safetensors.torch")
    source = (
        "from torch import nn\nclass Net(nn.Sequential):\n    def __init__(self):\n"
        f"        super().__init__({layers})\n"
    )
    exported = export(source, "Net", (1, 8, 8), 10)
    weights = safetensors.save(exported.weights)
    validate = pytest.importorskip("llmatic_daemon.worker.graph.validation")
    limits = validate.GraphLimits()
    measures = validate.validate(exported.graph, weights, limits, (1, 8, 8), 10).measures
    return Network(graph=exported.graph, weights=weights, measures=measures, lift_s=0.0)
