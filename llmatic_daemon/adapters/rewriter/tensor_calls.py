"""Parser for calls on tensors in `forward`, such as `F.relu(x)` or `x.flatten(1)`."""

import ast

from llmatic_daemon.adapters.rewriter import steps
from llmatic_daemon.adapters.rewriter.layer_calls import ACTIVATIONS, dropout, pool
from llmatic_daemon.adapters.rewriter.literals import Arguments, Numbers, Unreadable, dotted

_FUNCTIONS = {"F", "nn.functional", "torch.nn.functional", "torch"}
#: A recurrent layer would be too slow on a longer sequence.
_MAX_PARTS = 1024
_SOFTMAX = ("softmax", "log_softmax")


def read(call: ast.Call, numbers: Numbers) -> tuple[ast.expr, steps.Chain]:
    """Parse one call. Return the expression of its input tensor, and the steps that it adds.

    Raises:
        Unreadable: the function or its arguments are not supported.
    """
    owner, _, function = dotted(call.func).rpartition(".")
    if owner in _FUNCTIONS and call.args:
        return call.args[0], _function(function, call, numbers)
    if isinstance(call.func, ast.Attribute):
        return _method(call.func, call, numbers)
    raise Unreadable(f"'{ast.unparse(call)}' is not understood")


def read_slice(node: ast.Subscript) -> steps.Chain:
    """Parse `x[:, -1]`, the last element of a sequence.

    Raises:
        Unreadable: it is another slice.
    """
    match node.slice:
        case ast.Tuple(elts=[ast.Slice(None, None, None), ast.UnaryOp(ast.USub(), ast.Constant(1))]):
            return (steps.Collapse(kind="last"),)
    raise Unreadable(f"'{ast.unparse(node)}' is not understood")


def scores(chain: steps.Chain) -> steps.Chain:
    """Remove a softmax at the end of a chain, because the loss includes one.

    Raises:
        Unreadable: there is another softmax between layers.
    """
    while chain and isinstance(chain[-1], steps.Activation) and chain[-1].function in _SOFTMAX:
        chain = chain[:-1]
    if any(isinstance(step, steps.Activation) and step.function in _SOFTMAX for step in steps.walk(chain)):
        raise Unreadable("a softmax between layers is not understood")
    return chain


def has_weights(chain: steps.Chain) -> bool:
    """Return whether a chain has trainable weights."""
    return any(steps.layers(chain)) or any(isinstance(step, steps.Norm) for step in steps.walk(chain))


def is_simple(chain: steps.Chain) -> bool:
    """Return whether a chain can be printed as one expression."""
    return not any(isinstance(step, steps.Residual | steps.Recurrent) for step in chain)


def _function(function: str, call: ast.Call, numbers: Numbers) -> steps.Chain:
    match function:
        case "max_pool2d" | "avg_pool2d":
            return (pool(function[:3], call, numbers, "input"),)
        case "adaptive_avg_pool2d":
            arguments = Arguments(call, ("input", "output_size"), numbers)
            return (steps.GlobalPool(size=arguments.integer("output_size")),)
        case "dropout" | "dropout2d":
            arguments = Arguments(call, ("input", "p", "training", "inplace"), numbers)
            return (dropout(function == "dropout2d", arguments),)
        case "flatten" if _plain(call, 1, numbers) == (1,):
            return (steps.Flatten(),)
    if function in ACTIVATIONS.values():
        return (steps.Activation(function=function),)
    raise Unreadable(f"'{ast.unparse(call)}' is not understood")


def _plain(call: ast.Call, num_skipped: int, numbers: Numbers) -> tuple[object, ...]:
    """Evaluate the positional arguments after the skipped ones, then the keywords."""
    given = [*call.args[num_skipped:], *(keyword.value for keyword in call.keywords)]
    return tuple(numbers.value(node) for node in given)


def _method(method: ast.Attribute, call: ast.Call, numbers: Numbers) -> tuple[ast.expr, steps.Chain]:
    tensor = method.value
    if method.attr in ("view", "reshape") and len(call.args) == 2 and _keeps_batch(call.args[0]):
        return tensor, (steps.Flatten(),)
    if method.attr == "contiguous":
        return tensor, ()
    arguments = _plain(call, 0, numbers)
    match method.attr, arguments:
        case "flatten", (1,):
            return tensor, (steps.Flatten(),)
        case "flatten", (2,):
            return _rows(tensor), (steps.Rows(),)
        case "mean", (1,):
            return tensor, (steps.Collapse(kind="mean"),)
        case "mean", ((2, 3) | (-2, -1),) | (2, 3):
            return tensor, (steps.GlobalPool(), steps.Flatten())
        case "unflatten", (1, (int() as parts, _)) if 0 < parts <= _MAX_PARTS:
            return tensor, (steps.SplitStep(parts=parts),)
        case ("relu" | "tanh" | "sigmoid") as function, ():
            return tensor, (steps.Activation(function=function),)
    raise Unreadable(f"'{ast.unparse(call)}' is not understood")


def _keeps_batch(node: ast.expr) -> bool:
    return ast.unparse(node).endswith((".size(0)", ".shape[0]")) or ast.unparse(node) == "-1"


def _rows(node: ast.expr) -> ast.expr:
    """Return the permuted tensor `x` of `x.permute(0, 2, 1, 3).flatten(2)`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        arguments = [ast.unparse(argument) for argument in node.args]
        if node.func.attr == "permute" and arguments == ["0", "2", "1", "3"]:
            return node.func.value
    raise Unreadable(f"'{ast.unparse(node)}' is not understood")
