"""Every number of the search, as the paper gives it or as a setting changes it.

The dataclasses here and beside the rules that they are for are sections of the settings: their ranges
are checked where settings are loaded.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval

Ratio = Annotated[float, Interval(ge=0, le=1)]
Count = Annotated[int, Ge(1)]
CountOrNone = Annotated[int, Ge(0)]
Seconds = Annotated[float, Gt(0)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """The numbers of the search: settings `search.*`, which `default.toml` explains.

    Source: Nasir 2024 (LLMatic), Algorithm 1; Cully 2018 for curiosity.
    """

    seed: Annotated[int, Interval(ge=0, lt=2**63)]
    num_initial: Count
    initial_temperature: Ratio
    train_initial: bool
    mutation_ratio: Ratio
    curious_ratio: Ratio
    temperature_jitter_ratio: Ratio
    temperature_jitter: Ratio
    tournament_size: Annotated[int, Interval(ge=1, le=1000)]
    min_neighbours: Count
    max_neighbours: Annotated[int, Interval(ge=1, le=16)]
    crossover_temperature: Ratio
    window_size: Count
    curiosity_added: float
    curiosity_not_added: float
    curiosity_untrainable: float
    temperature_step: Ratio
    min_sampling_temperature: Annotated[float, Interval(gt=0, le=1)]
    duplicates: Literal["skip", "train"]
    #: A key of `variants.STRATEGIES`.
    variant: str = "llmatic"
    population_size: Annotated[int, Interval(ge=2, le=1000)] = 100
    control_ratio: Ratio = 0.0

    def __post_init__(self) -> None:
        """Check what no range of one number says."""
        if self.min_neighbours > self.max_neighbours:
            raise ValueError("min_neighbours must be at most max_neighbours")


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """How often the world may fail, and how long to wait in between."""

    #: A job that the world failed this often is placed as failed.
    max_attempts: Count
    #: First pause after a fault of the world, in seconds; doubled after each further one.
    retry_s: Seconds
    max_retry_s: Seconds

    def pause_s(self, num_faults: int) -> float:
        """Return the pause after the n-th fault in a row, n from 1."""
        return float(min(self.retry_s * 2 ** min(num_faults - 1, 30), self.max_retry_s))
