"""The measure space: what an archive's two axes are, and where a solution stands in it."""

import math
from dataclasses import dataclass

from llmatic_daemon.domain import Measures


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """One measure: its name, bounds and scale."""

    name: str
    low: float
    high: float
    #: Normalise the logarithm; `low` must then be above 0.
    log: bool = False

    def __post_init__(self) -> None:
        """Refuse bounds that span nothing, or that have no logarithm."""
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"{self.name}: low must be below high, got {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"{self.name}: low must be above 0 on a log scale, got {self.low}")

    def position(self, value: float) -> float:
        """Map a value's bounds to 0 and 1; outside the bounds, it lies outside [0, 1]."""
        if self.log:
            if value <= 0:
                return -math.inf
            low, high = math.log(self.low), math.log(self.high)
            return (math.log(value) - low) / (high - low)
        return (value - self.low) / (self.high - self.low)

    def value(self, position: float) -> float:
        """Map a position in [0, 1] back to a value within the bounds."""
        if self.log:
            return float(self.low * (self.high / self.low) ** position)
        return self.low + position * (self.high - self.low)


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """A solution in the unit square, and whether it had to be clipped into it."""

    x: float
    y: float
    clipped: bool


@dataclass(frozen=True, slots=True)
class MeasureSpace:
    """Two axes, normalised to the unit square."""

    first: Axis
    second: Axis

    def normalise(self, first: float, second: float) -> Point:
        """Map two measures into [0, 1] x [0, 1], clipping what lies outside the bounds.

        Raises:
            ValueError: a measure is NaN, and so stands nowhere.
        """
        x, y = self.first.position(first), self.second.position(second)
        if math.isnan(x) or math.isnan(y):
            raise ValueError(f"measures must be numbers, got {first!r} and {second!r}")
        inside = 0.0 <= x <= 1.0 and 0.0 <= y <= 1.0
        return Point(x=min(max(x, 0.0), 1.0), y=min(max(y, 0.0), 1.0), clipped=not inside)


def measured(measures: Measures) -> tuple[float, float]:
    """Say where a network stands in the measure space, in the units of its axes."""
    return measures.width_to_depth, float(measures.flops)
