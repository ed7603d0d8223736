"""The operators that propose a candidate: initialisation, mutation, crossover."""

from bisect import bisect
from dataclasses import dataclass, replace
from itertools import accumulate

from numpy.random import Generator

from llmatic_daemon.domain import Elite, Job, Operator, Prompt, PromptElite, PromptSet, Proposal, Task
from llmatic_daemon.search import temperature
from llmatic_daemon.search.archive.archive import CVTArchive
from llmatic_daemon.search.prompt_book import most_curious
from llmatic_daemon.search.rules import Rules

INITIAL_SOURCE = """\
import torch
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d({channels}, 1, 1)
        self.fc1 = nn.Linear({features}, {features})
        self.fc2 = nn.Linear({features}, {num_classes})

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        return self.fc2(x)
"""


def initial_source(task: Task) -> str:
    """Return the source of the initial network for a task.

    For images of 3 x 32 x 32 it is the paper's: a 1 x 1 convolution to one channel, then dense layers
    1024 -> 1024 and 1024 -> 10. For other sizes the first dense layer has one feature for each pixel too.

    Source: Nasir 2024, section 3.1.
    """
    channels, height, width = task.input_shape
    return INITIAL_SOURCE.format(channels=channels, features=height * width, num_classes=task.num_classes)


@dataclass(frozen=True, kw_only=True, slots=True)
class Archives:
    """The input of an operator: both archives, the active prompts, and the job."""

    rules: Rules
    networks: CVTArchive[Elite]
    individuals: CVTArchive[PromptElite]
    prompts: PromptSet
    job: Job
    num_settled: int
    num_evaluations: int
    #: Settled since a network was last added.
    num_since_added: int

    @property
    def is_initialising(self) -> bool:
        """Whether neither archive has reached its threshold."""
        enough = max(len(self.networks), len(self.individuals)) >= self.rules.num_initial
        return not enough or len(self.networks) == 0


@dataclass(frozen=True, slots=True)
class Individual:
    """A (prompt, temperature) individual, and the elite that gets its credit."""

    prompt: Prompt
    temperature: float
    credited_cell: int | None
    credited_job: int | None


def initialise(archives: Archives, rng: Generator) -> Proposal:
    """Mutate the initial network with a random prompt at the initial temperature."""
    individual = _random_prompt(archives, archives.rules.initial_temperature, rng)
    return proposal_of(archives, Operator.INITIALISATION, individual, [], rng)


def mutate(archives: Archives, rng: Generator) -> Proposal:
    """Mutate one elite by the most curious individual, or by a random prompt.

    A random prompt gets a uniformly random temperature, because the paper leaves it open.

    Source: Nasir 2024, Algorithm 1.
    """
    rules = archives.rules
    individual = _most_curious(archives, rng) if rng.random() < rules.curious_ratio else None
    individual = individual or _random_prompt(archives, float(rng.random()), rng)
    individual = jittered(individual, rules, rng)
    return proposal_of(archives, Operator.MUTATION, individual, [parent_cell(archives, rng)], rng)


def cross(archives: Archives, rng: Generator) -> Proposal:
    """Join an elite and its 2 or 3 nearest neighbours by the crossover prompt.

    A crossover gives no credit and offers nothing to the prompt archive. If there are fewer elites, it
    uses all of them.
    """
    rules = archives.rules
    cell = parent_cell(archives, rng)
    wanted = int(rng.integers(rules.min_neighbours, rules.max_neighbours + 1))
    cells = [cell, *archives.networks.nearest_filled(cell, wanted)]
    return proposal_of(archives, Operator.CROSSOVER, None, cells, rng)


def mutate_instead(archives: Archives, crossover: Proposal, rng: Generator) -> Proposal:
    """Replace a crossover whose request was too long by a mutation of its first parent.

    The prompt is random; the temperature and the seed are those of the crossover.
    """
    at = archives.rules.crossover_temperature
    individual = _random_prompt(archives, at, rng)
    return replace(
        crossover,
        operator=Operator.MUTATION,
        prompt=individual.prompt,
        temperature=at,
        parents=crossover.parents[:1],
        parent_digests=crossover.parent_digests[:1],
        credited_cell=individual.credited_cell,
        credited_job=individual.credited_job,
    )


def parent_cell(archives: Archives, rng: Generator) -> int:
    """Draw a parent's cell: uniformly, or the best of a tournament."""
    networks = archives.networks
    draws = rng.integers(len(networks), size=archives.rules.tournament_size).tolist()
    cells = [networks.filled[draw] for draw in draws]
    return max(cells, key=lambda cell: networks[cell].objective)


def _most_curious(archives: Archives, rng: Generator) -> Individual | None:
    cells = most_curious(archives.individuals, archives.prompts)
    if not cells:
        return None
    cell = cells[int(rng.integers(len(cells)))]
    elite = archives.individuals[cell].elite
    prompt = next(p for p in archives.prompts.mutation if p.id == elite.prompt)
    return Individual(prompt, elite.temperature, cell, elite.job)


def _random_prompt(archives: Archives, at: float, rng: Generator) -> Individual:
    """Draw a prompt by weight; the elite of the cell at (prompt, `at`) gets the credit."""
    index = drawn_by_weight(archives.prompts, rng)
    cell, _ = archives.individuals.locate(float(archives.prompts.axis_positions[index]), at)
    held = archives.individuals.get(cell)
    prompt = archives.prompts.mutation[index]
    return Individual(prompt, at, cell if held else None, held.elite.job if held else None)


def drawn_by_weight(prompts: PromptSet, rng: Generator) -> int:
    """Draw a mutation prompt by weight, and return its index."""
    bounds = list(accumulate(prompt.weight for prompt in prompts.mutation))
    return bisect(bounds, rng.random() * bounds[-1], hi=len(bounds) - 1)


def jittered(individual: Individual, rules: Rules, rng: Generator) -> Individual:
    """Change the temperature of some individuals by a small random amount."""
    if rng.random() >= rules.temperature_jitter_ratio:
        return individual
    moved = temperature.clamp(
        individual.temperature + rng.uniform(-rules.temperature_jitter, rules.temperature_jitter)
    )
    return Individual(individual.prompt, moved, individual.credited_cell, individual.credited_job)


def proposal_of(
    archives: Archives, operator: Operator, individual: Individual | None, cells: list[int], rng: Generator
) -> Proposal:
    """Return the proposal of an operator.

    Args:
        archives: Input of the operator.
        operator: The operator.
        individual: Individual with the prompt; None: the crossover prompt.
        cells: Cells of the parents, the one to change first.
        rng: Generator of the seed.
    """
    rules, elites = archives.rules, [archives.networks[cell].elite for cell in cells]
    at = individual.temperature if individual else rules.crossover_temperature
    return Proposal(
        job=archives.job,
        operator=operator,
        prompt=individual.prompt if individual else archives.prompts.crossover,
        temperature=individual.temperature if individual else None,
        sampling_temperature=max(at, rules.min_sampling_temperature),
        seed=int(rng.integers(2**31)),
        parents=tuple(elite.job for elite in elites),
        parent_digests=tuple(elite.source_digest for elite in elites),
        credited_cell=individual.credited_cell if individual else None,
        credited_job=individual.credited_job if individual else None,
        num_settled=archives.num_settled,
    )
