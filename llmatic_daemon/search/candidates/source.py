"""Parser from a completion to a candidate's source. The code is never run here.

The checks reject useless answers early; they are no security boundary. Accepted sources run in the
lifter's sandbox only.
"""

import ast
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeGuard

from llmatic_daemon.domain import Candidate, Completion, Outcome, Proposal, Rejection, Task
from llmatic_daemon.search.candidates import code_blocks

#: Modules that a network may import; the lifter's sandbox limits what they can do.
ALLOWED_IMPORTS = frozenset(
    {"__future__", "collections", "copy", "dataclasses", "functools", "itertools", "math"}
    | {"numpy", "operator", "random", "torch", "torchvision", "typing"}
)
#: Base classes of a network.
_BASES = frozenset({"Module", "Sequential"})
#: Parser budget of all parents together; the first one always fits.
_MAX_PARENT_BYTES = code_blocks.MAX_SOURCE_BYTES + (8 << 10)


class NetworkClass(NamedTuple):
    """A top-level statement, and the lines of its file."""

    #: 0: a parent; from 1: the blocks of the answer, in their order.
    file: int
    lines: list[str]
    statement: ast.stmt

    @property
    def position(self) -> tuple[int, int, int]:
        """The position of the statement, for sorting."""
        return self.file, self.statement.lineno, self.statement.col_offset


Definitions = dict[str, NetworkClass]


def read_source(
    completion: Completion, proposal: Proposal, parents: tuple[str, ...], task: Task
) -> Candidate | Rejection:
    """Return the network in a writer's answer to a proposal; see `read_text`."""
    cut = completion.finish_reason == "length"
    return read_text(completion.text, parents, seed=proposal.seed, task=task, cut=cut)


def read_text(
    text: str, parents: tuple[str, ...], *, seed: int, task: Task, cut: bool = False
) -> Candidate | Rejection:
    """Return the network in a text: a class that inherits from nn.Module, and its dependencies.

    The network is the first such class that can be built without arguments and is no part of another one.
    Its helpers and imports come from the text, else from the first parent. A class that equals one of a
    parent is used only if there is no other, because models repeat their input. Code is never repaired.

    Args:
        text: A file, the continuation of one, or prose with fences.
        parents: Sources of the parents, the one to change first; a continuation may use its imports and
            helpers.
        seed: Seed of the network's initial weights.
        task: The task of the network.
        cut: Whether the token limit ended the text. Its last class is closed after its last complete
            member, and used only if it needs no removed one.

    Returns:
        The candidate, or a rejection as NOT_CODE or NO_CLASS.
    """
    parser = code_blocks.Parser()
    blocks = code_blocks.read_blocks(text, parser, cut=cut)
    answer = [found for n, block in enumerate(blocks, 1) for found in _found(n, block)]
    given = [_found(0, block) for block in _parsed(parents)]
    network = _first_network(answer, given, [block.closed for block in blocks if block.closed])
    if network is None:
        return _no_network(blocks, parser.problem)
    needed = _needed(network, _definitions(given[0] if given else [], answer, network))
    forbidden = _forbidden_import(needed)
    if forbidden:
        return Rejection(cause=Outcome.NO_CLASS, detail=f"import of {forbidden!r} is not allowed")
    source = _written_out(needed)
    if problem := code_blocks.excess(source):  # with helpers of the parent or of another block
        return Rejection(cause=Outcome.NOT_CODE, detail=problem)
    return Candidate(source=source, class_name=network.name, seed=seed, task=task)


def _no_network(blocks: list[code_blocks.Block], problem: str) -> Rejection:
    cut = "the token limit came before the end of a network"
    broken = [block.broken or (cut if block.closed else "") for block in blocks]
    if any(broken) or not any(block.statements for block in blocks):
        return Rejection(cause=Outcome.NOT_CODE, detail=next(filter(None, broken), problem))
    return Rejection(cause=Outcome.NO_CLASS, detail="no class inherits from nn.Module and takes no arguments")


def _found(file: int, block: code_blocks.Block) -> list[NetworkClass]:
    lines = block.text.split("\n")
    return [NetworkClass(file, lines, statement) for statement in block.statements]


def _parsed(parents: Iterable[str]) -> Iterator[code_blocks.Block]:
    """Parse the parents; one that does not parse yields an empty block."""
    parser = code_blocks.Parser(_MAX_PARENT_BYTES)
    for source in map(code_blocks.cleaned, parents):
        tree = None if code_blocks.excess(source) else parser.parse(source)
        yield code_blocks.Block(source, tree.body if isinstance(tree, ast.Module) else [], None, "")


# --- selection of the network's class ------------------------------------------------------------


def _first_network(
    answer: list[NetworkClass], given: list[list[NetworkClass]], cut: list[ast.ClassDef]
) -> ast.ClassDef | None:
    """Return the first network that is no part of another one, or None.

    Args:
        answer: Statements of the answer.
        given: Statements of each parent; the first one's classes may be base classes.
        cut: The class that the token limit cut, if there is one.
    """
    before = [*given[0], *answer] if given else answer
    mine = {id(found.statement) for found in answer}
    modules = [node for node in _modules(_classes(before)) if id(node) in mine]
    parts = {name for node in modules for name in _names_within(node) if name != node.name}
    networks = [
        node
        for node in modules
        if _needs_no_arguments(node)
        and (node not in cut or _has_forward(node, {c.name: c for c in _classes(before)}))
    ]
    if len(networks) <= 1:
        return next(iter(networks), None)
    echoes = _echoes(networks, [node for found in given for node in _classes(found)])
    # A part ranks below an echo, because a repeated network with a new part is a new network.
    return min(networks, key=lambda n: (n.name in parts, id(n) in echoes))


def _classes(found: Iterable[NetworkClass]) -> list[ast.ClassDef]:
    return [entry.statement for entry in found if isinstance(entry.statement, ast.ClassDef)]


def _modules(classes: list[ast.ClassDef]) -> list[ast.ClassDef]:
    """Return the classes that inherit from nn.Module, directly or by earlier classes."""
    modules, known = [], set[str]()
    for node in classes:
        known.discard(node.name)
        if any(_is_module(base, known) for base in node.bases):
            modules.append(node)
            known.add(node.name)
    return modules


def _is_module(base: ast.expr, known: set[str]) -> bool:
    if isinstance(base, ast.Attribute):
        return base.attr in _BASES
    return isinstance(base, ast.Name) and (base.id in _BASES or base.id in known)


def _names_within(node: ast.ClassDef) -> set[str]:
    """Return the names that the body of a class uses, without its base classes."""
    return {n.id for part in node.body for n in ast.walk(part) if isinstance(n, ast.Name)}


def _needs_no_arguments(node: ast.ClassDef) -> bool:
    """Return whether the class can be built as `Name()`, according to its own __init__."""
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            arguments = statement.args
            positional = len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults)
            keywords = sum(default is None for default in arguments.kw_defaults)
            return positional <= 1 and keywords == 0
    return True


def _has_forward(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> bool:
    """Return whether a class or one of its bases has a forward that returns at its end."""
    unseen = [node]
    while unseen:
        current = unseen.pop()
        forward = [m for m in current.body if isinstance(m, ast.FunctionDef) and m.name == "forward"]
        if forward and code_blocks.returns(forward[0].body):
            return True
        if not forward:
            bases = [classes.pop(base.id, None) for base in current.bases if isinstance(base, ast.Name)]
            unseen += filter(None, bases)
    return False


def _echoes(modules: list[ast.ClassDef], given: list[ast.ClassDef]) -> set[int]:
    """Return the ids of the classes that equal one of a parent, except for comments and spaces."""
    names = {node.name for node in modules} & {node.name for node in given}
    old = {_content(node) for node in given if node.name in names}
    return {id(node) for node in modules if node.name in names and _content(node) in old}


def _content(node: ast.AST) -> tuple[object, ...]:
    """Return the content of a tree; `ast.dump` would be recursive and convert large numbers to text."""
    return tuple(_leaf(v) for n in ast.walk(node) for v in (n, *(v for _, v in ast.iter_fields(n))))


def _leaf(value: object) -> object:
    if isinstance(value, list):
        return len(value), *(item for item in value if isinstance(item, str))
    return type(value) if isinstance(value, ast.AST) else (type(value), value)


# --- dependencies of the network -----------------------------------------------------------------


def _definitions(lent: list[NetworkClass], answer: list[NetworkClass], network: ast.ClassDef) -> Definitions:
    """Map each top-level name to the statement that the network would use.

    This is the last definition before the network, as in Python: an answer may repeat a parent's helper and
    then change it. If there is none, it is the first one after the network, else the parent's.
    """
    at = next(n for n, found in enumerate(answer) if found.statement is network)
    definitions: Definitions = {}
    for found in (answer[at], *reversed(answer[:at]), *answer[at:], *lent):
        for name in _defined_names(found.statement):
            definitions.setdefault(name, found)
    return definitions


def _defined_names(statement: ast.stmt) -> list[str]:
    match statement:
        case ast.ClassDef() | ast.FunctionDef():
            return [statement.name]
        case ast.Import() | ast.ImportFrom():
            return [(alias.asname or alias.name).split(".")[0] for alias in statement.names]
        case ast.Assign():
            return [n.id for target in statement.targets for n in ast.walk(target) if _binds(n)]
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()):
            return [name]
    return []


def _binds(node: ast.AST) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def _needed(network: ast.ClassDef, definitions: Definitions) -> list[NetworkClass]:
    """Return the definitions that the class needs, directly or indirectly, imports first.

    Star imports and `annotations` of `__future__` are always included, because their effect is unknown.
    """
    wanted, found = [network.name, "*", "annotations"], Definitions()
    while wanted:
        name = wanted.pop()
        if name in found or name not in definitions:
            continue
        found[name] = definitions[name]
        used = {n.id for n in ast.walk(found[name].statement) if isinstance(n, ast.Name)}
        wanted.extend(name for name in used if name not in found)
    unique = {id(entry.statement): entry for entry in found.values()}
    return sorted(unique.values(), key=lambda entry: (_rank(entry.statement, network), entry.position))


def _rank(statement: ast.stmt, network: ast.ClassDef) -> int:
    """Return the rank of a statement: `__future__` imports, other imports, helpers, the network."""
    match statement:
        case ast.ImportFrom(module="__future__"):
            return 0
        case ast.Import() | ast.ImportFrom():
            return 1
    return 3 if statement is network else 2


def _forbidden_import(needed: list[NetworkClass]) -> str | None:
    for found in needed:
        for node in ast.walk(found.statement):
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


# --- the candidate's source ----------------------------------------------------------------------


def _written_out(needed: list[NetworkClass]) -> str:
    """Return the needed statements unchanged, with their comments, one after the other."""
    imports: list[str] = []
    others: list[str] = []
    for found in needed:
        is_import = isinstance(found.statement, ast.Import | ast.ImportFrom)
        (imports if is_import else others).append(_segment(found.lines, found.statement))
    return "\n\n\n".join(part for part in ("\n".join(imports), *others) if part) + "\n"


def _segment(lines: list[str], statement: ast.stmt) -> str:
    """Return the text of a statement; of a class or function, whole lines with comments."""
    if isinstance(statement, ast.ClassDef | ast.FunctionDef):
        first = min([statement.lineno, *(node.lineno for node in statement.decorator_list)])
        return "\n".join(lines[first - 1 : statement.end_lineno])
    kept = [line.encode() for line in lines[statement.lineno - 1 : statement.end_lineno]]
    kept[-1] = kept[-1][: statement.end_col_offset]  # both offsets count bytes
    kept[0] = kept[0][statement.col_offset :]
    return b"\n".join(kept).decode()


def class_name_of(source: str) -> str:
    """Return the class name of a source by `read_source`: its last class.

    Raises:
        ValueError: there is no class, so the source is not by `read_source`.
    """
    parser = code_blocks.Parser(max_depth=len(source))  # an older version may have stored a deeper one
    tree = parser.parse(source)
    body = tree.body if isinstance(tree, ast.Module) else []
    names = [node.name for node in body if isinstance(node, ast.ClassDef)]
    if not names:
        raise ValueError("a stored source must define a class")
    return names[-1]
