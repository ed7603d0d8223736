"""The plots of a search: which data each of them shows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from llmatic_daemon.adapters.plots import search_plots
from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.bootstrap.build_search import rules, spaces
from llmatic_daemon.bootstrap.saved_settings import read_settings
from llmatic_daemon.config.settings import Settings
from llmatic_daemon.domain import ArmTally, Comparison, Difference, Outcome, Placement, Tessellation
from llmatic_daemon.domain.text import count
from llmatic_daemon.search.archive.measures import Axis
from llmatic_daemon.search.comparison import uplift
from llmatic_daemon.search.variants import Credit, strategy_of

#: Number of intervals that are computed for the plot of a comparison, 1 ms each.
NUM_MOMENTS = 200


def draw(state_dir: Path, folder: Path, formats: Sequence[str]) -> list[Path]:
    """Draw both archives and the progress of a search; return the files.

    Args:
        state_dir: Of the search; a daemon may be running.
        folder: For the plots; created if missing.
        formats: Any of "png", "svg", "pdf".

    Raises:
        LLMaticError: there is no search, or it cannot be read.
    """
    settings = read_settings(state_dir)
    with History(state_dir) as history:
        maps = list(_maps(history, settings))
        log = list(history.placements())
        comparison = history.comparison()
    course = search_plots.Course(
        objectives=[p.report.objective for p in log if p.report],
        trainable=_trainable(log),
        window_size=settings.search.window_size,
    )
    uplift_over_time = bands(comparison, log) if comparison else ()
    return search_plots.draw(maps, course, folder, formats, uplift_over_time)


def _trainable(log: Sequence[Placement]) -> list[bool]:
    """Decide for each settled candidate whether it, or its original if it is a duplicate, was trained."""
    trained = {p.job.number for p in log if p.outcome in (Outcome.TRAINED, Outcome.STOPPED)}
    return [(p.duplicate_of or p.job.number) in trained for p in log]


def bands(comparison: Comparison, log: Sequence[Placement]) -> tuple[search_plots.Band, search_plots.Band]:
    """Return the uplift over the course of a comparison, at up to NUM_MOMENTS moments."""
    within = log[comparison.since : comparison.until]
    step = max(1, len(within) // NUM_MOMENTS)
    now = replace(comparison, until=None, writer=ArmTally(), control=ArmTally())
    entered: list[search_plots.Point] = []
    objective: list[search_plots.Point] = []
    for num_seen, placement in enumerate(within, 1):
        now = now.after(placement)
        if num_seen % step == 0 or num_seen == len(within):
            known = uplift(now)
            entered += _point(placement.number, known.entered)
            objective += _point(placement.number, known.objective)
    return (
        search_plots.Band(title="Uplift: share that entered the archive", points=entered),
        search_plots.Band(title="Uplift: mean accuracy of trained networks", points=objective),
    )


def _point(number: int, difference: Difference | None) -> Iterable[tuple[int, float, float, float]]:
    if difference is not None:
        yield number, difference.mean, difference.low, difference.high


def _maps(history: History, settings: Settings) -> Iterator[search_plots.ArchiveMap]:
    axis_prompts = {
        credit.slot: credit.prompt
        for credit in history.prompt_credit()
        if credit.in_use and credit.slot is not None
    }
    return archive_maps(
        settings,
        history.centroids(),
        {elite.cell: elite.objective for elite in history.elites()},
        {elite.cell: elite.curiosity for elite in history.prompt_elites()},
        axis_prompts,
    )


def archive_maps(
    settings: Settings,
    cells: Tessellation,
    accuracies: dict[int, float],
    curiosities: dict[int, float],
    axis_prompts: Mapping[int, str],
    *,
    prefix: str = "",
) -> Iterator[search_plots.ArchiveMap]:
    """Yield the maps of the archives; a population without cells has none.

    Args:
        settings: Of the search.
        cells: Centroids of both archives.
        accuracies: Of the elites, by cell.
        curiosities: Of the prompt individuals, by cell.
        axis_prompts: Prompt names by position on their axis.
        prefix: Of the titles.
    """
    strategy = strategy_of(rules(settings))
    networks, prompts = spaces(settings.archives)
    if strategy.is_map:
        yield search_plots.ArchiveMap(
            title=f"{prefix}network archive" if prefix else "Network archive",
            centroids=cells.network,
            objectives=accuracies,
            objective_name="accuracy",
            x=_scale(networks.first),
            y=_scale(networks.second),
        )
    if strategy.credit is Credit.ARCHIVE:
        yield search_plots.ArchiveMap(
            title=f"{prefix}prompt archive" if prefix else "Prompt archive",
            centroids=cells.prompt,
            objectives=curiosities,
            objective_name="curiosity",
            x=_prompt_scale(prompts.first, axis_prompts),
            y=_scale(prompts.second),
        )


def _scale(axis: Axis) -> search_plots.Scale:
    """Return the scale of an axis, with ticks at its ends and quarters."""
    name = f"{axis.name} (log)" if axis.log else axis.name
    at = (0.0, 0.25, 0.5, 0.75, 1.0)
    return search_plots.Scale(name=name, ticks=tuple((x, _label(axis.value(x))) for x in at))


def _label(value: float) -> str:
    return count(value) if value >= 1000 else f"{value:.3g}"


def _prompt_scale(axis: Axis, prompts: Mapping[int, str]) -> search_plots.Scale:
    """Return the scale of the prompts' axis, with each prompt at its position."""
    ticks = [(axis.position(at), prompts[at]) for at in sorted(prompts)]
    return search_plots.Scale(name="prompt", ticks=tuple(tick for tick in ticks if tick[0] <= 1))
