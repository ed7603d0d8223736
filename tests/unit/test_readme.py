"""The README's tables of settings, commands and metrics are what the code says.

`python -m tests.unit.test_readme` prints them anew.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from llmatic_daemon import cli, config
from llmatic_daemon.adapters.metrics.catalog import TABLE
from tests.support import web
from tests.support.paths import ROOT

README = ROOT / "README.md"


def settings() -> Iterator[tuple[str, str, str]]:
    """Read name, default and meaning of each setting off the default preset."""
    section, comment = "", ""
    for line in config.preset_text("default").splitlines():
        if line.startswith("# "):
            comment = line.removeprefix("# ")
        elif line.startswith("["):
            section = line.strip("[]") + "."
        elif " = " in line:
            name, default = line.split(" = ", 1)
            yield f"{section}{name}", default, comment


def settings_table() -> str:
    rows = [f"| `{name}` | `{default}` | {text} |" for name, default, text in settings()]
    return "\n".join(["| setting | default | meaning |", "|---|---|---|", *rows])


def commands_table() -> str:
    rows = [
        f"| `{name}` | {(command.help or '').splitlines()[0]} | `{example(command)}` |"
        for name, command in named_commands(cli.main)
    ]
    return "\n".join(["| command | what it does | example |", "|---|---|---|", *rows])


def named_commands(group: click.Group) -> Iterator[tuple[str, click.Command]]:
    for name, command in sorted(group.commands.items()):
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", each) for inner, each in named_commands(command))


def example(command: click.Command) -> str:
    found = re.search(r"Example:\s*(.+)", command.help or "")
    assert found, f"{command.name} shows no example"
    return found.group(1).strip().replace("|", "\\|")  # as a table of Markdown has it


def metrics_table() -> str:
    rows = []
    for metric in TABLE:
        labels = ", ".join(f"`{name}`" for name in metric.label_names)
        rows.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.meaning} |")
    return "\n".join(["| metric | type | labels | meaning |", "|---|---|---|---|", *rows])


def routes_table() -> str:
    routes = web.table(Path("nowhere"))
    rows = [f"| `{route.path}` | {route.summary} |" for route in routes]
    return "\n".join(["| GET | what it answers |", "|---|---|", *rows])


TABLES = {
    "settings": settings_table,
    "commands": commands_table,
    "metrics": metrics_table,
    "routes": routes_table,
}


@pytest.mark.parametrize("name", TABLES)
def test_readme_table_says_what_the_code_does(name: str) -> None:
    assert TABLES[name]() in README.read_text("utf-8")


def test_every_setting_of_the_code_has_a_default_and_a_meaning() -> None:
    described = {name for name, _, _ in settings()}

    assert described == set(config._paths(config.load(environment={}).model_dump()))
    assert all(meaning.endswith(".") for _, _, meaning in settings())


def test_every_setting_that_a_preset_changes_says_why() -> None:
    for preset in config.PRESETS[1:]:
        text = config.preset_text(preset)
        for block in re.split(r"\n\s*\n", text):
            if " = " in block:
                assert "#" in block, block


def test_readme_map_names_every_module() -> None:
    text = README.read_text("utf-8")
    package = README.parent / "llmatic_daemon"
    rooms = {path.name for path in package.iterdir() if path.suffix == ".py" or path.is_dir()}

    missing = [room for room in rooms - {"__init__.py", "__pycache__"} if room not in text]

    assert missing == [], missing


if __name__ == "__main__":
    for make in TABLES.values():
        print(make(), end="\n\n")
