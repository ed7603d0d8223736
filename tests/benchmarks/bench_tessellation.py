"""What cells cost: `python tests/benchmarks/bench_tessellation.py [--cells 100 10000 1000000]`.

For each number of cells, in a process of its own: CPU seconds of `tessellate` (imports apart), its
peak memory, and k E[d^2], the mean squared distance of a million uniform points to their centroid
times the number of cells: 0.160 for the best tessellation there is (hexagons), 1/6 for squares.
"""

import argparse
import json
import multiprocessing
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from llmatic_daemon.search.archive.tessellation import tessellate

#: What must be reached: cells -> (CPU seconds, k E[d^2]).
MUST = {10_000: (2.5, 0.172)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, nargs="+", default=[100, 10_000, 1_000_000])
    parser.add_argument("--samples", type=int, default=25_000, help="as archives.num_samples")
    parser.add_argument("--repeats", type=int, default=3, help="for up to 10,000 cells")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    print(f"{'cells':>9} {'CPU s':>8} {'k E[d^2]':>9} {'peak MiB':>9}  must")
    rows = [measured(cells, arguments) for cells in arguments.cells]
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2))


def measured(num_cells: int, arguments: argparse.Namespace) -> dict[str, Any]:
    repeats = arguments.repeats if num_cells <= 10_000 else 1
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        runs = [pool.apply(measure, (num_cells, arguments.samples, seed)) for seed in range(repeats)]
    cpu_s, error, peak_mib = (statistics.median(column) for column in zip(*runs, strict=True))
    must = "CPU s {}, k E[d^2] {}".format(*MUST[num_cells]) if num_cells in MUST else ""
    print(f"{num_cells:>9,} {cpu_s:>8.2f} {error:>9.4f} {peak_mib:>9.0f}  {must}", flush=True)
    return {"cells": num_cells, "cpu_s": cpu_s, "k_error": error, "peak_mib": peak_mib}


def measure(num_cells: int, num_samples: int, seed: int) -> tuple[float, float, float]:
    import sklearn.cluster  # noqa: F401  (what is measured is the work)
    from scipy.spatial import cKDTree

    started = time.process_time()
    centroids = tessellate(num_cells, num_samples, seed)
    cpu_s = time.process_time() - started
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    points = np.random.default_rng(1000 + seed).random((1_000_000, 2))
    distances, _ = cKDTree(centroids).query(points)
    return cpu_s, num_cells * float(np.mean(distances**2)), peak_mib


if __name__ == "__main__":
    main()
