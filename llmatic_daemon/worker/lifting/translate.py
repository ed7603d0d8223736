"""Translate the program that torch.export traced to a graph of pure, canonical operations.

Runs in the process of the candidate. Nothing here is a boundary: `validate` judges the result.
In-place operations become pure ones, all changes of shape become `reshape`, sizes become explicit. What
a graph cannot represent becomes `Unsupported`, an error only if the output depends on it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from llmatic_daemon.worker.graph.nodes import Graph, Input, NodeResult, Weight, WeightRef, canonical
from llmatic_daemon.worker.lifting.canonicalize import (
    DTYPES,
    GraphBuilder,
    PositionIds,
    TracedCall,
    TranslationError,
    canonicalize,
    extent,
)


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A value that a graph cannot represent, and the reason."""

    reason: str


Value = Any  # Arg | Unsupported | a list of them


@dataclass(frozen=True, kw_only=True, slots=True)
class Translation:
    """A graph, and where its weights come from."""

    graph: Graph
    #: For each weight of the graph: its qualified name in the module.
    names: tuple[str, ...]
    tensors: tuple[torch.Tensor, ...]
    #: Order in which the source computes the operations; empty: as they are numbered.
    order: tuple[int, ...]


class Translator:
    """Walks over a traced program once, in its order."""

    def __init__(self, program: ExportedProgram) -> None:
        self._program = program
        self._weights: list[tuple[str, torch.Tensor, bool]] = []
        self._builder = GraphBuilder()
        self._values: dict[fx.Node, Value] = {}
        #: Nodes that are the same tensor, and nodes that share its memory.
        self._same: dict[fx.Node, list[fx.Node]] = {}
        self._memory: dict[fx.Node, list[fx.Node]] = {}
        self._changed_weights: set[int] = set()

    def translate(self) -> Translation:
        """Translate the whole program.

        Raises:
            TranslationError: the output depends on an unsupported value.
        """
        specs = {spec.arg.name: spec for spec in self._program.graph_signature.input_specs}
        for node in self._program.graph.nodes:
            if node.op == "placeholder":
                self._values[node] = self._placeholder(specs[node.name])
                self._own_memory(node)
                self._remember_shape(self._values[node], node.meta.get("val"))
            elif node.op == "call_function":
                self._values[node] = self._call(node)
            elif node.op == "output":
                return self._finish(node)
        raise TranslationError("the program has no output")

    # --- inputs and outputs ----------------------------------------------------------------------

    def _placeholder(self, spec: Any) -> Value:
        if spec.kind is InputKind.USER_INPUT:
            return Input()
        if spec.kind is InputKind.CONSTANT_TENSOR:
            return self._constant(self._program.constants[spec.target])
        tensor = self._program.state_dict.get(spec.target)
        if tensor is None:
            tensor = self._program.constants[spec.target]  # a buffer that is not persistent
        if tensor.dtype is torch.int64 and tensor.ndim and _counts(tensor):
            return PositionIds(tensor.shape[-1])
        if tensor.dtype is torch.bool:
            self._weights.append((spec.target, tensor.float(), False))
            return self._builder.emit("ne.Scalar", WeightRef(len(self._weights) - 1), 0.0)
        if tensor.dtype is not torch.float32:
            return Unsupported(f"{spec.target} must be float32, is {_dtype_name(tensor.dtype)}")
        trainable = spec.kind is InputKind.PARAMETER and tensor.requires_grad
        self._weights.append((spec.target, tensor, trainable))
        return WeightRef(len(self._weights) - 1)

    def _constant(self, tensor: torch.Tensor) -> Value:
        if tensor.numel() == 1 and tensor.dtype.is_floating_point:
            return self._builder.emit("new_full.default", Input(), tuple(tensor.shape), float(tensor.item()))
        return Unsupported(
            f"a tensor of shape {tuple(tensor.shape)} must be a parameter or a registered buffer, "
            "not a constant"
        )

    def _finish(self, node: fx.Node) -> Translation:
        (outputs,) = node.args
        output = self._values[outputs[0]]  # type: ignore[index]
        if isinstance(output, Unsupported):
            raise TranslationError(output.reason)
        raw = Graph(
            input_shape=self._input_shape(),
            weights=tuple(
                Weight(shape=tuple(tensor.shape), trainable=trainable)
                for _, tensor, trainable in self._weights
            ),
            nodes=tuple(self._builder.nodes),
            output=output,
        )
        made = canonical(raw)
        for number in made.weights:
            if number in self._changed_weights:
                name = self._weights[number][0]
                raise TranslationError(f"forward must not keep state, but it changes {name}")
        return Translation(
            graph=made.graph,
            names=tuple(self._weights[number][0] for number in made.weights),
            tensors=tuple(self._weights[number][1].detach() for number in made.weights),
            order=made.order,
        )

    def _input_shape(self) -> tuple[int, ...]:
        for node, value in self._values.items():
            if isinstance(value, Input) and node.op == "placeholder":
                return tuple(int(size) for size in node.meta["val"].shape[1:])
        raise TranslationError("forward does not take the batch")

    # --- one operation ---------------------------------------------------------------------------

    def _call(self, node: fx.Node) -> Value:
        meta = node.meta.get("val")
        if isinstance(meta, int | torch.SymInt):
            return self._size(meta)
        if isinstance(meta, torch.SymFloat | torch.SymBool):
            return Unsupported("the batch size is used as a number")
        value = self._compute(node)
        if isinstance(value, Unsupported):
            self._mark_changed_unsupported(node, value)
        else:
            self._remember_shape(value, meta)
        return value

    def _compute(self, node: fx.Node) -> Value:
        values = [self._value(arg) for arg in (*node.args, *node.kwargs.values())]
        broken = next(_unsupported_in(values), None)
        if broken is not None:
            return broken
        if getattr(node.target, "__name__", "") == "getitem":
            return self._item(node, values)
        if not isinstance(node.target, torch._ops.OpOverload):
            return Unsupported(f"{node.target} is not an allowed operation")
        try:
            return self._operation(node, node.target, values)
        except TranslationError as error:
            return Unsupported(str(error))

    def _mark_changed_unsupported(self, node: fx.Node, value: Unsupported) -> None:
        """Mark what an unsupported operation changes in place as unsupported."""
        schema = getattr(node.target, "_schema", None)
        if schema is not None and schema.is_mutable and node.args[0] in self._memory:
            self._update_aliases(node, node.args[0], value)
            for other in self._memory[node]:
                self._values[other] = value

    def _size(self, meta: int | torch.SymInt) -> Value:
        try:
            return extent(meta)
        except TranslationError as error:
            return Unsupported(str(error))

    def _item(self, node: fx.Node, values: list[Value]) -> Value:
        source, index = values
        self._share_memory(node, node.args[0], same=False)
        if isinstance(source, NodeResult) and source.item is None:
            return NodeResult(source.node, int(index))
        return Unsupported("an element is taken from what is no tuple")

    def _operation(self, node: fx.Node, target: Any, values: list[Value]) -> Value:
        schema = target._schema
        args = dict(zip([argument.name for argument in schema.arguments], values, strict=False))
        for name, value in zip(node.kwargs, values[len(node.args) :], strict=True):
            args[name] = value
        name = str(schema.name).removeprefix("aten::")
        in_place = schema.is_mutable
        call = TracedCall(
            name=name.removesuffix("_") if in_place else name,
            overload=schema.overload_name or "default",
            args=args,
            inputs=_tensors(node),
            output=_output_meta(node),
        )
        result = canonicalize(call, self._builder)
        if in_place:
            self._update_aliases(node, node.args[0], result)
        elif any(r.alias_info is not None for r in schema.returns):
            self._share_memory(node, node.args[0], same=False)
        else:
            self._own_memory(node)
        return result

    def _remember_shape(self, value: Value, traced: Any) -> None:
        if isinstance(value, Input | WeightRef | NodeResult) and isinstance(traced, torch.Tensor):
            self._builder.shapes[value] = tuple(extent(size) for size in traced.shape)

    def _value(self, arg: Any) -> Value:
        if isinstance(arg, list | tuple):
            return tuple(self._value(each) for each in arg)
        if isinstance(arg, fx.Node):
            return self._values.get(arg, _no_value(arg))
        if arg is None or isinstance(arg, bool | int | float | str):
            return arg
        if isinstance(arg, torch.dtype | torch.device | torch.layout | torch.memory_format):
            return None
        return Unsupported(f"an argument of type {type(arg).__name__} cannot be written")

    # --- memory: what an in-place operation changes ----------------------------------------------

    def _own_memory(self, node: fx.Node) -> None:
        self._same[node] = [node]
        self._memory[node] = [node]

    def _share_memory(self, node: fx.Node, source: Any, *, same: bool) -> None:
        if not isinstance(source, fx.Node) or source not in self._memory:
            self._own_memory(node)
            return
        self._memory[node] = self._memory[source]
        self._memory[node].append(node)
        self._same[node] = self._same[source] if same else []
        self._same[node].append(node)

    def _update_aliases(self, node: fx.Node, source: Any, result: Value) -> None:
        """Set all aliases of a changed tensor to the result, and mark views of it as unsupported."""
        value = self._values[source]
        if isinstance(value, WeightRef):
            self._changed_weights.add(value.number)
        self._share_memory(node, source, same=True)
        same = self._same[node]
        for other in self._memory[node]:
            if other in same:
                self._values[other] = result
            else:
                self._values[other] = Unsupported(
                    "a tensor is changed in place and also used through a view of it; "
                    "write it without the in-place operation"
                )


def _counts(tensor: torch.Tensor) -> bool:
    """Decide whether a tensor is one row of 0, 1, ..."""
    count = tensor.shape[-1]
    return tensor.numel() == count and tensor.flatten().tolist() == list(range(count))


def _no_value(node: fx.Node) -> Unsupported:
    if node.op == "get_attr":  # torch has wrapped up a part of forward
        return Unsupported("forward must not switch gradients on or off")
    return Unsupported(f"{node} is not a value")


def _unsupported_in(values: Sequence[Value]) -> Iterator[Unsupported]:
    for value in values:
        if isinstance(value, Unsupported):
            yield value
        elif isinstance(value, tuple):
            yield from _unsupported_in(value)


def _tensors(node: fx.Node) -> list[torch.Tensor]:
    traced = [each.meta.get("val") for each in node.all_input_nodes]
    return [each for each in traced if isinstance(each, torch.Tensor)]


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _output_meta(node: fx.Node) -> Any:
    meta = node.meta.get("val")
    if isinstance(meta, torch.Tensor) and meta.dtype not in DTYPES:
        raise TranslationError(f"all numbers must be float32, got {_dtype_name(meta.dtype)}")
    return meta
