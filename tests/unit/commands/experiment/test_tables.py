"""The tables: what a run would have chosen at a cost, ranks, intervals, and when it passed LLMatic."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from llmatic_daemon.adapters.storage.experiment_store import RunKey
from llmatic_daemon.commands.experiment import tables
from llmatic_daemon.commands.experiment.plan import Plan
from tests.support.experiment import finished

C10 = "nasbench201-cifar10"
PLAN = Plan(
    name="made up", jobs=(), variants=("one", "two"), data_sets=(C10,), budgets=(10, 20), num_processes=1
)
RUNS = [
    finished(RunKey("one", C10, 0), (1.0, 0.80, 0.81), (10.0, 0.90, 0.95), (15.0, 0.91, 0.90)),
    finished(RunKey("one", C10, 1), (2.0, 0.70, 0.71)),
    finished(RunKey("two", C10, 0), (15.0, 0.70, 0.60)),
]


@pytest.mark.parametrize(
    ("cost", "test_accuracy"), [(0.5, None), (1.0, 0.81), (9.99, 0.81), (10.0, 0.95), (99.0, 0.90)]
)
def test_choice_at_a_cost_is_by_the_split_that_selects(cost: float, test_accuracy: float | None):
    found = tables.chosen(RUNS[0], cost)

    assert (found.test_accuracy if found else None) == test_accuracy


def test_cost_that_was_added_up_counts_as_reached():
    run = replace(RUNS[0], improvements=(replace(RUNS[0].improvements[0], cost=0.1 * 3 * 10),))

    assert tables.chosen(run, 3.0)


def test_row_has_mean_deviation_runs_and_ranks():
    rows = tables.reached(PLAN, RUNS, {C10: [0.60, 0.71, 0.90, 0.95]})

    first = next(row for row in rows if row.variant == "one" and row.budget == 10)
    assert (first.n, first.mean) == (2, pytest.approx(0.83))
    assert first.sd == pytest.approx(0.169706, abs=1e-6)
    assert (first.median_rank, first.best_rank) == (2.0, 1)
    assert first.low == pytest.approx(0.71)
    assert first.high == pytest.approx(0.95)


def test_run_that_had_found_nothing_by_then_is_not_counted():
    rows = [row for row in tables.reached(PLAN, RUNS, {}) if row.variant == "two"]

    assert [(row.budget, row.n, row.sd) for row in rows] == [(20, 1, None)]


def test_published_numbers_stand_beside_ours():
    rows = {row.variant: row for row in tables.reached(PLAN, RUNS, {})}

    assert (rows["LLMatic (published)"].mean, rows["LLMatic (published)"].n) == (0.9426, 0)


@pytest.mark.parametrize(("value", "place"), [(0.95, 1), (0.90, 2), (0.93, 2), (0.60, 4), (0.1, 5)])
def test_rank_counts_what_is_better(value: float, place: int):
    assert tables.rank(value, [0.60, 0.71, 0.90, 0.95]) == place


def test_interval_holds_the_mean_and_is_the_same_each_time():
    values = [0.9 + n / 1000 for n in range(30)]

    low, high = tables.interval(values)

    assert low < sum(values) / 30 < high
    assert high - low == pytest.approx(2 * 1.96 * 0.008655 / 30**0.5, rel=0.1)
    assert tables.interval(values) == (low, high)


def test_passing_counts_runs_that_never_do_as_later_than_all_others():
    more = [finished(RunKey("one", C10, n), (float(n), 0.9, 0.9427)) for n in (2, 3)]
    half = [finished(RunKey("two", C10, 7), (5.0, 0.9, 0.9427))]

    passing = {row.variant: row for row in tables.passed(PLAN, [*RUNS, *more])}

    one, two = passing["one"], passing["two"]
    assert (one.n, one.share, one.median_cost) == (4, 0.75, 3.0)
    assert (two.n, two.share, two.median_cost) == (1, 0.0, None)
    (two,) = [row for row in tables.passed(PLAN, [*RUNS, *half]) if row.variant == "two"]
    assert (two.n, two.share, two.median_cost) == (2, 0.5, 5.0)


def test_files_hold_what_the_rows_say(tmp_path: Path):
    rows, passing = tables.reached(PLAN, RUNS, {}), tables.passed(PLAN, RUNS)
    tables.write_csv(tmp_path / "rows.csv", rows)

    with (tmp_path / "rows.csv").open() as opened:
        read = list(csv.DictReader(opened))
    text = tables.markdown("made up", rows, passing)

    assert [float(row["mean"]) for row in read] == [row.mean for row in rows]
    assert "| one | 10 | 2 | 83.00 ± 16.97 | 71.00 to 95.00 |  |" in text
    assert "| LLMatic (published) | 2000 | as published | 94.26 ± 0.13 |  |  |" in text
    assert "| two | 1 | never | 0 % |" in text
