"""Validate a graph and its weights before any device time is spent; no candidate code runs here.

Validation is pure and takes milliseconds, so every process that receives a graph repeats it. It infers all
shapes for three batch sizes; the costs must be linear in them. `batch_propagation` proves that no image's output
depends on another image, nor on their number. So what holds for these sizes holds for all.

The size of a source bounds the information that it can bring. Constants are tensors that are neither trained
nor running statistics; they may hold at most as much information as a source may be long. Good trained weights
computed by a short formula look like a random draw, and validation cannot detect them. Against these,
`training.initial_weights = "reseed"` makes the trainer draw all trained weights again.
"""

import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import safetensors.torch
import torch
from safetensors import SafetensorError

from llmatic_daemon.domain import Measures, Outcome
from llmatic_daemon.worker.graph.argument_ranges import RangeError, check_ranges
from llmatic_daemon.worker.graph.batch_axis import BatchAxis, MixedBatchError
from llmatic_daemon.worker.graph.batch_propagation import propagate
from llmatic_daemon.worker.graph.depth_width import depth_and_width
from llmatic_daemon.worker.graph.nodes import Extent, Graph, Node, NodeResult, WeightRef, refs
from llmatic_daemon.worker.graph.operations import RUNNING_STATISTICS, names
from llmatic_daemon.worker.graph.serialization import GraphError, loads, read_order, weight_name
from llmatic_daemon.worker.graph.shapes import ShapeError, Shapes, infer

#: Two batch sizes that are no other size of a network by accident, and the smallest batch.
_BATCHES = (5, 11, 1)
#: Most bytes of constants that are compressed; so many zeros take 0.2 s.
_MAX_RAW_CONSTANTS = 64 << 20
#: Operations that stop gradients.
_FLAT = names(
    """
    detach.default argmax.default sign.default gt.Scalar gt.Tensor ge.Scalar ge.Tensor lt.Scalar lt.Tensor
    le.Scalar le.Tensor eq.Scalar eq.Tensor ne.Scalar ne.Tensor logical_not.default bitwise_not.default
    new_full.default
    """
)


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphLimits:
    """Limits of a network."""

    #: Trainable numbers.
    max_parameters: int = 50_000_000
    #: Multiply-adds of one forward pass of one image.
    max_flops: int = 20_000_000_000
    #: All results of the forward pass of one image.
    max_activation_bytes: int = 256 << 20
    max_nodes: int = 5_000
    #: Length of a source, and size of all constants together, raw or compressed.
    max_source_bytes: int = 64 << 10


class InvalidNetwork(Exception):
    """The graph or its weights break a rule or a limit; one line for a person."""

    def __init__(self, detail: str, cause: Outcome = Outcome.INVALID_GRAPH) -> None:
        super().__init__(detail)
        self.cause = cause
        self.detail = detail


@dataclass(frozen=True, kw_only=True, slots=True)
class Validated:
    """A network that may be trained."""

    #: In the order of the source, not canonical.
    graph: Graph
    weights: dict[str, torch.Tensor]
    measures: Measures
    #: All results of the forward pass of one image.
    activation_bytes: int
    #: For one image: the largest result of one operation, and the peak of evaluation.
    largest_bytes: int
    live_bytes: int


def validate(
    graph: bytes,
    weights: bytes,
    limits: GraphLimits,
    input_shape: tuple[int, ...],
    num_classes: int,
    order: Sequence[int] = (),
) -> Validated:
    """Check an untrusted graph and its weights, and measure the network.

    Args:
        graph: Canonical JSON, as `dumps` writes it.
        weights: Safetensors, float32, named `w0`, `w1`, ...
        limits: Limits of the network.
        input_shape: (channels, height, width) of the task.
        num_classes: Width of the output.
        order: Numbers of the operations in the order in which the source computes them; empty: as
            they are numbered.

    Raises:
        InvalidNetwork: with the cause `invalid_graph`, or `nan` where a weight is not finite.
    """
    network = _read(graph, order, limits, input_shape)
    _check_numbers(network)
    _check_statistics(network)
    _check_constants(network)
    _check_gradients(network)
    small, large, least = passes = [_infer(network, batch, limits) for batch in _BATCHES]
    _check_output(passes, num_classes)
    _check_line(small, large, least)
    for batch, shapes in zip(_BATCHES[:2], (small, large), strict=True):
        _check_batch_axis(network, shapes, batch)
    measures = _measure(network, small, large)
    activation_bytes = _per_image(small.activation_bytes, large.activation_bytes)
    _check_limits(measures, activation_bytes, limits)
    tensors = _read_weights(network, weights)
    _check_information(network, tensors, limits)
    return Validated(
        graph=network,
        weights=tensors,
        measures=measures,
        activation_bytes=activation_bytes,
        largest_bytes=_per_image(small.largest_bytes, large.largest_bytes),
        live_bytes=_per_image(small.live_bytes, large.live_bytes),
    )


def _expect(condition: bool, detail: str) -> None:
    if not condition:
        raise InvalidNetwork(detail)


def _read(data: bytes, order: Sequence[int], limits: GraphLimits, input_shape: tuple[int, ...]) -> Graph:
    try:
        graph = read_order(loads(data), order)
    except GraphError as error:
        raise InvalidNetwork(str(error)) from error
    _expect(
        graph.input_shape == tuple(input_shape),
        f"the graph must take images of shape {tuple(input_shape)}, takes {graph.input_shape}",
    )
    _expect(
        len(graph.nodes) <= limits.max_nodes,
        f"a graph may have at most {limits.max_nodes} operations, has {len(graph.nodes)}",
    )
    return graph


def _check_numbers(graph: Graph) -> None:
    try:
        check_ranges(graph)
    except RangeError as error:
        raise InvalidNetwork(str(error)) from error


def running_statistics(graph: Graph) -> dict[int, float]:
    """Return the initial value of each running statistic, by the number of its weight."""
    return {
        arg.number: begin
        for node in graph.nodes
        for position, begin in zip(RUNNING_STATISTICS.get(node.op, ()), (0.0, 1.0), strict=False)
        if isinstance(arg := node.args[position], WeightRef)
    }


def _check_statistics(graph: Graph) -> None:
    """Check that running statistics, which change without a gradient, are buffers used by norms alone."""
    for number, node in enumerate(graph.nodes):
        for position in RUNNING_STATISTICS.get(node.op, ()):
            arg = node.args[position]
            fixed = isinstance(arg, WeightRef) and not graph.weights[arg.number].trainable
            _expect(arg is None or fixed, f"n{number}: running statistics must be buffers")
    found = running_statistics(graph)
    roles = [
        (ref.number, RUNNING_STATISTICS.get(node.op, ()).index(position) if is_role else None)
        for node in graph.nodes
        for position, arg in enumerate(node.args)
        for is_role in (position in RUNNING_STATISTICS.get(node.op, ()),)
        for ref in refs((arg,))
        if isinstance(ref, WeightRef) and ref.number in found
    ]
    _expect(
        len(set(roles)) == len(found),
        "running statistics must be a norm's mean or variance, and nothing else",
    )


def _check_constants(graph: Graph) -> None:
    """Reject tensors made inside forward that could replace weights."""
    for number, node in enumerate(graph.nodes):
        if node.op == "new_full.default":
            size = node.args[1]
            assert isinstance(size, tuple)
            grows = any(isinstance(each, Extent) for each in size)
            _expect(
                grows or all(each == 1 for each in size),
                f"n{number}: a constant of shape {size} is made inside forward; "
                "weights must be parameters made in __init__",
            )


def _check_gradients(graph: Graph) -> None:
    _expect(any(weight.trainable for weight in graph.weights), "no trainable parameters are used")
    trained: list[bool] = []
    for node in graph.nodes:
        trained.append(node.op not in _FLAT and _is_trained(graph, node, trained))
    output = graph.output
    _expect(
        isinstance(output, NodeResult) and trained[output.node],
        "no gradient reaches a trainable parameter from the output",
    )


def _is_trained(graph: Graph, node: Node, trained: list[bool]) -> bool:
    return any(
        (isinstance(ref, WeightRef) and graph.weights[ref.number].trainable)
        or (isinstance(ref, NodeResult) and trained[ref.node])
        for ref in refs(node.args)
    )


def _infer(graph: Graph, batch: int, limits: GraphLimits) -> Shapes:
    try:
        return infer(graph, batch, max_elements=batch * limits.max_activation_bytes // 4)
    except ShapeError as error:
        raise InvalidNetwork(str(error)) from error


def _check_output(passes: Iterable[Shapes], num_classes: int) -> None:
    for batch, shapes in zip(_BATCHES, passes, strict=True):
        shape = tuple(shapes.output.shape)
        _expect(
            shape == (batch, num_classes),
            f"the output must be (batch, {num_classes}), is {shape} for a batch of {batch}",
        )
        _expect(shapes.output.dtype is torch.float32, "the output must be float32")


def _check_line(small: Shapes, large: Shapes, least: Shapes) -> None:
    """Check that the cost of a batch grows by the same amount for each image."""
    for name, *costs in (
        ("multiply-adds", small.flops, large.flops, least.flops),
        ("activations", small.activation_bytes, large.activation_bytes, least.activation_bytes),
    ):
        (a, b, c), (x, y, z) = _BATCHES, costs
        _expect(
            (y - x) * (a - c) == (x - z) * (b - a),
            f"{name} must grow linearly with the batch, are {z}, {x} and {y} for {c}, {a} and {b} images",
        )


def _check_batch_axis(graph: Graph, shapes: Shapes, batch: int) -> None:
    try:
        axis = propagate(graph, shapes, batch)
    except MixedBatchError as error:
        raise InvalidNetwork(str(error)) from error
    _expect(axis == BatchAxis(0), "the output must have one row for each image, in their order")


def _per_image(small: int, large: int) -> int:
    """Return the cost of one image plus the fixed cost of a batch."""
    slope = (large - small) // (_BATCHES[1] - _BATCHES[0])
    return slope + max(0, small - slope * _BATCHES[0])


def _measure(graph: Graph, small: Shapes, large: Shapes) -> Measures:
    depth, width = depth_and_width(graph, small)
    return Measures(
        num_parameters=sum(math.prod(w.shape) for w in graph.weights if w.trainable),
        flops=_per_image(small.flops, large.flops),
        width=width,
        depth=depth,
    )


def _check_limits(measures: Measures, activation_bytes: int, limits: GraphLimits) -> None:
    for name, value, limit in (
        ("parameters", measures.num_parameters, limits.max_parameters),
        ("multiply-adds", measures.flops, limits.max_flops),
        ("bytes of activations per image", activation_bytes, limits.max_activation_bytes),
    ):
        _expect(value <= limit, f"a network may have at most {limit} {name}, has {value}")


def _check_information(graph: Graph, tensors: Mapping[str, torch.Tensor], limits: GraphLimits) -> None:
    """Limit the information in constants: by their size, or by their compressed size."""
    statistics = running_statistics(graph)
    constants = [
        tensors[weight_name(number)]
        for number, weight in enumerate(graph.weights)
        if not weight.trainable and number not in statistics
    ]
    raw = sum(4 * tensor.numel() for tensor in constants)
    limit = limits.max_source_bytes
    _expect(
        raw <= limit or (raw <= _MAX_RAW_CONSTANTS and _compresses(constants, limit)),
        f"tensors that are not trained may hold at most {limit} bytes, as long as a source may be; "
        f"they have {raw} bytes, and do not compress to that",
    )


def _compresses(tensors: Iterable[torch.Tensor], limit: int) -> bool:
    """Decide whether compressed tensors have at most `limit` bytes; stop as soon as they have more."""
    packer, size = zlib.compressobj(1), 0
    for tensor in tensors:
        numbers = tensor.reshape(-1).numpy()
        for start in range(0, len(numbers), 1 << 16):
            size += len(packer.compress(numbers[start : start + (1 << 16)].data))
            if size > limit:
                return False
    return size + len(packer.flush()) <= limit


def _read_weights(graph: Graph, data: bytes) -> dict[str, torch.Tensor]:
    expected = {weight_name(n): weight.shape for n, weight in enumerate(graph.weights)}
    size = sum(4 * math.prod(shape) for shape in expected.values())
    overhead = 4096 + 256 * len(expected)
    _expect(len(data) <= size + overhead, "the weights have more bytes than the graph names")
    try:
        tensors = safetensors.torch.load(data)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise InvalidNetwork(f"the weights must be safetensors: {error}") from error
    _check_weights(tensors, expected)
    return {name: tensors[name] for name in expected}


def _check_weights(tensors: Mapping[str, torch.Tensor], expected: Mapping[str, tuple[int, ...]]) -> None:
    _expect(tensors.keys() == expected.keys(), "the weights must be those of the graph")
    for name, tensor in tensors.items():
        _expect(tensor.dtype is torch.float32, f"{name} must be float32, is {tensor.dtype}")
        _expect(tuple(tensor.shape) == expected[name], f"{name} must have shape {expected[name]}")
        if tensor.numel() and not torch.isfinite(torch.stack(torch.aminmax(tensor))).all():
            raise InvalidNetwork(f"a weight of shape {expected[name]} is not finite", Outcome.NAN)
