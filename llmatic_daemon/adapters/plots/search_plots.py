"""Plots of a search: both archives as Voronoi maps, its progress, and its uplift."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Beyond this many cells a map shows points instead of polygons.
MAX_POLYGONS = 20_000
#: Number of a placement, a mean difference, and the bounds of its interval.
Point = tuple[int, float, float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """An axis of a map: its name and its ticks."""

    name: str
    #: (position in [0, 1], label).
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchiveMap:
    """The data of an archive's map."""

    title: str
    #: (num_cells, 2) in [0, 1].
    centroids: Sequence[tuple[float, float]] = field(repr=False)
    #: Objective of each filled cell.
    objectives: dict[int, float]
    objective_name: str
    x: Scale
    y: Scale


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """The progress of a search."""

    #: Of each evaluation, in their order.
    objectives: Sequence[float]
    #: Whether each settled candidate was trainable.
    trainable: Sequence[bool]
    window_size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Band:
    """A difference between the LLM's arm and the control arm over time."""

    title: str
    points: Sequence[Point] = field(repr=False)


def draw(
    maps: Sequence[ArchiveMap],
    course: Course,
    folder: Path,
    formats: Sequence[str],
    uplift: Sequence[Band] = (),
) -> list[Path]:
    """Draw the plots of a search, one file for each plot and format.

    Args:
        maps: The archives; if empty, their plot is skipped.
        course: The progress of the search.
        folder: Output folder; created if it is missing.
        formats: Any of "png", "svg", "pdf".
        uplift: The differences between both arms; if empty, their plot is skipped.

    Returns:
        The files, in the order in which they were written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = [("archives", draw_maps(maps))] if maps else []
    pictures.append(("course", _draw_course(course)))
    if uplift:
        pictures.append(("uplift", _draw_uplift(uplift)))
    files = [(figure, folder / f"{name}.{kind}") for name, figure in pictures for kind in formats]
    for figure, file in files:
        figure.savefig(file, dpi=150)
    return [file for _, file in files]


def draw_maps(maps: Sequence[ArchiveMap]) -> "Figure":
    """Draw archives side by side as Voronoi maps; empty cells are white."""
    figure, row = row_of_axes(len(maps), width=7.0, height=6.0)
    for axes, shown in zip(row, maps, strict=True):
        _draw_map(figure, axes, shown)
    return figure


def row_of_axes(num_axes: int, *, width: float, height: float) -> "tuple[Figure, Sequence[Axes]]":
    """Make a figure of axes side by side; width and height of each in inches."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.use("Agg")
    figure = Figure(figsize=(width * num_axes, height), layout="constrained")
    return figure, list(figure.subplots(1, num_axes, squeeze=False)[0])


def _draw_map(figure: "Figure", axes: "Axes", shown: ArchiveMap) -> None:
    large = len(shown.centroids) > MAX_POLYGONS
    cells = _draw_points(axes, shown) if large else _draw_polygons(axes, shown)
    if shown.objectives:
        # Without limits, a single network that learnt nothing would compress the colours of all others.
        lowest, highest = _colour_limits(shown)
        cells.set_clim(lowest, highest)
        figure.colorbar(cells, ax=axes, label=shown.objective_name, extend="min")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel=shown.x.name, ylabel=shown.y.name)
    axes.set_xticks([at for at, _ in shown.x.ticks], [label for _, label in shown.x.ticks])
    if len(shown.x.ticks) > 5:
        axes.tick_params("x", rotation=90)
    axes.set_yticks([at for at, _ in shown.y.ticks], [label for _, label in shown.y.ticks])
    axes.set_title(f"{shown.title}: {len(shown.objectives)} of {len(shown.centroids)} cells filled")


def _colour_limits(shown: ArchiveMap) -> tuple[float, float]:
    """Return the range of objectives above the lowest tenth."""
    ordered = sorted(shown.objectives.values())
    return ordered[len(ordered) // 10], ordered[-1]


def _draw_polygons(axes: "Axes", shown: ArchiveMap) -> Any:
    """Draw each cell in the colour of its objective; empty cells stay white."""
    import numpy as np
    from matplotlib import colormaps
    from matplotlib.collections import PolyCollection

    values = np.full(len(shown.centroids), np.nan)
    values[list(shown.objectives)] = list(shown.objectives.values())
    cells = PolyCollection(_polygons(shown.centroids), edgecolors="0.85", linewidths=0.5)
    colours = colormaps["viridis"].with_extremes(bad="white")
    cells.set(array=np.ma.masked_invalid(values), cmap=colours)
    axes.add_collection(cells)
    return cells


def _draw_points(axes: "Axes", shown: ArchiveMap) -> Any:
    """Draw filled cells as points, because the borders of so many cells would hide everything."""
    points = [shown.centroids[cell] for cell in shown.objectives]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return axes.scatter(xs, ys, s=4.0, c=list(shown.objectives.values()), cmap="viridis")


def _polygons(centroids: Sequence[tuple[float, float]]) -> list[Any]:
    """Compute the Voronoi cells within the unit square.

    The centroids are mirrored at its four sides, so their cells end exactly there.
    """
    import numpy as np
    from scipy.spatial import Voronoi

    points = np.asarray(centroids, dtype=float)
    mirrored = [points]
    for axis in (0, 1):
        for side in (0.0, 1.0):
            copy = points.copy()
            copy[:, axis] = 2 * side - copy[:, axis]
            mirrored.append(copy)
    diagram = Voronoi(np.concatenate(mirrored))
    regions = [diagram.regions[diagram.point_region[i]] for i in range(len(points))]
    return [np.clip(diagram.vertices[region], 0.0, 1.0) for region in regions]


def _draw_course(course: Course) -> "Figure":
    import numpy as np
    from matplotlib.ticker import MaxNLocator

    figure, (left, right) = row_of_axes(2, width=7.0, height=5.0)
    number = np.arange(1, len(course.objectives) + 1)
    left.plot(number, course.objectives, ".", color="0.7", label="each evaluation")
    if len(number):
        best = np.maximum.accumulate(course.objectives)
        left.step(number, best, where="post", color="C0", label="best so far")
        left.legend(loc="lower right")
    left.set(xlabel="evaluation", ylabel="accuracy", title="Accuracy over evaluations")
    shares = _window_shares(course)
    right.plot(np.arange(1, len(shares) + 1), shares, "o-", color="C2")
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.set(
        xlabel=f"window of {course.window_size} settled candidates",
        ylabel="share that could be trained",
        ylim=(0, 1.05),
        title="Trainable networks in each window",
    )
    return figure


def _window_shares(course: Course) -> list[float]:
    size, flags = course.window_size, list(course.trainable)
    windows = [flags[start : start + size] for start in range(0, len(flags), size)]
    return [sum(window) / len(window) for window in windows]


def _draw_uplift(bands: Sequence[Band]) -> "Figure":
    figure, row = row_of_axes(len(bands), width=7.0, height=5.0)
    for axes, band in zip(row, bands, strict=True):
        axes.axhline(0.0, color="0.4", linewidth=1)
        if band.points:
            number, mean, low, high = zip(*band.points, strict=True)
            axes.fill_between(number, low, high, color="C0", alpha=0.2, label="95 % interval")
            axes.plot(number, mean, color="C0", label="LLM less control arm")
            axes.legend(loc="best")
            axes.set_ylim(_limits(low, high))
        axes.set(xlabel="settled candidate", ylabel="difference", title=band.title)
    return figure


def _limits(low: Sequence[float], high: Sequence[float]) -> tuple[float, float]:
    """Return the range of the last two thirds, because the first intervals are very wide."""
    late = len(low) // 3
    bottom, top = min(0.0, *low[late:]), max(0.0, *high[late:])
    margin = 0.05 * (top - bottom) or 0.01
    return bottom - margin, top + margin
