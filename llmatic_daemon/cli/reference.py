"""The command `reference`: settings, metrics, API, commands and exit codes as Markdown tables."""

import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import click

from llmatic_daemon.adapters.http.api import Sources
from llmatic_daemon.adapters.http.app import all_routes
from llmatic_daemon.adapters.http.event_stream import EventStream
from llmatic_daemon.adapters.http.history_reader import Reader
from llmatic_daemon.adapters.metrics.catalog import PREFIX, TABLE
from llmatic_daemon.cli.base import EXIT_CODES, example, main
from llmatic_daemon.config import preset_text
from llmatic_daemon.domain.errors import UserError

Row = tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Topic:
    """One table of the reference; the first column names the entries."""

    columns: Row
    rows: Callable[[], Iterator[Row]]
    #: Columns whose cells are code.
    code: Sequence[int] = (0,)


def _settings() -> Iterator[Row]:
    """List name, default and meaning of each setting, as the default preset describes them."""
    section, comment = "", ""
    for line in preset_text("default").splitlines():
        if line.startswith("# "):
            comment = line.removeprefix("# ")
        elif line.startswith("["):
            section = line.strip("[]") + "."
        elif " = " in line:
            name, default = line.split(" = ", 1)
            yield f"{section}{name}", default, comment


def _metrics() -> Iterator[Row]:
    for metric in TABLE:
        former = f" Deprecated name: `{metric.former}`." if metric.former else ""
        yield metric.name, metric.kind, ", ".join(metric.labels), metric.meaning + former


def _api() -> Iterator[Row]:
    nothing = cast(Any, None)  # no handler runs
    sources = Sources(status=nothing, reader=Reader(Path()), events=EventStream(nothing))
    for route in all_routes(sources, bytes, bool, ""):
        yield route.path, route.summary


def _commands() -> Iterator[Row]:
    for name, command in named_commands(main):
        text = command.help or ""
        shown = re.search(r"Example:\s*(.+)", text)
        yield name, text.splitlines()[0], shown.group(1).strip() if shown else ""


def named_commands(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    """List all commands and subcommands, by name."""
    for name, command in sorted(group.commands.items()):
        yield prefix + name, command
        if isinstance(command, click.Group):
            yield from named_commands(command, f"{prefix}{name} ")


def _exit_codes() -> Iterator[Row]:
    return ((str(code), meaning) for code, meaning in EXIT_CODES.items())


TOPICS = {
    "settings": Topic(columns=("setting", "default", "meaning"), rows=_settings, code=(0, 1)),
    "metrics": Topic(columns=("metric", "type", "labels", "meaning"), rows=_metrics),
    "api": Topic(columns=("GET", "response"), rows=_api),
    "commands": Topic(columns=("command", "purpose", "example"), rows=_commands, code=(0, 2)),
    "exit-codes": Topic(columns=("exit code", "meaning"), rows=_exit_codes),
}


def table(topic: str, name: str = "") -> str:
    """Return a topic, or the entries of one name, as a Markdown table.

    Args:
        topic: One of TOPICS.
        name: An entry; the beginning of several, up to a dot, a slash or a space; or empty: all of them.

    Raises:
        UserError: there is no such entry; names the nearest one.
    """
    chosen = TOPICS[topic]
    rows = [row for row in chosen.rows() if not name or _is_named(row[0], name)]
    if not rows:
        known = [row[0] for row in chosen.rows()]
        near = difflib.get_close_matches(name, known, 1, 0.3)
        raise UserError(
            f"expected an entry of 'reference {topic}', got {name!r}"
            + (f"; did you mean {near[0]!r}?" if near else "")
        )
    head, *lines = (chosen.columns, *(_cells(row, chosen.code) for row in rows))
    rule = "|---" * len(head) + "|"
    return "\n".join([_line(head), rule, *map(_line, lines)])


def _line(cells: Row) -> str:
    return f"| {' | '.join(cells)} |"


def _is_named(entry: str, name: str) -> bool:
    return (
        name in (entry, entry.removeprefix(PREFIX)) or re.match(rf"{re.escape(name)}[. /]", entry) is not None
    )


def _cells(row: Row, code: Sequence[int]) -> Row:
    cells = (cell.replace("|", "\\|") for cell in row)
    return tuple(f"`{cell}`" if number in code and cell else cell for number, cell in enumerate(cells))


@main.command()
@click.argument("topic", type=click.Choice(list(TOPICS)))
@click.argument("name", nargs=-1)
@example("llmatic-daemon reference settings training.timeout_s")
def reference(topic: str, name: tuple[str, ...]) -> None:
    """Print all settings, metrics, API paths, commands or exit codes, or the one called NAME."""
    click.echo(table(topic, " ".join(name)))
