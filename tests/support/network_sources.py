"""Sources of networks, honest and broken, that the worker's tests lift."""

HEADER = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n\n"


def network(init: str, forward: str) -> str:
    """Write a network named Net from the lines of its two methods."""

    def lines(text: str) -> str:
        return "".join(f"        {line}\n" for line in text.strip().splitlines())

    return (
        f"{HEADER}class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        f"{lines(init)}    def forward(self, x):\n{lines(forward)}"
    )


DENSE = network("self.f = nn.Linear(3072, 10)", "return self.f(x.flatten(1))")
LENET = network(
    """
self.c1 = nn.Conv2d(3, 6, 5)
self.c2 = nn.Conv2d(6, 16, 5)
self.f1 = nn.Linear(400, 120)
self.f2 = nn.Linear(120, 84)
self.f3 = nn.Linear(84, 10)
""",
    """
x = F.max_pool2d(F.relu(self.c1(x)), 2)
x = F.max_pool2d(F.relu(self.c2(x)), 2)
x = torch.flatten(x, 1)
x = F.relu(self.f1(x))
x = F.relu(self.f2(x))
return self.f3(x)
""",
)

HONEST = {
    "initial": network(
        "self.c = nn.Conv2d(3, 1, 1)\nself.a = nn.Linear(1024, 1024)\nself.b = nn.Linear(1024, 10)",
        "x = F.relu(self.c(x))\nx = x.view(x.size(0), -1)\nreturn self.b(F.relu(self.a(x)))",
    ),
    "lenet": LENET,
    "resnet": network(
        """
self.c0 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
self.b0 = nn.BatchNorm2d(8)
self.c1 = nn.Conv2d(8, 16, 3, 2, 1, bias=False)
self.b1 = nn.BatchNorm2d(16)
self.c2 = nn.Conv2d(16, 16, 3, 1, 1, bias=False)
self.b2 = nn.BatchNorm2d(16)
self.s = nn.Sequential(nn.Conv2d(8, 16, 1, 2, bias=False), nn.BatchNorm2d(16))
self.r = nn.ReLU(inplace=True)
self.f = nn.Linear(16, 10)
""",
        """
x = self.r(self.b0(self.c0(x)))
y = self.r(self.b1(self.c1(x)))
y = self.b2(self.c2(y))
y += self.s(x)
y = F.avg_pool2d(self.r(y), 4)
return self.f(F.adaptive_avg_pool2d(y, 1).flatten(1))
""",
    ),
    "lstm": network(
        "self.l = nn.LSTM(96, 8, 2, batch_first=True, dropout=0.1, bidirectional=True)\n"
        "self.f = nn.Linear(16, 10)",
        "x = x.permute(0, 2, 1, 3).reshape(x.size(0), 32, 96)\n"
        "y, _ = self.l(x[:, :4])\nreturn self.f(y[:, -1])",
    ),
    "gru": network(
        "self.l = nn.GRU(96, 8, batch_first=True)\nself.f = nn.Linear(8, 10)",
        "x = x.permute(0, 2, 1, 3).reshape(x.size(0), 32, 96)\n_, h = self.l(x[:, :4])\nreturn self.f(h[-1])",
    ),
    "transformer": network(
        """
self.p = nn.Conv2d(3, 16, 8, 8)
self.cls = nn.Parameter(torch.zeros(1, 1, 16))
self.pos = nn.Parameter(torch.randn(1, 17, 16) * 0.02)
self.e = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, activation="gelu")
self.f = nn.Linear(16, 10)
""",
        """
x = self.p(x).flatten(2).transpose(1, 2)
x = torch.cat([self.cls.expand(x.size(0), -1, -1), x], 1) + self.pos
return self.f(self.e(x)[:, 0])
""",
    ),
    "attention": network(
        "self.p = nn.Linear(96, 16)\nself.a = nn.MultiheadAttention(16, 4, batch_first=True)\n"
        "self.f = nn.Linear(16, 10)",
        "x = self.p(x.permute(0, 2, 1, 3).flatten(2))\ny, _ = self.a(x, x, x)\n"
        "return self.f((x + y).mean(1))",
    ),
    "squeeze_excite": network(
        "self.c = nn.Conv2d(3, 16, 3, padding=1)\nself.a = nn.Conv2d(16, 4, 1)\n"
        "self.b = nn.Conv2d(4, 16, 1)\nself.f = nn.Linear(16, 10)",
        "x = F.silu(self.c(x))\n"
        "s = torch.sigmoid(self.b(F.relu(self.a(x.mean((2, 3), keepdim=True)))))\n"
        "return self.f((x * s).mean([2, 3]))",
    ),
    "depthwise": network(
        """
self.c = nn.Conv2d(3, 16, 3, padding="same")
self.i = nn.InstanceNorm2d(16, affine=True)
self.d = nn.Conv2d(16, 16, 3, 2, 1, groups=16)
self.p = nn.Conv2d(16, 32, 1)
self.n = nn.GroupNorm(4, 32)
self.drop = nn.Dropout2d(0.1)
self.pool = nn.AdaptiveMaxPool2d(2)
self.f = nn.Linear(128, 10)
""",
        """
x = self.i(F.hardswish(self.c(x)))
x = self.drop(F.relu6(self.n(self.p(self.d(x)))))
return self.f(torch.flatten(self.pool(x), 1))
""",
    ),
    "dense_concat": network(
        "self.c = nn.ModuleList([nn.Conv2d(3 + 4 * i, 4, 3, padding=1) for i in range(4)])\n"
        "self.f = nn.Linear(19, 10)",
        "for c in self.c:\n    x = torch.cat([x, F.leaky_relu(c(x), 0.1)], dim=1)\n"
        "return self.f(F.adaptive_avg_pool2d(x, (1, 1)).squeeze(-1).squeeze(-1))",
    ),
    "upsampling": network(
        "self.c = nn.Conv2d(3, 8, 3, 2, 1)\nself.t = nn.ConvTranspose2d(8, 4, 2, 2)\n"
        "self.u = nn.Upsample(scale_factor=2, mode='bilinear')\nself.s = nn.PixelShuffle(2)\n"
        "self.f = nn.Linear(14, 10)",
        "a = self.c(x)\nb = F.elu(self.t(a))\na = self.u(a)\n"
        "x = torch.cat([a, b, F.interpolate(self.s(a), size=(32, 32))], 1)\n"
        "return self.f(F.normalize(F.pad(x, (1, 1, 1, 1)), dim=1).amax((2, 3)))",
    ),
    "products": network(
        "self.w = nn.Parameter(torch.randn(10, 3, 32) * 0.1)\n"
        "self.v = nn.Parameter(torch.randn(3072, 10) * 0.1)\nself.b = nn.Parameter(torch.zeros(10))",
        "y = torch.einsum('bchw,och->bo', x, self.w)\nx = x.reshape(-1, 3072)\n"
        "x = x / (x.pow(2).mean(-1, keepdim=True).sqrt() + 1e-5)\n"
        "return y + torch.addmm(self.b, x, self.v) + 2 * F.softplus(x @ self.v).clamp(0, 5)",
    ),
    "shared": network(
        "self.c = nn.Conv2d(3, 3, 3, padding=1)\nself.d = self.c\nself.f = nn.Linear(3072, 10)",
        "return self.f(torch.tanh(self.d(self.c(x))).flatten(1))",
    ),
    "lazy": network(
        "self.c = nn.LazyConv2d(8, 3)\nself.b = nn.LazyBatchNorm2d()\nself.f = nn.LazyLinear(10)",
        "return self.f(self.b(self.c(x)).relu_().flatten(1))",
    ),
}


def _forward(text: str) -> str:
    return network("self.f = nn.Linear(3072, 10)", text)


#: Source, and a part of the line that must say why.
BROKEN = {
    "syntax error": ("class Net(nn.Module:\n", "SyntaxError"),
    "missing import": ("import no_such_module\n", "no_such_module"),
    "no such class": (f"{HEADER}class Other(nn.Module): pass\n", "'Net' must be a class"),
    "constructor arguments": (
        f"{HEADER}class Net(nn.Module):\n    def __init__(self, width):\n        pass\n",
        "missing 1 required positional argument: 'width'",
    ),
    "wrong output shape": (
        network("self.f = nn.Linear(3072, 7)", "return self.f(x.flatten(1))"),
        "must return (batch, 10), got (4, 7)",
    ),
    "tuple": (_forward("return self.f(x.flatten(1)), x"), "one tensor, got tuple"),
    "none": (_forward("self.f(x.flatten(1))"), "one tensor, got NoneType"),
    "wrong input channels": (
        network("self.c = nn.Conv2d(1, 10, 32)", "return self.c(x).flatten(1)"),
        "to have 1 channels, but got 3 channels instead (line 10)",
    ),
    "data-dependent if": (
        _forward("if x.mean() > 0:\n    x = -x\nreturn self.f(x.flatten(1))"),
        "must not branch on the values of a tensor (line 10)",
    ),
    "numpy": (_forward("return self.f(torch.tensor(x.numpy()).flatten(1))"), "numpy"),
    "one batch size": (_forward("return self.f(x.view(4, 3072))"), "any batch size"),
    "layer in forward": (
        _forward("return nn.Linear(10, 10)(self.f(x.flatten(1)))"),
        "must be made in __init__",
    ),
    "embedding of pixels": (
        network("self.e = nn.Embedding(32, 10)", "return self.e(x.argmax(3)).mean((1, 2))"),
        "an embedding may only be of positions",
    ),
    "numbers of its own": (
        _forward("return self.f(x.flatten(1) * torch.arange(3072))"),
        "may only be positions of an embedding",
    ),
    "no gradients": (
        network(
            "self.f = nn.Linear(3072, 10)",
            "with torch.no_grad():\n    x = self.f(x.flatten(1))\nreturn x * self.f.bias",
        ),
        "must not switch gradients on or off",
    ),
    "noise": (_forward("return self.f(x.flatten(1)) + torch.randn(10)"), "'randn'"),
    "literal weights": (
        _forward("return self.f(x.flatten(1)) * torch.tensor([1.0] * 10)"),
        "must be a parameter or a registered buffer",
    ),
    "state": (
        network(
            "self.f = nn.Linear(3072, 10)\nself.register_buffer('n', torch.zeros(1))",
            "self.n += 1\nreturn self.f(x.flatten(1)) * self.n",
        ),
        "must not keep state, but it changes n",
    ),
    "double precision": (
        network("self.f = nn.Linear(3072, 10).double()", "return self.f(x.flatten(1).double()).float()"),
        "must be float32",
    ),
    "in-place error": (
        _forward("y = torch.exp(self.f(x.flatten(1)))\nz = y * y\ny += 1\nreturn z + y"),
        "modified by an inplace operation",
    ),
    "write through a view": (
        _forward("y = x * 2\ny[:, 0].mul_(3)\nreturn self.f(y.flatten(1))"),
        "changed in place and also used through a view",
    ),
}
