"""Parser from a network's syntax tree to a chain of steps. The code is never run.

It supports straight-line networks as PyTorch code usually writes them. Layers are attributes, parts of a
`Sequential` or functions; sums join two branches. For anything else it raises `Unreadable`.
"""

import ast
import warnings
from collections.abc import Iterator
from math import prod

from llmatic_daemon.adapters.rewriter import layer_calls, tensor_calls
from llmatic_daemon.adapters.rewriter.literals import Numbers, Unreadable, dotted
from llmatic_daemon.adapters.rewriter.shape_inference import Misfit, Shape, end
from llmatic_daemon.adapters.rewriter.steps import Chain, Recurrent, Residual


def parse(source: str) -> ast.Module:
    """Parse a source without warnings about its style.

    Raises:
        Unreadable: it is not valid Python.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Unreadable(f"not valid Python: {error}") from error


def find_network(tree: ast.Module) -> ast.ClassDef:
    """Return the last class of a file that inherits from `nn.Module`.

    Raises:
        Unreadable: there is none.
    """
    for node in reversed(tree.body):
        if isinstance(node, ast.ClassDef) and any(
            dotted(base).split(".")[-1] == "Module" for base in node.bases
        ):
            return node
    raise Unreadable("no class that inherits from nn.Module")


def find_method(network: ast.ClassDef, name: str) -> ast.FunctionDef:
    """Return a method of a class.

    Raises:
        Unreadable: there is none.
    """
    for node in network.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node
    raise Unreadable(f"no method {name}")


def read_network(network: ast.ClassDef, shape: Shape, num_classes: int) -> Chain:
    """Parse a network's class to a chain of steps, for images of a shape.

    Raises:
        Unreadable: a part of it is not supported, or the shapes do not match.
    """
    constructor = find_method(network, "__init__")
    numbers, layers = Numbers(), dict[str, Chain]()
    for argument, default in _defaults(constructor):
        numbers.define(argument, default)
    for statement in constructor.body:
        _define(statement, numbers, layers)
    chain = _Forward(layers, numbers).run(find_method(network, "forward"))
    try:
        after = end(chain, shape)
    except Misfit as misfit:
        raise Unreadable(str(misfit)) from misfit
    if prod(after) != num_classes:
        raise Unreadable(f"the output must have {num_classes} values, got {after}")
    return chain


def _defaults(constructor: ast.FunctionDef) -> Iterator[tuple[str, ast.expr]]:
    arguments = constructor.args
    positional = [argument.arg for argument in arguments.args]
    if arguments.defaults:
        yield from zip(positional[-len(arguments.defaults) :], arguments.defaults, strict=True)
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if default is not None:
            yield argument.arg, default


def _define(statement: ast.stmt, numbers: Numbers, layers: dict[str, Chain]) -> None:
    """Store the layer or value of one assignment in `__init__`."""
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        if isinstance(statement, ast.Expr | ast.Pass):
            return
        raise Unreadable(f"line {statement.lineno} of the constructor is no assignment")
    name = dotted(statement.targets[0])
    if name.startswith("self.") and isinstance(statement.value, ast.Call):
        attribute = name.removeprefix("self.")
        layers[attribute] = layer_calls.read(statement.value, numbers, attribute)
    else:
        numbers.define(name, statement.value)


class _Forward:
    """Interpreter of `forward`; it represents a tensor by the chain of steps that computes it."""

    def __init__(self, layers: dict[str, Chain], numbers: Numbers) -> None:
        self._layers = layers
        self._numbers = numbers
        self._used: set[str] = set()
        self._tensors: dict[str, Chain] = {}

    def run(self, forward: ast.FunctionDef) -> Chain:
        """Return the chain from the input to the returned tensor.

        Raises:
            Unreadable: this is not straight-line code on one input, or a part is not supported.
        """
        if len(forward.args.args) != 2:
            raise Unreadable("forward must take one input")
        self._tensors[forward.args.args[1].arg] = ()
        for statement in forward.body:
            if isinstance(statement, ast.Return) and statement.value is not None:
                return tensor_calls.scores(self._value(statement.value))
            self._run(statement)
        raise Unreadable("forward does not return a tensor")

    def _run(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.AugAssign) and isinstance(statement.op, ast.Add):
            name = dotted(statement.target)
            self._tensors[name] = _sum(self._value(statement.target), self._value(statement.value))
        elif isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target = statement.targets[0]
            value = self._value(statement.value)
            if isinstance(target, ast.Tuple):
                # Of `x, _ = self.lstm(x)`, only the sequence is supported, not the state.
                if not (value and isinstance(value[-1], Recurrent)):
                    raise Unreadable("only a recurrent layer returns a pair")
                target = target.elts[0]
            if not isinstance(target, ast.Name):
                raise Unreadable(f"line {statement.lineno} assigns to no plain name")
            self._tensors[target.id] = value
        elif not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
            raise Unreadable(f"line {statement.lineno} of forward is not straight-line")

    def _value(self, node: ast.expr) -> Chain:
        if isinstance(node, ast.Name) and node.id in self._tensors:
            return self._tensors[node.id]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return _sum(self._value(node.left), self._value(node.right))
        if isinstance(node, ast.Subscript):
            return self._value(node.value) + tensor_calls.read_slice(node)
        if isinstance(node, ast.Call):
            return self._call(node)
        raise Unreadable(f"'{ast.unparse(node)}' is not understood")

    def _call(self, call: ast.Call) -> Chain:
        function = dotted(call.func)
        if function.startswith("self.") and len(call.args) == 1:
            return self._value(call.args[0]) + self._use(function.removeprefix("self."))
        if function == "torch.add" and len(call.args) == 2:
            return _sum(self._value(call.args[0]), self._value(call.args[1]))
        tensor, step = tensor_calls.read(call, self._numbers)
        return self._value(tensor) + step

    def _use(self, attribute: str) -> Chain:
        chain = self._layers.get(attribute)
        if chain is None:
            raise Unreadable(f"self.{attribute} is not understood")
        if attribute in self._used and tensor_calls.has_weights(chain):
            raise Unreadable(f"self.{attribute} is used twice")
        self._used.add(attribute)
        return chain


def _sum(left: Chain, right: Chain) -> Chain:
    """Join two branches behind their common stem; the longer one is the body."""
    stem = 0
    # Compare by identity, because two equal layers in two branches are not the same layer.
    while stem < min(len(left), len(right)) and left[stem] is right[stem]:
        stem += 1
    body, shortcut = sorted((left[stem:], right[stem:]), key=len, reverse=True)
    if not body or not tensor_calls.is_simple(shortcut):
        raise Unreadable("a sum must join a tensor and one branch")
    return (*left[:stem], Residual(body=body, shortcut=shortcut))
