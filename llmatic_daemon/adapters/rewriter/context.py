"""What an edit works with: the task, the limits, the strength and the dice."""

from dataclasses import dataclass, replace
from math import exp, log, prod
from random import Random
from typing import TypeVar

from llmatic_daemon.adapters.rewriter.shape_inference import Shape, Site, Size, trace
from llmatic_daemon.adapters.rewriter.steps import TRAILING, Chain

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class SizeLimits:
    """How large a network may get."""

    num_parameters: int
    flops: int
    depth: int
    #: Elements of one tensor of one image.
    largest: int
    #: Multiply-adds below which a network has too little to learn with, and shrinks no more.
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
        """Loosen the limits of parameters and multiply-adds."""
        return replace(
            self, num_parameters=int(self.num_parameters * min(factor, 1.9)), flops=int(self.flops * factor)
        )

    def sparing(self, size: Size) -> "SizeLimits":
        """Loosen the limits for a parent that is above them, so that it need not shrink."""
        return replace(
            self,
            num_parameters=max(self.num_parameters, size.num_parameters),
            flops=max(self.flops, size.flops),
            depth=max(self.depth, size.depth),
            largest=max(self.largest, size.largest),
        )

    def excess(self, size: Size) -> str:
        """Name the first limit that a network breaks; empty when it keeps all."""
        for name in ("depth", "largest", "num_parameters", "flops"):
            if getattr(size, name) > getattr(self, name):
                return name
        return ""


@dataclass(frozen=True, kw_only=True, slots=True)
class EditContext:
    """The task, the limits, the strength and the dice of one rewrite."""

    shape: Shape
    num_classes: int
    limits: SizeLimits
    #: The temperature, in [0, 1].
    strength: float
    rng: Random

    def chance(self, probability: float) -> bool:
        """Throw a coin."""
        return self.rng.random() < probability

    def pick(self, *choices: _T) -> _T:
        """Draw one of a few values."""
        return self.rng.choice(choices)

    def factor(self) -> float:
        """Draw by how much a size changes: from 1.25 up to 1.6 when calm and 4.5 when bold."""
        return exp(self.rng.uniform(log(1.25), log(1.5 + 3 * self.strength)))

    def width(self, near: int, smallest: int = 8, largest: int = 256) -> int:
        """Draw a width near another one, within bounds."""
        spread = 0.3 + self.strength
        drawn = near * exp(self.rng.uniform(-spread, spread))
        return tidy_width(min(max(drawn, smallest), largest))

    def sites(self, chain: Chain) -> list[Site]:
        """Follow the shapes through a chain that fits."""
        return trace(chain, self.shape)


def tidy_width(width: float) -> int:
    """Round a width to a number that a person would have chosen."""
    step = 1 if width < 8 else 4 if width < 48 else 8 if width < 128 else 16
    return max(1, step * round(width / step))


def openers(sites: list[Site], rank: int) -> list[Site]:
    """Find where a new unit may be put: before each unit whose input has so many dimensions."""
    return [site for site in sites if len(site.before) == rank and not isinstance(site.step, TRAILING)]
