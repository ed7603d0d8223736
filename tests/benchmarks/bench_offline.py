"""How many offspring of the offline rewriter lift, how large they get, and what an edit costs.

    python tests/benchmarks/bench_offline.py [--offspring 1000] [--generations 30] [--json]

Lineages start at the initial network and take mixed prompts (crossover with what came before in
three of ten), temperatures of 0.1 to 1.0, and two tasks in turn. Each child is built, run forward
and backward on a batch, and exported in training mode with a dynamic batch. It is not a sandbox:
the sources are the rewriter's own.
"""

import argparse
import asyncio
import gc
import json
import statistics
import time
import warnings
from collections import Counter
from pathlib import Path
from random import Random

import torch

from llmatic_daemon.adapters.prompts.prompt_files import default_folder, read_prompts
from llmatic_daemon.adapters.rewriter.writer import OfflineRewriter
from llmatic_daemon.domain import PromptKind, Task
from tests.support.fakes import request_for

INITIAL = """
import torch
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d({channels}, 1, 1)
        self.fc1 = nn.Linear({features}, {features})
        self.fc2 = nn.Linear({features}, {classes})

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        return self.fc2(x)
"""


def task(*shape: int) -> Task:
    """Make a task of ten classes for images of a shape."""
    return Task(name="context", input_shape=shape, num_classes=10, num_train=1, num_validation=0, num_test=1)


def initial(task: Task) -> str:
    """Write the initial network."""
    channels, height, width = task.input_shape
    features = height * width
    return INITIAL.format(channels=channels, features=features, classes=task.num_classes)


def lift(source: str, task: Task) -> tuple[int, torch.nn.Module]:
    """Build, run and export a network; return its number of parameters and itself."""
    names: dict[str, object] = {"__name__": "candidate"}
    exec(compile(source, "candidate", "exec"), names)
    (network,) = (
        value() for value in names.values() if isinstance(value, type) and issubclass(value, torch.nn.Module)
    )
    images = torch.randn(4, *task.input_shape)
    scores = network(images)
    assert scores.shape == (4, task.num_classes), scores.shape
    scores.square().mean().backward()
    batch = torch.export.Dim("batch", min=2)
    torch.export.export(network, (images,), dynamic_shapes=({0: batch},), strict=False)
    return sum(weight.numel() for weight in network.parameters()), network


def multiply_adds(network: torch.nn.Module, task: Task) -> int:
    """Count the multiply-adds of one image with torch's own counter."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.randn(1, *task.input_shape))
    return counter.get_total_flops() // 2


def quartiles(values: list[float]) -> list[float]:
    """Return minimum, quartiles and maximum."""
    cuts = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return [round(value, 3) for value in (min(values), *cuts, max(values))]


def run(num_offspring: int, generations: int, seed: int) -> dict[str, object]:
    """Breed and lift offspring; report shares, sizes and times."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    prompts = read_prompts(default_folder())
    crossover = next(prompt for prompt in prompts if prompt.kind is PromptKind.CROSSOVER)
    mutation = [prompt for prompt in prompts if prompt is not crossover]
    rng, writer, tasks = Random(seed), OfflineRewriter(), (task(3, 32, 32), task(1, 8, 8))
    tried, lifted, unchanged = Counter[str](), Counter[str](), 0
    cpu_ms: list[float] = []
    sizes: dict[str, dict[str, list[float]]] = {}
    faults: list[str] = []
    pool: dict[Task, list[str]] = {task: [initial(task)] for task in tasks}
    parent = ""
    for number in range(num_offspring):
        this = tasks[number // generations % 2]
        if number % generations == 0:
            parent = initial(this)
        crosses = rng.random() < 0.3
        prompt = crossover if crosses else rng.choice(mutation)
        others = rng.choices(pool[this], k=rng.choice((1, 2))) if crosses else []
        request = request_for(
            prompt, *(parent, *others), task=this, temperature=rng.uniform(0.1, 1.0), seed=rng.getrandbits(32)
        )
        # The garbage of torch.export takes seconds to collect, and is not the rewriter's.
        gc.disable()
        started = time.process_time()
        child = asyncio.run(writer.complete(request)).text
        cpu_ms.append(1000 * (time.process_time() - started))
        gc.enable()
        unchanged += child == parent
        tried[prompt.id] += 1
        try:
            parameters, network = lift(child, this)
        except Exception as error:  # whatever it is, this offspring does not lift
            faults.append(f"{prompt.id}: {type(error).__name__}: {str(error)[:300]}\n{child}")
            continue
        lifted[prompt.id] += 1
        shape = "x".join(map(str, this.input_shape))
        size = sizes.setdefault(shape, {"parameters": [], "multiply_adds": [], "layers": []})
        size["parameters"].append(parameters)
        size["multiply_adds"].append(multiply_adds(network, this))
        size["layers"].append(child.count("nn.Conv2d(") + child.count("nn.Linear("))
        parent = child
        pool[this].append(child)
    return {
        "lifted": sum(lifted.values()) / num_offspring,
        "unchanged": unchanged,
        "cpu_ms": quartiles(cpu_ms),
        "by_prompt": {
            prompt: [lifted[prompt], count, round(lifted[prompt] / count, 3)]
            for prompt, count in sorted(tried.items())
        },
        "sizes": {
            shape: {name: quartiles(values) for name, values in size.items()} for shape, size in sizes.items()
        },
        "faults": faults[:10],
    }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=Path(__file__).name)
    parser.add_argument("--offspring", type=int, default=1000)
    parser.add_argument("--generations", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    result = run(arguments.offspring, arguments.generations, arguments.seed)
    if arguments.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name}:", json.dumps(value, indent=1) if name != "faults" else "")
    for fault in result["faults"]:
        print(fault)


if __name__ == "__main__":
    main()
