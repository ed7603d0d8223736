"""What `doctor --kernels` prints: progress, the table of faults, and one line after Ctrl-C."""

import asyncio
import sys
from collections.abc import Sequence

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from llmatic_daemon.adapters.processes import instruction_sets
from llmatic_daemon.adapters.processes.kernel_check import KernelCheck
from llmatic_daemon.cli import views
from llmatic_daemon.cli.base import a_console
from llmatic_daemon.commands.doctor_kernels import KernelPlan
from llmatic_daemon.domain.kernels import KernelFinding

_NO_MALLOC = (
    "glibc's checking malloc is missing: writes behind buffers of torch's own were only partly seen; "
    "install libc_malloc_debug.so.0 (Debian package libc6)"
)


def run_kernel_check(plan: KernelPlan, *, as_json: bool) -> None:
    """Try the kernels, print what was found, and exit: 1 if a fault is unexplained, 130 after Ctrl-C."""
    console = Console(stderr=True)
    hidden = as_json or not console.is_terminal
    with Progress(console=console, transient=True, disable=hidden) as shown:
        task = shown.add_task("cells")
        checks = plan.checks(lambda: shown.advance(task))
        shown.update(task, total=sum(check.num_cells for check in checks))
        try:
            asyncio.run(_run(checks))
            interrupted = False
        except KeyboardInterrupt:
            interrupted = True
    findings = [finding for check in checks for finding in check.findings]
    click.echo(views.as_json(_document(checks, findings))) if as_json else _print(checks, findings)
    if interrupted:
        click.echo(_interruption(checks, plan), err=True)
        sys.exit(130)
    sys.exit(int(any(not finding.is_explained for finding in findings)))


async def _run(checks: Sequence[KernelCheck]) -> None:
    for check in checks:
        await check.run()


def _document(checks: Sequence[KernelCheck], findings: Sequence[KernelFinding]) -> dict[str, object]:
    return {
        "processor": instruction_sets.processor(),
        "levels": [name for check in checks for name in check.level_names],
        "num_tried": _num_tried(checks),
        "checks_malloc": checks[0].checks_malloc,
        "findings": findings,
    }


def _num_tried(checks: Sequence[KernelCheck]) -> int:
    return sum(check.num_tried for check in checks)


def _print(checks: Sequence[KernelCheck], findings: Sequence[KernelFinding]) -> None:
    if findings:
        a_console().print(_table(findings))
        first = next((each for each in findings if not each.is_explained), findings[0])
        click.echo(
            "repeat one: llmatic-daemon doctor --kernels "
            f"--isa {first.level} --first {first.number} --cells 1"
        )
    if not checks[0].checks_malloc:
        click.echo(_NO_MALLOC)
    levels = ", ".join(name for check in checks for name in check.level_names)
    known = sum(finding.is_explained for finding in findings)
    click.echo(
        f"{instruction_sets.processor()}: {_num_tried(checks)} cells tried at {levels}; "
        f"{len(findings) - known} unexplained faults, {known} that the trainer avoids"
    )


def _table(findings: Sequence[KernelFinding]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("level", "number", "cell", "found", "avoided by"):
        table.add_column(name, overflow="fold")
    for each in findings:
        found = f"[bold red]{each.fault.value}[/]: {escape(each.detail)}"
        avoided = each.avoided_by or each.remedy or "nothing that was tried"
        table.add_row(each.level, str(each.number), escape(each.cell), found, escape(avoided))
    return table


def _interruption(checks: Sequence[KernelCheck], plan: KernelPlan) -> str:
    """Return what was tried until Ctrl-C, and the command that continues; one line."""
    check = next((each for each in checks if not each.is_done), checks[-1])
    rest = plan.cells.stop - check.first_open
    return (
        f"interrupted after {_num_tried(checks)} of {sum(each.num_cells for each in checks)} cells, "
        f"in {check.level}; continue there with --isa {check.level} --first {check.first_open} --cells {rest}"
    )
