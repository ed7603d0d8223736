"""Which runs are told of, and what the pictures show of them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from llmatic_daemon.adapters.storage.experiment_store import Finished, KeptElite, WindowFacts
from llmatic_daemon.commands.experiment import figures, report
from llmatic_daemon.commands.experiment.plan import Plan, plan
from llmatic_daemon.commands.experiment.tables import grouped
from tests.support.experiment import TEXT, finished

RATIOS = "\n".join(f'[variants."mutation-{ratio}"]\nsearch.mutation_ratio = {ratio}' for ratio in (0.5, 0.3))


@pytest.fixture
def planned(file: Path) -> Plan:
    file.write_text(f"{TEXT}{RATIOS}\n")
    return plan(str(file))


def runs(planned: Plan) -> list[Finished]:
    """Make a run of each job: the later the seed, the better and the later."""
    made = []
    for job in planned.jobs:
        seed = job.run.seed
        points = ((1.0 + seed, 0.5, 0.5), (20.0, 0.6, 0.7 + seed / 10))
        windows = (
            WindowFacts(1, 10.0, 100, 50 + 10 * seed, 0.5, 0.5, 10**8),
            WindowFacts(2, 20.0, 100, 30, None, None, None),
            WindowFacts(3, 25.0, 7, 1, 0.6, 0.7, 10**7),
        )
        run = finished(job.run, *points, fingerprint=job.fingerprint)
        elites = (KeptElite("network", 3, 0.6, "cell"), KeptElite("prompt", 5, 0.5, "improve v1"))
        made.append(replace(run, windows=windows, elites=elites))
    return made


def names(files: Sequence[Path]) -> set[str]:
    return {file.name for file in files}


def test_all_is_written(planned: Plan, tmp_path: Path) -> None:
    files = report.write(planned, runs(planned), tmp_path)

    assert {"results.csv", "passing.csv", "results.md"} <= names(files)
    stems = ("fig2-best-over-windows", "fig3-archives", "fig4-trainable-networks", "fig5-accuracy-over-flops")
    assert {f"{stem}.{kind}" for stem in stems for kind in ("png", "svg", "pdf")} <= names(files)
    assert all(file.stat().st_size > 200 for file in files)


def test_run_by_other_settings_is_left_out(planned: Plan, tmp_path: Path) -> None:
    older = [replace(run, fingerprint="older") for run in runs(planned)]

    files = report.write(planned, older, tmp_path)

    assert names(files) == {"results.csv", "passing.csv", "results.md"}
    assert "| plain |" not in (tmp_path / "results.md").read_text()


def test_best_is_drawn_from_where_all_runs_have_something(planned: Plan) -> None:
    (panel,) = figures._bests(planned, grouped(runs(planned)))

    plain = panel.curves[0]
    assert plain.label == "plain"
    assert min(plain.xs) >= 2.0 / figures.WINDOW
    assert max(plain.xs) == pytest.approx(25 / figures.WINDOW)
    assert (plain.means[0], plain.means[-1]) == (50.0, pytest.approx(75.0))
    assert plain.sds[-1] == pytest.approx(7.0710678)
    assert "LLMatic (published)" in {reference.label for reference in panel.references}


def test_operators_are_compared_where_nothing_else_differs(planned: Plan) -> None:
    """`uniform` has another tournament: it is none of them."""
    (panel,) = figures._trainable(planned, grouped(runs(planned)))

    assert [curve.label for curve in panel.curves] == ["0.7 / 0.3", "0.5 / 0.5", "0.3 / 0.7"]
    first = panel.curves[0]
    assert (first.xs, first.means) == ([1, 2], [55.0, 30.0])  # a window that is not whole is left out


def test_archives_are_those_of_the_first_seed_of_the_first_variant(planned: Plan) -> None:
    network, prompt = figures._maps(planned, grouped(runs(planned)))

    assert network.title == "plain, network archive"
    assert network.objectives == {3: 0.6}
    assert prompt.objectives == {5: 0.5}
    assert len(network.centroids) == len(prompt.centroids) == 100
    assert "improve" in [label for _, label in prompt.x.ticks]


def test_cloud_has_all_cells_and_the_best_of_each_window_that_has_one(planned: Plan, tmp_path: Path) -> None:
    (cloud,) = figures._clouds(
        planned, grouped(runs(planned)), report._benchmarks(planned, set(planned.data_sets))
    )

    assert len(cloud.cells) == 15_625
    assert cloud.bests == [(10**8, 50.0), (10**7, 70.0)]
