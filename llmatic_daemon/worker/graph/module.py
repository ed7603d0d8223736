"""Build an `nn.Module` from a graph: generated calls, as fast as the eager network."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx, nn

from llmatic_daemon.worker.graph import avoided_kernels, operations
from llmatic_daemon.worker.graph.nodes import Extent, Graph, Interpreter, Node, NodeResult, weight_name


class _Builder(Interpreter):
    """Writes one `fx.Graph`; each value is created once."""

    def __init__(self, graph: Graph, function: Callable[[str], Callable[..., Any]]) -> None:
        self._function = function
        self._fx = fx.Graph()
        self._input = self._fx.placeholder("x")
        self._weights = [self._attribute(weight_name(n)) for n in range(len(graph.weights))]
        self._training: fx.Node | None = None
        self._batch: fx.Node | None = None
        self._extents: dict[Extent, fx.Node] = {}
        self._results: list[fx.Node] = []
        self._items: dict[NodeResult, fx.Node] = {}
        for node in graph.nodes:
            self._results.append(self._call(node))
        self._fx.output(self._value(graph.output))

    def module(self, root: nn.Module) -> fx.GraphModule:
        return fx.GraphModule(root, self._fx, class_name="LiftedNetwork")

    def _attribute(self, name: str) -> fx.Node:
        return self._fx.create_node("get_attr", name)

    def _call(self, node: Node) -> fx.Node:
        args = [self._value(arg) for arg in node.args]
        self._follow_training(node, args)
        positional, keywords = operations.split_arguments(node.op, args)
        return self._fx.call_function(self._function(node.op), tuple(positional), keywords)

    def _follow_training(self, node: Node, args: list[Any]) -> None:
        """Replace the literals that were True at export by `module.training`."""
        flag = operations.TRAINING_FLAG.get(node.op)
        if flag is not None and args[flag] is True and _has_two_modes(node):
            args[flag] = self._is_training()
        probability = operations.TRAINING_PROBABILITY.get(node.op)
        if probability is not None and len(args) > probability and args[probability]:
            product = (self._is_training(), args[probability])
            args[probability] = self._fx.call_function(operator.mul, product)

    def _is_training(self) -> fx.Node:
        if self._training is None:
            self._training = self._attribute("training")
        return self._training

    def _result(self, ref: NodeResult) -> fx.Node:
        if ref.item is None:
            return self._results[ref.node]
        if ref not in self._items:
            picked = (self._results[ref.node], ref.item)
            self._items[ref] = self._fx.call_function(operator.getitem, picked)
        return self._items[ref]

    def _extent(self, extent: Extent) -> fx.Node:
        if self._batch is None:
            self._batch = self._fx.call_method("size", (self._input, 0))
        if extent not in self._extents:
            size = self._batch
            if extent.batch != 1:
                size = self._fx.call_function(operator.mul, (size, extent.batch))
            if extent.plus:
                size = self._fx.call_function(operator.add, (size, extent.plus))
            self._extents[extent] = size
        return self._extents[extent]


def _has_two_modes(node: Node) -> bool:
    """Decide whether evaluation differs; a norm without running statistics always uses the batch's."""
    statistics = operations.RUNNING_STATISTICS.get(node.op)
    return statistics is None or node.args[statistics[0]] is not None


def build(
    graph: Graph, weights: Mapping[str, torch.Tensor], *, avoids_kernels: bool = True
) -> fx.GraphModule:
    """Return a module that runs the graph; it owns copies of the weights, named `w0`, `w1`, ...

    `train()` and `eval()` switch dropout and batch norm. Training updates running statistics. Any batch
    size works. The caller must validate the graph first.

    Args:
        graph: A validated graph.
        weights: A tensor for each weight of the graph.
        avoids_kernels: Whether training must be safe on each processor, see `avoided_kernels`. Inference runs
            none of these kernels.
    """
    root = nn.Module()
    for number, weight in enumerate(graph.weights):
        name = weight_name(number)
        tensor = weights[name].detach().clone()
        if weight.trainable:
            root.register_parameter(name, nn.Parameter(tensor))
        else:
            root.register_buffer(name, tensor)
    function = avoided_kernels.function if avoids_kernels else operations.function
    return _Builder(graph, function).module(root)
