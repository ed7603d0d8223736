"""The documents say what the code does: links, paths, functions, settings, metrics, commands, tables."""

import ast
import re
import shlex
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmatic_daemon import PACKAGE_ROOT, cli
from llmatic_daemon.adapters.metrics.catalog import TABLE
from llmatic_daemon.cli.reference import TOPICS, named_commands
from llmatic_daemon.config.loading import PRESETS, load, preset_text
from llmatic_daemon.config.settings import EndpointSettings

ROOT = PACKAGE_ROOT.parent
PACKAGE = PACKAGE_ROOT
README = ROOT / "README.md"
#: Names that were renamed since; everything else is about today's.
HISTORY = PACKAGE / "CHANGES.md"

#: Where a path in a document may begin.
STARTS = (ROOT, PACKAGE, ROOT / "tests")
#: Files and folders that a command or a user makes.
MADE_LATER = {
    *("my-search/llmatic.toml", "mine/", "train/", "test/", "prompts/", "llmatic.toml", "results.md"),
    *("settings.json", "control.sock", "network.py", "llmatic-daemon-backup@cifar.timer"),
}
#: Endings of files.
FILES = "py|md|toml|yml|yaml|json|conf|service|timer|sock"
#: Series that the exporter adds to a metric.
SUFFIXES = ("_bucket", "_sum", "_count", "_created")


def documents() -> list[Path]:
    """List the Markdown files that describe the program."""
    folders = (ROOT / name for name in ("deploy", "systemd", "llmatic_daemon", "tests"))
    found = {path.resolve() for folder in folders for path in folder.rglob("*.md")}
    return [
        README,
        *sorted(path for path in found if "defaults" not in path.parts and "corpus" not in path.parts),
    ]


DOCUMENTS = documents()
CURRENT = [path for path in DOCUMENTS if path != HISTORY]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def text_of(path: Path) -> str:
    return path.read_text("utf-8")


def blocks(text: str, language: str) -> list[str]:
    """List the code blocks in a language."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)


def without_blocks(text: str) -> str:
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)


def inline_code(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", without_blocks(text))


# --- links and paths ------------------------------------------------------------------------------


def links(path: Path) -> list[str]:
    """List the links of a document that lead to files of ours."""
    found = re.findall(r"\]\(([^)\s]+)\)", without_blocks(text_of(path)))
    return [link for link in found if "://" not in link]


def anchors(path: Path) -> set[str]:
    """List the anchors that GitHub gives to the headings of a document."""
    headings = re.findall(r"^#+ (.*)", without_blocks(text_of(path)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def target(path: Path, link: str) -> Path:
    return (path.parent / link.partition("#")[0]).resolve() if not link.startswith("#") else path


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_lead_to_a_file_and_a_heading(path: Path):
    for link in links(path):
        assert target(path, link).exists(), link
        if anchor := link.partition("#")[2]:
            assert anchor in anchors(target(path, link)), link


def test_every_document_is_reached_from_the_readme():
    seen, ahead = set[Path](), [README]
    while ahead:
        path = ahead.pop()
        if path not in seen:
            seen.add(path)
            ahead += [target(path, link) for link in links(path) if link.partition("#")[0].endswith(".md")]

    assert set(DOCUMENTS) - seen == set()


def named_paths(path: Path) -> Iterator[str]:
    """List the files and folders that a document names in code, with the function where there is one."""
    for code in inline_code(text_of(path)):
        for word in code.split():
            if re.fullmatch(rf"[\w.@-][\w.@/-]*\.({FILES})(:[\w.]+)?|\w[\w/-]*/", word):
                yield word


@cache
def file_names() -> frozenset[str]:
    folders = [ROOT / name for name in ("deploy", "systemd", "llmatic_daemon", "tests")]
    return frozenset(path.name for folder in folders for path in (folder, *folder.rglob("*")))


def missing(document: Path, word: str) -> bool:
    """Decide whether a path of a document, as `folder/file.py:function`, leads nowhere."""
    name, _, function = word.partition(":")
    if name in MADE_LATER:
        return False
    if "/" not in name.rstrip("/"):
        return name.rstrip("/") not in file_names()
    found = next((start / name for start in (document.parent, *STARTS) if (start / name).exists()), None)
    return found is None or (bool(function) and function not in defined(found))


@pytest.mark.parametrize("path", CURRENT, ids=name_of)
def test_paths_and_functions_exist(path: Path):
    assert [word for word in named_paths(path) if missing(path, word)] == []


@cache
def defined(path: Path) -> frozenset[str]:
    nodes = ast.walk(ast.parse(text_of(path)))
    return frozenset(
        n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    )


def test_every_package_and_adapter_is_described():
    layers, adapters = text_of(PACKAGE / "README.md"), text_of(PACKAGE / "adapters" / "README.md")

    assert [name for name in subfolders(PACKAGE) if f"`{name}/`" not in layers] == []
    assert [name for name in subfolders(PACKAGE / "adapters") if f"`{name}/`" not in adapters] == []


def subfolders(folder: Path) -> list[str]:
    return [path.name for path in sorted(folder.iterdir()) if (path / "__init__.py").is_file()]


# --- settings -------------------------------------------------------------------------------------


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """List the dotted names of nested values."""
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name


@cache
def known_settings() -> frozenset[str]:
    return frozenset(flat(load(environment={}).model_dump()))


@cache
def sections() -> frozenset[str]:
    return frozenset(name.partition(".")[0] for name in known_settings() if "." in name)


def test_every_setting_has_a_default_and_a_meaning():
    described = list(TOPICS["settings"].rows())

    assert {row[0] for row in described} == known_settings()
    assert all(row[2].endswith(".") for row in described)


@pytest.mark.parametrize("preset", PRESETS[1:])
def test_every_setting_that_a_preset_changes_has_a_reason(preset: str):
    changes = [block for block in re.split(r"\n\s*\n", preset_text(preset)) if " = " in block]

    assert changes
    assert [block for block in changes if "#" not in block] == []


def settings_in(text: str) -> Iterator[str]:
    """List what looks like the dotted name of a setting in the inline code of a document."""
    for code in inline_code(text):
        for name in re.findall(rf"(?<![\w./-])([a-z]+\.(?!(?:{FILES})\b)[a-z_]+)(?![\w./*(:])", code):
            if name.partition(".")[0] in sections():
                yield name


@pytest.mark.parametrize("path", CURRENT, ids=name_of)
def test_settings_in_the_text_exist(path: Path):
    assert sorted(set(settings_in(text_of(path))) - known_settings()) == []


def is_settings_file(values: Mapping[str, Any]) -> bool:
    return "variants" not in values  # else a file of an experiment


def unknown_settings(values: Mapping[str, Any]) -> Iterator[str]:
    """List what a TOML file sets and no setting is called."""
    for name in flat({name: value for name, value in values.items() if name != "preset"}):
        section, *rest = name.split(".")
        of_endpoint = section == "writer" and rest[:1] == ["endpoints"] and len(rest) == 3
        if not (rest[2] in EndpointSettings.model_fields if of_endpoint else name in known_settings()):
            yield name


@pytest.mark.parametrize("path", CURRENT, ids=name_of)
def test_toml_blocks_are_valid_settings(path: Path):
    files = [tomllib.loads(block) for block in blocks(text_of(path), "toml")]

    assert [name for file in files if is_settings_file(file) for name in unknown_settings(file)] == []


# --- metrics --------------------------------------------------------------------------------------


def is_metric(name: str) -> bool:
    """Decide whether a name is a metric's, one of its series', or the beginning of several."""
    base = next((name.removesuffix(end) for end in SUFFIXES if name.endswith(end)), name)
    return any(
        {metric.name, metric.former} & {name, base} or metric.name.startswith(name) for metric in TABLE
    )


@pytest.mark.parametrize("path", CURRENT, ids=name_of)
def test_metrics_in_the_text_exist(path: Path):
    names = set(re.findall(r"(?<![\w/.-])llmatic_(?!daemon)\w+", text_of(path)))

    assert sorted(name for name in names if not is_metric(name)) == []


# --- commands -------------------------------------------------------------------------------------


COMMANDS = dict(named_commands(cli.main))


def calls(path: Path) -> Iterator[str]:
    """List the calls of llmatic-daemon in the shell blocks and the inline code of a document."""
    text = text_of(path)
    code = [*blocks(text, "sh"), *inline_code(text)]
    for line in "\n".join(code).splitlines():
        for call in re.findall(r"(?:^|[\s/&(])llmatic-daemon( +[^&|;#`]*)", line):
            yield call.strip()


def words_of(call: str) -> list[str]:
    try:
        return shlex.split(call)
    except ValueError:  # a quote was cut off by what ends a call
        return call.split()


def misused(words: list[str]) -> str:
    """Return what is wrong with a call; empty if nothing is."""
    name = " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0]
    if words[0].startswith("-"):
        return ""
    if name not in COMMANDS:
        return f"there is no command {name}"
    options = {option for each in COMMANDS[name].params for option in (*each.opts, *each.secondary_opts)}
    given = {word.partition("=")[0] for word in words if word.startswith("--")} - {"--help"}
    return f"{name} has no option {', '.join(given - options)}" if given - options else ""


@pytest.mark.parametrize("path", CURRENT, ids=name_of)
def test_commands_in_the_text_exist(path: Path):
    wrong = [problem for call in calls(path) if (words := words_of(call)) if (problem := misused(words))]

    assert wrong == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_an_example(name: str):
    assert re.search(r"Example:\s*\S", COMMANDS[name].help or "")


def test_readme_has_the_two_commands():
    first, second = blocks(text_of(README), "sh")[0].splitlines()

    assert first == "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/llmatic-daemon demo"
    assert second == 'python3 -m venv .venv && .venv/bin/pip install ".[test]" && .venv/bin/pytest'


# --- tests and benchmarks -------------------------------------------------------------------------


def test_benchmarks_that_are_named_exist():
    text = text_of(ROOT / "tests" / "benchmarks" / "README.md")
    named = set(re.findall(r"\bbench_\w+", text))

    assert named
    assert [name for name in named if not (ROOT / "tests" / "benchmarks" / f"{name}.py").is_file()] == []


@pytest.mark.parametrize("path", CURRENT, ids=name_of)
def test_tests_and_modules_that_are_named_exist(path: Path):
    text = text_of(path)
    named = re.findall(r"(?<![\w/])tests/[\w/]+(?:\.py|\.toml|\.md|\b)", text)
    modules = re.findall(r"python -m ((?:tests|llmatic_daemon)\.[\w.]+)", text)

    named += [module.replace(".", "/") + ".py" for module in modules]

    assert [name for name in named if not (ROOT / name).exists()] == []


def test_experiments_behind_the_results_are_named_beside_them():
    folder = ROOT / "tests" / "benchmarks"
    text = text_of(PACKAGE / "commands" / "experiment" / "RESULTS.md") + text_of(folder / "README.md")
    files = [path.name for path in (folder / "experiments").glob("*.toml")]

    assert files
    assert [name for name in files if f"`{name}`" not in text and f"experiments/{name}" not in text] == []


def test_llm_is_started_as_the_compose_file_starts_it():
    services = yaml.safe_load(text_of(ROOT / "deploy" / "compose.yaml"))["services"]
    flags = " ".join(services["tgi"]["command"].split()[2:])

    shell = " ".join(" ".join(blocks(text_of(PACKAGE / "adapters" / "llm" / "README.md"), "sh")).split())

    assert flags in shell.replace("\\ ", "")


# --- the glossary ---------------------------------------------------------------------------------


def rows(text: str, heading: str) -> Iterable[list[str]]:
    """List the rows of the first table below a heading."""
    section = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_glossary_has_each_term_once_in_order():
    terms = [term for term, _ in rows(text_of(PACKAGE / "README.md"), "Glossary")]

    assert 25 <= len(terms) <= 45
    assert terms == sorted(set(terms), key=str.lower)


# --- the checks themselves ------------------------------------------------------------------------


def test_wrong_names_are_found():
    assert misused(["backp", "DIR"])
    assert misused(["backup", "DIR", "--keepp", "1"])
    assert not misused(["backup", "DIR", "--keep", "1"])
    assert list(unknown_settings({"search": {"sead": 1}, "writer": {"endpoints": {"a": {"urll": ""}}}})) == [
        "search.sead",
        "writer.endpoints.a.urll",
    ]
