"""What it costs to avoid kernels: training steps of modules that avoid them, over those that do not.

    python tests/benchmarks/bench_avoided_kernels.py [--rounds 15] [--steps 20]

Both modules of a network train in turn, in one process with one thread. Prints the median ratio of their CPU
times for each network. Run it at the processor's own level: without the avoiding calls, ONEDNN_MAX_CPU_ISA=AVX2
may kill the process.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2]))
from llmatic_daemon.worker.graph.serialization import build, loads
from llmatic_daemon.worker.lifting.export import export

_HEAD = """
from torch import nn
"""
RESNET_8 = (
    _HEAD
    + """
class Block(nn.Module):
    def __init__(self, before, after, stride):
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after))
        self.shortcut = nn.Sequential()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x):
        return (self.path(x) + self.shortcut(x)).relu()


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
"""
)
#: Five of eight convolutions are strided 1x1 ones, four of them with few channels.
STRIDED = (
    _HEAD
    + """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stems = nn.ModuleList(nn.Conv2d(3, 8, 1, 2) for _ in range(4))
        self.paths = nn.ModuleList(nn.Conv2d(3, 8, 3, 2, 1) for _ in range(2))
        self.middle = nn.Conv2d(8, 32, 1, 2)
        self.last = nn.Conv2d(32, 32, 3, 1, 1)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        total = sum(stem(x) for stem in self.stems) + sum(path(x) for path in self.paths)
        return self.head(self.last(self.middle(total.relu()).relu()).relu().mean((2, 3)))
"""
)
NETWORKS = {"resnet-8": RESNET_8, "many strided 1x1 convolutions": STRIDED}


def modules(source: str) -> tuple[nn.Module, nn.Module]:
    """Lift a network; return its module without and with the avoiding calls."""
    torch.manual_seed(1)
    exported = export(source, "Net", (3, 32, 32), 10)
    graph = loads(exported.graph)
    plain, avoiding = (build(graph, exported.weights, avoids_kernels=each) for each in (False, True))
    return plain.to(memory_format=torch.channels_last), avoiding.to(memory_format=torch.channels_last)


def train(network: nn.Module, num_steps: int) -> float:
    """Return the CPU seconds of so many training steps."""
    images = torch.randn(64, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(64) % 10
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, fused=True)
    started = time.process_time()
    for _ in range(num_steps):
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=20)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for name, source in NETWORKS.items():
        plain, avoiding = modules(source)
        train(plain, 3), train(avoiding, 3)
        ratios = [train(avoiding, asked.steps) / train(plain, asked.steps) for _ in range(asked.rounds)]
        tenths = statistics.quantiles(ratios, n=10)
        print(f"{name}: {statistics.median(ratios):.3f} ({tenths[0]:.3f} to {tenths[-1]:.3f})")


if __name__ == "__main__":
    main()
