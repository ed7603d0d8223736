"""Best-effort edits of a source that the parser does not support, for example one by an LLM.

Two shapes are known in any network: its input has the task's shape, its output one value per class. The
edits add layers there that keep the shape, so the rest of the source does not matter.
"""

import ast
from dataclasses import dataclass
from itertools import count
from random import Random

from llmatic_daemon.adapters.rewriter.intents import Intent
from llmatic_daemon.adapters.rewriter.literals import Unreadable, dotted
from llmatic_daemon.adapters.rewriter.parser import find_method, find_network
from llmatic_daemon.adapters.rewriter.shape_inference import Shape

_FUNCTIONS = {"relu": "gelu", "gelu": "silu", "silu": "elu", "elu": "relu", "tanh": "relu"}
_FUNCTIONAL = ("F", "nn.functional", "torch.nn.functional")
_MODULES = {"ReLU": "GELU", "GELU": "SiLU", "SiLU": "ELU", "ELU": "ReLU", "Tanh": "ReLU"}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Addition:
    """New layers, and a line of `forward` with `{x}` for the input and `{0}`, `{1}` for the layers."""

    layers: tuple[str, ...]
    line: str


def edit_unparsed(tree: ast.Module, intent: Intent, shape: Shape, num_classes: int, rng: Random) -> str:
    """Change a network that the parser does not support.

    Raises:
        Unreadable: it has no `nn.Module` with a constructor and a `forward` with an input.
    """
    network = find_network(tree)
    constructor, forward = find_method(network, "__init__"), find_method(network, "forward")
    if len(forward.args.args) < 2:
        raise Unreadable("forward must have an input")
    methods = _Methods(constructor=constructor, forward=forward)
    dense = intent is Intent.ADD_DENSE and _append_dense(methods, num_classes)
    swapped = intent in _LESS and _swap_activations(network)
    if not (dense or swapped):
        _prepend(methods, _addition(intent, shape, rng))
    _import_nn(tree)
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Methods:
    """The constructor and the forward method of a network."""

    constructor: ast.FunctionDef
    forward: ast.FunctionDef

    def new_name(self, stem: str) -> str:
        """Return the name of an unused attribute."""
        nodes = [*ast.walk(self.constructor), *ast.walk(self.forward)]
        taken = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        return next(name for i in count(1) if (name := f"{stem}{i}") not in taken)

    def construct(self, stem: str, layer: str) -> str:
        """Append a layer to the constructor, and return its attribute."""
        name = f"self.{self.new_name(stem)}"
        self.constructor.body += ast.parse(f"{name} = {layer}").body
        return name


#: Nothing can be removed safely, so for these intents activations are exchanged.
_LESS = {Intent.REMOVE_LAYER, Intent.SHRINK, Intent.IMPROVE_AND_SHRINK, Intent.CHANGE_ACTIVATION}


def _addition(intent: Intent, shape: Shape, rng: Random) -> _Addition:
    channels, _, width = shape
    wide = channels * rng.choice((2, 4, 8, 16))
    kernel = rng.choice((3, 5))
    if intent is Intent.ADD_DROPOUT:
        return _Addition(layers=(f"nn.Dropout({rng.choice((0.1, 0.2, 0.3))})",), line="{0}({x})")
    if intent is Intent.ADD_NORMALISATION:
        return _Addition(layers=(f"nn.BatchNorm2d({channels})",), line="{0}({x})")
    if intent is Intent.ADD_POOLING:
        pool = f"nn.{rng.choice(('Max', 'Avg'))}Pool2d(3, stride=1, padding=1)"
        return _Addition(layers=(pool,), line="{0}({x})")
    if intent is Intent.ADD_RECURRENT:
        layer = f"nn.GRU({channels * width}, {channels * width}, batch_first=True)"
        rows = "{0}({x}.permute(0, 2, 1, 3).flatten(2))[0]"
        back = f".unflatten(2, ({channels}, {width})).permute(0, 2, 1, 3)"
        return _Addition(layers=(layer,), line="{x} + " + rows + back)
    first = f"nn.Conv2d({channels}, {wide}, {kernel}, padding={kernel // 2})"
    second = f"nn.Conv2d({wide}, {channels}, 3, padding=1)"
    return _Addition(layers=(first, second), line="{x} + {1}(nn.functional.relu({0}({x})))")


def _prepend(methods: _Methods, addition: _Addition) -> None:
    names = [methods.construct("front", layer) for layer in addition.layers]
    argument = methods.forward.args.args[1].arg
    line = f"{argument} = " + addition.line.format(*names, x=argument)
    methods.forward.body[:0] = ast.parse(line).body


def _append_dense(methods: _Methods, num_classes: int) -> bool:
    last = methods.forward.body[-1]
    if not isinstance(last, ast.Return) or last.value is None:
        return False
    name = methods.construct("back", f"nn.Linear({num_classes}, {num_classes})")
    last.value = ast.parse(f"{name}({ast.unparse(last.value)})", mode="eval").body
    return True


def _swap_activations(network: ast.ClassDef) -> bool:
    swapped = False
    for node in ast.walk(network):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        owner, name = dotted(node.func.value), node.func.attr
        modules = owner in ("nn", "torch.nn")
        table = _MODULES if modules else _FUNCTIONS if owner in _FUNCTIONAL else {}
        if name in table:
            node.func.attr = table[name]
            # Their other arguments differ (inplace, slopes), and none is needed.
            node.args, node.keywords = [] if modules else node.args[:1], []
            swapped = True
    return swapped


def _import_nn(tree: ast.Module) -> None:
    """Import `nn` for the added lines if the source does not."""
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.asname or alias.name for node in imports for alias in node.names}
    if "nn" not in names:
        place = tree.body.index(imports[-1]) + 1 if imports else 0
        tree.body[place:place] = ast.parse("from torch import nn").body
