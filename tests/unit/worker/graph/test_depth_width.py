"""Depth and width: what is a layer, however it is written, and how many features it puts out."""

import pytest
import safetensors.torch
import torch

from llmatic_daemon.worker.graph.validation import GraphLimits, validate
from llmatic_daemon.worker.lifting.export import export
from tests.support.network_sources import network

#: Source, and its (depth, width).
LAYERS = {
    "weights on the left have rows": (
        network(
            "self.w = nn.Parameter(torch.randn(6, 3))\nself.f = nn.Linear(6 * 16, 10)",
            "x = self.w @ x[:, :, :4, :4].flatten(2)\nreturn self.f(x.flatten(1))",
        ),
        (2, 10),
    ),
    "einsum has the letters of its weights alone": (
        network(
            "self.w = nn.Parameter(torch.randn(10, 3, 32))",
            "return torch.einsum('bchw,och->bow', x, self.w).mean(2)",
        ),
        (1, 10),
    ),
    "heads of einsum are features": (
        network(
            "self.w = nn.Parameter(torch.randn(32, 4, 6))\nself.f = nn.Linear(4, 10)",
            "y = torch.einsum('bnd,dhe->bhne', x[:, 0], self.w)\nreturn self.f(y.mean((2, 3)))",
        ),
        (2, 24),
    ),
    "queries of their own": (
        network(
            "self.p = nn.Linear(32, 8)\nself.q = nn.Parameter(torch.randn(1, 1, 8))\n"
            "self.a = nn.MultiheadAttention(8, 2, batch_first=True)\nself.f = nn.Linear(8, 10)",
            "x = self.p(x[:, 0])\ny, _ = self.a(self.q.expand(x.size(0), -1, -1), x, x)\n"
            "return self.f(y[:, 0])",
        ),
        (5, 16),
    ),
    "normalised weight": (
        network(
            "self.w = nn.Parameter(torch.randn(10, 3072))",
            "return F.linear(x.flatten(1), F.normalize(self.w))",
        ),
        (1, 10),
    ),
    "cells": (
        network(
            "self.c = nn.GRUCell(96, 12)\nself.l = nn.LSTMCell(96, 7)\nself.f = nn.Linear(19, 10)",
            "rows = x.transpose(1, 2).flatten(2)\na = self.c(rows[:, 0])\n"
            "h, c = self.l(rows[:, 1])\nh, c = self.l(rows[:, 2], (h, c))\n"
            "return self.f(torch.cat([a, h], 1))",
        ),
        (4, 12),
    ),
}


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_depth_and_width_are_those_of_the_layers(name):
    source, expected = LAYERS[name]
    torch.manual_seed(0)
    exported = export(source, "Net", (3, 32, 32), 10)

    weights = safetensors.torch.save(exported.weights)
    measures = validate(exported.graph, weights, GraphLimits(), (3, 32, 32), 10).measures

    assert (measures.depth, measures.width) == expected
