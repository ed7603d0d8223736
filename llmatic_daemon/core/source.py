"""From a completion to a candidate's source: extracted, parsed and triaged; read, never run.

Triage is cheap help against garbage, not a boundary: what it lets through is run in the lifter's
child process only.
"""

import ast
import re
import warnings
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeGuard

from llmatic_daemon.records import Candidate, Completion, Outcome, Proposal, Rejection, Task

#: A source beyond this is refused unread.
MAX_SOURCE_BYTES = 64 << 10
#: Modules that a network may import; what they can do is the lifter's sandbox's business.
ALLOWED_IMPORTS = frozenset(
    {"__future__", "collections", "copy", "dataclasses", "functools", "itertools", "math"}
    | {"numpy", "operator", "random", "torch", "torchvision", "typing"}
)

#: Open at the end when the token limit cut the completion.
_FENCE = re.compile(r"^[ \t]*```[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)

Definition = ast.ClassDef | ast.FunctionDef | ast.Import | ast.ImportFrom | ast.Assign


class Found(NamedTuple):
    """A definition, and the text that it stands in."""

    #: 0: the completion; 1: the parent.
    file: int
    text: str
    definition: Definition


Definitions = dict[str, Found]


def read_source(
    completion: Completion, proposal: Proposal, parents: tuple[str, ...], task: Task
) -> Candidate | Rejection:
    """Find the network in a writer's answer to a proposal; see `read_text`."""
    return read_text(completion.text, parents, seed=proposal.seed, task=task)


def read_text(
    text: str, parents: tuple[str, ...], *, seed: int, task: Task
) -> Candidate | Rejection:
    """Find the network in a text: a class that inherits from nn.Module, and what it needs.

    The first such class that can be built without arguments, and that no other of them is made
    of, is kept, with the helpers and imports it uses, from the text or else from the first parent.
    What follows is cut; nothing is repaired.

    Args:
        text: A file, the continuation of one, or prose with a fence.
        parents: Sources whose imports and helpers a continuation may use.
        seed: For the network's initial weights.
        task: What the network is for.

    Returns:
        The candidate, or a rejection as NOT_CODE or NO_CLASS.
    """
    if len(text.encode(errors="replace")) > MAX_SOURCE_BYTES:
        return _rejection(Outcome.NOT_CODE, f"source must have at most {MAX_SOURCE_BYTES} bytes")
    try:
        return _candidate(_code_in(text), parents, seed, task)
    except RecursionError:  # `ast` is recursive: a thousand minus signs in a row are enough
        return _rejection(Outcome.NOT_CODE, "expressions are nested too deeply")


def _candidate(text: str, parents: tuple[str, ...], seed: int, task: Task) -> Candidate | Rejection:
    tree = _longest_parse(text)
    if tree is None:
        return _rejection(Outcome.NOT_CODE, _why_not_code(text))
    definitions = _definitions([(text, tree), *_parsed(parents[:1])])
    network = _first_network(tree, definitions)
    if network is None:
        return _rejection(
            Outcome.NO_CLASS, "no class inherits from nn.Module and takes no arguments"
        )
    definitions[network.name] = Found(0, text, network)
    needed = _needed(network, definitions)
    forbidden = _forbidden_import(needed)
    if forbidden:
        return _rejection(Outcome.NO_CLASS, f"import of {forbidden!r} is not allowed")
    source = _written_out(needed)
    return Candidate(source=source, class_name=network.name, seed=seed, task=task)


def _rejection(cause: Outcome, detail: str) -> Rejection:
    return Rejection(cause=cause, detail=detail)


def _code_in(text: str) -> str:
    """Return the first fenced block; the whole text when there is none."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "").replace("\ufeff", "")
    fence = _FENCE.search(text)
    return fence.group(1) if fence else text


def _parse(text: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings(action="ignore"):  # of invalid escapes and the like
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _why_not_code(text: str) -> str:
    try:
        ast.parse(text)
    except SyntaxError as error:
        return f"line {error.lineno}: {error.msg}"
    except (ValueError, RecursionError, MemoryError) as error:
        return f"{type(error).__name__}: {error}"
    return "there is no code"


def _longest_parse(text: str) -> ast.Module | None:
    """Parse the text, or what comes before its last statements of the top level.

    A completion that the token limit cut ends in half a statement. Cuts are tried only where a
    line begins in the first column, from the end, at most twenty times, and less often in a long
    text: this is done in the event loop, and 64 KiB take 0.1 s to parse.
    """
    tree = _parse(text)
    if tree is not None:
        return tree if tree.body else None
    lines = text.split("\n")
    starts = [number for number, line in enumerate(lines) if line[:1].strip() and line[0] != "#"]
    num_cuts = min(1 + MAX_SOURCE_BYTES // len(text), 20)
    for start in reversed(starts[-num_cuts:]):
        tree = _parse("\n".join(lines[:start]))
        if tree is not None and tree.body:
            return tree
    return None


def _parsed(sources: Iterable[str]) -> Iterator[tuple[str, ast.Module]]:
    for source in sources:
        tree = _parse(source)
        if tree is not None:
            yield source, tree


def _definitions(files: list[tuple[str, ast.Module]]) -> Definitions:
    """Map each name that a top level defines to its statement and text; the first file wins."""
    found: Definitions = {}
    for file, (text, tree) in enumerate(files):
        for statement in tree.body:
            for name in _defined_names(statement):
                assert isinstance(statement, Definition)
                found.setdefault(name, Found(file, text, statement))
    return found


def _defined_names(statement: ast.stmt) -> list[str]:
    match statement:
        case ast.ClassDef() | ast.FunctionDef():
            return [statement.name]
        case ast.Import() | ast.ImportFrom():
            return [(alias.asname or alias.name).split(".")[0] for alias in statement.names]
        case ast.Assign():
            return [n.id for target in statement.targets for n in ast.walk(target) if _binds(n)]
    return []


def _binds(node: ast.AST) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def _first_network(tree: ast.Module, definitions: Definitions) -> ast.ClassDef | None:
    """Choose the first network that is no part of another one, as an activation of one's own is."""
    classes = [statement for statement in tree.body if isinstance(statement, ast.ClassDef)]
    known = _module_names(definitions)
    modules = [c for c in classes if _inherits(c, known)]
    parts = {name for module in modules for name in _names_within(module) if name != module.name}
    networks = [module for module in modules if _needs_no_arguments(module)]
    whole = (network for network in networks if network.name not in parts)
    return next(whole, next(iter(networks), None))


def _names_within(node: ast.ClassDef) -> set[str]:
    """Collect the names that the body of a class uses; its bases are no parts of it."""
    return {n.id for part in node.body for n in ast.walk(part) if isinstance(n, ast.Name)}


def _module_names(definitions: Definitions) -> set[str]:
    """Collect the classes that inherit from nn.Module, also by way of others that stand before."""
    known: set[str] = set()
    for found in sorted(definitions.values(), key=lambda f: (-f.file, f.definition.lineno)):
        if isinstance(found.definition, ast.ClassDef) and _inherits(found.definition, known):
            known.add(found.definition.name)
    return known


def _inherits(node: ast.ClassDef, known: set[str]) -> bool:
    names = [ast.unparse(base) for base in node.bases]
    return any(name in known or name.split(".")[-1] == "Module" for name in names)


def _needs_no_arguments(node: ast.ClassDef) -> bool:
    """Tell whether the class can be built as `Name()`, as far as its own __init__ says."""
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            arguments = statement.args
            positional = len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults)
            keywords = sum(default is None for default in arguments.kw_defaults)
            return positional <= 1 and keywords == 0
    return True


def _needed(network: ast.ClassDef, definitions: Definitions) -> list[Found]:
    """Collect the definitions that the class uses, and that those use, imports first."""
    wanted, found = [network.name, "*"], Definitions()
    while wanted:
        name = wanted.pop()
        if name in found or name not in definitions:
            continue
        found[name] = definitions[name]
        used = {n.id for n in ast.walk(found[name].definition) if isinstance(n, ast.Name)}
        wanted.extend(sorted(used - found.keys()))
    unique = {id(entry.definition): entry for entry in found.values()}
    return sorted(unique.values(), key=lambda entry: _position(entry, network))


def _position(found: Found, network: ast.ClassDef) -> tuple[int, int, int]:
    """Order imports before the parent's helpers, these before ours, and the network last."""
    line = found.definition.lineno
    if isinstance(found.definition, ast.Import | ast.ImportFrom):
        return 0, -found.file, line
    return (2 if found.definition is network else 1), -found.file, line


def _forbidden_import(needed: list[Found]) -> str | None:
    for found in needed:
        for node in ast.walk(found.definition):
            for module in _imported_modules(node):
                if module.split(".")[0] not in ALLOWED_IMPORTS:
                    return module
    return None


def _imported_modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or "."] if node.level == 0 else ["."]
    return []


def _written_out(needed: list[Found]) -> str:
    """Write the needed statements as they stood, with their comments, one after the other."""
    imports: list[str] = []
    others: list[str] = []
    for _, text, definition in needed:
        is_import = isinstance(definition, ast.Import | ast.ImportFrom)
        (imports if is_import else others).append(_segment(text, definition))
    return "\n\n\n".join(part for part in ("\n".join(imports), *others) if part) + "\n"


def _segment(text: str, definition: Definition) -> str:
    first = definition.lineno
    if isinstance(definition, ast.ClassDef | ast.FunctionDef) and definition.decorator_list:
        first = min(decorator.lineno for decorator in definition.decorator_list)
    if isinstance(definition, ast.ClassDef | ast.FunctionDef):
        return "\n".join(text.split("\n")[first - 1 : definition.end_lineno])
    return ast.unparse(definition)


def class_name_of(source: str) -> str:
    """Name the network's class in a source that `read_source` has written: its last class.

    Raises:
        ValueError: there is no class, so `read_source` has not written it.
    """
    tree = _parse(source)
    names = [node.name for node in tree.body if isinstance(node, ast.ClassDef)] if tree else []
    if not names:
        raise ValueError("a stored source must define a class")
    return names[-1]
