"""Parser from a writer's answer to its code blocks, and the statements in them that parse.

A base model continues a file, and its last line may be incomplete. A chat model writes blocks of code
between fences and prose, and often repeats the old network first. This module does not know networks.
"""

import ast
import re
import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

#: Maximum size of an answer; 32,000 tokens, a chat model's maximum, have half of it.
MAX_ANSWER_BYTES = 256 << 10
#: Limits of a block; a larger one is skipped. 64 KiB of usual code have 15,000 words and signs, and
#: parsing them takes 0.1 s in the event loop. 64 KiB of `a` lines would take 0.3 s.
MAX_SOURCE_BYTES = 64 << 10
_MAX_TOKENS = 20_000
#: Maximum depth of a statement's syntax tree, independent of this Python's own limit; a network has about 20.
_MAX_DEPTH = 200
_TOO_DEEP = f"code must be nested at most {_MAX_DEPTH} levels deep"
#: Python's time is quadratic in the length of a dotted module name: 2 s for 60 kB of `from a.a.a`.
_MAX_IMPORT_LINE = 4096
#: Parser budget of one answer in bytes: the longest block may be tried twice, short ones often.
_MAX_PARSED = 2 * MAX_SOURCE_BYTES
#: Fixed cost of a try, in bytes.
_TRY_BYTES = 512
#: Maximum number of stretches of one answer; a text of fences alone has tens of thousands.
_MAX_STRETCHES = 200
#: Maximum number of tries to close a class by removing its last members.
_MAX_CLOSINGS = 4

#: A line that opens or closes a block, or a fence at the end of the last line of code.
_FENCE = re.compile(
    r"^[ \t]*+(?:(?:[-*+]|\d{1,3}[.)])[ \t]++)?(?:`{3,}+|~{3,}+)[^`\n]*+$|(?<!`)`{3,}+[ \t]*+$", re.MULTILINE
)
#: Beginning of a Python line in the first column, which prose rarely has.
_CODE = re.compile(
    r"(?:import|from)[ \t]+[\w.]+(?:[ \t]+(?:import|as)\b|[ \t]*(?:[,;#]|$))"
    r"|class[ \t]+\w+[ \t]*[(:]|(?:async[ \t]+)?def[ \t]+\w+[ \t]*\(|@\w"
    r"|\w[\w, ]*(?::[^=]*)?=(?!=)"
)
_TOKEN = re.compile(r"\w+|[^\w\s]")
_CLASS = re.compile(r"class\s|@\w")
_MEMBER = re.compile(r"\s*(?:async\s+)?(?:(?:def|class)\s+)?(\w+)")


class Block(NamedTuple):
    """A stretch of an answer, with the top-level statements that parse."""

    text: str
    #: Their line numbers count in `text`.
    statements: list[ast.stmt]
    #: The last statement if it is a class that the token limit cut, with its complete members.
    closed: ast.ClassDef | None
    #: Error of a class that does not parse; empty if all do.
    broken: str


class Parser:
    """Parser with a budget, which bounds the time for any text."""

    def __init__(self, num_bytes: int = _MAX_PARSED, max_depth: int = _MAX_DEPTH) -> None:
        """Set the budget of all tries together, in bytes, and the maximum depth of a statement."""
        self._left = num_bytes
        self._max_depth = max_depth
        #: Error of the last text that did not parse.
        self.problem = "there is no code"

    @property
    def is_spent(self) -> bool:
        """Whether the budget is spent."""
        return self._left <= 0

    def parse(self, text: str) -> ast.Module | int | None:
        """Return the parsed text, or the line (from 1) of the error, or None if that is unknown."""
        if len(text) > self._left:
            self._left = 0
            return self._failed("there is too much to parse")
        self._left -= len(text) + _TRY_BYTES
        try:
            with warnings.catch_warnings(action="ignore"):  # for example of invalid escapes
                tree = ast.parse(text)
        except SyntaxError as error:
            return self._failed(f"line {error.lineno}: {error.msg}", error.lineno)
        except (RecursionError, MemoryError):  # raised by CPython's parser, far beyond the maximum depth
            return self._failed(_TOO_DEEP)
        except ValueError as error:
            return self._failed(f"ValueError: {error}")
        deep = (statement.lineno for statement in tree.body if _is_deeper(statement, self._max_depth))
        line = next(deep, None)
        return self._failed(_TOO_DEEP, line) if line else tree

    def _failed(self, problem: str, line: int | None = None) -> int | None:
        self.problem = problem
        return line


def _is_deeper(statement: ast.stmt, max_depth: int) -> bool:
    """Return whether a statement is nested too deeply; without recursion, which has a limit of its own."""
    level, depth = list[ast.AST]([statement]), 0
    while level and depth < max_depth:
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        depth += 1
    return bool(level)


def read_blocks(answer: str, parser: Parser, *, cut: bool) -> list[Block]:
    """Return the code blocks of an answer, between its fences and outside of them.

    Args:
        answer: A file, the continuation of one, or prose with blocks of code.
        parser: Parser with a budget; it holds the error afterwards.
        cut: Whether the token limit ended the answer, so that its last statement may be incomplete.

    Returns:
        Blocks with at least one line that looks like Python, in their order.
    """
    if len(answer) > MAX_ANSWER_BYTES:
        parser.problem = f"an answer must have at most {MAX_ANSWER_BYTES} bytes"
        return []
    final = cleaned(answer.rpartition("</think>")[2])  # a model's reasoning may contain drafts
    stretches = list(islice(_stretches(final), _MAX_STRETCHES))
    blocks = (_block(stretch, parser, cut=False) for stretch in stretches[:-1])
    return [block for block in (*blocks, _block(stretches[-1], parser, cut=cut)) if block]


def cleaned(text: str) -> str:
    """Normalize line ends, and remove characters that a source file cannot contain.

    A lone surrogate becomes a question mark, because a candidate is stored as UTF-8.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "").replace("\ufeff", "")
    return text.encode(errors="replace").decode()


def _stretches(answer: str) -> Iterator[str]:
    """Split an answer at its fences, opening or closing.

    The function does not pair them, because the prompt may have opened the first one. Prose yields no
    network anyway. A fence within a docstring is part of the code.
    """
    start = seen = num_double = num_single = 0
    for fence in _FENCE.finditer(answer):
        num_double += answer.count('"""', seen, fence.start())
        num_single += answer.count("'''", seen, fence.start())
        seen = fence.end()
        if num_double % 2 == num_single % 2 == 0:
            yield answer[start : fence.start()]
            start = fence.end() + 1
    yield answer[start:]


def _block(stretch: str, parser: Parser, *, cut: bool) -> Block | None:
    lines = _dedented(stretch.split("\n"))
    starts = [n for n, line in enumerate(lines) if line[:1].strip() and line[0] not in "#)]}"]
    if not any(_CODE.match(lines[start]) for start in starts):
        return None
    if problem := excess(stretch):
        parser.problem = problem
        return None
    last = _last_statement(lines, starts) if cut else len(lines)
    before = [start for start in starts if start < last]
    statements, broken = _statements(lines[:last], before, parser)
    if not cut or not _CLASS.match(lines[last]):
        return Block("\n".join(lines), statements, None, broken)
    closed = _closed(lines, last, parser)
    broken = broken or ("" if closed else "the token limit cut the class")
    return Block("\n".join(lines), [*statements, *([closed] if closed else [])], closed, broken)


def excess(text: str) -> str:
    """Return why a source is too long to be parsed in the event loop, or an empty text."""
    if len(text.encode(errors="replace")) > MAX_SOURCE_BYTES:
        return f"source must have at most {MAX_SOURCE_BYTES} bytes"
    if len(text) > _MAX_TOKENS and len(_TOKEN.findall(text)) > _MAX_TOKENS:
        return f"source must have at most {_MAX_TOKENS} words and signs"
    long = (line for line in text.replace("\\\n", "").split("\n") if len(line) > _MAX_IMPORT_LINE)
    if any("import" in line or "from" in line for line in long):
        return f"a line with an import must have at most {_MAX_IMPORT_LINE} characters"
    return ""


def _dedented(lines: list[str]) -> list[str]:
    """Remove the common indentation of all lines, which a fence in a list has."""
    margins = [line[: len(line) - len(line.lstrip(" \t"))] for line in lines if line.strip()]
    shortest = min(margins, key=len, default="")
    margin = shortest if all(each.startswith(shortest) for each in margins) else ""
    return [line.removeprefix(margin) for line in lines]


# --- statements that parse -----------------------------------------------------------------------


def _statements(lines: list[str], starts: list[int], parser: Parser) -> tuple[list[ast.stmt], str]:
    """Parse all statements that can be parsed; skip prose, incomplete lines and broken statements.

    Args:
        lines: Lines of a block.
        starts: Indices of at least the lines that begin in the first column.
        parser: Parser with a budget.

    Returns:
        The statements, and the error of a skipped class.
    """
    found, broken, start = list[ast.stmt](), "", 0
    while start < len(lines) and not parser.is_spent:
        statements, end = _longest(lines, start, starts, parser)
        found += statements
        if end < len(lines) and _CLASS.match(lines[end]):
            broken = broken or parser.problem
        later = (n for n in starts[bisect_right(starts, end) :] if _CODE.match(lines[n]))
        start = next(later, len(lines)) if end < len(lines) else end
    return found, broken


def _longest(lines: list[str], start: int, starts: list[int], parser: Parser) -> tuple[list[ast.stmt], int]:
    """Parse from a line on as far as possible; return the statements and the line that fails.

    Python reports the line of the error, or of the bracket or string that is not closed. The next try ends
    before the statement around that line. Two or three tries are usually enough.
    """
    end = len(lines)
    while end > start and not parser.is_spent:
        result = parser.parse("\n" * start + "\n".join(lines[start:end]))
        if isinstance(result, ast.Module):
            return result.body, end
        failed = min(result or end, end)
        before = bisect_left(starts, failed)
        end = max(start, starts[before - 1]) if before else start
    return [], start


# --- answers that the token limit cut ------------------------------------------------------------


def _last_statement(lines: list[str], starts: list[int]) -> int:
    """Return the first line of the last statement, its decorators included."""
    last = len(starts) - 1
    while last > 0 and lines[starts[last - 1]].startswith("@"):
        last -= 1
    return starts[last]


def _closed(lines: list[str], first: int, parser: Parser) -> ast.ClassDef | None:
    """Return the class at the end of a cut block, closed after its last complete member, or None.

    An incomplete line and a method that does not return are removed. If the class uses a removed member,
    the class is dropped.
    """
    members = _members(lines, first)
    for end in list(dict.fromkeys([len(lines) - 1, *reversed(members)]))[:_MAX_CLOSINGS]:
        result = parser.parse("\n" * first + "\n".join(lines[first:end]))
        node = result.body[-1] if isinstance(result, ast.Module) and result.body else None
        if isinstance(node, ast.ClassDef) and (end in members or _is_finished(node.body[-1])):
            lost = {name for n in members if n >= end for name in _MEMBER.findall(lines[n])[:1]}
            return None if lost & _indispensable(node) else node
    return None


def _members(lines: list[str], first: int) -> list[int]:
    """Return the numbers of the lines with the indentation of a class body."""
    indented = (line for line in lines[first:] if line[:1] in " \t" and line.strip())
    line = next(indented, "")
    margin = line[: len(line) - len(line.lstrip())]
    return [
        number
        for number in range(first + 1, len(lines))
        if margin and lines[number].startswith(margin) and lines[number][len(margin) :][:1].strip()
    ]


def _is_finished(member: ast.stmt) -> bool:
    if isinstance(member, ast.FunctionDef):
        return returns(member.body)
    return not hasattr(member, "body")


def _indispensable(node: ast.ClassDef) -> set[str]:
    """Return the members that a class needs: those that it uses and those that torch calls."""
    used = {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
    return used | {"__init__", "forward"}


def returns(body: list[ast.stmt]) -> bool:
    """Return whether each path through a function's last statement returns."""
    match body[-1:]:
        case [ast.Return()]:
            return True
        case [ast.If(body=then, orelse=otherwise)]:
            return returns(then) and returns(otherwise)
        case [ast.With(body=inner)]:
            return returns(inner)
    return False
