"""Our trainer against the loop of LLMatic's authors: CPU seconds, at an equal test loss.

Theirs: a DataLoader with one worker, batch 1, per-sample ToTensor and Normalize, SGD with learning
rate 0.001 and momentum 0.9. Ours: the recipe `fast` on resident data. Same images, epochs and
initial weights; one thread each; both sides alternating; CPU seconds of all processes, the
DataLoader's worker included. Only training is timed; both are then measured in the same way.

    python tests/benchmarks/bench_trainer.py FOLDER [--images 1000] [--epochs 3] [--seeds 4]

FOLDER holds CIFAR-10's official binary files.
"""

import argparse
import copy
import json
import resource
import statistics
from collections.abc import Callable
from dataclasses import asdict, replace

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from llmatic_daemon.worker.training import datasets, loop, recipes


class Initial(nn.Sequential):
    """The paper's initial network."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 1, 1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10)
        )


class TwoConv(nn.Sequential):
    """A LeNet for colour images."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 6, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(400, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, 10),
        )


class FourConv(nn.Sequential):
    """Four convolutions, 58.4 M multiply-adds."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 64, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(4096, 10),
        )


class Block(nn.Module):
    """A residual block without BatchNorm, which is broken at the authors' batch of 1.

    The residual branch is scaled by a learned number that starts at 0 instead (De 2020, SkipInit).
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.scale = nn.Parameter(torch.zeros(()))
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.second(torch.relu(self.first(x)))
        return torch.relu(self.shortcut(x) + self.scale * y)


class ResNet8(nn.Sequential):
    """Three residual stages of one block, 12.3 M multiply-adds."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 16, 3, 1, 1),
            nn.ReLU(),
            Block(16, 16, 1),
            Block(16, 32, 2),
            Block(32, 64, 2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(64, 10),
        )


CPU = torch.device("cpu")
NETWORKS = {"initial": Initial, "2-conv": TwoConv, "4-conv": FourConv, "resnet-8": ResNet8}


class Pictures(Dataset):
    """Images as torchvision's CIFAR10 gives them: PIL, transformed one by one."""

    def __init__(self, split: datasets.Split) -> None:
        self.images, self.labels = split.images.numpy(), split.labels.tolist()
        mean = split.images.float().mean((0, 1, 2)) / 255
        deviation = split.images.float().std((0, 1, 2)) / 255
        self.transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize(mean.tolist(), deviation.tolist())]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.images[number])), self.labels[number]


def theirs(network: nn.Module, split: datasets.Split, epochs: int, seed: int) -> None:
    """Train as the authors' code does."""
    torch.manual_seed(seed)
    loader = DataLoader(Pictures(split), batch_size=1, shuffle=True, num_workers=1)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.001, momentum=0.9)
    network.train()
    for _ in range(epochs):
        running_loss = 0.0
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = criterion(network(inputs), labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()


def ours(network: nn.Module, split: datasets.Split, recipe: recipes.Recipe, seed: int) -> None:
    """Train as the trainer process does, on the eager network."""
    torch.manual_seed(seed)
    network.to(memory_format=torch.channels_last)
    steps = loop.Steps(network, split, recipe, seed)
    for _ in range(recipe.epochs):
        steps.epoch(loop.Deadline(3600))


def cpu_seconds(work: Callable[[], None]) -> float:
    """Run and count CPU seconds of this process and of all children that ended meanwhile."""

    def used() -> float:
        kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        usages = [resource.getrusage(kind) for kind in kinds]
        return sum(usage.ru_utime + usage.ru_stime for usage in usages)

    before = used()
    work()
    return used() - before


def main() -> None:
    """Compare, and print a table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--test-images", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="of the recipe")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    overrides = {k: _value(v) for k, v in (pair.split("=") for pair in arguments.set)}
    recipe = recipes.choose("fast", {**overrides, "epochs": arguments.epochs}, CPU, 3)
    raw = load(arguments)
    warm_up(raw, recipe)
    print("network   CPU s: theirs, ours    gain   test loss: theirs, ours (ratio)   accuracy")
    rows = [compare(name, raw, recipe, arguments.seeds) for name in arguments.networks]
    ratios = [row["speed_ratio"] for row in rows]
    losses = [row["loss_ratio"] for row in rows]
    summary = {
        "recipe": asdict(recipe),
        "images": arguments.images,
        "seeds": arguments.seeds,
        "rows": rows,
        "speed_geometric_mean": statistics.geometric_mean(ratios),
        "speed_least": min(ratios),
        "loss_ratio_most": max(losses),
        "loss_geometric_mean": statistics.geometric_mean(losses),
    }
    print(f"geometric mean {summary['speed_geometric_mean']:.1f}x, least {min(ratios):.1f}x")
    print(json.dumps(summary))


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def load(arguments: argparse.Namespace) -> datasets.DataSet:
    """Read the subset of CIFAR-10; the test split selects, so nothing is held out."""
    source = datasets.Source(
        name="cifar10", folder=arguments.folder, validation_ratio=0, num_train=arguments.images
    )
    found = datasets.load(source)
    return replace(found, test=_first(found.test, arguments.test_images))


def _first(split: datasets.Split, count: int) -> datasets.Split:
    return datasets.Split(images=split.images[:count], labels=split.labels[:count])


def compare(name: str, raw: datasets.DataSet, recipe: recipes.Recipe, num_seeds: int) -> dict[str, object]:
    """Train one network on both sides, alternating, over all seeds."""
    resident = raw.resident(CPU, loop.image_dtype(recipe))
    exact, plain = raw.resident(CPU, torch.float32), replace(recipe, precision="float32")
    seconds: dict[str, list[float]] = {"theirs": [], "ours": []}
    found: dict[str, list[tuple[float, float]]] = {"theirs": [], "ours": []}
    for seed in range(num_seeds):
        torch.manual_seed(seed)
        start = NETWORKS[name]()
        sides = {
            "theirs": lambda net, s=seed: theirs(net, raw.train, recipe.epochs, s),
            "ours": lambda net, s=seed: ours(net, resident.train, recipe, s),
        }
        for side, work in sides.items():
            network = copy.deepcopy(start)
            seconds[side].append(cpu_seconds(lambda n=network, w=work: w(n)))
            deadline = loop.Deadline(3600)
            found[side].append(loop.measure(network, exact.test, plain, deadline, 250))
    return _row(name, seconds, found)


def warm_up(raw: datasets.DataSet, recipe: recipes.Recipe) -> None:
    """Import what the first optimiser and the first loader import, on nobody's account."""
    few = _first(raw.train, 64)
    theirs(Initial(), few, 1, 0)
    resident = replace(raw, train=few).resident(CPU, loop.image_dtype(recipe))
    ours(Initial(), resident.train, replace(recipe, epochs=1), 0)


def _row(
    name: str, seconds: dict[str, list[float]], found: dict[str, list[tuple[float, float]]]
) -> dict[str, object]:
    medians = {side: statistics.median(values) for side, values in seconds.items()}
    losses = {side: statistics.fmean(loss for _, loss in values) for side, values in found.items()}
    accuracy = {side: statistics.fmean(a for a, _ in values) for side, values in found.items()}
    row = {
        "network": name,
        "theirs_cpu_s": medians["theirs"],
        "ours_cpu_s": medians["ours"],
        "speed_ratio": medians["theirs"] / medians["ours"],
        "theirs_loss": losses["theirs"],
        "ours_loss": losses["ours"],
        "loss_ratio": losses["ours"] / losses["theirs"],
        "theirs_accuracy": accuracy["theirs"],
        "ours_accuracy": accuracy["ours"],
    }
    print(
        f"{name:9s} {row['theirs_cpu_s']:7.2f} s {row['ours_cpu_s']:7.2f} s "
        f"{row['speed_ratio']:6.1f}x   loss {losses['theirs']:.3f} {losses['ours']:.3f} "
        f"({row['loss_ratio']:.3f})   accuracy {accuracy['theirs']:.3f} {accuracy['ours']:.3f}",
        flush=True,
    )
    return row


if __name__ == "__main__":
    main()
