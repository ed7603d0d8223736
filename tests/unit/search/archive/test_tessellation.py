"""Tessellations: in the unit square, even, and the same for the same seed."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from llmatic_daemon.search.archive.tessellation import tessellate


def unevenness(centroids: np.ndarray) -> float:
    """Return k E[d^2]: 0.160 for the best tessellation there is, 0.318 for random points."""
    points = np.random.default_rng(7).random((100_000, 2))
    distances, _ = cKDTree(centroids).query(points)
    return float(len(centroids) * np.mean(distances**2))


@pytest.mark.parametrize("num_cells", [1, 100, 2_000])
def test_centroids_lie_in_the_unit_square(num_cells: int) -> None:
    centroids = tessellate(num_cells, 25_000, seed=1)

    assert centroids.shape == (num_cells, 2)
    assert centroids.min() >= 0.0
    assert centroids.max() <= 1.0


@pytest.mark.parametrize("num_cells", [100, 2_000])
def test_cells_are_even_by_k_means_and_beyond_it(num_cells: int) -> None:
    assert unevenness(tessellate(num_cells, 25_000, seed=1)) < 0.175


@pytest.mark.parametrize("num_cells", [10, 2_000])
def test_same_seed_gives_the_same_cells(num_cells: int) -> None:
    first, second = (tessellate(num_cells, 25_000, seed=3) for _ in range(2))

    assert np.array_equal(first, second)


def test_other_seed_gives_other_cells() -> None:
    assert not np.array_equal(tessellate(10, 1_000, seed=1), tessellate(10, 1_000, seed=2))
