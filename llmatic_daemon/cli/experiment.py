"""The command `experiment`: variants x data sets x seeds."""

import signal
import sys
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import click
from rich import progress
from rich.console import Console
from rich.markup import escape

from llmatic_daemon.adapters.storage.experiment_store import ExperimentStore, Failed, Finished
from llmatic_daemon.cli.base import PATH, a_console, example, main
from llmatic_daemon.commands.experiment import report
from llmatic_daemon.commands.experiment.plan import PRESETS, Plan, PlannedRun, plan, preset_text
from llmatic_daemon.commands.experiment.pool import carry_out
from llmatic_daemon.domain.errors import UserError


@main.command()
@click.argument("what", metavar="FILE.toml|NAME", default="")
@click.option(
    "--table", type=PATH, help="Table of the benchmark.  [default: as in the file; cells.csv.gz for a preset]"
)
@click.option("--out", type=PATH, help="Folder for the results.  [default: the file's name, beside it]")
@click.option("--processes", type=click.IntRange(min=0), help="Runs at the same time; 0: all cores.")
@click.option("--show", type=click.Choice(PRESETS), help="Print a preset to edit.")
@example("llmatic-daemon experiment quick --table cells.csv.gz")
def experiment(
    what: str, table: Path | None, out: Path | None, processes: int | None, show: str | None
) -> None:
    """Compare variants of the search on NAS-Bench-201: many runs by seeds, tables and figures.

    A finished run is repeated only if its settings have changed. Ctrl-C stops at once and keeps
    finished runs. Exit code 1: a run has failed.
    """
    if show:
        click.echo(preset_text(show), nl=False)
        return
    if not what:
        raise UserError(f"expected an experiment: a TOML file, or one of {', '.join(PRESETS)}")
    planned = plan(what, table=table, num_processes=processes)
    folder = out or Path(what).with_suffix("")
    console = a_console()
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))  # as Ctrl-C
    with ExperimentStore.opened(folder) as store:
        try:
            _run(planned, store, console)
        except KeyboardInterrupt:
            click.echo("interrupted; finished runs are kept, the same command continues", err=True)
            sys.exit(130)
        wanted = {job.run: job.fingerprint for job in planned.jobs}
        failures = [each for each in store.failures() if wanted.get(each.run) == each.fingerprint]
        for file in report.write(planned, store.finished(), folder):
            click.echo(file)
    for failure in failures:
        click.echo(f"failed: {failure.run}: {failure.reason}", err=True)
    if failures:
        click.echo(f"{len(failures)} of {len(planned.jobs)} runs have failed", err=True)
        sys.exit(1)


def _run(planned: Plan, store: ExperimentStore, console: Console) -> None:
    """Run what is not finished; store each result as it ends."""
    done = store.done()
    missing = [job for job in planned.jobs if done.get(job.run) != job.fingerprint]
    click.echo(
        f"{len(planned.jobs)} runs: {len(planned.jobs) - len(missing)} finished before, "
        f"{len(missing)} remaining in {planned.num_processes} processes"
    )
    if missing:
        with closing(_shown(missing, planned, console)) as ended:
            for each in ended:
                store.keep(each)


def _shown(
    missing: list[PlannedRun], planned: Plan, console: Console
) -> Generator[Finished | Failed, None, None]:
    columns = (
        "{task.description}",
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        "left",
        progress.TimeRemainingColumn(),
    )
    with (
        progress.Progress(*columns, console=console) as shown,
        closing(carry_out(missing, planned.num_processes)) as results,
    ):
        task = shown.add_task("runs", total=len(missing))
        for each in results:
            if isinstance(each, Failed):
                shown.console.print(f"failed: {escape(f'{each.run}: {each.reason}')}")
            yield each
            shown.advance(task)
