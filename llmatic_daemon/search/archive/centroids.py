"""The centroids of an archive's cells, and the nearest-centroid lookup."""

import math
from collections.abc import Sequence

Entry = tuple[float, float, int]


class Centroids:
    """Centroids in the unit square, with exact nearest-centroid lookup.

    A bucket grid with one centroid a bucket on average. A lookup reads the 3 x 3 block of buckets
    around the point, which nearly always holds the nearest centroid; else it compares all of them. The
    result is that of a k-d tree. For single points it is faster, and it needs neither scikit-learn nor
    SciPy in memory.

    Args:
        points: (num_cells, 2) centroids in [0, 1].

    Raises:
        ValueError: there is no centroid, or one lies outside the unit square.
    """

    def __init__(self, points: Sequence[tuple[float, float]]) -> None:
        if not points:
            raise ValueError("an archive needs at least one cell")
        if not all(0.0 <= x <= 1.0 and 0.0 <= y <= 1.0 for x, y in points):
            raise ValueError("centroids must lie in the unit square")
        self.points = tuple(points)
        self._side = math.isqrt(len(self.points))
        #: Buckets in a row: one for a coordinate of 1, and an empty one at each end, so that the
        #: 3 x 3 block around a point never leaves the grid.
        self._stride = self._side + 3
        self._buckets = self._fill_buckets()

    def __len__(self) -> int:
        return len(self.points)

    def index_of(self, x: float, y: float) -> int:
        """Return the cell of a point in the unit square; of equally near ones, the lowest.

        Source: Vassiliades 2018 (CVT-MAP-Elites), with the Euclidean distance.
        """
        side, stride, buckets = self._side, self._stride, self._buckets
        best, best_squared = -1, math.inf
        corner = int(x * side) * stride + int(y * side)
        for start in (corner, corner + stride, corner + 2 * stride):
            for bucket in buckets[start : start + 3]:
                for cx, cy, cell in bucket:
                    squared = (x - cx) * (x - cx) + (y - cy) * (y - cy)
                    if squared <= best_squared and (squared < best_squared or cell < best):
                        best, best_squared = cell, squared
        # Outside the block, no centroid is nearer than a bucket; the margin covers the rounding of borders.
        return best if best_squared < (1 / side - 1e-12) ** 2 else self._nearest_of_all(x, y)

    def _nearest_of_all(self, x: float, y: float) -> int:
        def squared(cell: int) -> float:
            cx, cy = self.points[cell]
            return (x - cx) * (x - cx) + (y - cy) * (y - cy)

        return min(range(len(self.points)), key=squared)

    def _fill_buckets(self) -> list[tuple[Entry, ...]]:
        """Sort the centroids into buckets, row by row."""
        side, stride = self._side, self._stride
        keys = [(int(x * side) + 1) * stride + int(y * side) + 1 for x, y in self.points]
        buckets: list[list[Entry]] = [[] for _ in range(stride * stride)]
        for cell in sorted(range(len(keys)), key=keys.__getitem__):
            x, y = self.points[cell]
            # New floats, made in this order, lie side by side: half the time at 100,000 cells.
            buckets[keys[cell]].append((x + 0.0, y + 0.0, cell))
        return [tuple(bucket) for bucket in buckets]
