"""The rules of the paper's search (Nasir 2024, Algorithm 1), one by one."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from llmatic_daemon.domain import (
    AddStatus,
    Duplicate,
    Elite,
    Failure,
    Job,
    Measures,
    Operator,
    Outcome,
    Placement,
    PromptElite,
    Proposal,
    Rejection,
)
from llmatic_daemon.search.budget import Budget
from llmatic_daemon.search.evolution import Evolution, apply
from llmatic_daemon.search.operators import initial_source
from llmatic_daemon.search.placement import place
from llmatic_daemon.search.proposals import propose, rng_for
from llmatic_daemon.search.temperature import adapted
from tests.support.fakes import TASK, evolution, prompts, proposal, report, trial, with_prompts

MANY = 1500


def grown(num_networks: int = 12, num_individuals: int = 12, **rules: Any) -> Evolution:
    """Make a search past its initialisation; the n-th elite's objective is n / 100."""
    search = evolution(**rules)
    networks, individuals = search.networks, search.individuals
    for n in range(num_networks):
        measures = Measures(num_parameters=1, flops=1, width=1, depth=1)
        elite = Elite(job=n + 1, source_digest=f"d{n}", measures=measures)
        networks = networks.with_elite(7 * n % 100, n / 100, elite)
    for n in range(num_individuals):
        individual = PromptElite(
            job=n + 1, prompt=f"p{n % 16:02}", prompt_version=1, temperature=0.5, curiosity=float(n)
        )
        individuals = individuals.with_elite(5 * n % 100, 0.0, individual)
    return replace(search, networks=networks, individuals=individuals)


def proposals(search: Evolution, count: int = MANY) -> list[Proposal]:
    jobs = [Job(number=number, attempt=1) for number in range(1, count + 1)]
    return [propose(search, job, rng_for(1, job)) for job in jobs]


def settled(search: Evolution, *trials: tuple[Proposal, Any]) -> tuple[Evolution, Placement]:
    for made, result in trials:
        placement = place(search, trial(made, result), 0.0)
        search = apply(search, placement)
    return search, placement


def share(made: list[Proposal], operator: Operator) -> float:
    return sum(p.operator is operator for p in made) / len(made)


# --- initialisation ------------------------------------------------------------------------------


def test_initialisation_mutates_the_initial_network_by_random_prompts_at_its_temperature():
    made = proposals(evolution(), 800)

    assert {p.operator for p in made} == {Operator.INITIALISATION}
    assert {p.temperature for p in made} == {0.6}
    assert {p.parents for p in made} == {()}
    assert len({p.prompt.id for p in made}) == 16


@pytest.mark.parametrize(
    ("num_networks", "num_individuals", "initialising"),
    [(9, 9, True), (10, 0, False), (1, 10, False), (0, 10, True)],
)
def test_initialisation_ends_when_one_archive_has_ten_elites(
    num_networks: int, num_individuals: int, initialising: bool
):
    made = proposals(grown(num_networks, num_individuals), 20)

    assert {p.operator is Operator.INITIALISATION for p in made} == {initialising}


def test_initial_network_is_the_papers_for_cifar():
    source = initial_source(TASK)

    assert "nn.Conv2d(3, 1, 1)" in source
    assert "nn.Linear(1024, 1024)" in source
    assert "nn.Linear(1024, 10)" in source


# --- variation -----------------------------------------------------------------------------------


def test_operators_are_drawn_seven_to_three():
    assert share(proposals(grown()), Operator.MUTATION) == pytest.approx(0.7, abs=0.04)


@pytest.mark.parametrize(("ratio", "operator"), [(1.0, Operator.MUTATION), (0.0, Operator.CROSSOVER)])
def test_operator_probabilities_may_be_extreme(ratio: float, operator: Operator):
    assert share(proposals(grown(mutation_ratio=ratio), 200), operator) == 1.0


def test_crossover_needs_two_elites():
    search = grown(1, 10, mutation_ratio=0.0)

    assert share(proposals(search, 50), Operator.MUTATION) == 1.0


def test_half_of_the_mutations_take_the_most_curious_individual():
    made = proposals(grown(mutation_ratio=1.0, temperature_jitter_ratio=0.0))

    most_curious = sum(p.credited_job == 12 and p.temperature == 0.5 for p in made)

    assert most_curious / MANY == pytest.approx(0.5, abs=0.04)
    assert Counter(p.prompt.id for p in made if p.temperature != 0.5).keys() == {
        f"p{n:02}" for n in range(16)
    }


def test_equally_curious_individuals_are_drawn_from():
    search = grown(mutation_ratio=1.0, curious_ratio=1.0)
    individuals = search.individuals
    for cell, held in list(individuals.items()):
        individuals = individuals.with_elite(cell, 0.0, replace(held.elite, curiosity=0.0))
    search = replace(search, individuals=individuals)

    assert len({p.credited_job for p in proposals(search, 500)}) == len(individuals)


def test_half_of_the_mutations_move_their_temperature_by_up_to_a_tenth():
    made = proposals(grown(mutation_ratio=1.0, curious_ratio=1.0))
    temperatures = [p.temperature for p in made if p.temperature is not None]

    moved = [t for t in temperatures if t != 0.5]

    assert len(moved) / MANY == pytest.approx(0.5, abs=0.04)
    assert min(moved) == pytest.approx(0.4, abs=0.01)
    assert max(moved) == pytest.approx(0.6, abs=0.01)


def test_sampling_temperature_is_at_least_a_hundredth_and_at_most_one():
    made = proposals(grown(mutation_ratio=1.0, temperature_jitter=1.0, temperature_jitter_ratio=1.0), 1000)

    assert min(p.sampling_temperature for p in made) == 0.01
    assert max(p.sampling_temperature for p in made) == 1.0
    assert min(p.temperature for p in made if p.temperature is not None) == 0.0


def test_random_prompt_credits_the_elite_of_its_own_cell_if_there_is_one():
    search = grown(mutation_ratio=1.0, curious_ratio=0.0, temperature_jitter_ratio=0.0)

    for made in proposals(search, 500):
        slot, at = int(made.prompt.id[1:]), made.temperature
        assert at is not None
        held = search.individuals.get(search.individuals.locate(float(slot), at)[0])
        assert made.credited_job == (held.elite.job if held else None)


def test_parents_are_uniform_with_a_tournament_of_one():
    made = proposals(grown(mutation_ratio=1.0))

    counts = Counter(p.parents[0] for p in made)

    assert len(counts) == 12
    assert max(counts.values()) / min(counts.values()) < 2


def test_tournament_of_three_takes_the_best_of_three():
    made = proposals(grown(mutation_ratio=1.0, tournament_size=3))

    best = sum(p.parents == (12,) for p in made) / MANY

    assert best == pytest.approx(1 - (11 / 12) ** 3, abs=0.04)


def test_crossover_joins_two_or_three_nearest_neighbours_at_its_temperature():
    search = grown(mutation_ratio=0.0)
    cells = {held.elite.job: cell for cell, held in search.networks.items()}

    made = proposals(search, 500)

    for p in made:
        near = search.networks.nearest_filled(cells[p.parents[0]], len(p.parents) - 1)
        assert [cells[job] for job in p.parents[1:]] == near
    assert Counter(len(p.parents) for p in made).keys() == {3, 4}
    assert {(p.sampling_temperature, p.temperature, p.prompt.id) for p in made} == {(0.7, None, "crossover")}


def test_crossover_offers_and_credits_nothing():
    search = grown(mutation_ratio=0.0)

    after, placement = settled(search, (proposals(search, 1)[0], report(0.99)))

    assert (placement.offer, placement.credited_cell, placement.score_change) == (None, None, 0.0)
    assert after.individuals == search.individuals


def test_retired_prompt_is_not_chosen_although_it_is_the_most_curious():
    search = grown(mutation_ratio=1.0, curious_ratio=1.0)
    job = Job(number=1, attempt=1)

    search = with_prompts(search, prompts(without=(11,)))
    made = propose(search, job, rng_for(1, job))

    assert made.prompt.id == "p10"


def test_proposal_depends_on_the_job_and_the_search_alone():
    assert proposals(grown(), 30) == proposals(grown(), 30)
    first, second = (Job(number=1, attempt=attempt) for attempt in (1, 2))
    search = grown()

    assert propose(search, first, rng_for(1, first)).seed != (
        propose(search, second, rng_for(1, second)).seed
    )


# --- windows, score, temperature -----------------------------------------------------------------


def test_window_completes_after_its_size_and_failures_count():
    search = evolution(window_size=3)
    failed = Rejection(cause=Outcome.NOT_CODE, detail="")

    search, _ = settled(search, (proposal(1), report(0.4)), (proposal(2), failed))
    before = search.window.last_best
    search, _ = settled(search, (proposal(3), report(0.3)))

    assert (before, search.window.last_best, search.window.current_best) == (None, 0.4, None)


def test_window_without_any_objective_keeps_the_best_before():
    failed = Rejection(cause=Outcome.NOT_CODE, detail="")
    search, _ = settled(
        evolution(window_size=2),
        (proposal(1), report(0.4)),
        (proposal(2), failed),
        (proposal(3), failed),
        (proposal(4), failed),
    )

    assert search.window.last_best == 0.4


@pytest.mark.parametrize(
    ("objective", "score", "temperature"),
    [(0.41, 1.0, 0.55), (0.4, 0.0, 0.55), (0.39, 0.0, 0.45)],
    ids=["beats", "equals", "misses"],
)
def test_score_and_temperature_compare_with_the_last_window(
    objective: float, score: float, temperature: float
):
    search, _ = settled(evolution(window_size=1), (proposal(1), report(0.4)))

    search, placement = settled(search, (proposal(2), report(objective)))

    assert placement.offer is not None
    assert placement.score_change == score
    assert placement.offer.temperature == pytest.approx(temperature)
    assert placement.offer.objective == score
    assert search.scores.get(("p00", 1), 0.0) == score


def test_score_is_shared_by_all_individuals_of_a_prompt():
    search, _ = settled(evolution(window_size=1), (proposal(1), report(0.1)))

    search, placement = settled(
        search, (proposal(2, temperature=0.1), report(0.2)), (proposal(3, temperature=0.9), report(0.3))
    )

    assert placement.offer is not None
    assert placement.offer.objective == 2.0
    assert search.scores["p00", 1] == 2.0


def test_untrainable_candidate_is_offered_calmer_and_scores_nothing():
    search, _ = settled(evolution(window_size=1), (proposal(1), report(0.4)))

    _, placement = settled(search, (proposal(2), Failure(cause=Outcome.NAN, detail="nan")))

    assert placement.offer is not None
    assert placement.offer.temperature == pytest.approx(0.45)
    assert placement.score_change == 0.0
    assert (placement.cell, placement.status) == (None, AddStatus.NOT_ADDED)


@pytest.mark.parametrize(
    ("before", "objective", "after"), [(0.98, 0.5, 1.0), (0.02, 0.3, 0.0), (1.0, 0.4, 1.0)]
)
def test_temperature_stays_within_zero_and_one(before: float, objective: float, after: float):
    assert adapted(before, objective, 0.4, 0.05) == after


def test_temperature_stays_before_the_first_window():
    assert adapted(0.5, 0.9, None, 0.05) == 0.5


# --- credit --------------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", [Outcome.ERROR, Outcome.CONTEXT])
def test_fault_of_the_world_credits_nobody_and_offers_nothing(cause: Outcome):
    search = grown()
    made = proposal(99, credited_cell=next(search.individuals.items())[0], credited_job=1)

    after, placement = settled(search, (made, Failure(cause=cause, detail="")))

    assert (placement.credited_cell, placement.offer, placement.score_change) == (None, None, 0.0)
    assert after.individuals == search.individuals


def test_individual_that_was_replaced_meanwhile_gets_no_credit():
    search = grown()
    cell, held = next(search.individuals.items())
    made = proposal(99, credited_cell=cell, credited_job=held.elite.job + 50)

    _, placement = settled(search, (made, report(0.5)))

    assert (placement.credited_cell, placement.curiosity_change) == (None, 0.0)


def test_individual_that_improves_its_own_cell_keeps_its_curiosity():
    search, first = settled(evolution(window_size=1), (proposal(1), report(0.1)))
    assert first.offer is not None
    cell = first.offer.cell
    made = proposal(2, credited_cell=cell, credited_job=1, temperature=0.45)

    search, placement = settled(search, (made, report(0.9)))

    assert placement.offer is not None
    assert (placement.offer.cell, placement.offer.status) == (cell, AddStatus.IMPROVED)
    assert search.individuals[cell].elite.curiosity == 1.0


# --- duplicates ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("outcome", "change"), [(Outcome.TRAINED, -0.5), (Outcome.NAN, -1.0)])
def test_duplicate_costs_what_its_like_would_cost_again(outcome: Outcome, change: float):
    search, first = settled(evolution(), (proposal(1), report(0.4)))
    assert first.offer is not None
    made = proposal(2, credited_cell=first.offer.cell, credited_job=1)

    after, placement = settled(search, (made, Duplicate(of=1, outcome=outcome)))

    assert placement.curiosity_change == change
    assert placement.duplicate_of == 1
    assert after.num_evaluations == 1


# --- budgets -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"max_evaluations": 1}, "1 evaluations are settled"),
        ({"max_evaluations": 2}, None),
        ({"max_gpu_hours": 2 / 3600}, "0.0 minutes of device time are used"),
        ({"max_gpu_hours": 2.1 / 3600}, None),
        ({"max_hours": 1.0}, "1.0 hours have passed"),
        ({"max_hours": 1.1}, None),
        ({"target_accuracy": 0.4}, "the target accuracy is reached: 0.4000"),
        ({"target_accuracy": 0.5}, None),
        ({}, None),
    ],
)
def test_budget_says_which_limit_is_reached(limits: dict[str, Any], says: str | None):
    search, _ = settled(evolution(), (proposal(1), report(0.4)))

    assert Budget(**limits).used_up(search, 3600.0) == says


def test_budget_has_room_for_what_does_not_run_in_vain():
    search, _ = settled(evolution(), (proposal(1), report(0.4)))

    assert Budget(max_evaluations=4).has_room_for(search, 2)
    assert not Budget(max_evaluations=4).has_room_for(search, 3)
    assert Budget().has_room_for(search, 10**6)
