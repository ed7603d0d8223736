"""The prose of documents, docstrings, presets and messages: sizes, sentence length, banned words.

`python -m tests.unit.test_prose` prints every finding.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "llmatic_daemon"
#: Texts for an LLM, not for a reader.
NOT_DOCUMENTS = {"prompts", "defaults", "cells"}

MAX_WORDS = 30
MAX_README_LINES, MAX_README_BYTES = 250, 20_000
MAX_FOLDER_README_LINES = 300

BANNED = re.compile(
    r"\b(told|tells of|anew|whoever|for ever|of late|in force|to be had|worth its while)\b", re.IGNORECASE
)
#: First words of docstrings that make a person of a machine.
BAD_BEGINNINGS = {"Tell", "Tells", "Say", "Says", "Have", "Has", "Hear", "Hears", "Let", "Lets"}

#: The text of a released migration is never edited: SQLite keeps it, comments included, as the schema.
RELEASED = {"m001_search.py"}


def documents() -> list[Path]:
    """List the Markdown files for people."""
    folders = (ROOT / name for name in ("deploy", "systemd", "llmatic_daemon", "tests"))
    found = [path for folder in folders for path in folder.rglob("*.md")]
    return [ROOT / "README.md", *sorted(path for path in found if not _is_prompt(path))]


def _is_prompt(path: Path) -> bool:
    return path.name != "README.md" and bool(NOT_DOCUMENTS & set(path.relative_to(ROOT).parts[1:-1]))


def folders() -> list[str]:
    """List the folders of the package."""
    return sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file())


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


# --- what Markdown says ---------------------------------------------------------------------------


def paragraphs(text: str) -> Iterator[str]:
    """Split Markdown into paragraphs, list items and table cells, without code blocks and headings."""
    block: list[str] = []
    for line in _without_code_blocks(text).splitlines():
        begins = re.match(r"\s*([-*+]|\d+\.)\s", line)
        if block and (begins or not line.strip() or line.startswith(("#", "|"))):
            yield " ".join(block)
            block = []
        if line.startswith("|"):
            yield from (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])
        elif line.strip() and not line.startswith("#"):
            block.append(re.sub(r"^\s*([-*+]|\d+\.)\s+", "", line).strip())
    if block:
        yield " ".join(block)


def _without_code_blocks(text: str) -> str:
    without_comments = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    return re.sub(r"^ *```.*?^ *```", "", without_comments, flags=re.DOTALL | re.MULTILINE)


def sentences(text: str) -> Iterator[str]:
    """Split Markdown into sentences; inline code and the address of a link do not count."""
    for paragraph in paragraphs(text):
        plain = re.sub(r"`[^`]*`", "CODE", paragraph)
        plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", plain)
        yield from re.split(r"(?<=[.!?])[\"')*_]*\s+", plain)


def num_words(sentence: str) -> int:
    return sum(bool(re.search(r"\w", word)) for word in sentence.split())


def long_sentences(text: str) -> list[str]:
    return [f"{num_words(each)} words: {each}" for each in sentences(text) if num_words(each) > MAX_WORDS]


def banned_words(text: str) -> list[str]:
    """List the banned phrases of a text, each with what stands around it; line breaks do not hide one."""
    flat = re.sub(r"\s+(#:?\s)?\s*", " ", text)
    return [flat[max(found.start() - 40, 0) : found.end() + 40] for found in BANNED.finditer(flat)]


@pytest.mark.parametrize("path", documents(), ids=name_of)
def test_document_has_no_long_sentences(path: Path):
    assert long_sentences(path.read_text("utf-8")) == []


@pytest.mark.parametrize("path", documents(), ids=name_of)
def test_document_has_no_banned_words(path: Path):
    assert banned_words(path.read_text("utf-8")) == []


@pytest.mark.parametrize("path", documents(), ids=name_of)
def test_document_has_headings_that_are_nouns(path: Path):
    headings = re.findall(r"^#+ (.*)", _without_code_blocks(path.read_text("utf-8")), re.MULTILINE)

    questions = [each for each in headings if "?" in each or re.match(r"(What|Why|Who|Is|Are) ", each)]

    assert headings
    assert questions == []


# --- sizes ----------------------------------------------------------------------------------------


def test_readme_can_be_read_in_one_sitting():
    text = (ROOT / "README.md").read_bytes()

    assert text.count(b"\n") <= MAX_README_LINES
    assert len(text) <= MAX_README_BYTES


@pytest.mark.parametrize(
    "path", [path for path in documents() if path.name == "README.md" and path.parent != ROOT], ids=name_of
)
def test_readme_of_a_folder_is_one_chapter(path: Path):
    assert len(path.read_text("utf-8").splitlines()) <= MAX_FOLDER_README_LINES


# --- what the package says ------------------------------------------------------------------------


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """List the docstrings of a module, with the line of what each belongs to."""
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        text = ast.get_docstring(node) if isinstance(node, documented) else None
        if text:
            yield getattr(node, "lineno", 1), text


def bad_beginnings(paths: Iterable[Path]) -> list[str]:
    return [
        f"{name_of(path)}:{line}: {text.splitlines()[0]}"
        for path in paths
        for line, text in docstrings(path)
        if text.split()[0].rstrip(",:;.") in BAD_BEGINNINGS
    ]


def banned_in(paths: Iterable[Path]) -> list[str]:
    """List what code, comments, docstrings and messages of modules say in banned words."""
    return [f"{name_of(path)}: {each}" for path in paths for each in banned_words(path.read_text("utf-8"))]


def modules(folder: str) -> list[Path]:
    return sorted(path for path in (PACKAGE / folder).rglob("*.py") if path.name not in RELEASED)


@pytest.mark.parametrize("folder", folders())
def test_docstrings_and_comments_are_plain(folder: str):
    assert modules(folder)
    assert bad_beginnings(modules(folder)) == []
    assert banned_in(modules(folder)) == []


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.toml")), ids=name_of)
def test_preset_has_no_banned_words(path: Path):
    assert banned_words(path.read_text("utf-8")) == []


# --- the checks themselves ------------------------------------------------------------------------


def test_long_sentence_is_found_in_paragraphs_items_and_cells():
    long = "word " * MAX_WORDS + "word."
    wrapped = long.replace("word word word", "word\nword word", 3)

    for text in (long, wrapped, f"- short\n- {long}", f"| a | {long} |\n", f"Short. {long} Short."):
        assert len(long_sentences(text)) == 1, text


def test_sentence_at_the_limit_and_code_are_not_long():
    assert long_sentences("word " * MAX_WORDS) == []
    assert long_sentences("```sh\n" + "word " * 100 + "\n```\n") == []
    assert long_sentences("`" + "word " * 100 + "` runs.") == []


def test_banned_word_is_found_over_a_line_break_and_in_a_comment():
    assert len(banned_words("kept for\never, and Told so; retold stories are fine")) == 2
    assert len(banned_words("    #: Kept for\n    #: ever.")) == 1


def test_bad_beginning_is_found_in_module_class_and_method(tmp_path: Path):
    code = '"""Tell it."""\nclass A:\n    """Let it."""\n    def b(self):\n        """Say: it."""\n'
    module = tmp_path / "module.py"
    module.write_text(code + 'def good():\n    """Return what to say."""\n')

    assert len(bad_beginnings([module])) == 3


def _findings() -> Iterator[str]:
    for path in documents():
        text = path.read_text("utf-8")
        yield from (f"{name_of(path)}: {each}" for each in (*long_sentences(text), *banned_words(text)))
    everything = [path for folder in folders() for path in modules(folder)]
    yield from (*bad_beginnings(everything), *banned_in(everything))


if __name__ == "__main__":
    print(*_findings(), sep="\n")
