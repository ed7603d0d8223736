"""Two device places with one thread each against one place with two: images a second, together.

    python tests/benchmarks/bench_places.py FOLDER [--images 1000] [--rounds 5]

FOLDER holds CIFAR-10's official binary files. Each place is a process of its own, as in the daemon;
all stay warm, and the two sides take turns. An idle machine with two cores is needed.
"""

import argparse
import json
import multiprocessing
import statistics
import time
from multiprocessing.connection import Connection

import torch
from bench_trainer import NETWORKS

from llmatic_daemon.worker.training import datasets, loop, recipes

CPU = torch.device("cpu")


def serve(pipe: Connection, threads: int, folder: str, images: int, name: str) -> None:
    """Train one epoch for each word that comes, with all set up before."""
    torch.set_num_threads(threads)
    source = datasets.Source(name="cifar10", folder=folder, validation_ratio=0, num_train=images)
    recipe = recipes.choose("fast", {"schedule": "constant"}, CPU, 3)
    resident = datasets.load(source).resident(CPU, loop.image_dtype(recipe))
    torch.manual_seed(0)
    network = NETWORKS[name]().to(memory_format=torch.channels_last)
    steps = loop.Steps(network, resident.train, recipe, 0)
    steps.epoch(loop.Deadline(3600))
    pipe.send("ready")
    while pipe.recv():
        steps.epoch(loop.Deadline(3600))
        pipe.send("done")


def images_per_s(places: list[Connection], images: int) -> float:
    """Let all places train one epoch, and wait for the last."""
    started = time.monotonic()
    for place in places:
        place.send(True)
    for place in places:
        place.recv()
    return len(places) * images / (time.monotonic() - started)


def main() -> None:
    """Compare, and print a table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    arguments = parser.parse_args()
    rows = [compare(name, arguments) for name in arguments.networks]
    gains = [row["gain"] for row in rows]
    gain = statistics.geometric_mean(gains)
    print(f"geometric mean {gain:.2f}x, least {min(gains):.2f}x")
    print(json.dumps({"images": arguments.images, "rows": rows, "gain_geometric_mean": gain}))


def compare(name: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Measure both ways on one network, alternating."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for threads in (1, 1, 2):
        ours, theirs = context.Pipe()
        told = (theirs, threads, arguments.folder, arguments.images, name)
        processes.append(context.Process(target=serve, args=told))
        processes[-1].start()
        pipes.append(ours)
    for pipe in pipes:
        pipe.recv()
    two, one = [], []
    for _ in range(arguments.rounds):
        two.append(images_per_s(pipes[:2], arguments.images))
        one.append(images_per_s(pipes[2:], arguments.images))
    for pipe, process in zip(pipes, processes, strict=True):
        pipe.send(False)
        process.join()
    row = {"two_places": statistics.median(two), "one_place": statistics.median(one)}
    row["gain"] = row["two_places"] / row["one_place"]
    print(
        f"{name:9s} two places {row['two_places']:7.0f}/s, "
        f"one place {row['one_place']:7.0f}/s, {row['gain']:.2f}x",
        flush=True,
    )
    return {"network": name, **row}


if __name__ == "__main__":
    main()
