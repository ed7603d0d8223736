"""Commands for NAS-Bench-201: its table, and its cells as networks."""

from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from llmatic_daemon.adapters.nasbench.conversion import convert as convert_table
from llmatic_daemon.adapters.nasbench.skeleton import source_of
from llmatic_daemon.adapters.nasbench.table import DATA_SETS
from llmatic_daemon.cli.base import PATH, example, main
from llmatic_daemon.domain.errors import UserError
from llmatic_daemon.domain.nasbench_cells import NUM_CELLS, Cell, CellError


@main.group()
@example("llmatic-daemon nasbench convert NATS-tss-v1_0-3ffb9-simple cells.csv.gz")
def nasbench() -> None:
    """Convert the table of NAS-Bench-201; print a cell as PyTorch source."""


@nasbench.command()
@click.argument("source", metavar="SOURCE", type=PATH)
@click.argument("target", metavar="TARGET", type=PATH)
@click.option("--force", is_flag=True, help="Replace TARGET.")
@example("llmatic-daemon nasbench convert NATS-tss-v1_0-3ffb9-simple cells.csv.gz")
def convert(source: Path, target: Path, force: bool) -> None:
    """Write the benchmark's table as a compact CSV, from its official files or from another table.

    SOURCE is the folder NATS-tss-v1_0-3ffb9-simple or the file NATS-tss-v1_0-3ffb9.pickle.pbz2, or a
    compact CSV, which is checked. TARGET is compressed by gzip if its name ends in .gz.

    The official files are pickles: their authors' package nats_bench reads them and runs any code in
    them. Use files from the authors only. No other command reads a pickle.
    """
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task("cells", total=NUM_CELLS)
        done = convert_table(source, target, force=force, watch=lambda num: shown.update(task, completed=num))
    click.echo(f"{target}: {NUM_CELLS} cells on {', '.join(done.data_sets)}")
    if done.num_resized:
        click.echo(
            f"{done.num_resized} cells are stored with the size of another cell; the table has their own size"
        )


@nasbench.command()
@click.argument("cell", metavar="CELL")
@click.option(
    "--data-set",
    default="cifar10",
    show_default=True,
    type=click.Choice(list(DATA_SETS)),
    help="Determines the number of classes.",
)
@example("llmatic-daemon nasbench source '|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|'")
def source(cell: str, data_set: str) -> None:
    """Print the network of a cell as PyTorch source, as the benchmark trained it."""
    try:
        parsed = Cell.parse(cell.strip())
    except CellError as error:
        raise UserError(str(error)) from error
    click.echo(source_of(parsed, data_set), nl=False)
