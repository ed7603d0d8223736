"""Every number of the search, as the paper gives it or as a setting changes it."""

from dataclasses import dataclass
from typing import Literal

#: The search as the paper describes it, its ablations (section 4.2), and what it is compared with.
Variant = Literal[
    "llmatic",
    "network-archive",
    "prompt-archive",
    "mutation-only",
    "crossover-only",
    "random-nn",
    "random-search",
    "regularized-evolution",
    "local-search",
    "map-elites",
    "genius",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """The paper's numbers (sections 2 to 4 of our digest), each of them a setting.

    Source: Nasir 2024 (LLMatic), Algorithm 1; Cully 2018 for curiosity.
    """

    seed: int
    #: Initialisation goes on until one of the archives has this many elites.
    num_initial: int
    initial_temperature: float
    #: False: initial networks are measured untrained, as the paper does.
    train_initial: bool
    #: Probability of a mutation; the rest are crossovers.
    mutation_ratio: float
    #: Share of mutations by the most curious prompt individual; the rest take a random prompt.
    curious_ratio: float
    #: Share of mutations whose temperature is moved by U(-jitter, jitter).
    jitter_ratio: float
    jitter: float
    #: 1: parents are drawn uniformly; n: the best of n drawn elites.
    tournament_size: int
    #: A crossover takes this many nearest neighbours, at least and at most.
    min_neighbours: int
    max_neighbours: int
    crossover_temperature: float
    #: Settled candidates in a window.
    window_size: int
    curiosity_added: float
    curiosity_not_added: float
    curiosity_untrainable: float
    temperature_step: float
    #: A sampling temperature must be above 0.
    min_sampling_temperature: float
    #: "skip": a network that was trained before is settled at once; "train": it is trained again.
    duplicates: Literal["skip", "train"]
    variant: Variant = "llmatic"
    #: Individuals or networks that a variant keeps where it has no archive.
    population_size: int = 100
    #: Share of the jobs that are written by rule, to compare with.
    control_ratio: float = 0.0

    @property
    def measures_untrained(self) -> bool:
        """Tell whether initial networks are measured as they are built: those that are all one has are not."""
        return not self.train_initial and self.variant not in _ALL_INITIAL


#: Variants whose first networks are candidates like all others.
_ALL_INITIAL = ("random-nn", "random-search", "regularized-evolution", "local-search", "genius")
