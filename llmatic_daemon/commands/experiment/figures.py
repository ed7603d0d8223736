"""The figures of an experiment, as figures 2 to 5 of the paper (Nasir 2024)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from llmatic_daemon.adapters.nasbench.table import Table
from llmatic_daemon.adapters.plots import experiment_plots as drawing
from llmatic_daemon.adapters.plots.search_plots import ArchiveMap, draw_maps
from llmatic_daemon.adapters.prompts.prompt_files import read_prompts
from llmatic_daemon.adapters.storage.experiment_store import Finished
from llmatic_daemon.bootstrap import build
from llmatic_daemon.commands import plot
from llmatic_daemon.commands.experiment import published
from llmatic_daemon.commands.experiment.plan import Plan
from llmatic_daemon.commands.experiment.simulation import cells
from llmatic_daemon.commands.experiment.tables import chosen, grouped
from llmatic_daemon.config.settings import Settings
from llmatic_daemon.search.prompt_book import EMPTY_BOOK

#: Points of a curve, and full trainings in a window of figure 2.
NUM_POINTS, WINDOW = 200, 100

Grouped = Mapping[tuple[str, str], Sequence[Finished]]


def draw(plan: Plan, runs: Sequence[Finished], tables: Mapping[str, Table], folder: Path) -> list[Path]:
    """Draw the figures for which there is data; return their files.

    Args:
        plan: Of the experiment.
        runs: Its finished runs.
        tables: Of the benchmark, by data set.
        folder: For the figures.
    """
    by_variant = grouped(runs)
    figures = {
        "fig2-best-over-windows": (drawing.best_over_windows, list(_bests(plan, by_variant))),
        "fig3-archives": (draw_maps, list(_maps(plan, by_variant))),
        "fig4-trainable-networks": (drawing.trainable_over_windows, list(_trainable(plan, by_variant))),
        "fig5-accuracy-over-flops": (drawing.clouds, list(_clouds(plan, by_variant, tables))),
    }
    files = []
    for name, (make, facts) in figures.items():
        if facts:
            files += drawing.save(make(facts), folder / name)  # type: ignore[operator]
    return files


def _bests(plan: Plan, by_variant: Grouped) -> Iterator[drawing.Panel]:
    costs = np.geomspace(1, plan.budgets[-1], NUM_POINTS).tolist()
    xs = [cost / WINDOW for cost in costs]
    for data_set in plan.data_sets:
        curves = [
            _curve(variant, xs, [_course(run, costs) for run in runs])
            for variant in plan.variants
            if (runs := by_variant.get((variant, data_set)))
        ]
        references = [
            drawing.Reference(label=each.name, value=100 * each.mean) for each in published.of(data_set)
        ]
        if curves:
            yield drawing.Panel(title=data_set, curves=curves, references=references)


def _course(run: Finished, costs: Sequence[float]) -> list[float]:
    """Return the test accuracy of the selected network at each cost, in percent; NaN before the first."""
    found = [chosen(run, cost) for cost in costs]
    return [100 * each.test_accuracy if each else float("nan") for each in found]


def _curve(label: str, xs: Sequence[float], courses: Sequence[Sequence[float]]) -> drawing.Curve:
    """Return the curve over the points for which all runs have a value."""
    values = np.asarray(courses)
    whole = ~np.isnan(values).any(axis=0)
    values = values[:, whole]
    return drawing.Curve(
        label=label,
        xs=np.asarray(xs)[whole].tolist(),
        means=values.mean(axis=0).tolist(),
        sds=(values.std(axis=0, ddof=1) if len(values) > 1 else 0 * values[0]).tolist(),
    )


def _maps(plan: Plan, by_variant: Grouped) -> Iterable[ArchiveMap]:
    """Return the archives of the first seed of the first variant."""
    variant, data_set = plan.variants[0], plan.data_sets[0]
    run = next(iter(by_variant.get((variant, data_set), ())), None)
    if run is None:
        return ()
    settings = plan.job(variant, data_set, run.run.seed).settings
    return plot.archive_maps(
        settings,
        cells(settings),
        _values(run, "network"),
        _values(run, "prompt"),
        _axis_prompts(settings),
        prefix=f"{variant}, ",
    )


def _values(run: Finished, archive: str) -> dict[int, float]:
    return {elite.cell: elite.value for elite in run.elites if elite.archive == archive}


def _axis_prompts(settings: Settings) -> dict[int, str]:
    prompts = read_prompts(build.prompt_path(settings))
    taken = EMPTY_BOOK.numbered(prompts, settings.archives.prompt_axis_size)
    return {
        position: prompt.id for prompt, position in zip(taken.mutation, taken.axis_positions, strict=True)
    }


def _trainable(plan: Plan, by_variant: Grouped) -> Iterator[drawing.Panel]:
    """Return the panels that compare variants with different probabilities of the operators."""
    variants = _of_ratios(plan)
    for data_set in plan.data_sets:
        curves = [
            _trained(f"{ratio:g} / {1 - ratio:.2g}", runs)
            for variant, ratio in variants.items()
            if (runs := by_variant.get((variant, data_set)))
        ]
        if curves:
            yield drawing.Panel(title=data_set, curves=curves)


def _of_ratios(plan: Plan) -> dict[str, float]:
    """Return the variants that differ only in `search.mutation_ratio`, with that ratio."""
    alike: dict[str, dict[str, float]] = {}
    for variant in plan.variants:
        settings = plan.job(variant, plan.data_sets[0]).settings
        rest = settings.model_dump_json(exclude={"search": {"mutation_ratio"}})
        alike.setdefault(rest, {})[variant] = settings.search.mutation_ratio
    return max((found for found in alike.values() if len(set(found.values())) > 1), key=len, default={})


def _trained(label: str, runs: Sequence[Finished]) -> drawing.Curve:
    """Return the number of trained networks per window, over the windows that all runs completed."""
    size = max(window.num_settled for run in runs for window in run.windows)
    counts = [[w.num_trained for w in run.windows if w.num_settled == size] for run in runs]
    num_windows = min(map(len, counts))
    whole = [[float(number) for number in course[:num_windows]] for course in counts]
    return _curve(label, range(1, num_windows + 1), whole)


def _clouds(plan: Plan, by_variant: Grouped, tables: Mapping[str, Table]) -> Iterator[drawing.Cloud]:
    variant = plan.variants[0]
    for data_set, table in tables.items():
        run = next(iter(by_variant.get((variant, data_set), ())), None)
        if run is not None:
            yield drawing.Cloud(
                title=f"{data_set}: {variant}, seed {run.run.seed}",
                cells=[(row.flops, row.test_200) for row in table.values()],
                bests=[
                    (window.flops, 100 * window.test_accuracy)
                    for window in run.windows
                    if window.flops is not None and window.test_accuracy is not None
                ],
            )
