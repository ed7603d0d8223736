"""Commands for a search: run it, inspect it, lift a network, export the results."""

import asyncio
import logging
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import get_args

import click
from rich.console import Console

from llmatic_daemon import config
from llmatic_daemon.adapters.storage.history import History, Order
from llmatic_daemon.adapters.system import logs
from llmatic_daemon.bootstrap import build
from llmatic_daemon.bootstrap.build_search import parse_task
from llmatic_daemon.cli import base, views
from llmatic_daemon.cli.demo import conclude, introduce
from llmatic_daemon.cli.live_table import LiveTable
from llmatic_daemon.commands import demo as demonstration
from llmatic_daemon.commands import export as exporting
from llmatic_daemon.commands.export import ExportedFiles
from llmatic_daemon.commands.init import first_files, write_new
from llmatic_daemon.commands.lift import lift_file
from llmatic_daemon.commands.plot import draw
from llmatic_daemon.commands.verify import verify as verify_state
from llmatic_daemon.config.settings import Settings
from llmatic_daemon.daemon import main as daemon
from llmatic_daemon.domain import Network, Rejection
from llmatic_daemon.domain.errors import UserError
from llmatic_daemon.search.candidates.representation import representation_of

# --- search --------------------------------------------------------------------------------------


@base.main.command()
@base.state_option
@click.option("--fresh", is_flag=True, help="Delete an earlier demo of this folder first.")
@base.example("llmatic-daemon demo")
def demo(state: Path | None, fresh: bool) -> None:
    """Search networks for handwritten digits: no LLM, no GPU, no download, three minutes.

    Runs the real daemon with the preset "demo"; a second demo continues the first one.
    """
    settings = config.load(preset="demo", overrides={"state_dir": str(state)} if state else {})
    if fresh:
        demonstration.delete(settings.state_dir)
    settings = demonstration.with_next_goal(settings)
    console = base.a_console()
    introduce(settings, console)
    _run(settings, console)
    conclude(settings.state_dir, console)


@base.main.command()
@base.state_option
@base.config_options
@click.option(
    "--log-format",
    "form",
    default="auto",
    show_default=True,
    type=click.Choice(logs.FORMATS),
    help="auto: a live table on a terminal, journal fields under systemd, otherwise lines of text.",
)
@base.example("llmatic-daemon run --config llmatic.toml")
def run(state: Path | None, file: Path | None, preset: str, form: logs.Format) -> None:
    """Search until the budget is used up; SIGTERM or Ctrl-C drains, a second one stops at once."""
    again = partial(base.settings_of, file, preset, state)
    _run(again(), base.a_console(), form, again)


def _run(
    settings: Settings,
    console: Console,
    form: logs.Format = "auto",
    again: Callable[[], Settings] | None = None,
) -> None:
    """Run the daemon, with a live table on a terminal or with log lines."""
    if not console.is_terminal or form != "auto":
        logs.configure(form)
        console.print(asyncio.run(daemon.run(settings, build.build_adapters(settings), again=again)))
        return
    logs.configure(level=logging.WARNING, console=console)
    with LiveTable(console, settings.engine.slots) as table:
        adapters = build.build_adapters(settings)
        adapters.events.subscribe(table.receive)
        end = asyncio.run(daemon.run(settings, adapters, ready=table.watch, again=again))
    console.print(end)


# --- inspect ----------------------------------------------------------------------------------------


@base.main.command()
@base.search_options
@click.option("--watch", is_flag=True, help="Refresh every two seconds.")
@base.json_option
@base.example("llmatic-daemon status --watch")
def status(state: Path, watch: bool, as_json: bool) -> None:
    """Show the progress of a search, with or without a running daemon."""
    console = base.a_console()
    with History(state) as history:
        while True:
            now = history.status()
            if watch:
                console.clear()
            base.show(views.as_json(views.status_facts(now)) if as_json else views.status(now), as_json)
            if not watch:
                return
            time.sleep(2)


@base.main.command()
@base.search_options
@click.option("--order", default="objective", type=click.Choice(get_args(Order)), show_default=True)
@base.json_option
@base.example("llmatic-daemon elites --order flops")
def elites(state: Path, order: Order, as_json: bool) -> None:
    """List the best network of each cell."""
    with History(state) as history:
        found = history.elites(order)
    base.show(views.as_json(found) if as_json else views.elites(found), as_json)


@base.main.command("show")
@click.argument("number", type=int)
@base.search_options
@base.json_option
@base.example("llmatic-daemon show 42")
def show_candidate(number: int, state: Path, as_json: bool) -> None:
    """Show a candidate: source, lineage, diff to its parent, learning curve."""
    with History(state) as history:
        placement, ancestors = history.placement(number), history.lineage(number)
        audit, deaths = history.audit(number), history.deaths(number)
        digest = placement.source_digest
        source = history.source(digest) if digest else None
        parent = _parent_source(history, placement.parents)
    if as_json:
        facts = {
            "placement": placement,
            "audit": audit,
            "trainer_deaths": deaths,
            "lineage": ancestors,
            "source": source,
            "parent": parent,
        }
        base.show(views.as_json(facts), True)
        return
    base.show(views.candidate(placement, audit, deaths, ancestors, source, parent), False)


def _parent_source(history: History, parents: tuple[int, ...]) -> str | None:
    if not parents:
        task = parse_task(history.identity())
        return representation_of(task).initial(task)
    digest = history.placement(parents[0]).source_digest
    return history.source(digest) if digest else None


@base.main.command()
@base.search_options
@click.option("--out", type=base.PATH, help="Folder for the pictures.  [default: plots/ of the state folder]")
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(["png", "svg", "pdf"]),
    default=("png", "svg"),
    show_default=True,
)
@base.example("llmatic-daemon plot --format pdf --out pictures")
def plot(state: Path, out: Path | None, formats: tuple[str, ...]) -> None:
    """Draw both archives, the best accuracy over evaluations, and the windows."""
    for file in draw(state, out or state / "plots", formats):
        click.echo(file)


@base.main.command()
@base.search_options
@base.json_option
@base.example("llmatic-daemon verify")
def verify(state: Path, as_json: bool) -> None:
    """Rebuild a search from its log and compare the result with the stored archives."""
    report = verify_state(state)
    if as_json:
        click.echo(views.as_json(report))
    else:
        for fault in report.faults:
            click.echo(f"differs: {fault}")
        verdict = "differs from" if report.faults else "agrees with"
        click.echo(f"the search rebuilt from {report.num_settled} placements {verdict} the stored one")
    sys.exit(1 if report.faults else 0)


# --- lift, init and export --------------------------------------------------------------------------------


@base.main.command()
@click.argument("path", metavar="FILE.py", type=click.Path(path_type=Path, dir_okay=False))
@base.config_options
@click.option("--shape", default="3x32x32", show_default=True, help="Channels x height x width.")
@click.option("--classes", default=10, show_default=True, type=click.IntRange(min=2))
@base.json_option
@base.example("llmatic-daemon lift network.py --shape 1x8x8")
def lift(path: Path, file: Path | None, preset: str, shape: str, classes: int, as_json: bool) -> None:
    """Lift a network as the search would: print its measures, or why it is rejected (exit code 1)."""
    settings = base.settings_of(file, preset, None)
    lifted = asyncio.run(lift_file(path, settings, _shape(shape), classes))
    if isinstance(lifted, Rejection):
        facts = {"accepted": False, "cause": lifted.cause, "detail": lifted.detail}
        text = f"rejected: {lifted.cause}: {lifted.detail}"
    else:
        facts = {"accepted": True, "measures": lifted.measures, "digest": lifted.digest}
        text = f"accepted; lifted in {lifted.lift_s:.2f} s"
    click.echo(views.as_json(facts) if as_json else text)
    if isinstance(lifted, Network) and not as_json:
        base.show(views.measures(lifted.measures), False)
    sys.exit(int(isinstance(lifted, Rejection)))


def _shape(text: str) -> tuple[int, int, int]:
    try:
        channels, height, width = (int(part) for part in text.split("x"))
    except ValueError as error:
        raise UserError(
            f"--shape: expected channels x height x width, such as 3x32x32, got {text!r}"
        ) from error
    if min(channels, height, width) < 1:
        raise UserError(f"--shape: expected sizes of at least 1, got {text!r}")
    return channels, height, width


@base.main.command()
@click.argument("folder", type=base.PATH, default=Path())
@click.option("--preset", default="default", metavar="|".join(config.PRESETS), help="Preset to write.")
@click.option("--force", is_flag=True, help="Overwrite existing files.")
@base.example("llmatic-daemon init my-search")
def init(folder: Path, preset: str, force: bool) -> None:
    """Write an annotated llmatic.toml and the prompts for your own search."""
    files = first_files(folder, preset)
    write_new(files, force=force)
    for file in files:
        click.echo(file)
    click.echo(f"next: set data.folder in {folder / 'llmatic.toml'}, then run")
    click.echo(f"llmatic-daemon run --config {folder / 'llmatic.toml'}")


@base.main.command()
@click.argument("folder", metavar="DIR", type=base.PATH)
@base.search_options
@click.option("--only", "jobs", multiple=True, type=int, help="Number of an elite.  [default: all]")
@click.option(
    "--format",
    "kind",
    default="pt2",
    show_default=True,
    type=click.Choice(["pt2", "onnx"]),
    help="torch.export program, or ONNX (needs the extra 'onnx').",
)
@base.json_option
@base.example("llmatic-daemon export networks --only 42 --format onnx")
def export(folder: Path, state: Path, jobs: tuple[int, ...], kind: str, as_json: bool) -> None:
    """Train elites a last time; write source, weights, program and card of each into DIR."""
    done = asyncio.run(_export(state, folder, jobs, kind, as_json))
    if as_json:
        click.echo(views.as_json(done))
    sys.exit(int(any(exported.fault for exported in done)))


async def _export(
    state_dir: Path, folder: Path, jobs: tuple[int, ...], kind: str, quiet: bool
) -> list[ExportedFiles]:
    done = []
    async for exported in exporting.export(state_dir, folder, jobs=jobs, kind=kind):
        done.append(exported)
        if not quiet:
            fault = f"not exported: {exported.fault}"
            click.echo(f"{exported.job}: {fault if exported.fault else exported.folder}")
    return done
