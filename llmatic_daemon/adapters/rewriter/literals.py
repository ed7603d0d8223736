"""Evaluation of plain values in a syntax tree: names, numbers and the arguments of a call."""

import ast
import operator
from collections.abc import Callable

_LARGEST = 1_000_000
_ARITHMETIC: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}


class Unreadable(Exception):
    """A source, or a part of it, that the parser does not support."""


def dotted(node: ast.expr) -> str:
    """Return `a.b.c` as text, or an empty text if the node is no plain name."""
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            owner = dotted(node.value)
            return f"{owner}.{node.attr}" if owner else ""
    return ""


class Numbers:
    """The values of the names in a constructor."""

    def __init__(self) -> None:
        self._known: dict[str, object] = {}

    def define(self, name: str, node: ast.expr) -> None:
        """Store the value of a name; forget the name if its value is not supported."""
        self._known.pop(name, None)
        try:
            self._known[name] = self.value(node)
        except Unreadable:
            return

    def value(self, node: ast.expr) -> object:
        """Evaluate constants, known names, tuples and whole-number arithmetic.

        Raises:
            Unreadable: it is something else.
        """
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name() | ast.Attribute() if dotted(node) in self._known:
                return self._known[dotted(node)]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self.integer(operand)
            case ast.Tuple(elts=items) | ast.List(elts=items):
                return tuple(self.value(item) for item in items)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                first, second = self.integer(left), self.integer(right)
                if second or not isinstance(op, ast.FloorDiv):
                    return _ARITHMETIC[type(op)](first, second)
        raise Unreadable(f"'{ast.unparse(node)}' is no plain value")

    def integer(self, node: ast.expr) -> int:
        """Evaluate a whole number, or a pair of two equal ones.

        Raises:
            Unreadable: it is something else.
        """
        value = self.value(node)
        if isinstance(value, tuple) and value and all(item == value[0] for item in value):
            value = value[0]
        if type(value) is not int:
            raise Unreadable(f"'{ast.unparse(node)}' is no whole number")
        return value


class Arguments:
    """The arguments of one call, by parameter name."""

    def __init__(self, call: ast.Call, parameters: tuple[str, ...], numbers: Numbers) -> None:
        self._numbers = numbers
        if len(call.args) > len(parameters) or any(
            isinstance(argument, ast.Starred) for argument in call.args
        ):
            raise Unreadable(f"'{ast.unparse(call)}' has unknown arguments")
        self._given = dict(zip(parameters, call.args, strict=False))
        for keyword in call.keywords:
            if keyword.arg not in parameters:
                raise Unreadable(f"'{ast.unparse(call)}' has unknown arguments")
            self._given[keyword.arg] = keyword.value

    def integer(self, name: str, default: int | None = None, smallest: int = 1) -> int:
        """Return a whole number.

        Raises:
            Unreadable: it is something else, too small, or missing without a default.
        """
        if name not in self._given:
            if default is None:
                raise Unreadable(f"argument {name!r} is missing")
            return default
        number = self._numbers.integer(self._given[name])
        if not smallest <= number <= _LARGEST:
            raise Unreadable(f"{name} must be from {smallest} to {_LARGEST}, got {number}")
        return number

    def value(self, name: str, default: object) -> object:
        """Return a plain value.

        Raises:
            Unreadable: it is something else.
        """
        return self._numbers.value(self._given[name]) if name in self._given else default
