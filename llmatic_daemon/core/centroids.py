"""The cells of an archive: their centroids, and which one a point belongs to."""

import math
from collections.abc import Sequence

Entry = tuple[float, float, int]


class Centroids:
    """Centroids in the unit square, with exact nearest-centroid lookup.

    A bucket grid with one centroid a bucket on average. A lookup reads the 3 x 3 block of buckets
    around the point, which nearly always holds the answer, and widens it until nothing nearer can
    follow. It answers what a k-d tree answers, faster for single points, and needs neither
    scikit-learn nor SciPy in memory. Blocks are gathered when first asked for.

    Args:
        points: (num_cells, 2) centroids in [0, 1].

    Raises:
        ValueError: there are none, or one lies outside the unit square.
    """

    def __init__(self, points: Sequence[tuple[float, float]]) -> None:
        if not points:
            raise ValueError("an archive needs at least one cell")
        if not all(0.0 <= x <= 1.0 and 0.0 <= y <= 1.0 for x, y in points):
            raise ValueError("centroids must lie in the unit square")
        self.points = tuple(points)
        self._side = math.isqrt(len(self.points))
        self._buckets = self._fill_buckets()
        self._blocks: dict[int, tuple[Entry, ...]] = {}

    def __len__(self) -> int:
        return len(self.points)

    def index_of(self, x: float, y: float) -> int:
        """Find the cell of a point in the unit square; of equally near ones, the lowest.

        Source: Vassiliades 2018 (CVT-MAP-Elites), with the Euclidean distance.
        """
        side = self._side
        row, column = min(int(x * side), side - 1), min(int(y * side), side - 1)
        bucket = row * side + column
        block = self._blocks.get(bucket)
        if block is None:
            block = self._blocks[bucket] = self._block(row, column, 1)
        for radius in range(1, side + 1):
            best, best_squared = -1, math.inf
            for cx, cy, cell in block:
                squared = (x - cx) * (x - cx) + (y - cy) * (y - cy)
                if squared < best_squared:
                    best, best_squared = cell, squared
            # Whatever lies outside the block is at least one bucket for each step of radius away.
            # The margin makes up for the rounding of bucket borders.
            reach = radius / side - 1e-12
            if best_squared < reach * reach:
                break
            block = self._block(row, column, radius + 1)
        return best

    def _fill_buckets(self) -> list[tuple[Entry, ...]]:
        side = self._side
        buckets: list[list[Entry]] = [[] for _ in range(side * side)]
        for cell, (x, y) in enumerate(self.points):
            row, column = min(int(x * side), side - 1), min(int(y * side), side - 1)
            buckets[row * side + column].append((x, y, cell))
        return [tuple(bucket) for bucket in buckets]

    def _block(self, row: int, column: int, radius: int) -> tuple[Entry, ...]:
        """Gather the entries up to `radius` buckets away, lowest cell first."""
        side = self._side
        left, right = max(column - radius, 0), min(column + radius, side - 1)
        entries = [
            entry
            for r in range(max(row - radius, 0), min(row + radius, side - 1) + 1)
            for bucket in self._buckets[r * side + left : r * side + right + 1]
            for entry in bucket
        ]
        return tuple(sorted(entries, key=lambda entry: entry[2]))
