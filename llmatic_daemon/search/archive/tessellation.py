"""Centroidal Voronoi tessellations of the unit square.

scikit-learn and SciPy are imported when they are called: a process that has its centroids needs neither.
"""

import json
import sys
from typing import cast

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

#: Up to this many samples for each cell, k-means on uniform samples overfits its samples: at 2.5
#: of them (10,000 cells, 25,000 samples) k E[d^2] is 0.200, against 0.169 below and 0.160 for the
#: best tessellation there is.
SAMPLES_PER_CELL = 25
#: Looking up a sample costs about a microsecond. So that a million cells do not take minutes, they get
#: fewer samples for each cell (down to 5) and fewer steps (down to 2).
MAX_SAMPLES = 5_000_000
MAX_LOOKUPS = 10_000_000
MIN_SAMPLES_PER_CELL = 5
#: Samples held at once.
CHUNK = 1 << 18


def tessellate(num_cells: int, num_samples: int, seed: int) -> Points:
    """Compute the centroids of `num_cells` cells of about equal area.

    With enough samples for each cell it is the paper's k-means over uniform samples. For more
    cells, Lloyd's algorithm runs with a k-d tree on samples of a low-discrepancy sequence, at best
    25 for each cell, starting from that sequence: no limit from the number of samples, O(n log n)
    time, and memory for the cells alone.

    Args:
        num_cells: At least 1.
        num_samples: Uniform samples for k-means (25,000 in the paper).
        seed: Of the samples.

    Returns:
        (num_cells, 2) centroids in [0, 1].

    Source: Vassiliades 2018; Roberts 2018 for the R2 sequence.
    """
    rng = np.random.default_rng(seed)
    if num_cells * SAMPLES_PER_CELL <= num_samples:
        return _k_means(num_cells, rng.random((num_samples, 2)), seed)
    enough = min(SAMPLES_PER_CELL * num_cells, max(MIN_SAMPLES_PER_CELL * num_cells, MAX_SAMPLES))
    return _lloyd(r2_sequence(num_cells), max(num_samples, enough), rng.random(2))


def r2_sequence(count: int, first: int = 0) -> Points:
    """Return points of the R2 low-discrepancy sequence, (count, 2) in [0, 1)."""
    plastic = 1.324717957244746
    steps = np.array([1 / plastic, 1 / plastic**2])
    return cast(Points, (0.5 + np.arange(first + 1, first + count + 1)[:, None] * steps) % 1.0)


def _k_means(num_cells: int, samples: Points, seed: int) -> Points:
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    # Threads add their sums in any order, which gives other bits, and other cells, each time.
    with threadpool_limits(1):
        fitted = KMeans(num_cells, n_init=1, random_state=seed % 2**32).fit(samples)
    return np.clip(np.asarray(fitted.cluster_centers_, np.float64), 0.0, 1.0)


def _lloyd(centroids: Points, num_samples: int, shift: Points) -> Points:
    """Move each centroid to the mean of the samples nearest to it, two to ten times."""
    from scipy.spatial import cKDTree

    for _ in range(min(max(MAX_LOOKUPS // num_samples, 2), 10)):
        tree = cKDTree(centroids)
        counts, sums = np.zeros(len(centroids)), np.zeros_like(centroids)
        for first in range(0, num_samples, CHUNK):
            samples = (r2_sequence(min(CHUNK, num_samples - first), first) + shift) % 1.0
            _, owner = tree.query(samples)
            counts += np.bincount(owner, minlength=len(centroids))
            for axis in (0, 1):
                sums[:, axis] += np.bincount(owner, samples[:, axis], len(centroids))
        means = sums / np.maximum(counts, 1.0)[:, None]
        centroids = np.where(counts[:, None] > 0, means, centroids)
    return centroids


def main() -> None:
    """Print centroids as JSON: `python -m llmatic_daemon.search.archive.tessellation CELLS SAMPLES SEED`.

    A process of its own, because scikit-learn is 150 MB that a daemon would carry for months.
    """
    num_cells, num_samples, seed = map(int, sys.argv[1:])
    json.dump(tessellate(num_cells, num_samples, seed).tolist(), sys.stdout)


if __name__ == "__main__":
    main()
