"""First looks against full trainings: real searches on the digits, for the same device time.

    python tests/benchmarks/bench_fidelity.py [--minutes 3] [--seeds 3] [--ratios 0 0.25]

Each ratio is a search of its own, with the offline rewriter and one place of one thread; the searches of
one seed run at the same time, so that all have the same share of the machine.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from llmatic_daemon import config
from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.bootstrap import build
from llmatic_daemon.daemon import main as daemon


def search(seed: int, ratio: float, promoted: float, minutes: float) -> dict[str, float]:
    """Search until the device time is used, and tell what was found."""
    with tempfile.TemporaryDirectory() as folder:
        overrides = {
            "state_dir": f"{folder}/state",
            "data": {"name": "digits"},
            "search": {"seed": seed},
            "training": {"devices": ["cpu"]},
            "fidelity": {"rung_ratio": ratio, "promoted_ratio": promoted},
            "engine": {"slots": 2},
            "budget": {"max_gpu_hours": minutes / 60, "max_hours": 0, "max_evaluations": 0},
        }
        settings = config.load(preset="demo", environment={}, overrides=overrides)
        asyncio.run(daemon.run(settings, build.build_adapters(settings)))
        with History(Path(f"{folder}/state")) as history:
            status, elites = history.status(), history.elites()
    outcomes = dict(status.outcomes)
    return {
        "rung_ratio": ratio,
        "settled": status.num_settled,
        "trained": status.num_evaluations,
        "stopped": outcomes.get("stopped", 0),
        "cells": len(elites),
        "qd_score": sum(elite.objective for elite in elites),
        "best": elites[0].objective,
        "best_test": elites[0].test_accuracy,
    }


def main() -> None:
    """Compare, and print JSON: each search, and for each ratio the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ratios", type=float, nargs="+", default=[0.0, 0.25])
    parser.add_argument("--promoted", type=float, default=1.0)
    arguments = parser.parse_args()
    found: list[dict[str, float]] = []
    with ProcessPoolExecutor(len(arguments.ratios)) as pool:
        for seed in range(1, arguments.seeds + 1):
            begun = [
                pool.submit(search, seed, ratio, arguments.promoted, arguments.minutes)
                for ratio in arguments.ratios
            ]
            found += [each.result() for each in begun]
            print(json.dumps(found[-len(begun) :]), flush=True)
    for ratio in arguments.ratios:
        of_ratio = [each for each in found if each["rung_ratio"] == ratio]
        print(json.dumps({k: round(statistics.mean(e[k] for e in of_ratio), 4) for k in found[0]}))


if __name__ == "__main__":
    main()
