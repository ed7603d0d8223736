"""Removes unneeded content of a state folder: `gc`."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from llmatic_daemon.adapters.storage import garbage
from llmatic_daemon.adapters.storage.garbage import Removable
from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.adapters.storage.state_folder import StateFolder


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected:
    """What was removed, or would be."""

    #: Files that were begun and never got their names.
    drafts: tuple[Removable, ...]
    #: Whole searches that migrations and restores have kept.
    copies: tuple[Removable, ...]
    #: Graphs that were emptied, and their bytes.
    num_graphs: int
    graph_bytes: int
    #: By how much the database file shrank.
    vacuumed_bytes: int


def collect(state_dir: Path, *, graphs: bool, copies: bool, vacuum: bool, dry_run: bool) -> Collected:
    """Remove drafts; and, if asked, more.

    The log, all sources, and what every cell holds stay whatever is asked: `verify`, `show`, `export`
    and a restart find all that they did before.

    Args:
        state_dir: Of a search on which no daemon works.
        graphs: Empty the graphs of networks that hold no cell; their sources give them again.
        copies: Remove the copies that migrations and restores have left.
        vacuum: Give free pages back to the disk; takes as much room again as the database has.
        dry_run: Remove nothing; a daemon may be at work then.

    Raises:
        UserError: there is no search.
        StateLocked: a daemon works on it.
    """
    with ExitStack() as stack:
        History(state_dir).close()
        if not dry_run:
            stack.callback(StateFolder.claim(state_dir).release)
        drafts = garbage.drafts(state_dir)
        kept = garbage.copies(state_dir) if copies else []
        num_graphs, graph_bytes = garbage.spare_graphs(state_dir) if graphs else (0, 0)
        vacuumed = 0
        if not dry_run:
            for spare in (*drafts, *kept):
                garbage.remove(spare)
            if num_graphs:
                garbage.empty_graphs(state_dir)
            vacuumed = garbage.vacuum(state_dir) if vacuum else 0
    return Collected(
        drafts=tuple(drafts),
        copies=tuple(kept),
        num_graphs=num_graphs,
        graph_bytes=graph_bytes,
        vacuumed_bytes=vacuumed,
    )
