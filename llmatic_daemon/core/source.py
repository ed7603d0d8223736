"""From a completion to a candidate's source: extracted, parsed and triaged; read, never run.

Triage is cheap help against garbage, not a boundary: what it lets through is run in the lifter's
child process only.
"""

import ast
import re
import warnings
from collections.abc import Iterable, Iterator

from llmatic_daemon.records import Candidate, Completion, Outcome, Proposal, Rejection, Task

#: A source beyond this is refused unread.
MAX_SOURCE_BYTES = 64 << 10
#: Modules that a network may import; what they can do is the lifter's sandbox's business.
ALLOWED_IMPORTS = frozenset(
    {"__future__", "collections", "copy", "dataclasses", "functools", "itertools", "math"}
    | {"numpy", "operator", "random", "torch", "torchvision", "typing"}
)

_FENCE = re.compile(r"^[ \t]*```[^\n]*\n(.*?)^[ \t]*```", re.DOTALL | re.MULTILINE)

Definition = ast.ClassDef | ast.FunctionDef | ast.Import | ast.ImportFrom | ast.Assign


def read_source(
    completion: Completion, proposal: Proposal, parents: tuple[str, ...], task: Task
) -> Candidate | Rejection:
    """Find the network in a completion: a class that inherits from nn.Module, and what it needs.

    The first such class that can be built without arguments is kept, with the helpers and imports
    it uses, from the completion or else from the first parent. What follows is cut; nothing is
    repaired.

    Args:
        completion: The writer's answer: a file, the continuation of one, or prose with a fence.
        proposal: What it answers.
        parents: Their sources, whose imports and helpers a continuation may use.
        task: What the network is for.

    Returns:
        The candidate, or a rejection as NOT_CODE or NO_CLASS.
    """
    if len(completion.text.encode(errors="replace")) > MAX_SOURCE_BYTES:
        return _rejection(Outcome.NOT_CODE, f"source must have at most {MAX_SOURCE_BYTES} bytes")
    text = _code_in(completion.text)
    tree = _longest_parse(text)
    if tree is None:
        return _rejection(Outcome.NOT_CODE, _why_not_code(text))
    definitions = _definitions([(text, tree), *_parsed(parents[:1])])
    network = _first_network(tree, definitions)
    if network is None:
        return _rejection(
            Outcome.NO_CLASS, "no class inherits from nn.Module and takes no arguments"
        )
    forbidden = _forbidden_import(network, definitions)
    if forbidden:
        return _rejection(Outcome.NO_CLASS, f"import of {forbidden!r} is not allowed")
    source = _written_out(network, definitions)
    return Candidate(source=source, class_name=network.name, seed=proposal.seed, task=task)


def _rejection(cause: Outcome, detail: str) -> Rejection:
    return Rejection(cause=cause, detail=detail)


def _code_in(text: str) -> str:
    """Return the first fenced block; the whole text when there is none."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
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
    line begins in the first column, from the end, at most twenty times.
    """
    tree = _parse(text)
    if tree is not None:
        return tree if tree.body else None
    lines = text.split("\n")
    starts = [number for number, line in enumerate(lines) if line[:1].strip() and line[0] != "#"]
    for start in reversed(starts[-20:]):
        tree = _parse("\n".join(lines[:start]))
        if tree is not None and tree.body:
            return tree
    return None


def _parsed(sources: Iterable[str]) -> Iterator[tuple[str, ast.Module]]:
    for source in sources:
        tree = _parse(source)
        if tree is not None:
            yield source, tree


def _definitions(files: list[tuple[str, ast.Module]]) -> dict[str, tuple[str, Definition]]:
    """Map each name that a top level defines to its statement and text; the first file wins."""
    found: dict[str, tuple[str, Definition]] = {}
    for text, tree in files:
        for statement in tree.body:
            for name in _defined_names(statement):
                assert isinstance(statement, Definition)
                found.setdefault(name, (text, statement))
    return found


def _defined_names(statement: ast.stmt) -> list[str]:
    match statement:
        case ast.ClassDef() | ast.FunctionDef():
            return [statement.name]
        case ast.Import() | ast.ImportFrom():
            return [(alias.asname or alias.name).split(".")[0] for alias in statement.names]
        case ast.Assign():
            return [target.id for target in statement.targets if isinstance(target, ast.Name)]
    return []


def _first_network(
    tree: ast.Module, definitions: dict[str, tuple[str, Definition]]
) -> ast.ClassDef | None:
    classes = [statement for statement in tree.body if isinstance(statement, ast.ClassDef)]
    modules = [c for c in classes if _is_module(c, definitions, frozenset())]
    return next((c for c in modules if _needs_no_arguments(c)), None)


def _is_module(
    node: ast.ClassDef, definitions: dict[str, tuple[str, Definition]], seen: frozenset[str]
) -> bool:
    for base in node.bases:
        name = ast.unparse(base)
        if name.split(".")[-1] == "Module":
            return True
        _, definition = definitions.get(name, ("", None))
        if name not in seen and isinstance(definition, ast.ClassDef):
            return _is_module(definition, definitions, seen | {name})
    return False


def _needs_no_arguments(node: ast.ClassDef) -> bool:
    """Tell whether the class can be built as `Name()`, as far as its own __init__ says."""
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            arguments = statement.args
            positional = len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults)
            keywords = sum(default is None for default in arguments.kw_defaults)
            return positional <= 1 and keywords == 0
    return True


def _needed(
    network: ast.ClassDef, definitions: dict[str, tuple[str, Definition]]
) -> list[tuple[str, Definition]]:
    """Collect the definitions that the class uses, and that those use, imports first."""
    wanted, found = [network.name, "*"], dict[str, tuple[str, Definition]]()
    while wanted:
        name = wanted.pop()
        if name in found or name not in definitions:
            continue
        found[name] = definitions[name]
        used = {n.id for n in ast.walk(definitions[name][1]) if isinstance(n, ast.Name)}
        wanted.extend(sorted(used - found.keys()))
    unique = {id(definition): (text, definition) for text, definition in found.values()}
    return sorted(unique.values(), key=lambda entry: _position(entry[1], network))


def _position(definition: Definition, network: ast.ClassDef) -> tuple[int, int]:
    """Order imports before helpers before the network itself."""
    if isinstance(definition, ast.Import | ast.ImportFrom):
        return 0, definition.lineno
    return (2 if definition is network else 1), definition.lineno


def _forbidden_import(
    network: ast.ClassDef, definitions: dict[str, tuple[str, Definition]]
) -> str | None:
    for _, definition in _needed(network, definitions):
        for node in ast.walk(definition):
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


def _written_out(network: ast.ClassDef, definitions: dict[str, tuple[str, Definition]]) -> str:
    """Write the needed statements as they stood, with their comments, one after the other."""
    imports: list[str] = []
    others: list[str] = []
    for text, definition in _needed(network, definitions):
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
