"""Multiply-adds are exact on thirteen networks that were counted by hand."""

import pytest
import safetensors.torch
import torch
from flop_battery import BATTERY

from llmatic_daemon.worker.export import export
from llmatic_daemon.worker.validate import Limits, validate


@pytest.mark.parametrize("name", sorted(BATTERY))
def test_flops_are_exact(name):
    source, exact = BATTERY[name]
    torch.manual_seed(0)
    exported = export(source, "Net", (3, 32, 32), 10)

    weights = safetensors.torch.save(exported.weights)
    valid = validate(exported.graph, weights, Limits(), (3, 32, 32), 10)

    assert valid.measures.flops == exact
