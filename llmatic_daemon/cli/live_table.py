"""The live table of `demo` and `run` on a terminal: figures of the search, and the phase of each slot."""

import time
from collections.abc import Callable

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from llmatic_daemon.domain import Placement, SearchStatus
from llmatic_daemon.domain.events import Event, Placed, SlotChanged, SlotsResized

#: Redraws a second; drawing happens in rich's own thread.
REFRESH_PER_S = 4


class LiveTable:
    """Shows a search while it runs; a context manager around that time.

    Args:
        console: Where to draw.
        num_slots: Rows of the slots' table.
    """

    def __init__(self, console: Console, num_slots: int) -> None:
        self._console = console
        self._view: Callable[[], SearchStatus] | None = None
        self._num_slots = 0
        self._slots: list[tuple[str, str, float]] = []
        self._resize(num_slots)
        self._last = Text("waiting for the first candidate", style="dim")
        self._started = time.monotonic()
        self._evaluations_before = 0
        self._live = Live(console=console, get_renderable=self._draw, refresh_per_second=REFRESH_PER_S)

    def __enter__(self) -> "LiveTable":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def watch(self, view: Callable[[], SearchStatus]) -> None:
        """Read the figures from `view`; the rate counts from now."""
        self._view = view
        self._started = time.monotonic()
        self._evaluations_before = view().num_evaluations

    def receive(self, event: Event) -> None:
        """Show an event at the next redraw."""
        match event:
            case SlotChanged():
                self._change_slot(event)
            case SlotsResized(num_slots=num_slots):
                self._resize(num_slots)
            case Placed(placement=placement):
                style = "green" if placement.status.added else "dim"
                self._last = Text(f"last: {_in_short(placement)}", style=style)

    def _change_slot(self, changed: SlotChanged) -> None:
        phase, _, since = self._slots[changed.slot]
        since = since if phase == changed.phase else time.monotonic()
        self._slots[changed.slot] = (changed.phase, changed.detail, since)

    def _resize(self, num_slots: int) -> None:
        """Add rows for new slots; a removed slot is shown while it still has a job."""
        self._num_slots = num_slots
        num_new = max(0, num_slots - len(self._slots))
        self._slots += [("starting", "", time.monotonic())] * num_new

    def _draw(self) -> Group:
        return Group(self._numbers(), self._slot_table(), self._last)

    def _numbers(self) -> Table:
        table = Table(box=None, pad_edge=False)
        for name in ("evaluations", "a minute", "coverage", "best accuracy", "settled", "running"):
            table.add_column(name, justify="right", header_style="bold cyan")
        if self._view is None:
            table.add_row(*["-"] * 6)
            return table
        now = self._view()
        minutes = max(time.monotonic() - self._started, 1e-9) / 60
        limit = f" of {now.max_evaluations}" if now.max_evaluations else ""
        best = "-" if now.best_objective is None else f"{now.best_objective:.4f} (#{now.best_job})"
        table.add_row(
            f"{now.num_evaluations}{limit}",
            f"{(now.num_evaluations - self._evaluations_before) / minutes:.1f}",
            f"{now.filled_network_cells}/{now.network_cells} cells",
            best,
            str(now.num_settled),
            f"{now.elapsed_s:.0f} s",
        )
        return table

    def _slot_table(self) -> Table:
        table = Table("slot", "does", "for", "what", box=None, pad_edge=False, header_style="bold cyan")
        for slot, (phase, detail, since) in enumerate(self._slots):
            if slot >= self._num_slots and phase in ("starting", "idle"):
                continue
            table.add_row(str(slot), phase, f"{time.monotonic() - since:.0f} s", detail)
        return table


def _in_short(placement: Placement) -> str:
    who = f"#{placement.job.number} {placement.operator}, {placement.prompt}"
    if placement.objective is None:
        return f"{who}: {placement.outcome}: {placement.detail}"
    return f"{who}: accuracy {placement.objective:.4f}, {placement.status} in cell {placement.cell}"
