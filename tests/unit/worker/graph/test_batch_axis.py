"""No image's output depends on another image: every way to mix a batch is refused."""

import pytest
import torch

from llmatic_daemon.worker.graph.batch_axis import BatchAxis
from llmatic_daemon.worker.graph.batch_propagation import propagate
from llmatic_daemon.worker.graph.nodes import Extent
from llmatic_daemon.worker.graph.operations import table
from llmatic_daemon.worker.graph.serialization import build, loads
from llmatic_daemon.worker.graph.shapes import infer
from llmatic_daemon.worker.graph.validation import InvalidNetwork
from llmatic_daemon.worker.lifting.export import export
from tests.support.graphs import FLAT, B, W, X, graph, head, judged, n, op
from tests.support.network_sources import HONEST, network

MIXED = {
    "mean of the batch": head(op("mean.dim", n(1), (0,), True), op("sub.Tensor", n(1), n(2))),
    "mean of everything": head(op("mean.default", n(1)), op("add.Tensor", n(1), n(2))),
    "mean that names no dimension": head(op("mean.dim", n(1), None), op("add.Tensor", n(1), n(2))),
    "softmax over the batch": head(op("softmax.int", n(1), 0)),
    "softmax over the batch from behind": head(op("softmax.int", n(1), -2)),
    "cumsum over the batch": head(op("cumsum.default", n(1), 0)),
    "largest of the batch": head(op("max.dim", n(1), 0, True), op("sub.Tensor", n(1), n(2, 0))),
    "the batch backwards": head(op("flip.default", n(1), (0,)), op("add.Tensor", n(1), n(2))),
    "the next image": head(op("roll.default", n(1), (1,), (0,)), op("add.Tensor", n(1), n(2))),
    "the next number": head(op("roll.default", n(1), (10,)), op("add.Tensor", n(1), n(2))),
    "the first image": head(op("slice.Tensor", n(1), 0, None, 1), op("add.Tensor", n(1), n(2))),
    "one image for all": head(op("select.int", n(1), 0, 0), op("add.Tensor", n(1), n(2))),
    "torn apart": head(op("permute.default", n(1), (1, 0)), op("reshape.default", n(2), (B, 10))),
    "attention across the batch": head(
        op("permute.default", n(1), (1, 0)),
        op("mm.default", n(1), n(2)),
        op("softmax.int", n(3), -1),
        op("mm.default", n(4), n(1)),
    ),
    "fused attention across the batch": head(
        op("reshape.default", n(1), (1, B, 10)),
        op("scaled_dot_product_attention.default", n(2), n(2), n(2)),
        op("reshape.default", n(3), (B, 10)),
    ),
    "a convolution over the batch": head(
        op("permute.default", n(1), (1, 0)),
        op("reshape.default", n(2), (1, 10, B)),
        op("conv1d.default", n(3), W(1), None, (1,), (1,)),
        op("reshape.default", n(4), (10, B)),
        op("permute.default", n(5), (1, 0)),
        weights=((10, 10, 3),),
    ),
    "as many groups as images, with one kernel for all": head(
        op("reshape.default", n(1), (1, Extent(10, 0), 1)),
        op("reshape.default", n(2), (10, B)),
        op("permute.default", n(3), (1, 0)),
        op("reshape.default", n(4), (1, Extent(10, 0), 1)),
        op("new_full.default", n(1), (B, 10, 1), 1.0),
        op("conv1d.default", n(5), n(6), None, (1,), (0,), (1,), B),
        op("reshape.default", n(7), (B, 1)),
        op("add.Tensor", n(1), n(8)),
    ),
    "recurrence over the batch": graph(
        FLAT,
        op("reshape.default", n(0), (1, B, 48)),
        op("gru.input", n(1), W(0), (W(1), W(2)), False, 1, 0.0, True, False, True),
        op("reshape.default", n(2, 0), (B, 10)),
        weights=((1, 1, 10), (30, 48), (30, 10)),
    ),
    "a norm over the batch": head(
        op("batch_norm.default", n(1), None, None, None, None, True, 0.1, 1e-5, True)
    ),
    "a norm of each feature": head(
        op("permute.default", n(1), (1, 0)),
        op("linalg_vector_norm.default", n(2), 2, (1,), True),
        op("div.Tensor", n(2), n(3)),
        op("permute.default", n(4), (1, 0)),
    ),
    "the product of two images": head(
        op("reshape.default", n(1), (B, 1, 10)),
        op("reshape.default", n(1), (1, B, 10)),
        op("mul.Tensor", n(2), n(3)),
        op("mean.dim", n(4), (1,)),
    ),
    "einsum over the batch": head(
        op("einsum.default", "ij,ij->j", (n(1), n(1))), op("mul.Tensor", n(1), n(2))
    ),
    "the size of the batch": head(
        op("new_full.default", X, (B, 1), 1.0),
        op("sum.dim_IntList", n(2), (0,)),
        op("mul.Tensor", n(1), n(3)),
    ),
    "rows of a weight by the size of the batch": head(
        op("slice.Tensor", W(1), 0, 0, B),
        op("sum.dim_IntList", n(2), (0,)),
        op("add.Tensor", n(1), n(3)),
        weights=((64, 10),),
    ),
    "a picture of its neighbours": graph(
        op("constant_pad_nd.default", X, (0, 0, 0, 0, 0, 0, 1, 0)),
        op("slice.Tensor", n(0), 0, 0, Extent(1, 0)),
        op("reshape.default", n(1), (B, 48)),
        op("linear.default", n(2), W(0)),
    ),
    "images pooled as a plane": graph(
        op("permute.default", X, (1, 2, 0, 3)),
        op("max_pool2d.default", n(0), (3, 1), (1, 1), (1, 0)),
        op("permute.default", n(1), (2, 0, 1, 3)),
        op("reshape.default", n(2), (B, 48)),
        op("linear.default", n(3), W(0)),
    ),
    "rows in another order": head(
        op("repeat.default", n(1), (2, 1)),
        op("reshape.default", n(2), (B, 20)),
        op("slice.Tensor", n(3), 1, 0, 10),
    ),
}


@pytest.mark.parametrize("name", sorted(MIXED))
def test_batch_that_is_mixed_is_refused(name):
    with pytest.raises(InvalidNetwork, match=r"image|batch"):
        judged(MIXED[name])


#: Honest ways that come close.
APART = {
    "heads in the batch": network(
        "self.f = nn.Linear(3072, 40)\nself.g = nn.Linear(40, 10)",
        "x = self.f(x.flatten(1)).view(-1, 4, 10).reshape(-1, 10)\n"
        "x = torch.softmax(x, -1).view(-1, 40)\nreturn self.g(x)",
    ),
    "steps first": network(
        "self.l = nn.LSTM(96, 8)\nself.e = nn.TransformerEncoderLayer(8, 2, 16)\nself.f = nn.Linear(8, 10)",
        "x = x.permute(2, 0, 1, 3).flatten(2)[:6]\ny, _ = self.l(x)\nreturn self.f(self.e(y)[-1])",
    ),
    "windows": network(
        "self.q = nn.Linear(3, 24)\nself.f = nn.Linear(8, 10)",
        "B = x.shape[0]\nx = self.q(x.permute(0, 2, 3, 1)).view(B, 4, 8, 4, 8, 24)\n"
        "x = x.permute(0, 1, 3, 2, 4, 5).reshape(-1, 64, 24)\nq, k, v = x.chunk(3, -1)\n"
        "a = torch.softmax(q @ k.transpose(1, 2), -1) @ v\n"
        "return self.f(a.view(B, 16, 64, 8).mean((1, 2)))",
    ),
    "a token for each image": network(
        "self.t = nn.Parameter(torch.zeros(1, 1, 96))\nself.f = nn.Linear(96, 10)",
        "x = x.permute(0, 2, 1, 3).flatten(2)\n"
        "return self.f(torch.cat([self.t.repeat(x.shape[0], 1, 1), x], 1).amax(1))",
    ),
    "a mixer": network(
        "self.p = nn.Conv2d(3, 16, 8, 8)\nself.a = nn.Linear(16, 16)\nself.n = nn.LayerNorm(16)\n"
        "self.b = nn.Linear(16, 16)\nself.f = nn.Linear(16, 10)",
        "x = self.p(x).flatten(2).transpose(1, 2)\n"
        "x = x + self.a(self.n(x).transpose(1, 2)).transpose(1, 2)\nx = x + self.b(x)\n"
        "return self.f(x.mean(1))",
    ),
    "einsum attention": network(
        "self.q = nn.Linear(96, 48)\nself.f = nn.Linear(16, 10)",
        "q, k, v = self.q(x.permute(0, 2, 1, 3).flatten(2)).chunk(3, -1)\n"
        "a = torch.einsum('bnd,bmd->bnm', q, k).softmax(-1)\n"
        "return self.f(torch.einsum('bnm,bmd->bnd', a, v).mean(1))",
    ),
    "shuffled channels": network(
        "self.c = nn.Conv2d(3, 8, 3, 2, 1)\nself.b = nn.BatchNorm2d(8)\nself.f = nn.Linear(8, 10)",
        "x = self.b(self.c(x))\nB, C, H, W = x.shape\n"
        "x = x.view(B, 2, C // 2, H, W).transpose(1, 2).reshape(B, C, H, W)\n"
        "return self.f(F.adaptive_max_pool2d(x, 1).flatten(1))",
    ),
}
LIFTED = HONEST | APART


@pytest.mark.parametrize("name", sorted(LIFTED))
def test_honest_network_keeps_its_images_apart(name):
    torch.manual_seed(0)
    exported = export(LIFTED[name], "Net", (3, 32, 32), 10)
    made = loads(exported.graph)

    assert propagate(made, infer(made, 5, 1 << 40), 5) == BatchAxis(0)
    rebuilt, images = build(made, exported.weights).eval(), torch.randn(6, 3, 32, 32)
    with torch.no_grad():
        together, alone = rebuilt(images), rebuilt(images[2:4])
    torch.testing.assert_close(together[2:4], alone, rtol=1e-4, atol=1e-4)


def test_every_operation_has_a_rule():
    from llmatic_daemon.worker.graph import batch_propagation

    assert set(table()) <= set(batch_propagation._RULES) | set(batch_propagation.CREATING_RULES)
