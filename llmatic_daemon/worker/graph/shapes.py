"""Infer every shape of a graph on meta tensors: nothing is computed, no claim of the graph is trusted."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from llmatic_daemon.worker.graph import operations
from llmatic_daemon.worker.graph.flops import counter
from llmatic_daemon.worker.graph.nodes import Extent, Graph, Interpreter, Node, NodeResult, refs

#: Exceptions of torch for shapes or arguments that do not fit.
_MISFITS = (RuntimeError, ValueError, TypeError, IndexError, AssertionError, ArithmeticError)
#: Most tensors that one operation, and a whole graph, may return.
_MAX_PIECES = 4096
_MAX_RESULTS = 1 << 16
_DTYPES = (torch.float32, torch.bool, torch.int64)

#: Operations that return the shape of their first argument; this table is 100 times faster than torch.
_SAME_SHAPE = operations.names(
    """
    relu relu6 leaky_relu elu selu celu gelu silu mish hardtanh hardswish hardsigmoid sigmoid log_sigmoid
    tanh softplus softshrink hardshrink threshold dropout feature_dropout alpha_dropout
    feature_alpha_dropout detach neg abs exp expm1 sqrt rsqrt square sin cos erf
    """
)
_GATES = {"lstm.input": 4, "gru.input": 3, "rnn_tanh.input": 1, "rnn_relu.input": 1}
_CELL_GATES = {f"{op.partition('.')[0]}_cell.default": gates for op, gates in _GATES.items()}
#: Operations whose result uses no new memory.
_VIEWS = operations.names(
    """
    reshape.default permute.default expand.default slice.Tensor select.int narrow.default split.Tensor
    split_with_sizes.default chunk.default unbind.int detach.default unfold.default
    """
)


class ShapeError(Exception):
    """An operation does not fit its arguments; one line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shapes:
    """Shapes and costs of one batch size."""

    #: Meta tensors, in the order of the operations; a tuple where there are several results.
    results: tuple[Any, ...]
    output: torch.Tensor
    flops: int
    #: All results that are no views, and internal values of attention and recurrent layers, in bytes.
    activation_bytes: int
    #: Largest result of one operation, in bytes.
    largest_bytes: int
    #: Peak of live results in evaluation, where each is freed after its last use, in bytes.
    live_bytes: int


def infer(graph: Graph, batch: int, max_elements: int) -> Shapes:
    """Run a graph on meta tensors.

    Args:
        graph: Any graph that `loads` accepts.
        batch: Number of images.
        max_elements: Most numbers in a result.

    Raises:
        ShapeError: an operation does not fit, or is too large.
    """
    return _Pass(graph, batch, max_elements).run()


class _Pass(Interpreter):
    def __init__(self, graph: Graph, batch: int, max_elements: int) -> None:
        self._graph = graph
        self._batch = batch
        self._max_elements = max_elements
        self._input = _meta((batch, *graph.input_shape))
        self._weights = [_meta(weight.shape) for weight in graph.weights]
        self._results: list[Any] = []
        self._num_results = 0
        self._inner_bytes = [0] * len(graph.nodes)

    def run(self) -> Shapes:
        count = counter()
        with torch.no_grad(), count:
            for number, node in enumerate(self._graph.nodes):
                self._results.append(self._checked(node, f"n{number} ({node.op})"))
        sizes = [
            inner + _bytes(node, result)
            for inner, node, result in zip(self._inner_bytes, self._graph.nodes, self._results, strict=True)
        ]
        return Shapes(
            results=tuple(self._results),
            output=self._value(self._graph.output),
            flops=int(count.complexity),
            activation_bytes=sum(sizes),
            largest_bytes=max(sizes, default=0),
            live_bytes=_live_bytes(
                self._graph,
                [
                    size
                    if node.op not in _GATES
                    else _bytes(node, result)  # internal values are kept in training only
                    for size, node, result in zip(sizes, self._graph.nodes, self._results, strict=True)
                ],
            ),
        )

    def _checked(self, node: Node, where: str) -> Any:
        try:
            result = self._infer(node)
        except _MISFITS as error:
            line = (str(error).splitlines() or [type(error).__name__])[0]
            raise ShapeError(f"{where}: {line[:300]}") from error
        tensors = result if isinstance(result, tuple | list) else (result,)
        self._num_results += len(tensors)
        if self._num_results > _MAX_RESULTS:
            raise ShapeError(f"a graph may have at most {_MAX_RESULTS} results, {where} has more")
        for tensor in tensors:
            if tensor.dtype not in _DTYPES:
                raise ShapeError(f"{where} computes in {tensor.dtype}")
            if tensor.numel() > self._max_elements:
                raise ShapeError(
                    f"{where}: a result of shape {tuple(tensor.shape)} for a batch of "
                    f"{self._batch} has more than {self._max_elements} numbers"
                )
        return result

    def _infer(self, node: Node) -> Any:
        args = [self._value(arg) for arg in node.args]
        base = node.op.partition(".")[0]
        if base in _SAME_SHAPE and args[0].dtype is torch.float32:
            return args[0]
        rule = _RULES.get(node.op)
        result = rule(node.op, args) if rule is not None else _by_torch(node.op, args)
        inner = _INNER.get(node.op)
        if inner is not None:
            self._inner_bytes[len(self._results)] = inner(node.op, args, result)
        return result

    def _result(self, ref: NodeResult) -> Any:
        result = self._results[ref.node]
        return result if ref.item is None else _item(result, ref)

    def _extent(self, extent: Extent) -> int:
        return extent.batch * self._batch + extent.plus


def _by_torch(op: str, args: list[Any]) -> Any:
    positional, keywords = operations.split_arguments(op, args)
    return operations.table()[op].overload(*positional, **keywords)


def _meta(shape: Any) -> torch.Tensor:
    return torch.empty(shape, device="meta")


def _item(result: Any, ref: NodeResult) -> Any:
    assert ref.item is not None
    if ref.item >= len(result):
        raise ShapeError(f"n{ref.node} has {len(result)} results, not {ref.item + 1}")
    return result[ref.item]


def _bytes(node: Node, result: Any) -> int:
    if node.op in _VIEWS:
        return 0
    tensors = result if isinstance(result, tuple | list) else (result,)
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _live_bytes(graph: Graph, sizes: list[int]) -> int:
    """Return the peak of live bytes; a result lives until the last use of it, or of a view of it."""
    owner: list[int] = []
    last = list(range(len(graph.nodes)))
    for number, node in enumerate(graph.nodes):
        used = [owner[ref.node] for ref in refs(node.args) if isinstance(ref, NodeResult)]
        owner.append(used[0] if used and node.op in _VIEWS else number)
        for each in used:
            last[each] = number
    freed: dict[int, int] = {}
    for number, end in enumerate(last):
        freed[end] = freed.get(end, 0) + sizes[number]
    live = peak = 0
    for number, size in enumerate(sizes):
        live += size
        peak = max(peak, live)
        live -= freed.get(number, 0)
    return peak


# --- internal values of operations, in bytes --------------------------------------------------------


def _scores(op: str, args: list[Any], result: Any) -> int:
    """Return the size of attention scores, before and after softmax; a fused kernel may keep fewer."""
    return int(2 * 4 * result[..., 0].numel() * args[1].shape[-2])


def _gates(op: str, args: list[Any], result: Any) -> int:
    """Return the size of gates and states of each cell at each step."""
    data, num_cells, hidden = args[0], result[1].shape[0], args[2][1].shape[-1]
    return int(4 * data.shape[0] * data.shape[1] * num_cells * hidden * (_GATES[op] + 2))


def _positions(op: str, args: list[Any], result: Any) -> int:
    """Return the size of the position of each maximum, as int64."""
    return int(8 * result.numel()) if isinstance(result, torch.Tensor) else 0


_INNER: Mapping[str, Callable[[str, list[Any], Any], int]] = {
    "scaled_dot_product_attention.default": _scores,
    **dict.fromkeys(_GATES, _gates),
    **dict.fromkeys(("max_pool1d.default", "max_pool2d.default"), _positions),
}


# --- rules that replace torch's where they are slow, do not check, or hide products ----------------------------


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _require_weights_fit(weights: list[Any], shape: Sequence[int]) -> None:
    for weight in weights:
        fits = not isinstance(weight, torch.Tensor) or list(weight.shape) == list(shape)
        _require(fits, "a norm's weights do not fit")


def _channel_norm(op: str, args: list[Any]) -> Any:
    data = args[0]
    _require(data.ndim >= 2, "a norm needs (batch, channels, ...)")
    _require_weights_fit(args[1:5], data.shape[1:2])
    _require((args[3] is None) == (args[4] is None), "a norm needs both statistics or none")
    _require(args[5] or args[3] is not None, "a norm without statistics must use the batch's")
    return data


def _layer_norm(op: str, args: list[Any]) -> Any:
    data, shape, *rest = args
    _require(bool(shape) and list(data.shape[-len(shape) :]) == shape, "a norm's shape does not fit")
    _require_weights_fit(rest[:2], shape)
    return data


def _group_norm(op: str, args: list[Any]) -> Any:
    data, groups, *rest = args
    _require(data.ndim >= 2 and groups >= 1, "a norm needs (batch, channels, ...)")
    _require(data.shape[1] % groups == 0, "channels must be a multiple of the groups")
    _require_weights_fit(rest[:2], data.shape[1:2])
    return data


def _weight_norm(op: str, args: list[Any]) -> Any:
    """Check the sizes: torch's kernel does not, and would read beyond its input."""
    direction, scale, dim = args[0], args[1], args[2] if len(args) > 2 else 0
    _require(-1 <= dim < direction.ndim, "a weight norm's dimension does not fit")
    kept = [size if position == dim else 1 for position, size in enumerate(direction.shape)]
    _require(list(scale.shape) in (kept, [] if dim == -1 else kept), "a weight norm does not fit")
    return direction


def _grid_sampler(op: str, args: list[Any]) -> Any:
    data, grid, interpolation, padding, _ = args
    _require(data.ndim == 4 and grid.ndim == 4, "a grid samples (batch, channels, height, width)")
    _require(grid.shape[0] == data.shape[0] and grid.shape[3] == 2, "the grid does not fit")
    _require(interpolation in (0, 1, 2) and padding in (0, 1, 2), "a mode is unknown")
    return _meta((*data.shape[:2], *grid.shape[1:3]))


def _upsample(op: str, args: list[Any]) -> Any:
    data, size, scales = args[0], args[1], args[-1]
    rank = 1 if "1d" in op else 2
    _require(data.ndim == rank + 2, f"needs {rank + 2} dimensions, got {data.ndim}")
    if size is None:
        _require(isinstance(scales, list) and len(scales) == rank, "needs a size or a scale")
        _require(all(0 < scale < 1024 for scale in scales), "a scale is out of range")
        pairs = zip(data.shape[2:], scales, strict=True)
        size = [math.floor(extent * scale) for extent, scale in pairs]
    _require(len(size) == rank and min(size) > 0, "sizes must be above 0")
    return _meta((*data.shape[:2], *size))


def _attention(op: str, args: list[Any]) -> Any:
    query, key, value = args[:3]
    _require(min(query.ndim, key.ndim, value.ndim) >= 3, "attention needs at least 3 dimensions")
    _require(not (len(args) > 7 and args[7]), "grouped queries are not allowed")
    scores = torch.matmul(query, key.transpose(-2, -1))
    if len(args) > 3 and args[3] is not None:
        _require(args[3].expand(scores.shape).shape == scores.shape, "the mask does not fit")
    return torch.matmul(scores, value)


def _recurrent(op: str, args: list[Any]) -> Any:
    """Run a recurrent layer as the products of its gates with inputs and states."""
    data, state, params, has_biases, num_layers, _, _, both_ways, batch_first = args
    states = state if op == "lstm.input" else [state]
    per_cell, directions = (4 if has_biases else 2), (2 if both_ways else 1)
    _require(data.ndim == 3, "a recurrent layer needs (batch, steps, features)")
    num_cells = num_layers * directions
    _require(num_layers >= 1 and len(params) == per_cell * num_cells, "weights do not fit")
    steps, batch = data.shape[:2] if not batch_first else (data.shape[1], data.shape[0])
    hidden = params[1].shape[-1]
    _require(len(states) == (2 if op == "lstm.input" else 1), "states do not fit")
    for each in states:
        _require(list(each.shape) == [num_cells, batch, hidden], "states do not fit")
    features = data.shape[2]
    for cell in range(num_cells):
        if cell and cell % directions == 0:
            features = hidden * directions
        weights = params[cell * per_cell : (cell + 1) * per_cell]
        _cell(weights, steps * batch, features, hidden, _GATES[op])
    shape = (batch, steps) if batch_first else (steps, batch)
    return (_meta((*shape, hidden * directions)), *(_meta(each.shape) for each in states))


def _single_cell(op: str, args: list[Any]) -> Any:
    """Run one step of a recurrent layer as its two products."""
    data, state, *weights = args
    states = state if op == "lstm_cell.default" else [state]
    _require(len(states) == (2 if op == "lstm_cell.default" else 1), "states do not fit")
    _require(data.ndim == 2 and weights[1].ndim == 2, "a cell needs (batch, features)")
    hidden = weights[1].shape[-1]
    for each in states:
        _require(list(each.shape) == [data.shape[0], hidden], "states do not fit")
    given = [each for each in weights if each is not None]
    _require(len(given) in (2, 4), "a cell needs both biases or none")
    rows, features = data.shape
    _cell(given, rows, features, hidden, _CELL_GATES[op])
    results = tuple(_meta(each.shape) for each in states)
    return results if op == "lstm_cell.default" else results[0]


def _cell(weights: list[Any], rows: int, features: int, hidden: int, gates: int) -> None:
    from_input, from_state, *biases = weights
    _require(from_input.shape == (gates * hidden, features), "input weights do not fit")
    _require(from_state.shape == (gates * hidden, hidden), "state weights do not fit")
    _require(all(bias.shape == (gates * hidden,) for bias in biases), "biases do not fit")
    torch.mm(_meta((rows, features)), from_input.t())
    torch.mm(_meta((rows, hidden)), from_state.t())


def _pieces(op: str, args: list[Any]) -> Any:
    """Limit the number of results before torch makes them."""
    if op == "chunk.default":
        number = args[1]
    elif op == "split_with_sizes.default":
        number = len(args[1])
    else:
        position = 1 if op == "unbind.int" else 2
        extent = args[0].shape[args[position] if len(args) > position else 0]
        size = args[1] if op == "split.Tensor" else 1
        _require(size >= 1, "pieces must have a size above 0")
        number = -(-extent // size)
    _require(number <= _MAX_PIECES, f"at most {_MAX_PIECES} pieces, got {number}")
    return _by_torch(op, args)


_RULES: Mapping[str, Callable[[str, list[Any]], Any]] = {
    "batch_norm.default": _channel_norm,
    "instance_norm.default": _channel_norm,
    "layer_norm.default": _layer_norm,
    "group_norm.default": _group_norm,
    "_weight_norm.default": _weight_norm,
    "grid_sampler.default": _grid_sampler,
    "upsample_nearest1d.vec": _upsample,
    "upsample_linear1d.vec": _upsample,
    "upsample_nearest2d.vec": _upsample,
    "upsample_bilinear2d.vec": _upsample,
    "upsample_bicubic2d.vec": _upsample,
    "scaled_dot_product_attention.default": _attention,
    **dict.fromkeys(_GATES, _recurrent),
    **dict.fromkeys(_CELL_GATES, _single_cell),
    **dict.fromkeys(("unbind.int", "split.Tensor", "split_with_sizes.default", "chunk.default"), _pieces),
}
