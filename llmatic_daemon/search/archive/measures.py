"""The measures that can be axes of an archive, and the space that two of them span."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from llmatic_daemon.domain import Measures
from llmatic_daemon.domain.plugins import Registry


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """One axis of an archive: its name, bounds and scale."""

    #: As plots show it.
    name: str
    low: float
    high: float
    #: Normalise the logarithm; `low` must then be above 0.
    log: bool = False

    def __post_init__(self) -> None:
        """Reject bounds that span nothing, or that have no logarithm."""
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
class Measure(Axis):
    """An axis whose value is computed from a lifted network; its bounds are defaults."""

    of: Callable[[Measures], float]


WIDTH_TO_DEPTH = Measure(
    name="width-to-depth ratio", of=lambda network: network.width_to_depth, low=0.5, high=512.0, log=True
)
FLOPS = Measure(name="FLOPs", of=lambda network: float(network.flops), low=1e5, high=1e9, log=True)
#: The measures that `archives.axes` can name: adding one is adding it here.
MEASURES = Registry(
    setting="archives.axes",
    group="llmatic_daemon.measures",
    ours={
        "width_to_depth": WIDTH_TO_DEPTH,
        "flops": FLOPS,
        "parameters": Measure(
            name="parameters", of=lambda network: float(network.num_parameters), low=1e3, high=1e8, log=True
        ),
        "width": Measure(
            name="width", of=lambda network: float(network.width), low=1.0, high=4096.0, log=True
        ),
        "depth": Measure(name="depth", of=lambda network: float(network.depth), low=1.0, high=64.0, log=True),
    },
    kind=Measure,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """A position in the unit square, and whether it had to be clipped into it."""

    x: float
    y: float
    clipped: bool


@dataclass(frozen=True, slots=True)
class MeasureSpace:
    """Two axes, normalised to the unit square."""

    first: Axis
    second: Axis

    def normalise(self, first: float, second: float) -> Point:
        """Map two values into [0, 1] x [0, 1], clipping what lies outside the bounds.

        Raises:
            ValueError: a value is NaN, which has no position.
        """
        x, y = self.first.position(first), self.second.position(second)
        if math.isnan(x) or math.isnan(y):
            raise ValueError(f"measures must be numbers, got {first!r} and {second!r}")
        inside = 0.0 <= x <= 1.0 and 0.0 <= y <= 1.0
        return Point(x=min(max(x, 0.0), 1.0), y=min(max(y, 0.0), 1.0), clipped=not inside)

    def measured(self, network: Measures) -> tuple[float, float]:
        """Return where a network lies, in the units of the axes, which must both be measures."""
        assert isinstance(self.first, Measure)
        assert isinstance(self.second, Measure)
        return self.first.of(network), self.second.of(network)
