"""Multiply-adds are exact on thirteen networks that were counted by hand."""

import pytest
import safetensors.torch
import torch

from llmatic_daemon.worker.graph.validation import GraphLimits, validate
from llmatic_daemon.worker.lifting.export import export
from tests.support.flop_battery import BATTERY


@pytest.mark.parametrize("name", sorted(BATTERY))
def test_flops_are_exact(name):
    source, exact = BATTERY[name]
    torch.manual_seed(0)
    exported = export(source, "Net", (3, 32, 32), 10)

    weights = safetensors.torch.save(exported.weights)
    valid = validate(exported.graph, weights, GraphLimits(), (3, 32, 32), 10)

    assert valid.measures.flops == exact
