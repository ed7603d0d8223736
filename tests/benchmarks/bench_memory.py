"""How near the estimate of a training's memory comes to the measured peak, on a CPU.

    python tests/benchmarks/bench_memory.py [--batch-size 64]

Each network is trained for a few steps and measured once, in a fork of its own; its peak is the high-water mark
of resident memory (which /proc lets one reset) beyond what the process held before the network was built.
Prints estimate, peak and their ratio; the estimate is to be above the peak, and not by much.
"""

import argparse
import os
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
import safetensors.torch
import torch

from llmatic_daemon.worker.graph.serialization import build
from llmatic_daemon.worker.graph.validation import GraphLimits, Validated, validate
from llmatic_daemon.worker.lifting.export import export
from llmatic_daemon.worker.training import loop, memory
from llmatic_daemon.worker.training.datasets import DataSet, Split
from llmatic_daemon.worker.training.recipes import Recipe
from tests.support.network_sources import HONEST, network

NETWORKS = {
    "vgg, wide": network(
        "self.c = nn.ModuleList([nn.Conv2d(i, o, 3, padding=1) for i, o in ((3, 64), (64, 64), (64, 128))])\n"
        "self.f = nn.Linear(128 * 16, 10)",
        "for c in self.c:\n    x = F.max_pool2d(F.relu(c(x)), 2)\nreturn self.f(x.flatten(1))",
    ),
    "resnet, 6 blocks": network(
        "self.s = nn.Conv2d(3, 32, 3, padding=1)\n"
        "self.c = nn.ModuleList([nn.Conv2d(32, 32, 3, padding=1) for _ in range(12)])\n"
        "self.b = nn.ModuleList([nn.BatchNorm2d(32) for _ in range(12)])\nself.f = nn.Linear(32, 10)",
        "x = self.s(x)\nfor n in range(0, 12, 2):\n"
        "    y = F.relu(self.b[n](self.c[n](x)))\n    x = F.relu(x + self.b[n + 1](self.c[n + 1](y)))\n"
        "return self.f(x.mean((2, 3)))",
    ),
    "dense, 10 M weights": network(
        "self.a = nn.Linear(3072, 2048)\nself.b = nn.Linear(2048, 2048)\nself.f = nn.Linear(2048, 10)",
        "return self.f(F.relu(self.b(F.relu(self.a(x.flatten(1))))))",
    ),
    "transformer, 64 tokens": network(
        "self.p = nn.Conv2d(3, 96, 4, 4)\n"
        "self.e = nn.ModuleList([nn.TransformerEncoderLayer(96, 4, 192, batch_first=True) for _ in range(4)])\n"
        "self.f = nn.Linear(96, 10)",
        "x = self.p(x).flatten(2).transpose(1, 2)\nfor e in self.e:\n    x = e(x)\nreturn self.f(x.mean(1))",
    ),
    "attention, written out": network(
        "self.p = nn.Conv2d(3, 96, 2, 2)\nself.q = nn.Linear(96, 288)\nself.f = nn.Linear(96, 10)",
        "q, k, v = self.q(self.p(x).flatten(2).transpose(1, 2)).chunk(3, -1)\n"
        "x = torch.softmax(q @ k.transpose(1, 2) / 10, -1) @ v\nreturn self.f(x.mean(1))",
    ),
    "lstm, 32 steps": network(
        "self.l = nn.LSTM(96, 256, 2, batch_first=True)\nself.f = nn.Linear(256, 10)",
        "y, _ = self.l(x.permute(0, 2, 1, 3).flatten(2))\nreturn self.f(y[:, -1])",
    ),
    "depthwise, silu": network(
        "self.s = nn.Conv2d(3, 48, 3, padding=1)\n"
        "self.d = nn.ModuleList([nn.Conv2d(48, 48, 3, padding=1, groups=48) for _ in range(5)])\n"
        "self.p = nn.ModuleList([nn.Conv2d(48, 48, 1) for _ in range(5)])\nself.f = nn.Linear(48, 10)",
        "x = self.s(x)\nfor d, p in zip(self.d, self.p):\n    x = x + F.silu(p(F.silu(d(x))))\n"
        "return self.f(x.mean((2, 3)))",
    ),
    "concatenations": network(
        "self.c = nn.ModuleList([nn.Conv2d(3 + 24 * i, 24, 3, padding=1) for i in range(6)])\n"
        "self.f = nn.Linear(147, 10)",
        "for c in self.c:\n    x = torch.cat([x, F.relu(c(x))], 1)\nreturn self.f(x.mean((2, 3)))",
    ),
    "lenet": HONEST["lenet"],
}


def lifted(source: str) -> Validated:
    torch.manual_seed(0)
    exported = export(source, "Net", (3, 32, 32), 10)
    weights = safetensors.torch.save(exported.weights)
    return validate(exported.graph, weights, GraphLimits(), (3, 32, 32), 10)


def data(num_train: int) -> DataSet:
    def split(count: int) -> Split:
        return Split(images=torch.randn(count, 32, 32, 3), labels=torch.arange(count) % 10)

    return DataSet(name="noise", num_classes=10, train=split(num_train), validation=split(0), test=split(512))


def status(name: str) -> int:
    """Read a size of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name + ":"))


def peak(valid: Validated, images: DataSet, recipe: Recipe) -> int:
    """Train in this process, and say by how much its memory grew."""
    small = torch.nn.Conv2d(3, 3, 3)  # what the first convolution of a process allocates for good
    small(torch.randn(2, 3, 8, 8)).sum().backward()
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    built = build(valid.graph, valid.weights).to(memory_format=torch.channels_last)
    run = loop.TrainingRun(
        built, images, recipe, seed=1, timeout_s=600.0, activation_bytes=valid.activation_bytes
    )
    list(run.epochs())
    run.result()
    return status("VmHWM") - before


def forked(valid: Validated, images: DataSet, recipe: Recipe) -> int:
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, str(peak(valid, images, recipe)).encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    return int(os.read(reader, 100))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=64)
    size = parser.parse_args().batch_size
    torch.set_num_threads(1)
    torch._C._ensureCUDADeviceGuardSet = lambda: None  # keeps threads out, so that forks work
    recipe = Recipe(epochs=1, batch_size=size, learning_rate=0.01)
    images, ratios = data(3 * size), []
    print(f"{'network':28}{'estimate MiB':>14}{'peak MiB':>10}{'ratio':>8}")
    for name, source in NETWORKS.items():
        valid = lifted(source)
        at_once = loop.at_once("cpu", recipe, valid.activation_bytes)
        estimate, measured = (memory.needed_bytes(valid, recipe, at_once), forked(valid, images, recipe))
        # The weights as they were read are in the process before it forks.
        estimate -= 4 * sum(tensor.numel() for tensor in valid.weights.values())
        ratios.append(estimate / measured)
        print(f"{name:28}{estimate / 2**20:14.1f}{measured / 2**20:10.1f}{ratios[-1]:8.2f}", flush=True)
    print(
        f"ratio: lowest {min(ratios):.2f}, median {statistics.median(ratios):.2f}, highest {max(ratios):.2f}"
    )


if __name__ == "__main__":
    main()
