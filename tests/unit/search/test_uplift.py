"""What the LLM is worth: which candidates count, what the intervals hold, and how often they are wrong."""

import time
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from llmatic_daemon.domain import (
    OBJECTIVE_UNITS,
    AddStatus,
    Arm,
    ArmTally,
    Comparison,
    Finding,
    Job,
    Outcome,
    Placement,
)
from llmatic_daemon.search.comparison import MIN_CANDIDATES, entered_difference, objective_difference, uplift
from tests.support.sample_placements import failure, success

EMPTY = Comparison(control_ratio=0.1, since=0)
JOB = Job(number=1, attempt=1)


def trained(objective: float, **changes: object) -> Placement:
    placement, _ = success(1, JOB, **changes)
    assert placement.report
    return replace(placement, report=replace(placement.report, objective=objective))


def shares(num_settled: int, num_entered: int) -> ArmTally:
    return ArmTally(num_settled=num_settled, num_entered=num_entered)


def tally(objectives: Iterable[float]) -> ArmTally:
    units = [int(each * OBJECTIVE_UNITS) for each in objectives]
    return ArmTally(
        num_settled=len(units),
        num_trained=len(units),
        objective_sum=sum(units),
        objective_squares=sum(each * each for each in units),
    )


# --- who counts ----------------------------------------------------------------------------------


def test_each_arm_counts_its_own():
    comparison = EMPTY
    for placement in (
        trained(0.25),
        trained(0.75, status=AddStatus.NOT_ADDED),
        trained(0.5, by_rule=True),
        failure(1, JOB, outcome=Outcome.NOT_CODE, by_rule=True),
        failure(1, JOB, outcome=Outcome.DUPLICATE),
    ):
        comparison = comparison.after(placement)

    assert comparison.writer == ArmTally(
        num_settled=3,
        num_entered=1,
        num_trained=2,
        objective_sum=100_000,
        objective_squares=25_000**2 + 75_000**2,
    )
    assert comparison.control == ArmTally(
        num_settled=2, num_entered=1, num_trained=1, objective_sum=50_000, objective_squares=50_000**2
    )


@pytest.mark.parametrize("by_rule", [False, True])
@pytest.mark.parametrize("outcome", [Outcome.ERROR, Outcome.CONTEXT])
def test_what_the_world_has_failed_is_in_neither_arm(outcome: Outcome, by_rule: bool):
    assert EMPTY.after(failure(1, JOB, outcome=outcome, by_rule=by_rule)) == EMPTY


@pytest.mark.parametrize("by_rule", [False, True])
def test_stand_in_for_an_llm_that_is_out_is_in_neither_arm(by_rule: bool):
    placement = trained(0.5, fallback=True, by_rule=by_rule)

    assert placement.arm is Arm.FALLBACK
    assert EMPTY.after(placement) == EMPTY


def test_comparison_that_is_over_stays_as_it_is():
    over = replace(EMPTY, until=7)

    assert over.after(trained(0.5)) is over


# --- what is said --------------------------------------------------------------------------------


def test_figures_are_the_plain_shares_means_and_differences():
    writer = replace(tally([0.5, 0.7] * 50), num_settled=200, num_entered=60)
    control = replace(tally([0.4, 0.5] * 20), num_settled=50, num_entered=10)

    said = uplift(Comparison(control_ratio=0.2, since=30, writer=writer, control=control))

    assert (said.since, said.until, said.control_ratio) == (30, None, 0.2)
    assert (said.writer.num_settled, said.writer.num_entered, said.writer.num_trained) == (200, 60, 100)
    assert said.writer.entered_ratio == 0.3
    assert said.control.mean_objective == pytest.approx(0.45)
    assert said.entered
    assert said.objective
    assert said.entered.mean == pytest.approx(0.1)
    assert said.objective.mean == pytest.approx(0.15)


def test_empty_arms_have_no_figures():
    said = uplift(EMPTY)

    assert (said.writer.entered_ratio, said.control.mean_objective) == (None, None)
    assert (said.entered, said.objective) == (None, None)


def test_nothing_is_said_below_the_smallest_arm():
    few, enough = MIN_CANDIDATES - 1, MIN_CANDIDATES

    assert entered_difference(shares(1000, 1000), shares(few, 0)) is None
    assert entered_difference(shares(few, few), shares(1000, 0)) is None
    assert entered_difference(shares(enough, enough), shares(enough, 0)) is not None
    assert objective_difference(tally([0.9] * 1000), tally([0.1] * few)) is None
    assert objective_difference(tally([0.9] * few), tally([0.1] * 1000)) is None
    assert objective_difference(tally([0.9] * enough), tally([0.1] * enough)) is not None


@pytest.mark.parametrize(
    ("writer", "control", "finding"),
    [
        (shares(900, 180), shares(100, 5), Finding.BETTER),
        (shares(900, 45), shares(100, 25), Finding.WORSE),
        (shares(900, 90), shares(100, 10), Finding.OPEN),
        (shares(900, 90), shares(100, 6), Finding.OPEN),
        (shares(1000, 0), shares(1000, 0), Finding.OPEN),
        # By Fisher's exact test, p = 0.14 and 0.0002.
        (shares(200, 20), shares(25, 0), Finding.OPEN),
        (shares(200, 80), shares(25, 1), Finding.BETTER),
    ],
)
def test_share_is_judged_by_whether_the_interval_holds_0(
    writer: ArmTally, control: ArmTally, finding: Finding
):
    found = entered_difference(writer, control)

    assert found
    assert found.finding is finding
    assert found.low <= found.mean <= found.high
    assert (found.low <= 0 <= found.high) is (finding is Finding.OPEN)


@pytest.mark.parametrize(
    ("above", "finding"),
    [(0.03, Finding.BETTER), (-0.03, Finding.WORSE), (0.0, Finding.OPEN), (0.01, Finding.OPEN)],
)
def test_objective_is_judged_by_whether_the_interval_holds_0(above: float, finding: Finding):
    spread = np.linspace(-0.1, 0.1, 101)

    found = objective_difference(tally(0.7 + above + spread), tally(0.7 + spread[::2]))

    assert found
    assert found.mean == pytest.approx(above, abs=1e-5)
    assert found.finding is finding


def test_same_tallies_give_the_same_figures():
    comparison = replace(EMPTY, writer=tally([0.2, 0.4] * 30), control=tally([0.3, 0.6] * 30))

    assert uplift(comparison) == uplift(comparison)


# --- how true it is ------------------------------------------------------------------------------


def test_interval_of_the_objective_is_that_of_resampled_objectives():
    rng = np.random.default_rng(1)
    writer, control = 0.7 + 0.2 * rng.beta(2, 5, 400), 0.7 + 0.2 * rng.beta(2, 6, 60)

    found = objective_difference(tally(writer), tally(control))

    draws = [rng.choice(each, (4000, len(each))).mean(axis=1) for each in (writer, control)]
    low, high = np.percentile(draws[0] - draws[1], (2.5, 97.5))
    assert found
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.05 * (high - low))


@pytest.mark.parametrize("share", [0.02, 0.1, 0.4])
@pytest.mark.parametrize("sizes", [(180, 20), (900, 100), (100, 100)])
def test_llm_that_is_worth_nothing_is_judged_falsely_one_time_in_twenty_at_most(
    share: float, sizes: tuple[int, int]
):
    rng = np.random.default_rng(7)
    num_tries = 400

    findings = [
        entered_difference(*(shares(size, rng.binomial(size, share)) for size in sizes))
        for _ in range(num_tries)
    ]

    wrong = sum(found is not None and found.finding is not Finding.OPEN for found in findings)
    assert wrong / num_tries < 0.05 + 0.03  # three standard errors of a share of 400


def test_llm_that_adds_nothing_to_the_objective_is_judged_falsely_one_time_in_twenty_at_most():
    rng = np.random.default_rng(7)
    num_tries = 400

    findings = [
        objective_difference(*(tally(0.7 + 0.2 * rng.beta(2, 5, size)) for size in (180, 20)))
        for _ in range(num_tries)
    ]

    wrong = sum(found is not None and found.finding is not Finding.OPEN for found in findings)
    assert wrong / num_tries < 0.05 + 0.03


def test_cost_does_not_grow_with_the_search():
    few = replace(EMPTY, writer=tally([0.2, 0.4] * 30), control=tally([0.3, 0.6] * 30))
    many = replace(
        EMPTY,
        **{
            arm: ArmTally(
                num_settled=10**7,
                num_entered=10**5,
                num_trained=10**7,
                objective_sum=7 * 10**11,
                objective_squares=5 * 10**16,
            )
            for arm in ("writer", "control")
        },
    )

    assert seconds(many) < 5 * seconds(few) + 0.005


def seconds(comparison: Comparison) -> float:
    spent = []
    for _ in range(5):
        began = time.process_time()
        uplift(comparison)
        spent.append(time.process_time() - began)
    return min(spent)
