"""Commands for maintenance: backup, restore, gc."""

import asyncio
from pathlib import Path

import click

from llmatic_daemon.adapters.http import control_socket
from llmatic_daemon.adapters.storage.state_folder import holder
from llmatic_daemon.cli import views
from llmatic_daemon.cli.base import example, json_option, main, search_options
from llmatic_daemon.commands.backup import Backup, back_up
from llmatic_daemon.commands.gc import collect
from llmatic_daemon.commands.restore import restore as restore_state
from llmatic_daemon.daemon.backup_request import KEEP
from llmatic_daemon.domain import text
from llmatic_daemon.domain.errors import UserError

#: A backup's verification folds the whole log: minutes for a million placements.
_TIMEOUT_S = 6 * 3600.0


@main.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--keep",
    default=KEEP,
    show_default=True,
    type=click.IntRange(min=1),
    help="Backups to keep in DIR; the oldest are removed.",
)
@search_options
@json_option
@example("llmatic-daemon backup /srv/backups --keep 14")
def backup(folder: Path, keep: int, state: Path, as_json: bool) -> None:
    """Copy a search into DIR and verify the copy, with or without a running daemon."""
    made = _made(state, folder.absolute(), keep)
    if as_json:
        click.echo(views.as_json(made))
        return
    for removed in made.removed:
        click.echo(f"removed {removed}")
    size = f"{text.count(made.size_bytes)}B"
    click.echo(f"{made.folder}: {made.num_settled} settled candidates, {size}, verified")


def _made(folder: Path, target: Path, keep: int) -> Backup:
    """Request the backup from a running daemon, which then exports its age; else make it here."""
    if holder(folder) is None:
        return back_up(folder, target, keep)
    body = {"folder": str(target), "keep": keep}
    try:
        answer = asyncio.run(control_socket.ask(folder, "backup", body, timeout_s=_TIMEOUT_S))
    except UserError:  # the daemon may lack permission to write there; other errors occur again here
        return back_up(folder, target, keep)
    return Backup(**{**answer, "removed": tuple(answer["removed"])})


@main.command()
@click.argument("source", metavar="BACKUP", type=click.Path(path_type=Path, exists=True))
@search_options
@json_option
@example("llmatic-daemon restore /srv/backups --state llmatic-state")
def restore(source: Path, state: Path, as_json: bool) -> None:
    """Restore a backup (or the newest of a folder); the previous state is kept beside it."""
    done = restore_state(source, state)
    if as_json:
        click.echo(views.as_json(done))
        return
    if done.replaced:
        click.echo(f"the previous state is kept in {done.replaced}")
    click.echo(f"restored {done.num_settled} settled candidates from {done.source}")


@main.command()
@search_options
@click.option(
    "--graphs",
    "--weights",
    "graphs",
    is_flag=True,
    help="Also delete the graphs of networks that hold no cell. (Weights are never stored.)",
)
@click.option("--copies", is_flag=True, help="Also delete the copies that upgrades and restores have kept.")
@click.option("--vacuum", is_flag=True, help="Return free database pages to the file system.")
@click.option("--dry-run", is_flag=True, help="Only list what would be removed.")
@json_option
@example("llmatic-daemon gc --dry-run")
def gc(state: Path, graphs: bool, copies: bool, vacuum: bool, dry_run: bool, as_json: bool) -> None:
    """Remove unneeded files of a stopped search; the options remove more."""
    done = collect(state, graphs=graphs, copies=copies, vacuum=vacuum, dry_run=dry_run)
    if as_json:
        click.echo(views.as_json(done))
        return
    for spare in (*done.drafts, *done.copies):
        click.echo(f"{spare.path}: {text.count(spare.size_bytes)}B")
    if done.num_graphs:
        click.echo(f"graphs of {done.num_graphs} networks: {text.count(done.graph_bytes)}B")
    if done.vacuumed_bytes:
        click.echo(f"the database is {text.count(done.vacuumed_bytes)}B smaller")
    if not (done.drafts or done.copies or done.num_graphs or done.vacuumed_bytes):
        click.echo("nothing to remove")
    elif dry_run:
        click.echo("dry run: nothing was removed")
