"""A first look: who is trained to the end, and what becomes of the others."""

from dataclasses import replace

import pytest

from llmatic_daemon.domain import AddStatus, Failure, Job, Outcome, StoppedEarly
from llmatic_daemon.search.budget import Budget
from llmatic_daemon.search.early_stopping import NUM_REMEMBERED, EarlyStoppingRules, is_promising, remembered
from llmatic_daemon.search.evolution import Evolution, apply
from llmatic_daemon.search.placement import place
from llmatic_daemon.search.proposals import should_continue
from tests.support.fakes import evolution, network, proposal, report, trial

FIFTH = EarlyStoppingRules(rung_ratio=0.25, promoted_ratio=0.2)
ALL_THAT_WIN = EarlyStoppingRules(rung_ratio=0.25, promoted_ratio=1.0)
STOPPED = StoppedEarly(rung_accuracy=0.3, device="fake:0", wait_s=0.5, train_s=2.0, cost=0.25)


def looked_at(rules: EarlyStoppingRules = FIFTH, *rung_accuracies: float) -> Evolution:
    """Make a search with one elite, of accuracy 0.8 and look 0.5, and some looks more."""
    search = replace(evolution(train_initial=True), early_stopping_rules=rules)
    elite = report(0.8, rung_accuracy=0.5)
    search = apply(search, place(search, trial(proposal(1), elite, network("elite")), 0.0))
    return replace(
        search, rung_accuracies=(*search.rung_accuracies, *rung_accuracies), rung_ratio=rules.rung_ratio
    )


def test_network_of_an_empty_cell_always_goes_on():
    search = looked_at(FIFTH, *[0.9] * 50)

    assert should_continue(search, network("new", ratio=180, flops=4_000_000_000), 0.01)
    assert not should_continue(search, network("new"), 0.01)


def test_network_goes_on_that_has_looked_as_good_as_the_elite_of_its_cell():
    search = looked_at(ALL_THAT_WIN)

    assert should_continue(search, network("new"), 0.5)
    assert not should_continue(search, network("new"), 0.49)


def test_network_must_be_among_the_best_looks_of_late_too():
    search = looked_at(FIFTH, *[0.7] * 20)

    assert not should_continue(search, network("new"), 0.6)
    assert should_continue(search, network("new"), 0.75)


def test_where_places_are_no_cells_the_looks_of_late_decide():
    search = looked_at(FIFTH, *[0.7] * 20)
    search = replace(search, rules=replace(search.rules, variant="local-search"))

    assert not should_continue(search, network("new", ratio=180, flops=4_000_000_000), 0.6)
    assert should_continue(search, network("new"), 0.75)


@pytest.mark.parametrize(
    ("num_better", "num_others", "goes"),
    [(0, 0, True), (0, 4, True), (1, 4, False), (1, 5, True), (19, 99, True), (20, 99, False)],
)
def test_share_of_the_looks_that_go_on_is_the_promoted_one(num_better: int, num_others: int, goes: bool):
    rung_accuracies = (0.9,) * num_better + (0.1,) * (num_others - num_better)

    assert is_promising(FIFTH, 0.5, None, rung_accuracies) is goes


def test_looks_are_remembered_up_to_a_number():
    rung_accuracies: tuple[float, ...] = ()
    for number in range(NUM_REMEMBERED + 10):
        rung_accuracies = remembered(rung_accuracies, float(number))

    assert rung_accuracies == tuple(float(n) for n in range(10, NUM_REMEMBERED + 10))


def test_stopped_network_is_no_evaluation_enters_no_archive_and_costs_its_share():
    search = looked_at()
    placement = place(search, trial(proposal(2), STOPPED, network("stopped", ratio=180)), 0.0)
    after = apply(search, placement)

    assert placement.outcome is Outcome.STOPPED
    assert (placement.report, placement.objective, placement.cell) == (None, None, None)
    assert placement.status is AddStatus.NOT_ADDED
    assert after.networks == search.networks
    assert after.best == search.best
    assert after.num_evaluations == search.num_evaluations == 1
    assert (search.cost, after.cost) == (1.0, 1.25)
    assert after.rung_accuracies == (0.5, 0.3)
    assert after.train_s - search.train_s == 2.0
    assert after.window == search.window


def test_stopped_network_was_trainable_and_costs_its_prompt_as_one_that_is_not_added():
    search = looked_at()
    made = proposal(2)
    placed = apply(search, place(search, trial(made, report(0.1), network("worse")), 0.0))
    cell = next(iter(dict(placed.individuals.items())))
    made = proposal(3, credited_cell=cell, credited_job=placed.individuals[cell].elite.job)

    stopped = place(placed, trial(made, STOPPED, network("stopped")), 0.0)
    failed = Failure(cause=Outcome.NAN, detail="no")
    broken = place(placed, trial(made, failed, network("broken")), 0.0)

    assert stopped.curiosity_change == placed.rules.curiosity_not_added
    assert broken.curiosity_change == placed.rules.curiosity_untrainable


def test_elite_keeps_the_look_that_the_next_one_must_reach():
    search = looked_at(ALL_THAT_WIN)
    better = place(search, trial(proposal(2), report(0.9, rung_accuracy=0.6), network("better")), 0.0)
    after = apply(search, better)

    assert not should_continue(after, network("new"), 0.59)
    assert should_continue(after, network("new"), 0.6)


def test_elite_from_before_there_were_looks_sets_no_bar():
    search = replace(evolution(train_initial=True), early_stopping_rules=ALL_THAT_WIN)
    trained = place(search, trial(proposal(1), report(0.8), network("elite")), 0.0)
    search = apply(search, trained)

    assert should_continue(search, network("new"), 0.01)
    assert replace(trained.job) == Job(number=1, attempt=1)


def test_looks_at_another_point_of_a_training_are_not_compared():
    before = looked_at(FIFTH, *[0.9] * 20)
    earlier = replace(before, early_stopping_rules=EarlyStoppingRules(rung_ratio=0.1, promoted_ratio=0.2))

    assert not should_continue(before, network("new"), 0.4)
    assert should_continue(earlier, network("new"), 0.4)

    placed = place(earlier, trial(proposal(2), report(0.85, rung_accuracy=0.4), network("new")), 0.0)
    after = apply(earlier, placed)
    assert (placed.rung_ratio, after.rung_ratio, after.rung_accuracies) == (0.1, 0.1, (0.4,))
    assert not should_continue(after, network("other"), 0.3)


@pytest.mark.parametrize(
    ("cost", "num_running", "room"), [(0.0, 0, True), (1.2, 1, True), (1.2, 2, False), (3.0, 0, False)]
)
def test_no_training_is_begun_that_the_budget_has_no_room_for(cost: float, num_running: int, room: bool):
    search = replace(evolution(), cost=cost)

    assert Budget(max_trainings=3.0).has_room_for(search, num_running) is room


def test_failure_costs_the_epochs_that_it_had():
    failed = Failure(cause=Outcome.NAN, detail="no", cost=0.25)

    placement = place(looked_at(), trial(proposal(2), failed, network("broken")), 0.0)

    assert placement.cost == 0.25
