"""Plots of an experiment: figures 2 to 5 of the paper.

Source: Nasir 2024 (LLMatic), figures 2 to 5.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from llmatic_daemon.adapters.plots.search_plots import row_of_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
_GOLDEN = ("C0", "C1", "C2", "C3", "C4", "C5", "C6", "C8", "C9", "black", "C7", "darkgoldenrod", "navy")
_DASHES = ("--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """A curve of means and standard deviations over runs."""

    label: str
    xs: Sequence[float] = field(repr=False)
    means: Sequence[float] = field(repr=False)
    sds: Sequence[float] = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """A published result, drawn as a horizontal line."""

    label: str
    value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """The curves and reference lines of one data set."""

    title: str
    curves: Sequence[Curve]
    references: Sequence[Reference] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Cloud:
    """All cells of a table, and the best cell of each window."""

    title: str
    #: (FLOPs, accuracy in percent).
    cells: Sequence[tuple[float, float]] = field(repr=False)
    #: Best cell of each window, in the same units.
    bests: Sequence[tuple[float, float]] = field(repr=False)


def save(figure: "Figure", stem: Path) -> list[Path]:
    """Write a figure in all formats."""
    files = [stem.with_suffix(f".{kind}") for kind in FORMATS]
    for file in files:
        figure.savefig(file, dpi=150)
    return files


def best_over_windows(panels: Sequence[Panel]) -> "Figure":
    """Draw figure 2: the best accuracy over time, for all variants."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    figure, columns = row_of_axes(len(panels), width=7.0, height=6.0)
    for axes, panel in zip(columns, panels, strict=True):
        _draw_curves(axes, panel)
        axes.set(
            ylabel="test accuracy of the best so far, %",
            xlabel="windows of 100 full trainings (log)",
            xscale="log",
        )
        axes.set_ylim(*_interesting(panel))
        longest = max((curve.xs[-1] for curve in panel.curves if curve.xs), default=1.0)
        axes.set_xlim(min(max(longest / 100, 0.1), longest / 2), longest)
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    handles, labels = columns[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=1 + 2 * len(panels), fontsize="small")
    return figure


def trainable_over_windows(panels: Sequence[Panel]) -> "Figure":
    """Draw figure 4: the number of trainable networks in each window, by operator probabilities."""
    from matplotlib.ticker import MaxNLocator

    figure, columns = row_of_axes(len(panels), width=7.0, height=4.5)
    for axes, panel in zip(columns, panels, strict=True):
        _draw_curves(axes, panel)
        axes.set(ylabel="networks trained in the window", xlabel="window of settled candidates")
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(title="mutation / crossover")
    return figure


def clouds(drawn: Sequence[Cloud]) -> "Figure":
    """Draw figure 5: accuracy against FLOPs of all cells, and the best of each window."""
    import numpy as np
    from matplotlib.ticker import MaxNLocator

    figure, columns = row_of_axes(len(drawn), width=7.5, height=5.5)
    for axes, cloud in zip(columns, drawn, strict=True):
        cells, bests = np.asarray(cloud.cells), np.asarray(cloud.bests).reshape(-1, 2)
        axes.scatter(cells[:, 0] / 1e6, cells[:, 1], s=3, color="0.8", label="all cells", rasterized=True)
        numbers = np.arange(1, len(bests) + 1)
        shown = axes.scatter(
            bests[:, 0] / 1e6,
            bests[:, 1],
            s=30,
            c=numbers,
            cmap="viridis",
            edgecolors="black",
            linewidths=0.4,
            label="best of each window",
        )
        figure.colorbar(shown, ax=axes, label="window", ticks=MaxNLocator(integer=True))
        axes.set(xlabel="FLOPs of one image, millions", ylabel="test accuracy, %", title=cloud.title)
        lowest = np.percentile(cells[:, 1], 10)
        axes.set_ylim(lowest, cells[:, 1].max() + (cells[:, 1].max() - lowest) * 0.05)
        axes.legend(loc="lower right")
    return figure


def _draw_curves(axes: "Axes", panel: Panel) -> None:
    import numpy as np

    for curve, colour in zip(panel.curves, _GOLDEN * len(panel.curves), strict=False):
        means, sds = np.asarray(curve.means), np.asarray(curve.sds)
        axes.plot(curve.xs, means, color=colour, label=curve.label, linewidth=1.6)
        axes.fill_between(curve.xs, means - sds, means + sds, color=colour, alpha=0.1, linewidth=0)
    for reference, dashes in zip(panel.references, _DASHES * 9, strict=False):
        axes.axhline(reference.value, color="0.35", linestyle=dashes, linewidth=1.0, label=reference.label)
    axes.set_title(panel.title)
    axes.margins(x=0.01)


def _interesting(panel: Panel) -> tuple[float, float]:
    """Return the range of accuracies without the steep rise in the first twentieth of the curves."""
    early, late = list[float](), list[float]()
    for curve in panel.curves:
        early += [y for x, y in zip(curve.xs, curve.means, strict=True) if x >= curve.xs[-1] / 20][:1]
        late += [max(curve.means, default=0.0)]
    lines = [reference.value for reference in panel.references]
    low, high = min([*early, *lines], default=0.0), max([*late, *lines], default=100.0)
    margin = (high - low) * 0.1 or 1.0
    return low - margin, high + margin
