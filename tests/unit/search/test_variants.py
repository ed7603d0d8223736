"""Variants of the search: the rule of each, one by one."""

from dataclasses import replace
from typing import Any

import pytest

from llmatic_daemon.domain import AddStatus, Arm, Failure, Job, Operator, Outcome, Placement, Proposal
from llmatic_daemon.search.evolution import Evolution, apply
from llmatic_daemon.search.placement import place
from llmatic_daemon.search.proposals import propose, rng_for, shorten
from llmatic_daemon.search.similarity import similarity, structure_of
from llmatic_daemon.search.variants import (
    CREATE,
    HISTORY,
    NUM_NEIGHBOURS,
    NUM_TOLD,
    SAMPLE,
    STRATEGIES,
    individual_of,
    measures_untrained,
)
from tests.support.fakes import evolution, network, prompts, proposal, report, trial, with_prompts

BY_RULE = ("random-search", "regularized-evolution", "local-search", "map-elites")


def proposed(search: Evolution, number: int = 0) -> Proposal:
    job = Job(number=number or search.num_settled + 1, attempt=1)
    return propose(search, job, rng_for(search.rules.seed, job))


def settle(
    search: Evolution, objective: float | None, made: Proposal | None = None, graph: str = ""
) -> tuple[Evolution, Placement]:
    """Settle a proposal, the next one if none is given; None: it cannot be trained."""
    made = made or proposed(search)
    number = made.job.number
    lifted = network(graph or f"net {number}", ratio=1 + 17 * number % 199)
    result = Failure(cause=Outcome.NAN, detail="no") if objective is None else report(objective)
    placement = place(search, trial(made, result, lifted), 0.0)
    return apply(search, placement), placement


def grown(variant: str, count: int, **rules: Any) -> Evolution:
    """Settle so many candidates; the n-th reaches n / 1000."""
    search = evolution(variant=variant, train_initial=True, **rules)
    for number in range(1, count + 1):
        search, _ = settle(search, number / 1000)
    return search


def many(search: Evolution, count: int = 400) -> list[Proposal]:
    return [proposed(search, number) for number in range(1, count + 1)]


def test_strategies_answer_what_the_settings_ask():
    def those(fact: str) -> set[str]:
        return {name for name, strategy in STRATEGIES.items() if getattr(strategy, fact)}

    population = {"network-archive", "prompt-archive", "regularized-evolution", "genius"}
    assert those("has_population") == population
    assert STRATEGIES.keys() - those("is_map") == population - {"network-archive"} | {"local-search"}
    by_themselves = {"random-nn", "random-search", "regularized-evolution", "local-search", "genius"}
    assert those("first_are_candidates") == by_themselves


@pytest.mark.parametrize("variant", STRATEGIES)
def test_what_compares_with_us_is_written_by_rule_and_all_else_by_the_writer(variant: str):
    made = many(grown(variant, 30), 50)

    assert {each.by_rule for each in made} == {variant in BY_RULE}


@pytest.mark.parametrize(
    ("variant", "operator"), [("mutation-only", Operator.MUTATION), ("crossover-only", Operator.CROSSOVER)]
)
def test_one_operator_alone_makes_all_but_the_first_networks(variant: str, operator: Operator):
    assert {each.operator for each in many(grown(variant, 30))} == {operator}
    begun = many(evolution(variant=variant))
    assert {each.operator for each in begun} == {Operator.INITIALISATION}


# --- network-archive -------------------------------------------------------------------------------


def test_population_of_individuals_is_drawn_once_and_for_ever():
    search = evolution(variant="network-archive")

    def population(seed: int) -> list[tuple[str, float]]:
        rules = replace(search.rules, seed=seed)
        drawn = [
            individual_of(rules, search.individuals, search.prompts.current, number) for number in range(100)
        ]
        assert {fitness for _, _, fitness in drawn} == {0.0}
        return [(prompt.id, temperature) for prompt, temperature, _ in drawn]

    assert population(1) == population(1) != population(2)
    assert len({prompt for prompt, _ in population(1)}) == 16
    assert min(t for _, t in population(1)) < 0.1 < 0.9 < max(t for _, t in population(1))


@pytest.mark.parametrize(
    ("objective", "fitness", "step"), [(0.99, 1.0, 0.1), (0.0, -0.5, -0.1), (None, -1.0, -0.1)]
)
def test_individual_gets_its_fitness_and_its_temperature_by_what_became_of_its_network(
    objective: float | None, fitness: float, step: float
):
    search = grown("network-archive", 100, temperature_jitter_ratio=0.0, mutation_ratio=1.0)
    made = next(
        each
        for each in many(search)
        if each.credited_cell not in search.individuals and 0.2 < (each.temperature or 0) < 0.8
    )
    made = replace(made, job=Job(number=101, attempt=1))
    cell = search.networks.locate(1 + 17 * 101 % 199, 1e9)[0]
    assert cell in search.networks, "a network of accuracy 0 must not find its cell empty"

    after, placement = settle(search, objective, made)

    number = made.credited_cell
    assert number is not None
    prompt, temperature, now = individual_of(after.rules, after.individuals, after.prompts.current, number)
    assert (prompt, now) == (made.prompt, fitness)
    assert temperature == pytest.approx(made.temperature + step)
    assert placement.curiosity_change == placement.score_change == 0
    assert placement.offer is not None
    assert placement.offer.cell == number


def test_half_of_the_mutations_take_the_fittest_individual():
    search = grown("network-archive", 60, mutation_ratio=1.0, temperature_jitter_ratio=0.0)
    best = max(held.objective for _, held in search.individuals.items())
    fittest = {n for n, held in search.individuals.items() if held.objective == best}

    made = many(search, 1000)

    assert best > 0
    share = sum(each.credited_cell in fittest for each in made) / len(made)
    assert 0.45 < share < 0.6


def test_individual_whose_prompt_is_gone_is_the_one_that_was_drawn_for_the_prompts_there_are():
    search = grown("network-archive", 60, mutation_ratio=1.0)
    fewer = with_prompts(search, prompts(16, without=range(8)))

    assert {each.prompt.id for each in many(fewer)} <= {f"p{n:02}" for n in range(8, 16)}


# --- prompt-archive --------------------------------------------------------------------------------


def test_population_of_networks_keeps_the_best_wherever_they_stand():
    search = evolution(variant="prompt-archive", population_size=5, train_initial=True)
    for objective in (0.5, 0.1, 0.4, 0.2, 0.3, 0.05, 0.6, 0.2):
        search, placement = settle(search, objective)

    assert placement.status is AddStatus.NOT_ADDED, "as good as the worst is not better"
    assert sorted(held.objective for _, held in search.networks.items()) == [0.2, 0.3, 0.4, 0.5, 0.6]


def test_crossover_joins_a_network_and_the_most_similar_one():
    search = evolution(variant="prompt-archive", train_initial=True, num_initial=1, mutation_ratio=0.0)
    graphs = ["@conv@conv@relu", "@conv@conv@conv@relu", "@linear@gru", "@linear@gru@linear"]
    for number, graph in enumerate(graphs):
        made = replace(proposal(number + 1), operator=Operator.INITIALISATION)
        search, _ = settle(search, 0.5, made, graph)

    pairs = {frozenset(each.parents) for each in many(search)}

    assert pairs == {frozenset((1, 2)), frozenset((3, 4))}


def test_structure_counts_the_operations_of_a_graph():
    graph = b'{"nodes":[["conv",1],["relu",2],["conv",3]],"output":3}'

    assert structure_of(graph) == (("conv", 2), ("relu", 1))
    assert structure_of(b"(0)@nor_conv_3x3+(0)@avg_pool_3x3") == (("avg_pool_3x3", 1), ("nor_conv_3x3", 1))
    assert similarity(structure_of(graph), structure_of(graph)) == pytest.approx(1.0)
    assert similarity((("conv", 1),), (("relu", 3),)) == 0.0
    assert similarity((), (("relu", 3),)) == 0.0


# --- without evolution -----------------------------------------------------------------------------


@pytest.mark.parametrize(("variant", "prompt"), [("random-nn", CREATE), ("random-search", SAMPLE)])
def test_without_evolution_every_candidate_is_made_of_the_initial_network_and_trained(
    variant: str, prompt: Any
):
    search = grown(variant, 50, duplicates="skip")
    untrained = replace(search, rules=replace(search.rules, train_initial=False))

    made = many(search, 50)

    assert {(each.operator, each.parents, each.prompt) for each in made} == {
        (Operator.INITIALISATION, (), prompt)
    }
    assert len({each.seed for each in made}) == 50
    assert not measures_untrained(untrained.rules)
    assert len(search.individuals) == 0
    assert not search.scores


# --- what compares with us -------------------------------------------------------------------------


def test_regularized_evolution_draws_until_its_population_is_full():
    search = grown("regularized-evolution", 19, population_size=20)

    assert proposed(search).operator is Operator.INITIALISATION
    assert proposed(settle(search, 0.5)[0]).operator is Operator.MUTATION


def test_regularized_evolution_lets_the_oldest_die_however_good_it_is():
    search = evolution(variant="regularized-evolution", population_size=3, train_initial=True)
    for objective in (0.9, 0.1, 0.2, 0.05, None, 0.15):
        search, _ = settle(search, objective)

    assert [search.networks[place].objective for place in range(3)] == [0.05, 0.15, 0.2]
    assert search.best is not None
    assert search.best.objective == 0.9


def test_regularized_evolution_changes_the_best_of_a_quarter_of_the_population():
    search = grown("regularized-evolution", 100)

    parents = [each.parents[0] for each in many(search, 2000)]

    # The best of 25 of 100 without replacement: the very best in a quarter of the draws.
    assert 0.21 < parents.count(100) / len(parents) < 0.29
    assert min(parents) >= 25


def test_local_search_goes_uphill_only():
    search, first = settle(evolution(variant="local-search", train_initial=True), 0.5)
    search, worse = settle(search, 0.4)
    search, better = settle(search, 0.6)

    assert [p.operator for p in (first, worse, better)] == [
        Operator.INITIALISATION,
        Operator.MUTATION,
        Operator.MUTATION,
    ]
    assert (worse.parents, better.parents) == ((1,), (1,))
    assert proposed(search).parents == (3,)


def test_local_search_begins_elsewhere_when_no_neighbour_is_better():
    search, _ = settle(evolution(variant="local-search", train_initial=True), 0.9)
    for _ in range(NUM_NEIGHBOURS):
        assert proposed(search).operator is Operator.MUTATION
        search, _ = settle(search, 0.1)

    search, elsewhere = settle(search, 0.2)

    assert elsewhere.operator is Operator.INITIALISATION
    assert elsewhere.status is AddStatus.IMPROVED, "a worse network, but a new beginning"
    assert proposed(search).parents == (elsewhere.job.number,)
    assert search.best is not None
    assert search.best.objective == 0.9


def test_map_elites_is_our_loop_with_prompts_that_earn_nothing():
    search = grown("map-elites", 60)

    made = many(search)

    assert {each.operator for each in made} == {Operator.MUTATION, Operator.CROSSOVER}
    assert {each.credited_cell for each in made} == {None}
    assert len(search.networks) > 10
    assert len(search.individuals) == 0


def test_genius_tells_the_writer_of_the_best_and_of_the_last_networks_with_their_accuracies():
    search = evolution(variant="genius", train_initial=True)
    objectives = [0.9, 0.8, 0.7, 0.6, 0.5, *[0.1] * 40, 0.21, 0.22, 0.23, 0.24, 0.25]
    for objective in objectives:
        search, _ = settle(search, objective)

    made = proposed(search)

    assert made.prompt is HISTORY
    assert len(made.parents) == NUM_TOLD
    assert made.results == (0.9, 0.8, 0.7, 0.6, 0.5, 0.25, 0.24, 0.23, 0.22, 0.21)
    assert made.parents == (1, 2, 3, 4, 5, 50, 49, 48, 47, 46)


def test_history_that_is_too_long_loses_its_worst_network():
    search = grown("genius", 3)
    made = proposed(search)

    shorter = shorten(search, made)
    assert shorter is not None
    shortest = shorten(search, shorter)
    assert shortest is not None

    assert (made.parents, shorter.parents, shortest.parents) == ((3, 2, 1), (3, 2), (3,))
    assert shortest.results == (0.003,)
    assert shorten(search, shortest) is None


# --- the control arm -------------------------------------------------------------------------------


def test_control_arm_has_its_share_of_the_jobs_and_the_same_proposals():
    search = grown("llmatic", 60)
    watched = replace(search, rules=replace(search.rules, control_ratio=0.1))

    plain, mixed = many(search, 2000), many(watched, 2000)

    share = sum(each.by_rule for each in mixed) / len(mixed)
    assert 0.085 < share < 0.115
    assert [replace(each, by_rule=False) for each in mixed] == plain


def test_job_stays_in_its_arm_when_it_is_tried_again():
    search = evolution(control_ratio=0.5)

    def arm(number: int, attempt: int) -> bool:
        job = Job(number=number, attempt=attempt)
        return propose(search, job, rng_for(1, job)).by_rule

    assert [arm(n, 1) for n in range(1, 50)] == [arm(n, 2) for n in range(1, 50)]


def test_control_arm_fills_the_map_and_credits_no_prompt():
    search = grown("llmatic", 120)
    made = next(each for each in many(search) if each.credited_cell is not None)
    made = replace(made, job=Job(number=121, attempt=1), by_rule=True)

    after, placement = settle(search, 0.99, made)

    assert placement.status.added
    assert placement.by_rule
    assert (placement.offer, placement.credited_cell) == (None, None)
    assert (placement.score_change, placement.curiosity_change) == (0.0, 0.0)
    assert (after.individuals, after.scores) == (search.individuals, search.scores)


def test_control_arm_does_not_count_while_no_llm_answers():
    """Else it alone would have what is settled then, when it is harder to enter than before."""
    search = grown("llmatic", 30)

    def settled(search: Evolution, **facts: Any) -> tuple[Evolution, Placement]:
        fallback = facts.pop("fallback", False)
        made = replace(proposed(search), **facts)
        ended = trial(made, report(0.5), network(f"net {made.job.number}"), fallback=fallback)
        placement = place(search, ended, 0.0)
        return apply(search, placement), placement

    search, answered = settled(search)
    search, control = settled(search, by_rule=True)
    search, out = settled(search, fallback=True)
    search, beside = settled(search, by_rule=True)
    search, back = settled(search)
    search, again = settled(search, by_rule=True)

    assert [p.arm for p in (answered, control, out, beside, back, again)] == [
        Arm.WRITER,
        Arm.CONTROL,
        Arm.FALLBACK,
        Arm.FALLBACK,
        Arm.WRITER,
        Arm.CONTROL,
    ]
