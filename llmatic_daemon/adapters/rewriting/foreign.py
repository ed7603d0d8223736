"""Best-effort edits of a source whose shapes we do not know, say one of an LLM's.

Two places are known in any network: its input has the task's shape, its output one value a class.
What is added there keeps the shape, so the rest of the source need not be understood.
"""

import ast
from dataclasses import dataclass
from random import Random

from llmatic_daemon.adapters.rewriting.intentions import Intention
from llmatic_daemon.adapters.rewriting.literals import Unreadable, dotted
from llmatic_daemon.adapters.rewriting.reader import find_method, find_network
from llmatic_daemon.adapters.rewriting.shapes import Shape

_FUNCTIONS = {"relu": "gelu", "gelu": "silu", "silu": "elu", "elu": "relu", "tanh": "relu"}
_MODULES = {"ReLU": "GELU", "GELU": "SiLU", "SiLU": "ELU", "ELU": "ReLU", "Tanh": "ReLU"}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Addition:
    """Layers and a line of `forward`; `{x}` is the input, `{i}` a number not yet used."""

    layers: tuple[str, ...]
    line: str


def edit_foreign(
    tree: ast.Module, intention: Intention, shape: Shape, num_classes: int, rng: Random
) -> str:
    """Change a network that could not be read as a chain of steps.

    Raises:
        Unreadable: it has no `nn.Module` with a constructor and a `forward` that takes an input.
    """
    network = find_network(tree)
    constructor, forward = find_method(network, "__init__"), find_method(network, "forward")
    arguments = [argument.arg for argument in forward.args.args]
    if len(arguments) < 2:
        raise Unreadable("forward must take an input")
    number = 1 + sum(isinstance(node, ast.Attribute) for node in ast.walk(constructor))
    if intention is Intention.ADD_DENSE and _append_dense(
        constructor, forward, number, num_classes
    ):
        pass
    elif intention not in _LESS or not _swap_activations(network):
        addition = _addition(intention, shape, rng)
        _add(constructor, forward, addition, arguments[1], number)
    return ast.unparse(ast.fix_missing_locations(_importing(tree))) + "\n"


#: Nothing can be taken away safely, so these only exchange what is there.
_LESS = {
    Intention.REMOVE_LAYER,
    Intention.SHRINK,
    Intention.IMPROVE_AND_SHRINK,
    Intention.CHANGE_ACTIVATION,
}


def _addition(intention: Intention, shape: Shape, rng: Random) -> _Addition:
    channels, _, width = shape
    wide = channels * rng.choice((2, 4, 8, 16))
    kernel = rng.choice((3, 5))
    if intention is Intention.ADD_DROPOUT:
        return _Addition(layers=(f"nn.Dropout({rng.choice((0.1, 0.2, 0.3))})",), line="{0}({x})")
    if intention is Intention.ADD_NORMALISATION:
        return _Addition(layers=(f"nn.BatchNorm2d({channels})",), line="{0}({x})")
    if intention is Intention.ADD_POOLING:
        pool = f"nn.{rng.choice(('Max', 'Avg'))}Pool2d(3, stride=1, padding=1)"
        return _Addition(layers=(pool,), line="{0}({x})")
    if intention is Intention.ADD_RECURRENT:
        layer = f"nn.GRU({channels * width}, {channels * width}, batch_first=True)"
        rows = "{0}({x}.permute(0, 2, 1, 3).flatten(2))[0]"
        back = f".unflatten(2, ({channels}, {width})).permute(0, 2, 1, 3)"
        return _Addition(layers=(layer,), line="{x} + " + rows + back)
    first = f"nn.Conv2d({channels}, {wide}, {kernel}, padding={kernel // 2})"
    second = f"nn.Conv2d({wide}, {channels}, 3, padding=1)"
    return _Addition(layers=(first, second), line="{x} + {1}(nn.functional.relu({0}({x})))")


def _add(
    constructor: ast.FunctionDef,
    forward: ast.FunctionDef,
    addition: _Addition,
    argument: str,
    number: int,
) -> None:
    names = [f"self.front{number + index}" for index in range(len(addition.layers))]
    lines = [f"{name} = {layer}" for name, layer in zip(names, addition.layers, strict=True)]
    constructor.body += ast.parse("\n".join(lines)).body
    line = f"{argument} = " + addition.line.format(*names, x=argument)
    forward.body[:0] = ast.parse(line).body


def _append_dense(
    constructor: ast.FunctionDef, forward: ast.FunctionDef, number: int, num_classes: int
) -> bool:
    last = forward.body[-1]
    if not isinstance(last, ast.Return) or last.value is None:
        return False
    name = f"self.back{number}"
    layer = ast.parse(f"{name} = nn.Linear({num_classes}, {num_classes})").body
    constructor.body += layer
    last.value = ast.parse(f"{name}({ast.unparse(last.value)})", mode="eval").body
    return True


def _swap_activations(network: ast.ClassDef) -> bool:
    swapped = False
    for node in ast.walk(network):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        owner, name = dotted(node.func.value), node.func.attr
        table = _MODULES if owner in ("nn", "torch.nn") else _FUNCTIONS
        if owner in ("nn", "torch.nn", "F", "nn.functional") and name in table:
            # Their arguments differ (inplace, slopes), and none is needed but the tensor.
            node.func = ast.Attribute(value=_functional(node.func.value), attr=table[name])
            node.args, node.keywords = node.args[: table is _FUNCTIONS], []
            swapped = True
    return swapped


def _functional(owner: ast.expr) -> ast.expr:
    return owner


def _importing(tree: ast.Module) -> ast.Module:
    """Put the imports that our lines need where they are missing."""
    text = {ast.unparse(node) for node in tree.body}
    needed = [line for line in ("import torch", "from torch import nn") if line not in text]
    place = 0
    for index, node in enumerate(tree.body):
        future = isinstance(node, ast.ImportFrom) and node.module == "__future__"
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if future or (index == 0 and docstring):
            place = index + 1
    tree.body[place:place] = ast.parse("\n".join(needed)).body
    return tree
