"""Thirteen networks and their multiply-adds by hand: for the test and for the benchmark's table."""

from tests.support.network_sources import network

_ATTENTION = network(
    "self.p = nn.Linear(96, 24)\nself.f = nn.Linear(8, 10)",
    "q, k, v = self.p(x.permute(0, 2, 1, 3).flatten(2)).view(-1, 32, 3, 2, 4)"
    ".permute(2, 0, 3, 1, 4).unbind(0)\n"
    "y = F.scaled_dot_product_attention(q, k, v)\n"
    "return self.f(y.transpose(1, 2).flatten(2).mean(1))",
)

#: Name -> (source, multiply-adds of one (3, 32, 32) image). Biases, norms, poolings: none.
BATTERY = {
    "plain convolution": (
        network(
            "self.c = nn.Conv2d(3, 8, 3, padding=1)\nself.f = nn.Linear(8 * 16 * 16, 10)",
            "return self.f(F.max_pool2d(F.relu(self.c(x)), 2).flatten(1))",
        ),
        8 * 3 * 9 * 32 * 32 + 2048 * 10,
    ),
    "functional convolution": (
        network(
            "self.w = nn.Parameter(torch.randn(8, 3, 5, 5))\nself.f = nn.Linear(8, 10)",
            "return self.f(F.conv2d(x, self.w, stride=2).mean((2, 3)))",
        ),
        8 * 3 * 25 * 14 * 14 + 8 * 10,
    ),
    "matmul": (
        network(
            "self.a = nn.Parameter(torch.randn(32, 7))\nself.b = nn.Parameter(torch.randn(672, 10))",
            "return (x @ self.a).flatten(1) @ self.b",
        ),
        3 * 32 * 32 * 7 + 672 * 10,
    ),
    "fused attention": (_ATTENTION, 32 * 96 * 24 + 2 * (2 * 32 * 32 * 4) + 8 * 10),
    "MultiheadAttention": (
        network(
            "self.p = nn.Linear(96, 16)\nself.a = nn.MultiheadAttention(16, 4, batch_first=True)\n"
            "self.f = nn.Linear(16, 10)",
            "x = self.p(x.permute(0, 2, 1, 3).flatten(2))\n"
            "return self.f(self.a(x, x, x, need_weights=False)[0].mean(1))",
        ),
        32 * 96 * 16 + 4 * 32 * 16 * 16 + 2 * (4 * 32 * 32 * 4) + 16 * 10,
    ),
    "LSTM": (
        network(
            "self.l = nn.LSTM(96, 12, 2, batch_first=True, bidirectional=True)\nself.f = nn.Linear(24, 10)",
            "y, _ = self.l(x.permute(0, 2, 1, 3).flatten(2)[:, :6])\nreturn self.f(y[:, -1])",
        ),
        6 * 2 * (4 * 12 * (96 + 12) + 4 * 12 * (24 + 12)) + 24 * 10,
    ),
    "GRU": (
        network(
            "self.l = nn.GRU(96, 12, batch_first=True)\nself.f = nn.Linear(12, 10)",
            "y, _ = self.l(x.permute(0, 2, 1, 3).flatten(2)[:, :6])\nreturn self.f(y[:, -1])",
        ),
        6 * 3 * 12 * (96 + 12) + 12 * 10,
    ),
    "einsum": (
        network(
            "self.w = nn.Parameter(torch.randn(10, 3, 32))",
            "return torch.einsum('bchw,och->bow', x, self.w).mean(2)",
        ),
        10 * 3 * 32 * 32,
    ),
    "unused layers": (
        network(
            "self.u = nn.Linear(3072, 4000)\nself.v = nn.Conv2d(3, 64, 3)\nself.f = nn.Linear(3072, 10)",
            "unused = self.v(x)\nreturn self.f(x.flatten(1))",
        ),
        3072 * 10,
    ),
    "grouped and depthwise": (
        network(
            "self.c = nn.Conv2d(3, 12, 1)\nself.d = nn.Conv2d(12, 12, 3, 2, 1, groups=12)\n"
            "self.g = nn.Conv2d(12, 24, 3, groups=4)\nself.f = nn.Linear(24, 10)",
            "return self.f(self.g(self.d(self.c(x))).mean((2, 3)))",
        ),
        12 * 3 * 1024 + 12 * 9 * 256 + 24 * 3 * 9 * 14 * 14 + 24 * 10,
    ),
    "transposed convolution": (
        network(
            "self.c = nn.Conv2d(3, 4, 4, 4)\nself.t = nn.ConvTranspose2d(4, 6, 3, 2)\n"
            "self.f = nn.Linear(6, 10)",
            "return self.f(self.t(self.c(x)).mean((2, 3)))",
        ),
        4 * 3 * 16 * 64 + 4 * 6 * 9 * 64 + 6 * 10,
    ),
    "residual block": (
        network(
            "self.c = nn.Conv2d(3, 8, 3, 1, 1, bias=False)\nself.n = nn.BatchNorm2d(8)\n"
            "self.d = nn.Conv2d(8, 8, 3, 1, 1, bias=False)\nself.m = nn.BatchNorm2d(8)\n"
            "self.s = nn.Conv2d(3, 8, 1, bias=False)\nself.f = nn.Linear(8, 10)",
            "y = F.relu(self.n(self.c(x)))\ny = F.relu(self.m(self.d(y)) + self.s(x))\n"
            "return self.f(F.adaptive_avg_pool2d(y, 1).flatten(1))",
        ),
        (8 * 27 + 8 * 72 + 8 * 3) * 1024 + 8 * 10,
    ),
    "linear on sequences": (
        network(
            "self.a = nn.Linear(32, 20)\nself.b = nn.Linear(20, 5)\nself.f = nn.Linear(480, 10)",
            "return self.f(self.b(F.gelu(self.a(x))).flatten(1))",
        ),
        96 * 32 * 20 + 96 * 20 * 5 + 480 * 10,
    ),
}
