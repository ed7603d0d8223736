"""Canonicalize traced operations, so that two sources of one network give one graph."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sympy  # type: ignore[import-untyped]
import torch

from llmatic_daemon.worker.graph import operations
from llmatic_daemon.worker.graph.nodes import Arg, Extent, Input, Node, NodeResult, Ref
from llmatic_daemon.worker.graph.serialization import trimmed

#: Types of a graph's values: numbers, masks, and the indices that max and argmax return.
DTYPES = (torch.float32, torch.bool, torch.int64)
_MAX_INT = (1 << 63) - 1

_SAME = "contiguous clone alias lift_fresh lift_fresh_copy lift positive resolve_conj resolve_neg"
_RESHAPES = """
view _unsafe_view reshape _reshape_alias flatten unflatten squeeze unsqueeze view_as reshape_as ravel
"""
_PERMUTES = "permute transpose t numpy_T mT movedim moveaxis swapaxes swapdims"
_EXPANDS = "expand expand_as broadcast_to"
_CASTS = "to _to_copy type_as"
#: Operations that keep position ids, if they keep the last dimension.
_KEEP_POSITION_IDS = frozenset(f"{_SAME} {_RESHAPES} {_EXPANDS} {_CASTS} slice repeat detach".split())
_FILLS = "zeros ones full zeros_like ones_like full_like new_zeros new_ones new_full scalar_tensor"
_DROPOUTS = "dropout feature_dropout alpha_dropout feature_alpha_dropout"
_RANDOM = operations.names(
    """
    empty empty_like new_empty rand randn randint rand_like randn_like randperm uniform normal bernoulli
    exponential multinomial rrelu trunc_normal poisson
    """
)
#: Lists that torch accepts as a single number, for all spatial dimensions.
_SPATIAL = frozenset(["kernel_size", "stride", "padding", "dilation", "output_padding", "output_size"])
#: Reductions, whose dimensions have no order.
_REDUCTIONS = frozenset(
    ["mean", "sum", "amax", "amin", "var", "std", "logsumexp", "linalg_vector_norm", "norm", "flip"]
)


class TranslationError(Exception):
    """The network uses what a graph cannot represent; one line for a person."""


def extent(size: Any) -> int | Extent:
    """Return a traced size as a number, or as an extent that grows with the batch.

    Raises:
        TranslationError: it grows in another way than `a * batch + c`.
    """
    if isinstance(size, int):
        return size
    expression = size.node.expr
    symbols = tuple(expression.free_symbols)
    if not symbols:
        return int(expression)
    plus = expression.subs(symbols[0], 0)
    batch = expression.subs(symbols[0], 1) - plus
    if len(symbols) > 1 or sympy.expand(expression - batch * symbols[0] - plus) != 0:
        raise TranslationError(f"sizes must be linear in the batch size, got {size}")
    return Extent(int(batch), int(plus))


Shape = tuple[int | Extent, ...]


@dataclass(frozen=True, slots=True)
class PositionIds:
    """The whole numbers from 0 along the last dimension: indices of a position embedding."""

    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TracedCall:
    """One traced operation in its pure form."""

    name: str
    overload: str
    #: By the names of the schema, as values of the graph.
    args: Mapping[str, Any]
    #: The traced tensors among the arguments, flat.
    inputs: Sequence[torch.Tensor]
    #: The traced result: a tensor, or a tuple of them.
    output: Any

    @property
    def first(self) -> Any:
        """The first argument."""
        return next(iter(self.args.values()))

    def shape(self) -> Shape:
        """Return the shape of the result."""
        return tuple(extent(size) for size in self.output.shape)


class GraphBuilder:
    """Appends operations to a graph."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.shapes: dict[Ref, Shape] = {}
        self._seen: dict[tuple[str, str], Ref] = {}

    def emit(self, op: str, *args: Arg) -> Ref:
        """Append an operation and return its result; a repeated one returns the first result."""
        if any(isinstance(each, PositionIds) for each in _flat(args)):
            raise TranslationError("whole numbers may only be positions of an embedding")
        args = trimmed(operations.table()[op], args)
        key = (op, repr(args))  # not the values: 1 == 1.0 == True
        if key in self._seen:
            return self._seen[key]
        self.nodes.append(Node(op=op, args=args))
        result = NodeResult(len(self.nodes) - 1)
        if op not in operations.TRAINING_FLAG and op not in operations.TRAINING_PROBABILITY:
            self._seen[key] = result
        return result

    def producer(self, ref: Any) -> Node | None:
        """Return the operation whose only result this is, or None."""
        return self.nodes[ref.node] if isinstance(ref, NodeResult) and ref.item is None else None


def _flat(args: tuple[Any, ...]) -> Iterator[Any]:
    for arg in args:
        yield from _flat(arg) if isinstance(arg, tuple) else (arg,)


Rule = Callable[[TracedCall, GraphBuilder], Any]


def _same(call: TracedCall, builder: GraphBuilder) -> Any:
    return call.first


def _reshape(call: TracedCall, builder: GraphBuilder) -> Any:
    source, shape = call.first, call.shape()
    before = builder.producer(source)
    if before is not None and before.op == "reshape.default":
        source = before.args[0]
    if builder.shapes.get(source) == shape:
        return source
    return builder.emit("reshape.default", source, shape)


def _permute(call: TracedCall, builder: GraphBuilder) -> Any:
    source, dims = call.first, _permutation(call)
    before = builder.producer(source)
    if before is not None and before.op == "permute.default":
        source, inner = before.args
        assert isinstance(inner, tuple)
        dims = tuple(inner[dim] for dim in dims)
    if dims == tuple(range(len(dims))):
        return source
    return builder.emit("permute.default", source, dims)


def _permutation(call: TracedCall) -> tuple[Any, ...]:
    """Return the order of dimensions, found by the operation on a tensor of distinct sizes."""
    probe = torch.empty(tuple(range(2, 2 + call.inputs[0].ndim)), device="meta")
    packet = getattr(torch.ops.aten, call.name)
    moved = getattr(packet, call.overload)(probe, *list(call.args.values())[1:])
    return tuple(size - 2 for size in moved.shape)


def _expand(call: TracedCall, builder: GraphBuilder) -> Any:
    shape = call.shape()
    if builder.shapes.get(call.first) == shape:
        return call.first
    return builder.emit("expand.default", call.first, shape)


def _slice(call: TracedCall, builder: GraphBuilder) -> Any:
    whole = builder.shapes.get(call.first) == call.shape() and call.args.get("step", 1) == 1
    return call.first if whole else _as_traced(call, builder)


def _cast(call: TracedCall, builder: GraphBuilder) -> Any:
    if call.output.dtype is call.inputs[0].dtype:
        return call.first
    if call.output.dtype is torch.float32:
        return builder.emit("mul.Scalar", call.first, 1.0)
    raise TranslationError(f"a cast to {call.output.dtype} is not allowed")


def _fill(call: TracedCall, builder: GraphBuilder) -> Any:
    if call.output.dtype is not torch.float32:
        raise TranslationError(f"a constant must be float32, got {call.output.dtype}")
    value = call.args.get("fill_value", call.args.get("s", 1.0 if "ones" in call.name else 0.0))
    return builder.emit("new_full.default", Input(), call.shape(), float(value))


def _arange(call: TracedCall, builder: GraphBuilder) -> Any:
    (count,) = call.shape()
    plain = call.args.get("start", 0) == 0 and call.args.get("step", 1) == 1
    if not (plain and isinstance(count, int) and call.output.dtype is torch.int64):
        raise TranslationError("arange may only make the positions of an embedding")
    return PositionIds(count)


def _embedding(call: TracedCall, builder: GraphBuilder) -> Any:
    """Return the rows of an embedding at the position ids: the first ones, in order."""
    positions, shape = call.args["indices"], call.shape()
    if not isinstance(positions, PositionIds) or call.args.get("padding_idx", -1) != -1:
        raise TranslationError("an embedding may only be of positions, 0, 1, ... by arange")
    rows, whole = call.first, call.inputs[0].shape
    if positions.count != whole[0]:
        rows = builder.emit("slice.Tensor", rows, 0, 0, positions.count)
    if len(shape) > 2:
        single = (*(1 for _ in shape[:-2]), *shape[-2:])
        rows = builder.emit("reshape.default", rows, single)
        rows = rows if single == shape else builder.emit("expand.default", rows, shape)
    return rows


def _dropout(call: TracedCall, builder: GraphBuilder) -> Any:
    unused = not call.args["train"] or call.args["p"] == 0
    return call.first if unused else _as_traced(call, builder)


def _detach(call: TracedCall, builder: GraphBuilder) -> Any:
    before = builder.producer(call.first)
    constant = before is not None and before.op in ("new_full.default", "detach.default")
    return call.first if constant else _as_traced(call, builder)


def _as_traced(call: TracedCall, builder: GraphBuilder) -> Any:
    """Append an operation unchanged, with arguments in the order and types of the schema."""
    overload = call.overload
    if overload == "Tensor" and type(call.args.get("other")) in (int, float):
        overload = "Scalar"
    operation = operations.table().get(f"{call.name}.{overload}")
    if operation is None:
        raise TranslationError(_rejection_message(call.name))
    args = {
        argument.name: _argument(call, argument, call.args.get(argument.name, argument.default))
        for argument in operation.arguments
    }
    if "stride" in args and args["stride"] == ():
        args["stride"] = args["kernel_size"]
    return builder.emit(operation.name, *args.values())


def _rejection_message(name: str) -> str:
    if name in _RANDOM:
        return (
            f"forward uses {name!r}: layers and weights must be made in __init__, "
            "and the only randomness in forward is dropout"
        )
    return f"the operation {name!r} is not allowed"


def _argument(call: TracedCall, argument: operations.Argument, value: Any) -> Any:
    if argument.unset:
        return argument.default
    if argument.kernel_choice:
        return True
    if argument.name in ("dim", "dims") and value is not None:
        return _dims(call, value)
    if argument.name in _SPATIAL and isinstance(value, tuple) and len(value) == 1:
        return value * (3 if "3d" in call.name else 2 if "2d" in call.name else 1)
    return _number(call, argument, value)


def _dims(call: TracedCall, value: Any) -> Any:
    rank = call.inputs[0].ndim + (call.name == "stack")
    if isinstance(value, int):
        return value + rank if value < 0 else value
    dims = [dim + rank if dim < 0 else dim for dim in value]
    return tuple(sorted(dims) if call.name in _REDUCTIONS else dims)


def _number(call: TracedCall, argument: operations.Argument, value: Any) -> Any:
    """Return whole numbers as floats where they mean the same."""
    if isinstance(value, tuple):
        return tuple(_number(call, argument, each) for each in value)
    if type(value) is int and "float" in argument.type:
        return float(value)
    if type(value) is int and "number" in argument.type and argument.name != "alpha":
        floats = all(tensor.dtype is torch.float32 for tensor in call.inputs)
        return float(value) if floats else value
    if isinstance(value, Extent) and "number" in argument.type:
        raise TranslationError("forward must not compute with the batch size")
    return value


_RULES: Mapping[str, Rule] = {
    **operations.for_each(_SAME, _same),
    **operations.for_each(_RESHAPES, _reshape),
    **operations.for_each(_PERMUTES, _permute),
    **operations.for_each(_EXPANDS, _expand),
    **operations.for_each(_CASTS, _cast),
    **operations.for_each(_FILLS, _fill),
    **operations.for_each(_DROPOUTS, _dropout),
    "slice": _slice,
    "detach": _detach,
    "arange": _arange,
    "embedding": _embedding,
}


def _keeps_position_ids(call: TracedCall) -> bool:
    return (
        isinstance(call.first, PositionIds)
        and call.name in _KEEP_POSITION_IDS
        and call.output.dtype is torch.int64
        and call.shape()[-1:] == (call.first.count,)
    )


def canonicalize(call: TracedCall, builder: GraphBuilder) -> Any:
    """Append one operation in its canonical form, and return its value.

    Raises:
        TranslationError: it is not allowed, or its types are not.
    """
    if _keeps_position_ids(call):
        return call.first
    return _RULES.get(call.name, _as_traced)(call, builder)
