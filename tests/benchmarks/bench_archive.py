"""One insert into an archive, against pyribs: `python tests/benchmarks/bench_archive.py`.

An insert is `judge`, and `with_elite` when the solution is added; pyribs' is
`CVTArchive.add_single` (pip install ribs). Both get the same centroids and the same solutions, in
turns of a thousand; the figure is the median CPU time of the turns, so a loaded machine hits both.
`--check` points, many of them on borders, out of bounds or halfway between two centroids of a
lattice, are first compared with brute force.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
from numpy.typing import NDArray

from llmatic_daemon.search.archive.archive import CVTArchive
from llmatic_daemon.search.archive.centroids import Centroids
from llmatic_daemon.search.archive.measures import Axis, MeasureSpace
from llmatic_daemon.search.archive.tessellation import r2_sequence, tessellate

SPACE = MeasureSpace(Axis(name="x", low=0.0, high=1.0), Axis(name="y", low=0.0, high=1.0))
MUST = 5.0
TURN = 1000

Points = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, nargs="+", default=[100, 10_000, 100_000])
    parser.add_argument("--turns", type=int, default=11)
    parser.add_argument("--check", type=int, default=100_000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    print(f"{'cells':>8} {'ours us':>8} {'pyribs us':>10} {'faster':>7}  must  differ from brute force")
    rows = [measured(cells, arguments) for cells in arguments.cells]
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2))


def measured(num_cells: int, arguments: argparse.Namespace) -> dict[str, Any]:
    centroids = r2_sequence(num_cells) if num_cells > 10_000 else tessellate(num_cells, 25_000, 1)
    wrong = num_wrong(centroids, arguments.check) + num_wrong(lattice(num_cells), arguments.check)
    ours, theirs = insert_times(centroids, arguments.turns)
    ratio = theirs / ours
    print(
        f"{num_cells:>8,} {ours:>8.2f} {theirs:>10.2f} {ratio:>6.1f}x  {MUST:.0f}x   "
        f"{wrong} of {2 * arguments.check:,}",
        flush=True,
    )
    return {"cells": num_cells, "ours_us": ours, "pyribs_us": theirs, "ratio": ratio, "wrong": wrong}


def insert_times(centroids: Points, num_turns: int) -> tuple[float, float]:
    """Return the median microseconds of an insert, ours and pyribs'."""
    from ribs.archives import CVTArchive as RibsArchive

    archive: CVTArchive[int] = CVTArchive(space=SPACE, centroids=as_cells(centroids))
    ribs = RibsArchive(solution_dim=1, centroids=centroids, ranges=[(0.0, 1.0), (0.0, 1.0)], dtype=np.float64)
    rng = np.random.default_rng(3)
    # What a search has after some time: half of the cells filled; about half of the offers enter.
    for cell in rng.permutation(len(centroids))[: len(centroids) // 2].tolist():
        archive = archive.with_elite(cell, 0.5, cell)
    half = centroids[[cell for cell, _ in archive.items()]]
    ribs.add(np.zeros((len(half), 1)), np.full(len(half), 0.5), half)
    ours, theirs = [], []
    for _ in range(num_turns):
        offers = np.column_stack([rng.random((TURN, 2)), rng.random(TURN) * 0.7])
        archive, ours_us = our_turn(archive, offers.tolist())
        ours.append(ours_us)
        theirs.append(their_turn(ribs, offers))
    return statistics.median(ours), statistics.median(theirs)


def our_turn(archive: CVTArchive[int], offers: list[list[float]]) -> tuple[CVTArchive[int], float]:
    started = time.process_time()
    for first, second, objective in offers:
        insertion = archive.judge(first, second, objective)
        if insertion.status.added:
            archive = archive.with_elite(insertion.cell, objective, 1)
    return archive, (time.process_time() - started) / len(offers) * 1e6


def their_turn(ribs: Any, offers: Points) -> float:
    solution = np.zeros(1)
    objectives = offers[:, 2].tolist()
    measures = list(offers[:, :2])
    started = time.process_time()
    for objective, at in zip(objectives, measures, strict=True):
        ribs.add_single(solution, objective, at)
    return (time.process_time() - started) / len(offers) * 1e6


# --- equal to brute force ------------------------------------------------------------------------


def as_cells(points: Points) -> Centroids:
    return Centroids([(x, y) for x, y in points.tolist()])


def lattice(num_cells: int) -> Points:
    """Make centroids whose halfway points are exact ties, in binary fractions."""
    side = 1 << max(int(np.sqrt(num_cells)) - 1, 1).bit_length() - 1
    steps = (np.arange(side) + 0.5) / side
    return np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)


def num_wrong(centroids: Points, count: int) -> int:
    """Count the points whose cell is not the one that looking at every centroid finds."""
    cells = as_cells(centroids)
    points = awkward_points(centroids, count)
    archive: CVTArchive[int] = CVTArchive(space=SPACE, centroids=cells)
    ours = [archive.locate(x, y)[0] for x, y in points.tolist()]
    return int(np.sum(np.array(ours) != brute_force(centroids, np.clip(points, 0.0, 1.0))))


def awkward_points(centroids: Points, count: int) -> Points:
    """Mix uniform points, out of bounds, on borders, on centroids, and halfway between two."""
    rng = np.random.default_rng(7)
    points = rng.random((count, 2))
    fifth = count // 5
    points[:fifth] = points[:fifth] * 3 - 1
    points[fifth : 2 * fifth, 0] = np.round(points[fifth : 2 * fifth, 0])
    points[2 * fifth : 3 * fifth] = centroids[rng.integers(len(centroids), size=fifth)]
    start = rng.integers(len(centroids) - 1, size=fifth)
    points[3 * fifth : 4 * fifth] = (centroids[start] + centroids[start + 1]) / 2
    return points


def brute_force(centroids: Points, points: Points) -> NDArray[np.int64]:
    """Look at every centroid that can be nearest; of equally near ones, take the lowest.

    From 20,000 cells on, a k-d tree first picks the 32 nearest of each point: 10^10 distances would
    take minutes. On a lattice a point ties with four at most.
    """
    if len(centroids) > 20_000:
        from scipy.spatial import cKDTree

        _, near = cKDTree(centroids).query(points, k=32)
        near.sort(axis=1)
        squared = _squared(points[:, None], centroids[near])
        return np.take_along_axis(near, squared.argmin(axis=1)[:, None], axis=1)[:, 0]
    chunk = max(1, 20_000_000 // len(centroids))
    return np.concatenate(
        [
            _squared(points[i : i + chunk, None], centroids[None]).argmin(axis=1)
            for i in range(0, len(points), chunk)
        ]
    )


def _squared(first: Points, second: Points) -> Points:
    dx, dy = first[..., 0] - second[..., 0], first[..., 1] - second[..., 1]
    return np.asarray(dx * dx + dy * dy)


if __name__ == "__main__":
    main()
