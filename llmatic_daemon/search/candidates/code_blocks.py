"""From an answer to its blocks: where the code stands between fences, and what of it parses.

A base model continues a file, and is cut in half a line; a chat model puts blocks of code between
fences and prose, and often shows the old network first. Nothing here knows what a network is.
"""

import ast
import re
import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

#: An answer beyond this is refused unread: a chat model's longest, 32,000 tokens, have half of it.
MAX_ANSWER_BYTES = 256 << 10
#: A block beyond one of these is passed over. 64 KiB of usual code have 15,000 words and signs, and
#: take 0.1 s to parse in the event loop; 64 KiB of `a` lines would take 0.3 s, and more to walk.
MAX_SOURCE_BYTES = 64 << 10
_MAX_TOKENS = 20_000
#: Levels of a statement's syntax tree, however many more this Python's own parser would take; a network
#: has about 20.
_MAX_DEPTH = 200
_TOO_DEEP = f"code must be nested at most {_MAX_DEPTH} levels deep"
#: Python takes the square of the length of a dotted module name, 2 s for 60 kB of `from a.a.a`.
_MAX_IMPORT_LINE = 4096
#: What is parsed of one answer, all tries together: the longest block may be tried twice, short
#: ones often.
_MAX_PARSED = 2 * MAX_SOURCE_BYTES
#: What a try costs however short it is, in bytes that could have been parsed meanwhile.
_TRY_BYTES = 512
#: Stretches of one answer that are looked at; a text of nothing but fences has tens of thousands.
_MAX_STRETCHES = 200
#: How often a class is tried without its last members.
_MAX_CLOSINGS = 4

#: A line that opens or closes a block, or the fence that a model glued to its last line of code.
_FENCE = re.compile(
    r"^[ \t]*+(?:(?:[-*+]|\d{1,3}[.)])[ \t]++)?(?:`{3,}+|~{3,}+)[^`\n]*+$|(?<!`)`{3,}+[ \t]*+$", re.MULTILINE
)
#: What Python begins with in the first column, and prose hardly ever does.
_CODE = re.compile(
    r"(?:import|from)[ \t]+[\w.]+(?:[ \t]+(?:import|as)\b|[ \t]*(?:[,;#]|$))"
    r"|class[ \t]+\w+[ \t]*[(:]|(?:async[ \t]+)?def[ \t]+\w+[ \t]*\(|@\w"
    r"|\w[\w, ]*(?::[^=]*)?=(?!=)"
)
_TOKEN = re.compile(r"\w+|[^\w\s]")
_CLASS = re.compile(r"class\s|@\w")
_MEMBER = re.compile(r"\s*(?:async\s+)?(?:(?:def|class)\s+)?(\w+)")


class Block(NamedTuple):
    """A stretch of an answer, and the statements of its top level that parse."""

    text: str
    #: Their line numbers count in `text`.
    statements: list[ast.stmt]
    #: The last of them when it is a class that the token limit fell into: its finished members.
    closed: ast.ClassDef | None
    #: Why a class in it does not parse; empty when all do.
    broken: str


class Parser:
    """Parses while its budget lasts, which bounds the time that any text can take."""

    def __init__(self, num_bytes: int = _MAX_PARSED, max_depth: int = _MAX_DEPTH) -> None:
        """Give it a number of bytes to parse, all tries together, and the levels of a statement."""
        self._left = num_bytes
        self._max_depth = max_depth
        #: Why the last text that did not parse did not.
        self.problem = "there is no code"

    @property
    def is_spent(self) -> bool:
        """Tell whether nothing will be parsed any more."""
        return self._left <= 0

    def parse(self, text: str) -> ast.Module | int | None:
        """Parse a text; otherwise say in which line (from 1) it fails, None if that is unknown."""
        if len(text) > self._left:
            self._left = 0
            return self._failed("there is too much to parse")
        self._left -= len(text) + _TRY_BYTES
        try:
            with warnings.catch_warnings(action="ignore"):  # of invalid escapes and the like
                tree = ast.parse(text)
        except SyntaxError as error:
            return self._failed(f"line {error.lineno}: {error.msg}", error.lineno)
        except (RecursionError, MemoryError):  # of its C code, far beyond the depth that we take
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
    """Decide whether a statement is nested too deeply; level by level, since recursion has its own limit."""
    level, depth = list[ast.AST]([statement]), 0
    while level and depth < max_depth:
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        depth += 1
    return bool(level)


def read_blocks(answer: str, parser: Parser, *, cut: bool) -> list[Block]:
    """Find the code in an answer, between its fences and outside of them.

    Args:
        answer: A file, the continuation of one, or prose with blocks of code.
        parser: Whose budget is spent; says afterwards what the problem was.
        cut: The token limit ended the answer: its last statement cannot be trusted.

    Returns:
        Blocks with at least one line that looks like Python, in their order.
    """
    if len(answer) > MAX_ANSWER_BYTES:
        parser.problem = f"an answer must have at most {MAX_ANSWER_BYTES} bytes"
        return []
    said = cleaned(answer.rpartition("</think>")[2])  # drafts in a model's thoughts are not meant
    stretches = list(islice(_stretches(said), _MAX_STRETCHES))
    blocks = (_block(stretch, parser, cut=False) for stretch in stretches[:-1])
    return [block for block in (*blocks, _block(stretches[-1], parser, cut=cut)) if block]


def cleaned(text: str) -> str:
    """End lines as Python does, without what no source file can hold.

    A lone surrogate in a comment is no reason to lose the class, and a candidate is stored as
    UTF-8: it becomes a question mark.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "").replace("\ufeff", "")
    return text.encode(errors="replace").decode()


def _stretches(answer: str) -> Iterator[str]:
    """Cut an answer at its fences, whether they open or close.

    A prompt may have opened the first one, and a block may hold others, so which of them opens is
    not asked: prose yields no network. A fence within a docstring is part of the code.
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
    """Say what makes a source too long to be parsed in the event loop; empty when nothing does."""
    if len(text.encode(errors="replace")) > MAX_SOURCE_BYTES:
        return f"source must have at most {MAX_SOURCE_BYTES} bytes"
    if len(text) > _MAX_TOKENS and len(_TOKEN.findall(text)) > _MAX_TOKENS:
        return f"source must have at most {_MAX_TOKENS} words and signs"
    long = (line for line in text.replace("\\\n", "").split("\n") if len(line) > _MAX_IMPORT_LINE)
    if any("import" in line or "from" in line for line in long):
        return f"a line with an import must have at most {_MAX_IMPORT_LINE} characters"
    return ""


def _dedented(lines: list[str]) -> list[str]:
    """Take away the indentation that all lines share, as those of a fence in a list do."""
    margins = [line[: len(line) - len(line.lstrip(" \t"))] for line in lines if line.strip()]
    shortest = min(margins, key=len, default="")
    margin = shortest if all(each.startswith(shortest) for each in margins) else ""
    return [line.removeprefix(margin) for line in lines]


# --- what parses ---------------------------------------------------------------------------------


def _statements(lines: list[str], starts: list[int], parser: Parser) -> tuple[list[ast.stmt], str]:
    """Parse what can be parsed, passing over prose, half lines and broken statements.

    Args:
        lines: Of a block.
        starts: Numbers of the lines that begin in the first column, and perhaps more.
        parser: Whose budget is spent.

    Returns:
        The statements, and why a class among those passed over does not parse.
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
    """Parse from a line on as far as it goes; return the statements and the line that fails.

    Python says where it fails, or where the bracket or string opens that fails later, so the next
    try ends before the statement around that line. Two or three tries do.
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


# --- what the token limit cut --------------------------------------------------------------------


def _last_statement(lines: list[str], starts: list[int]) -> int:
    """Find the line where the last statement begins, its decorators included."""
    place = len(starts) - 1
    while place > 0 and lines[starts[place - 1]].startswith("@"):
        place -= 1
    return starts[place]


def _closed(lines: list[str], first: int, parser: Parser) -> ast.ClassDef | None:
    """Close the class at the end of a cut block behind its last member that is finished.

    Nothing is repaired: a line without its end may be the half of a name, a method that does not
    return may lack its rest, and both go. The class goes with them if it uses what it lost.
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
    """Number the lines that are indented as the body of a class is, which begins at a line."""
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
    """Name the members without which a class is another one: what it uses and what torch calls."""
    used = {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
    return used | {"__init__", "forward"}


def returns(body: list[ast.stmt]) -> bool:
    """Tell whether a function ends by returning, whichever way its last statement goes."""
    match body[-1:]:
        case [ast.Return()]:
            return True
        case [ast.If(body=then, orelse=otherwise)]:
            return returns(then) and returns(otherwise)
        case [ast.With(body=inner)]:
            return returns(inner)
    return False
