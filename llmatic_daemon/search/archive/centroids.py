"""The centroids of an archive's cells, and the nearest-centroid lookup."""

import math
from collections.abc import Iterator, Sequence

Entry = tuple[float, float, int]


class Centroids:
    """Centroids in the unit square, with exact nearest-centroid lookup.

    A bucket grid with one centroid a bucket on average. A lookup reads the 3 x 3 block of buckets
    around the point, which nearly always holds the nearest centroid, and widens the block until no
    nearer one is possible. The result is that of a k-d tree. For single points it is faster, and it
    needs neither scikit-learn nor SciPy in memory.

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
        return best if best_squared < self._reach(1) ** 2 else self._widened(x, y)

    def _reach(self, radius: int) -> float:
        """Return the least distance to any centroid outside a block of so many steps.

        The margin covers the rounding of bucket borders.
        """
        return radius / self._side - 1e-12

    def _widened(self, x: float, y: float) -> int:
        """Search larger and larger blocks until no nearer centroid is possible."""
        row, column = int(x * self._side) + 1, int(y * self._side) + 1
        for radius in range(2, self._stride):
            block = self._block(row, column, radius)
            squared, cell = min(
                (((x - cx) * (x - cx) + (y - cy) * (y - cy), cell) for cx, cy, cell in block),
                default=(math.inf, -1),
            )
            if squared < self._reach(radius) ** 2:
                break
        return cell

    def _block(self, row: int, column: int, radius: int) -> Iterator[Entry]:
        left, right = max(column - radius, 0), min(column + radius + 1, self._stride)
        for r in range(max(row - radius, 0), min(row + radius + 1, self._stride)):
            for bucket in self._buckets[r * self._stride + left : r * self._stride + right]:
                yield from bucket

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
