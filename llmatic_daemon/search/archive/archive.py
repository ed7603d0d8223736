"""The CVT archive as an immutable value."""

import heapq
import math
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from immutables import Map

from llmatic_daemon.domain import AddStatus
from llmatic_daemon.search.archive.centroids import Centroids
from llmatic_daemon.search.archive.measures import MeasureSpace, Point

Elite = TypeVar("Elite")


@dataclass(frozen=True, slots=True)
class Insertion:
    """The result of offering a solution: its cell, and whether it becomes the elite there."""

    cell: int
    status: AddStatus
    #: A measure lay outside the bounds.
    clipped: bool


@dataclass(frozen=True, slots=True)
class Held(Generic[Elite]):
    """An elite and its objective."""

    objective: float
    elite: Elite


@dataclass(frozen=True, kw_only=True, slots=True)
class CVTArchive(Generic[Elite]):
    """An immutable archive of at most one elite for each centroid; a change is a new archive.

    Persistent maps make a change cost O(log cells), and share the rest with the previous archive.

    Source: Vassiliades 2018.
    """

    space: MeasureSpace
    centroids: Centroids
    #: The elite of each filled cell.
    held: Map[int, Held[Elite]] = Map()
    #: The filled cells in the order in which they were filled: 0, 1, ... -> cell.
    filled: Map[int, int] = Map()

    def __len__(self) -> int:
        """Count the filled cells."""
        return len(self.filled)

    def __contains__(self, cell: int) -> bool:
        return cell in self.held

    def __getitem__(self, cell: int) -> Held[Elite]:
        """Return the elite of a filled cell.

        Raises:
            KeyError: the cell is empty.
        """
        return self.held[cell]

    def get(self, cell: int) -> Held[Elite] | None:
        """Return the elite of a cell, or None if it is empty."""
        return self.held.get(cell)

    def items(self) -> Iterator[tuple[int, Held[Elite]]]:
        """Iterate over the filled cells in the order in which they were filled."""
        for index in range(len(self.filled)):
            cell = self.filled[index]
            yield cell, self.held[cell]

    def locate(self, first: float, second: float) -> tuple[int, Point]:
        """Return the cell of two measures, and their position, clipped into the bounds."""
        point = self.space.normalise(first, second)
        return self.centroids.index_of(point.x, point.y), point

    def judge(self, first: float, second: float, objective: float) -> Insertion:
        """Return what would happen to a solution with these measures and this objective.

        Raises:
            ValueError: the objective is not finite, or a measure is NaN.
        """
        if not math.isfinite(objective):
            raise ValueError(f"an objective must be finite, got {objective!r}")
        cell, point = self.locate(first, second)
        return Insertion(cell, self._status(cell, objective), point.clipped)

    def _status(self, cell: int, objective: float) -> AddStatus:
        held = self.held.get(cell)
        if held is None:
            return AddStatus.NEW
        return AddStatus.IMPROVED if objective > held.objective else AddStatus.NOT_ADDED

    def with_elite(self, cell: int, objective: float, elite: Elite) -> "CVTArchive[Elite]":
        """Return an archive whose cell holds this elite, whether or not it is better.

        Raises:
            ValueError: there is no such cell.
        """
        if not 0 <= cell < len(self.centroids):
            raise ValueError(f"a cell must be in [0, {len(self.centroids)}), got {cell}")
        filled = self.filled if cell in self.held else self.filled.set(len(self.filled), cell)
        return replace(self, held=self.held.set(cell, Held(objective, elite)), filled=filled)

    def without(self, cells: Iterable[int]) -> "CVTArchive[Elite]":
        """Return an archive in which these cells are empty; the others keep their order."""
        dropped = {cell for cell in cells if cell in self.held}
        if not dropped:
            return self
        kept = [cell for cell, _ in self.items() if cell not in dropped]
        return replace(self, held=Map({cell: self.held[cell] for cell in kept}), filled=Map(enumerate(kept)))

    def nearest_filled(self, cell: int, count: int) -> list[int]:
        """Return the filled cells whose centroids are nearest to a cell's, without the cell itself.

        Costs one distance for each filled cell. Of equally near ones, the lowest comes first.
        """
        points = self.centroids.points
        x, y = points[cell]
        return heapq.nsmallest(
            count,
            (other for other in self.held if other != cell),
            key=lambda other: ((points[other][0] - x) ** 2 + (points[other][1] - y) ** 2, other),
        )

    @property
    def qd_score(self) -> float:
        """Sum of the elites' objectives.

        Source: Pugh 2016; accuracies are not negative, so no offset is needed.
        """
        return math.fsum(held.objective for held in self.held.values())

    @property
    def median_objective(self) -> float | None:
        """Median of the elites' objectives, or None without elites."""
        objectives = [held.objective for held in self.held.values()]
        return statistics.median(objectives) if objectives else None
