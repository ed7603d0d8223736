"""The context of an edit: the task, the size limits, the strength of changes and the random numbers."""

from dataclasses import dataclass, replace
from math import exp, log, prod
from random import Random
from typing import TypeVar

from llmatic_daemon.adapters.rewriter.shape_inference import Shape, Site, Size, trace
from llmatic_daemon.adapters.rewriter.steps import TRAILING, Chain

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class SizeLimits:
    """Upper limits of a network's size."""

    num_parameters: int
    flops: int
    depth: int
    #: Elements of one tensor of one image.
    largest: int
    #: Multiply-adds below which a network has too few weights to learn; it is not shrunk further.
    fewest_flops: int

    @classmethod
    def for_shape(cls, shape: Shape) -> "SizeLimits":
        """Scale the limits for 32 x 32 images with the number of pixels."""
        ratio = prod(shape[1:]) / 1024
        return cls(
            num_parameters=int(2_000_000 * min(4.0, ratio**0.5)),
            flops=int(200_000_000 * min(8.0, ratio)),
            depth=32,
            largest=max(int(131_072 * min(8.0, ratio)), 2 * prod(shape)),
            fewest_flops=20 * prod(shape[1:]),
        )

    def times(self, factor: float) -> "SizeLimits":
        """Return limits with more parameters and multiply-adds."""
        return replace(
            self, num_parameters=int(self.num_parameters * min(factor, 1.9)), flops=int(self.flops * factor)
        )

    def sparing(self, size: Size) -> "SizeLimits":
        """Return limits that a network of this size keeps, so that a large parent is not shrunk."""
        return replace(
            self,
            num_parameters=max(self.num_parameters, size.num_parameters),
            flops=max(self.flops, size.flops),
            depth=max(self.depth, size.depth),
            largest=max(self.largest, size.largest),
        )

    def excess(self, size: Size) -> str:
        """Return the name of the first limit that a network breaks, or an empty text."""
        for name in ("depth", "largest", "num_parameters", "flops"):
            if getattr(size, name) > getattr(self, name):
                return name
        return ""


@dataclass(frozen=True, kw_only=True, slots=True)
class EditContext:
    """The task, the limits, the strength and the random numbers of one rewrite."""

    shape: Shape
    num_classes: int
    limits: SizeLimits
    #: The temperature, in [0, 1].
    strength: float
    rng: Random

    def chance(self, probability: float) -> bool:
        """Return True with a probability."""
        return self.rng.random() < probability

    def pick(self, *choices: _T) -> _T:
        """Draw one of a few values."""
        return self.rng.choice(choices)

    def factor(self) -> float:
        """Draw the factor by which a size changes: at least 1.25, at most 1.5 to 4.5 by strength."""
        return exp(self.rng.uniform(log(1.25), log(1.5 + 3 * self.strength)))

    def width(self, near: int, smallest: int = 8, largest: int = 256) -> int:
        """Draw a width near another one, within bounds."""
        spread = 0.3 + self.strength
        drawn = near * exp(self.rng.uniform(-spread, spread))
        return tidy_width(min(max(drawn, smallest), largest))

    def sites(self, chain: Chain) -> list[Site]:
        """List the steps of a chain with their shapes; every step must accept its input."""
        return trace(chain, self.shape)


def tidy_width(width: float) -> int:
    """Round a width to a number that a person would have chosen."""
    step = 1 if width < 8 else 4 if width < 48 else 8 if width < 128 else 16
    return max(1, step * round(width / step))


def openers(sites: list[Site], rank: int) -> list[Site]:
    """List where a new unit may be inserted: before each unit whose input has `rank` dimensions."""
    return [site for site in sites if len(site.before) == rank and not isinstance(site.step, TRAILING)]
