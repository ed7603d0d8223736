"""Prompt files: one Markdown file for each prompt, its stem the prompt's id; a folder is one prompt set."""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Formatter
from typing import Any

from llmatic_daemon.domain import PLACEHOLDERS, Prompt, PromptKind
from llmatic_daemon.domain.errors import ConfigurationError

#: A prompt is a few sentences; a longer one would not fit into a context of 2,048 tokens.
MAX_PROMPT_BYTES = 16 << 10

_FENCE = "+++"
_KEYS = ("kind", "enabled", "weight")
#: Quotes around a prompt in a completion model's text, unless the prompt contains `{source}`.
_QUOTES = '"""'


@dataclass(frozen=True, slots=True)
class FolderSnapshot:
    """The content of all files of a folder at one moment."""

    folder: Path
    #: Content of each prompt file, or the reason why it cannot be read; sorted by path.
    files: tuple[tuple[Path, bytes | str], ...]


def default_folder(for_cells: bool = False) -> Path:
    """Return the folder of the default prompts in the package: for networks, or for a benchmark's cells."""
    folder = resources.files("llmatic_daemon.adapters.prompts") / "defaults"
    return Path(str(folder / "cells" if for_cells else folder))


def read_prompts(folder: Path) -> tuple[Prompt, ...]:
    """Read the prompts of a folder; see `parse_prompts`."""
    return parse_prompts(snapshot(folder))


def snapshot(folder: Path) -> FolderSnapshot:
    """Read all prompt files of a folder: `*.md`, except hidden files.

    Raises:
        ConfigurationError: the folder cannot be read.
    """
    try:
        paths = [path for path in folder.iterdir() if path.suffix == ".md"]
    except OSError as error:
        raise ConfigurationError(
            f"{folder}: must be a readable folder of prompts: {error.strerror or error}"
        ) from error
    shown = sorted((path for path in paths if path.name[0] != "."), key=lambda path: path.stem)
    return FolderSnapshot(folder, tuple((path, _content(path)) for path in shown))


def _content(path: Path) -> bytes | str:
    """Return the content of a file, up to one byte above its limit, or the reason why it cannot be read."""
    if not path.name.isprintable():
        return "must have a name of printable Unicode; rename it"
    try:
        found = Path(os.path.realpath(path, strict=True))  # `Path.resolve` differs between Pythons
        if not found.is_relative_to(path.parent.resolve()):
            return f"must lie in its folder, found a link to {found}; copy it there"
        if not path.is_file():
            return "must be a file; move it elsewhere"
        with path.open("rb") as file:
            return file.read(MAX_PROMPT_BYTES + 1)
    except OSError as error:
        return f"must be readable: {error.strerror or error}"


def parse_prompts(files: FolderSnapshot) -> tuple[Prompt, ...]:
    """Parse prompt files, without disabled prompts, sorted by id.

    Returns:
        At least one mutation prompt and exactly one crossover prompt, all of version 0.

    Raises:
        ConfigurationError: a file or the set is not valid; names the file, the line and the reason.
    """
    parsed = [_parsed(path, content) for path, content in files.files]
    prompts = [prompt for prompt in parsed if prompt is not None]
    if not any(prompt.kind is PromptKind.MUTATION for prompt in prompts):
        raise ConfigurationError(
            f"{files.folder}: there must be at least one mutation prompt (*.md), found none; "
            "'llmatic-daemon init' writes the default prompts"
        )
    crossover = [prompt for prompt in prompts if prompt.kind is PromptKind.CROSSOVER]
    if len(crossover) != 1:
        found = ", ".join(repr(f"{prompt.id}.md") for prompt in crossover) or "none"
        raise ConfigurationError(
            f'{files.folder}: there must be exactly one prompt with kind = "crossover" between '
            f"'{_FENCE}' lines, found {found}"
        )
    return tuple(prompts)


def _parsed(path: Path, content: bytes | str) -> Prompt | None:
    """Parse one file: optional TOML between two `+++` lines, then the text. Return None if disabled."""
    if isinstance(content, str):
        shown = path if path.name.isprintable() else repr(str(path))
        raise ConfigurationError(f"{shown}: {content}")
    head, text, first_line = _parted(path, _decoded(path, content))
    settings = _settings(path, head)
    if not text:
        raise ConfigurationError(
            f"{path}: a prompt must have a text, found none; write it or remove the file"
        )
    _check_placeholders(path, text, first_line)
    kind = _kind(settings, f"{path}, line {_line_of(head, 'kind')}")
    weight = _weight(settings, f"{path}, line {_line_of(head, 'weight')}")
    enabled = _enabled(settings, f"{path}, line {_line_of(head, 'enabled')}")
    return Prompt(id=path.stem, kind=kind, text=text, weight=weight) if enabled else None


def _decoded(path: Path, content: bytes) -> str:
    if len(content) > MAX_PROMPT_BYTES:
        raise ConfigurationError(
            f"{path}: a prompt must have at most {MAX_PROMPT_BYTES} bytes, found more; shorten it"
        )
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(
            f"{path}, line {line}: a prompt must be UTF-8, found byte {content[error.start]:#04x}; "
            "save it as UTF-8"
        ) from error


def _parted(path: Path, content: str) -> tuple[str, str, int]:
    """Split a file into its TOML head, its text and the line number where the text begins."""
    lines = content.split("\n")
    if lines[0].strip() != _FENCE:
        return "", *_trimmed(lines, 1)
    for number, line in enumerate(lines[1:], 1):
        if line.strip() == _FENCE:
            return "\n".join(lines[1:number]), *_trimmed(lines[number + 1 :], number + 2)
    raise ConfigurationError(f"{path}, line 1: the '{_FENCE}' must be closed by another '{_FENCE}' line")


def _trimmed(lines: Sequence[str], first: int) -> tuple[str, int]:
    blank = next((n for n, line in enumerate(lines) if line.strip()), 0)
    return "\n".join(lines).strip(), first + blank


def _settings(path: Path, head: str) -> Mapping[str, Any]:
    try:
        settings = tomllib.loads(head)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(
            f"{path}: the lines between '{_FENCE}' must be TOML: {_shifted(str(error))}"
        ) from error
    for key in settings:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, 1)
            known = f"known are {', '.join(map(repr, _KEYS))}"
            hint = f"did you mean {near[0]!r}?" if near else known
            line = _line_of(head, key)
            raise ConfigurationError(f"{path}, line {line}: unknown setting {key!r}; {hint}")
    return settings


def _shifted(message: str) -> str:
    """Shift line numbers by one, because the file's first line is the fence."""
    return re.sub(r"line (\d+)", lambda found: f"line {int(found[1]) + 1}", message)


def _line_of(head: str, key: str) -> int:
    starts = (n for n, line in enumerate(head.split("\n"), 2) if line.strip().startswith(key))
    return next(starts, 2)


def _kind(settings: Mapping[str, Any], where: str) -> PromptKind:
    kind = settings.get("kind", PromptKind.MUTATION.value)
    if kind not in [known.value for known in PromptKind]:
        raise ConfigurationError(f"{where}: kind must be 'mutation' or 'crossover', got {kind!r}")
    return PromptKind(kind)


def _enabled(settings: Mapping[str, Any], where: str) -> bool:
    enabled = settings.get("enabled", True)
    if not isinstance(enabled, bool):
        raise ConfigurationError(f"{where}: enabled must be true or false, got {enabled!r}")
    return enabled


def _weight(settings: Mapping[str, Any], where: str) -> float:
    weight = settings.get("weight", 1.0)
    is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not is_number or not 0 < weight <= 1e6:
        raise ConfigurationError(
            f"{where}: weight must be above 0 and at most 1e6, got {weight!r}; "
            "use enabled = false to exclude a prompt"
        )
    return float(weight)


def _check_placeholders(path: Path, text: str, first_line: int) -> None:
    """Reject unknown placeholders, and a prompt with quotes but without `{source}`."""
    found: set[str] = set()
    for number, content in enumerate(text.split("\n"), first_line):
        found |= _placeholders(f"{path}, line {number}", content)
    if _QUOTES in text and "source" not in found:
        line = first_line + text[: text.index(_QUOTES)].count("\n")
        raise ConfigurationError(
            f"{path}, line {line}: a prompt with {_QUOTES} is the whole request and must contain "
            "{source}, found none; add it, or remove the quotes"
        )


def _placeholders(where: str, line: str) -> set[str]:
    try:
        parts = list(Formatter().parse(line))
    except ValueError as error:
        raise ConfigurationError(
            f"{where}: a brace must be part of a placeholder such as {{source}}, got {line!r}; "
            "write {{ or }} for the brace itself"
        ) from error
    names = {name + ("!" if mark or form else "") for _, name, form, mark in parts if name is not None}
    for name in sorted(names):
        if name not in PLACEHOLDERS:
            near = difflib.get_close_matches(name, PLACEHOLDERS, 1)
            known = ", ".join(f"{{{known}}}" for known in PLACEHOLDERS)
            hint = f"did you mean {{{near[0]}}}?" if near else f"known are {known}"
            raise ConfigurationError(
                f"{where}: unknown placeholder {{{name}}}; {hint} (write {{{{ for a brace)"
            )
    return names
