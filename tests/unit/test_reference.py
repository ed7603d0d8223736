"""The committed copies of the reference are what `llmatic-daemon reference` prints.

`python -m tests.unit.test_reference` regenerates them.
"""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from llmatic_daemon import PACKAGE_ROOT
from llmatic_daemon.adapters.metrics.catalog import TABLE
from llmatic_daemon.cli import main
from llmatic_daemon.cli.reference import TOPICS, table
from llmatic_daemon.config import load
from llmatic_daemon.config.loading import _paths

#: Documents with the topics whose tables they hold.
COPIES = {
    "settings": PACKAGE_ROOT / "config" / "README.md",
    "metrics": PACKAGE_ROOT.parent / "deploy" / "metrics.md",
    "api": PACKAGE_ROOT / "adapters" / "http" / "README.md",
    "commands": PACKAGE_ROOT / "cli" / "README.md",
    "exit-codes": PACKAGE_ROOT / "cli" / "README.md",
}


def regenerated(text: str, topic: str) -> str:
    """Put the table of a topic between its marks."""
    marks = rf"(<!-- reference {topic} -->\n).*?(<!-- end of reference -->)"
    found, count = re.subn(marks, lambda m: f"{m[1]}{table(topic)}\n{m[2]}", text, flags=re.DOTALL)
    assert count == 1, f"no table of {topic} between marks"
    return found


def printed(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["reference", *words])
    return result.exit_code, result.output


@pytest.mark.parametrize("topic", TOPICS)
def test_copy_is_what_the_command_prints(topic: str) -> None:
    text = COPIES[topic].read_text("utf-8")

    assert regenerated(text, topic) == text
    assert printed(topic) == (0, f"{table(topic)}\n")


def test_table_is_markdown_with_one_row_an_entry() -> None:
    lines = table("metrics").splitlines()

    assert lines[:2] == ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    assert [line.split("`")[1] for line in lines[2:]] == [metric.name for metric in TABLE]


def test_every_setting_has_its_row() -> None:
    rows = table("settings").splitlines()[2:]

    assert {row.split("`")[1] for row in rows} == set(_paths(load(environment={}).model_dump()))


@pytest.mark.parametrize(
    ("words", "entry"),
    [
        (("settings", "training.timeout_s"), "training.timeout_s"),
        (("metrics", "llmatic_ready"), "llmatic_ready"),
        (("metrics", "ready"), "llmatic_ready"),
        (("api", "/api/v1/status"), "/api/v1/status"),
        (("commands", "prompts", "try"), "prompts try"),
        (("exit-codes", "78"), "78"),
    ],
)
def test_name_narrows_to_one_entry(words: tuple[str, ...], entry: str) -> None:
    code, output = printed(*words)

    assert code == 0
    assert [line.split("`")[1] for line in output.splitlines()[2:]] == [entry]


def test_section_narrows_to_its_settings() -> None:
    _, output = printed("settings", "training")

    names = [line.split("`")[1] for line in output.splitlines()[2:]]
    assert len(names) > 5
    assert all(name.startswith("training.") for name in names)


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (("settings", "training.timeout"), "training.timeout_s"),
        (("metrics", "llmatic_evaluation"), "llmatic_evaluations"),
        (("commands", "statsu"), "status"),
    ],
)
def test_unknown_name_is_one_line_with_the_nearest(words: tuple[str, ...], near: str) -> None:
    code, output = printed(*words)

    assert code == 1
    assert output.endswith(f"got {words[1]!r}; did you mean {near!r}?\n")


def _regenerate(path: Path, topic: str) -> None:
    path.write_text(regenerated(path.read_text("utf-8"), topic), "utf-8")


if __name__ == "__main__":
    for each, file in COPIES.items():
        _regenerate(file, each)
