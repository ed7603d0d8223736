"""The variants of the search: its ablations, and what it is compared with; strategies of the same loop.

A variant says how it proposes, which place a trained network competes for, and who gets credit. Where it
has no archive it keeps a population in its place: the cells are then places, and say nothing of measures.

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
from llmatic_daemon.search.rules import Rules, Variant
from llmatic_daemon.search.similarity import similarity

#: The prompts that belong to variants, not to a folder: no file can have such an id.
CREATE = Prompt(
    id="variant:create",
    kind=PromptKind.MUTATION,
    text="Create a network that inherits from nn.Module and performs better than the above.",
    version=1,
)
SAMPLE = Prompt(id=SAMPLE_PROMPT_ID, kind=PromptKind.MUTATION, text="Draw a network afresh.", version=1)
CHANGE = Prompt(
    id=CHANGE_PROMPT_ID,
    kind=PromptKind.MUTATION,
    text="Change the network in one place.",
    version=1,
)
HISTORY = Prompt(
    id="variant:history",
    kind=PromptKind.MUTATION,
    text="These networks were tried, with the accuracies given. Propose one that is more accurate.",
    version=1,
)
#: By how much the temperature of an individual changes in a fixed population (Nasir 2024, section 4.2).
POPULATION_STEP = 0.1
#: Neighbours in a row that are no better, after which a local search begins elsewhere: drawn with
#: replacement, they miss one in eight of the 24 that a cell of NAS-Bench-201 has.
NUM_NEIGHBOURS = 50
#: Networks that a writer is told of: as many of the best as of the last ones.
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
    """Who gets credit for a candidate."""

    #: Individuals of the prompt archive, and their prompts.
    ARCHIVE = auto()
    #: One of a fixed population of individuals, whose number the proposal names as its cell.
    POPULATION = auto()
    NOBODY = auto()


@dataclass(frozen=True, kw_only=True, slots=True)
class Strategy:
    """How a variant goes on, and what it keeps."""

    propose: Callable[[Archives, Generator], Proposal]
    #: Says which place a network competes for, and whether it gets it.
    judge: "Callable[[Rules, CVTArchive[Elite], Offered], Insertion]"
    #: Whether places are cells of the measure space.
    is_map: bool = True
    credit: Credit = Credit.ARCHIVE
    #: Whether its candidates are written by rule, even where there is an LLM.
    by_rule: bool = False
    #: Whether the structure of networks is kept.
    keeps_structure: bool = False


def strategy_of(rules: Rules) -> Strategy:
    """Choose by the rules."""
    return STRATEGIES[rules.variant]


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
    """Draw one of the fittest individuals; None when all are as they began, or worse."""
    fitness = {number: held.objective for number, held in archives.individuals.items()}
    best = max(fitness.values(), default=0.0)
    numbers = sorted(number for number, value in fitness.items() if value == best)
    return numbers[int(rng.integers(len(numbers)))] if best > 0 else None


def individual_of(
    rules: Rules, individuals: CVTArchive[PromptElite], prompts_now: PromptSet, number: int
) -> tuple[Prompt, float, float]:
    """Return prompt, temperature and fitness of an individual of the population.

    One that nothing has been settled for yet, or whose prompt is gone, is drawn at random, always
    the same way.
    """
    held = individuals.get(number)
    if held is not None:
        for prompt in prompts_now.mutation:
            if (prompt.id, prompt.version) == (held.elite.prompt, held.elite.prompt_version):
                return prompt, held.elite.temperature, held.objective
    rng = np.random.default_rng([rules.seed, number, _OF_POPULATION])
    index = operators.drawn_by_weight(prompts_now, rng)
    return prompts_now.mutation[index], float(rng.random()), 0.0


#: Tells their random numbers from those of jobs.
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
    """Say how an individual of the population is after one more candidate of it."""
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
    """Join a network and the one whose structure is most similar."""
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
    archives: Archives,
    operator: Operator,
    prompt: Prompt,
    at: float,
    cells: list[int],
    rng: Generator,
) -> Proposal:
    """Propose by a prompt that earns no credit."""
    proposal = operators.proposal_of(archives, operator, None, cells, rng)
    sampling = max(at, archives.rules.min_sampling_temperature)
    return replace(proposal, prompt=prompt, sampling_temperature=sampling)


# --- what the search is compared with ----------------------------------------------------------------


def _change(archives: Archives, rng: Generator) -> Proposal:
    at = float(rng.random())
    cell = operators.parent_cell(archives, rng)
    return _fixed(archives, Operator.MUTATION, CHANGE, at, [cell], rng)


def _propose_aging(archives: Archives, rng: Generator) -> Proposal:
    """Change the best of a quarter of the population, drawn at random.

    Source: Real 2019, with population 100 and sample 25.
    """
    size = archives.rules.population_size
    if len(archives.networks) < size:
        return _sample(archives, rng)
    drawn = rng.choice(size, size=max(1, size // 4), replace=False).tolist()
    cell = max(drawn, key=lambda place: archives.networks[place].objective)
    return _fixed(archives, Operator.MUTATION, CHANGE, 0.0, [cell], rng)


def _judge_youngest(rules: Rules, networks: CVTArchive[Elite], offered: Offered) -> Insertion:
    """Let every network take the place of the oldest one."""
    place = offered.num_evaluations % rules.population_size
    status = AddStatus.IMPROVED if place in networks else AddStatus.NEW
    return Insertion(place, status, clipped=False)


def _propose_neighbour(archives: Archives, rng: Generator) -> Proposal:
    """Change the network where the search stands; begin elsewhere when it has stood too long."""
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
    """Tell the writer of the best and the last networks, the best one first."""
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


STRATEGIES: Mapping[Variant, Strategy] = {
    "llmatic": Strategy(propose=_propose_archives, judge=_judge_cell),
    "mutation-only": Strategy(propose=partial(_propose_archives, mutation_ratio=1.0), judge=_judge_cell),
    "crossover-only": Strategy(propose=partial(_propose_archives, mutation_ratio=0.0), judge=_judge_cell),
    "network-archive": Strategy(
        propose=partial(_propose_archives, mutate=_mutate_by_population),
        judge=_judge_cell,
        credit=Credit.POPULATION,
    ),
    "prompt-archive": Strategy(
        propose=partial(_propose_archives, cross=_cross_similar),
        judge=_judge_best,
        is_map=False,
        keeps_structure=True,
    ),
    "random-nn": Strategy(propose=_create, judge=_judge_cell, credit=Credit.NOBODY),
    "random-search": Strategy(propose=_sample, judge=_judge_cell, credit=Credit.NOBODY, by_rule=True),
    "regularized-evolution": Strategy(
        propose=_propose_aging,
        judge=_judge_youngest,
        is_map=False,
        credit=Credit.NOBODY,
        by_rule=True,
    ),
    "local-search": Strategy(
        propose=_propose_neighbour,
        judge=_judge_step,
        is_map=False,
        credit=Credit.NOBODY,
        by_rule=True,
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
    ),
}
