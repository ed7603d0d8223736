"""The variants of the search: ablations and baselines, as strategies of the same loop.

A strategy decides how candidates are proposed, which cell a trained network competes for, and what gets
credit. A variant without an archive keeps a population: its cells are then numbers without measures.

Source: Nasir 2024, section 4.2 (ablations); Real 2019 (regularized evolution); White 2021 (local
search); Mouret 2015 (MAP-Elites); Zheng 2023 (GENIUS).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import partial

import numpy as np
from numpy.random import Generator

from llmatic_daemon.domain import (
    CHANGE_PROMPT_ID,
    SAMPLE_PROMPT_ID,
    AddStatus,
    Elite,
    Operator,
    Prompt,
    PromptElite,
    PromptKind,
    PromptOffer,
    PromptSet,
    Proposal,
)
from llmatic_daemon.search import operators, prompt_book, temperature
from llmatic_daemon.search.archive.archive import CVTArchive, Insertion
from llmatic_daemon.search.operators import Archives
from llmatic_daemon.search.rules import Rules
from llmatic_daemon.search.similarity import similarity

_prompt = partial(Prompt, kind=PromptKind.MUTATION, version=1)
#: Prompts that belong to variants and not to a folder: no file can have such an id.
CREATE = _prompt(
    id="variant:create",
    text="Create a network that inherits from nn.Module and performs better than the above.",
)
SAMPLE = _prompt(id=SAMPLE_PROMPT_ID, text="Draw a network afresh.")
CHANGE = _prompt(id=CHANGE_PROMPT_ID, text="Change the network in one place.")
HISTORY = _prompt(
    id="variant:history",
    text="These networks were tried, with the accuracies given. Propose one that is more accurate.",
)
#: By how much the temperature of an individual changes in a fixed population (Nasir 2024, section 4.2).
POPULATION_STEP = 0.1
#: Consecutive neighbours without improvement after which a local search restarts. They are drawn with
#: replacement, so they miss one in eight of the 24 neighbours of a cell of NAS-Bench-201.
NUM_NEIGHBOURS = 50
#: Networks in a history: as many of the best as of the most recent ones.
NUM_TOLD = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Offered:
    """A trained network that is to be placed."""

    operator: Operator
    #: Its measures, in the units of the axes.
    solution: tuple[float, float]
    objective: float
    #: Trained before it.
    num_evaluations: int


class Credit(Enum):
    """What gets credit for a candidate."""

    #: Individuals of the prompt archive, and their prompts.
    ARCHIVE = auto()
    #: An individual of a fixed population, whose number the proposal gives as its cell.
    POPULATION = auto()
    NOBODY = auto()


@dataclass(frozen=True, kw_only=True, slots=True)
class Strategy:
    """How a variant proposes and places candidates, and what it keeps."""

    propose: Callable[[Archives, Generator], Proposal]
    #: Returns the cell that a network competes for, and whether it gets it.
    judge: "Callable[[Rules, CVTArchive[Elite], Offered], Insertion]"
    #: Whether networks lie in the cells of the measure space; else in those of a population.
    is_map: bool = True
    #: Whether it keeps a population of `population_size`.
    has_population: bool = False
    #: Whether its first networks are candidates like all others.
    first_are_candidates: bool = False
    credit: Credit = Credit.ARCHIVE
    #: Whether its candidates are written by rule, even where there is an LLM.
    by_rule: bool = False
    #: Whether the structure of networks is kept.
    keeps_structure: bool = False


def strategy_of(rules: Rules) -> Strategy:
    """Return the strategy of the variant that the rules name."""
    return STRATEGIES[rules.variant]


def measures_untrained(rules: Rules) -> bool:
    """Decide whether initial networks are measured as they are built, without a training."""
    return not rules.train_initial and not strategy_of(rules).first_are_candidates


# --- the search itself, and one operator alone -----------------------------------------------------


def _propose_archives(
    archives: Archives,
    rng: Generator,
    *,
    mutation_ratio: float | None = None,
    mutate: Callable[[Archives, Generator], Proposal] = operators.mutate,
    cross: Callable[[Archives, Generator], Proposal] = operators.cross,
    initialise: Callable[[Archives, Generator], Proposal] = operators.initialise,
) -> Proposal:
    """Initialise, then mutate or cross.

    Source: Nasir 2024, Algorithm 1.
    """
    if archives.is_initialising:
        return initialise(archives, rng)
    ratio = archives.rules.mutation_ratio if mutation_ratio is None else mutation_ratio
    if rng.random() < ratio or len(archives.networks) < 2:
        return mutate(archives, rng)
    return cross(archives, rng)


def _judge_cell(_: Rules, networks: CVTArchive[Elite], offered: Offered) -> Insertion:
    return networks.judge(*offered.solution, offered.objective)


# --- network-archive: a fixed population of individuals ----------------------------------------------


def _mutate_by_population(archives: Archives, rng: Generator) -> Proposal:
    rules = archives.rules
    number = _fittest(archives, rng) if rng.random() < rules.curious_ratio else None
    number = int(rng.integers(rules.population_size)) if number is None else number
    prompt, at, _ = individual_of(rules, archives.individuals, archives.prompts, number)
    held = archives.individuals.get(number)
    individual = operators.Individual(prompt, at, number, held.elite.job if held else None)
    individual = operators.jittered(individual, rules, rng)
    cell = operators.parent_cell(archives, rng)
    return operators.proposal_of(archives, Operator.MUTATION, individual, [cell], rng)


def _fittest(archives: Archives, rng: Generator) -> int | None:
    """Draw one of the fittest individuals, or None if none is better than at the start."""
    fitness = {number: held.objective for number, held in archives.individuals.items()}
    best = max(fitness.values(), default=0.0)
    numbers = sorted(number for number, value in fitness.items() if value == best)
    return numbers[int(rng.integers(len(numbers)))] if best > 0 else None


def individual_of(
    rules: Rules, individuals: CVTArchive[PromptElite], prompts_now: PromptSet, number: int
) -> tuple[Prompt, float, float]:
    """Return prompt, temperature and fitness of an individual of the population.

    An individual without a settled candidate, or whose prompt is gone, is drawn at random, with the
    same result each time.
    """
    held = individuals.get(number)
    if held is not None:
        for prompt in prompts_now.mutation:
            if (prompt.id, prompt.version) == (held.elite.prompt, held.elite.prompt_version):
                return prompt, held.elite.temperature, held.objective
    rng = np.random.default_rng([rules.seed, number, _OF_POPULATION])
    index = operators.drawn_by_weight(prompts_now, rng)
    return prompts_now.mutation[index], float(rng.random()), 0.0


#: Separates their random numbers from those of jobs.
_OF_POPULATION = 2**40


def population_offer(
    rules: Rules,
    individuals: CVTArchive[PromptElite],
    prompts_now: PromptSet,
    number: int,
    *,
    trainable: bool,
    status: AddStatus,
) -> PromptOffer:
    """Return an individual of the population after one more candidate of it."""
    _, at, fitness = individual_of(rules, individuals, prompts_now, number)
    fitness += prompt_book.curiosity_change(rules, trainable=trainable, status=status)
    return PromptOffer(
        temperature=temperature.clamp(at + (POPULATION_STEP if status.added else -POPULATION_STEP)),
        cell=number,
        status=AddStatus.IMPROVED if number in individuals else AddStatus.NEW,
        objective=fitness,
        curiosity=fitness,
    )


# --- prompt-archive: the population of the best networks ---------------------------------------------


def _judge_best(rules: Rules, networks: CVTArchive[Elite], offered: Offered) -> Insertion:
    if len(networks) < rules.population_size:
        return Insertion(len(networks), AddStatus.NEW, clipped=False)
    worst = min(networks.items(), key=lambda item: (item[1].objective, item[0]))
    better = offered.objective > worst[1].objective
    return Insertion(worst[0], AddStatus.IMPROVED if better else AddStatus.NOT_ADDED, clipped=False)


def _cross_similar(archives: Archives, rng: Generator) -> Proposal:
    """Cross a network with the one whose structure is most similar."""
    cell, networks = operators.parent_cell(archives, rng), archives.networks
    mine = networks[cell].elite.structure
    others = [other for other, _ in networks.items() if other != cell]
    nearest = max(others, key=lambda o: (similarity(mine, networks[o].elite.structure), -o))
    return operators.proposal_of(archives, Operator.CROSSOVER, None, [cell, nearest], rng)


# --- without evolution -------------------------------------------------------------------------------


def _create(archives: Archives, rng: Generator) -> Proposal:
    at = archives.rules.initial_temperature
    return _fixed(archives, Operator.INITIALISATION, CREATE, at, [], rng)


def _sample(archives: Archives, rng: Generator) -> Proposal:
    return _fixed(archives, Operator.INITIALISATION, SAMPLE, 1.0, [], rng)


def _fixed(
    archives: Archives, operator: Operator, prompt: Prompt, at: float, cells: list[int], rng: Generator
) -> Proposal:
    """Propose with a prompt that gets no credit."""
    proposal = operators.proposal_of(archives, operator, None, cells, rng)
    sampling = max(at, archives.rules.min_sampling_temperature)
    return replace(proposal, prompt=prompt, sampling_temperature=sampling)


# --- baselines ----------------------------------------------------------------


def _change(archives: Archives, rng: Generator) -> Proposal:
    at = float(rng.random())
    cell = operators.parent_cell(archives, rng)
    return _fixed(archives, Operator.MUTATION, CHANGE, at, [cell], rng)


def _propose_aging(archives: Archives, rng: Generator) -> Proposal:
    """Mutate the best of a random quarter of the population.

    Source: Real 2019, with population 100 and sample 25.
    """
    size = archives.rules.population_size
    if len(archives.networks) < size:
        return _sample(archives, rng)
    drawn = rng.choice(size, size=max(1, size // 4), replace=False).tolist()
    cell = max(drawn, key=lambda place: archives.networks[place].objective)
    return _fixed(archives, Operator.MUTATION, CHANGE, 0.0, [cell], rng)


def _judge_youngest(rules: Rules, networks: CVTArchive[Elite], offered: Offered) -> Insertion:
    """Replace the oldest network."""
    place = offered.num_evaluations % rules.population_size
    status = AddStatus.IMPROVED if place in networks else AddStatus.NEW
    return Insertion(place, status, clipped=False)


def _propose_neighbour(archives: Archives, rng: Generator) -> Proposal:
    """Mutate the current network; restart from a random one after too many failures."""
    if not len(archives.networks) or archives.num_since_added >= NUM_NEIGHBOURS:
        return _sample(archives, rng)
    return _fixed(archives, Operator.MUTATION, CHANGE, 0.0, [0], rng)


def _judge_step(_: Rules, networks: CVTArchive[Elite], offered: Offered) -> Insertion:
    held = networks.get(0)
    if held is None:
        return Insertion(0, AddStatus.NEW, clipped=False)
    goes = offered.operator is Operator.INITIALISATION or offered.objective > held.objective
    return Insertion(0, AddStatus.IMPROVED if goes else AddStatus.NOT_ADDED, clipped=False)


def _propose_after_history(archives: Archives, rng: Generator) -> Proposal:
    """Propose with the best and the most recent networks as a history, the best first."""
    if not len(archives.networks):
        return _fixed(archives, Operator.INITIALISATION, HISTORY, 0.0, [], rng)
    networks = archives.networks
    ranked = sorted((cell for cell, _ in networks.items()), key=lambda cell: -networks[cell].objective)
    size, last = archives.rules.population_size, archives.num_evaluations - 1
    recent = [(last - back) % size for back in range(min(len(ranked), NUM_TOLD // 2))]
    best = [cell for cell in ranked if cell not in recent][: NUM_TOLD - len(recent)]
    cells = [cell for cell in ranked if cell in {*best, *recent}]
    at = archives.rules.min_sampling_temperature
    proposal = _fixed(archives, Operator.MUTATION, HISTORY, at, cells, rng)
    return replace(proposal, results=tuple(networks[cell].objective for cell in cells))


#: The variants, by the names that `search.variant` takes: adding one is adding it here.
STRATEGIES: Mapping[str, Strategy] = {
    "llmatic": Strategy(propose=_propose_archives, judge=_judge_cell),
    "mutation-only": Strategy(propose=partial(_propose_archives, mutation_ratio=1.0), judge=_judge_cell),
    "crossover-only": Strategy(propose=partial(_propose_archives, mutation_ratio=0.0), judge=_judge_cell),
    "network-archive": Strategy(
        propose=partial(_propose_archives, mutate=_mutate_by_population),
        judge=_judge_cell,
        credit=Credit.POPULATION,
        has_population=True,
    ),
    "prompt-archive": Strategy(
        propose=partial(_propose_archives, cross=_cross_similar),
        judge=_judge_best,
        is_map=False,
        keeps_structure=True,
        has_population=True,
    ),
    "random-nn": Strategy(
        propose=_create, judge=_judge_cell, credit=Credit.NOBODY, first_are_candidates=True
    ),
    "random-search": Strategy(
        propose=_sample, judge=_judge_cell, credit=Credit.NOBODY, by_rule=True, first_are_candidates=True
    ),
    "regularized-evolution": Strategy(
        propose=_propose_aging,
        judge=_judge_youngest,
        is_map=False,
        credit=Credit.NOBODY,
        by_rule=True,
        has_population=True,
        first_are_candidates=True,
    ),
    "local-search": Strategy(
        propose=_propose_neighbour,
        judge=_judge_step,
        is_map=False,
        credit=Credit.NOBODY,
        by_rule=True,
        first_are_candidates=True,
    ),
    "map-elites": Strategy(
        propose=partial(_propose_archives, mutate=_change, initialise=_sample),
        judge=_judge_cell,
        credit=Credit.NOBODY,
        by_rule=True,
    ),
    "genius": Strategy(
        propose=_propose_after_history,
        judge=_judge_youngest,
        is_map=False,
        credit=Credit.NOBODY,
        has_population=True,
        first_are_candidates=True,
    ),
}
