"""The commands that check the environment: `doctor` and `sandbox test`."""

import asyncio
import sys
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from llmatic_daemon.cli import views
from llmatic_daemon.cli.base import (
    a_console,
    config_options,
    example,
    json_option,
    main,
    settings_of,
    state_option,
)
from llmatic_daemon.cli.kernel_views import run_kernel_check
from llmatic_daemon.commands import doctor as examination
from llmatic_daemon.commands import sandbox_test as sandbox_trial
from llmatic_daemon.commands.doctor import Check, CheckResult
from llmatic_daemon.commands.doctor_kernels import KernelPlan
from llmatic_daemon.commands.sandbox_test import ProbeResult, ProbeRow
from llmatic_daemon.config.settings import Settings

_FOUND = {ProbeResult.HOLDS: "green", ProbeResult.MISSING: "yellow", ProbeResult.BROKEN: "bold red"}
_STYLES = {CheckResult.OK: "green", CheckResult.WARNING: "yellow", CheckResult.FAILED: "bold red"}


@main.command()
@state_option
@config_options
@json_option
@click.option("--kernels", is_flag=True, help="Try the kernels of the processor and of each GPU instead.")
@click.option(
    "--cells",
    default=20_000,
    show_default=True,
    type=click.IntRange(1),
    help="Calls that --kernels tries at each instruction set level.",
)
@click.option("--isa", metavar="LEVEL", help="The only level or GPU that --kernels tries, such as AVX2.")
@click.option(
    "--first", default=0, type=click.IntRange(0), help="Number of the first call that --kernels tries."
)
@example("llmatic-daemon doctor --config llmatic.toml")
def doctor(
    state: Path | None,
    file: Path | None,
    preset: str,
    as_json: bool,
    kernels: bool,
    cells: int,
    isa: str | None,
    first: int,
) -> None:
    """Check state, data, devices, sandbox, kernels and each LLM before a long search (exit code 1: a failure)."""
    if (isa or first) and not kernels:
        raise click.UsageError("--isa and --first need --kernels")
    settings = settings_of(file, preset, state)
    if kernels:
        plan = KernelPlan(cells=range(first, first + cells), level=isa, devices=settings.training.devices)
        run_kernel_check(plan, as_json=as_json)
    checks = asyncio.run(_examine(settings, quiet=as_json))
    if as_json:
        click.echo(views.as_json(checks))
    failed = [check for check in checks if check.verdict is CheckResult.FAILED]
    if failed and not as_json:
        click.echo(f"{len(failed)} of {len(checks)} checks failed: fix these first")
    sys.exit(int(bool(failed)))


@main.group()
@example("llmatic-daemon sandbox test")
def sandbox() -> None:
    """Inspect the sandbox around code that an LLM wrote."""


@sandbox.command("test")
@config_options
@json_option
@example("llmatic-daemon sandbox test")
def sandbox_test(file: Path | None, preset: str, as_json: bool) -> None:
    """Run probes that try to escape this machine's sandbox (exit code 1: one escaped)."""
    rows = asyncio.run(_rows(settings_of(file, preset, None)))
    if as_json:
        click.echo(views.as_json(rows))
    else:
        a_console().print(_probe_table(rows))
    sys.exit(int(any(row.found is ProbeResult.BROKEN for row in rows)))


async def _rows(settings: Settings) -> list[ProbeRow]:
    return [row async for row in sandbox_trial.try_out(settings)]


def _probe_table(rows: list[ProbeRow]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("layer", "", "attempt", "result"):
        table.add_column(name, overflow="fold")
    for row in rows:
        found = f"[{_FOUND[row.found]}]{row.found.value}[/]"
        table.add_row(row.layer, found, row.attempt, escape(row.detail))
    return table


async def _examine(settings: Settings, *, quiet: bool) -> list[Check]:
    """Run the checks and print each as it ends: some take seconds."""
    console, checks = a_console(), []
    async for check in examination.examine(settings):
        checks.append(check)
        if not quiet:
            console.print(_row(check))
    return checks


def _row(check: Check) -> Table:
    row = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
    row.add_column(width=8, style=_STYLES[check.verdict])
    row.add_column(width=18)
    row.add_column(overflow="fold")
    row.add_row(check.verdict.value, check.name, check.detail)
    return row
