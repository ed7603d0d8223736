"""Propagate the batch axis through a graph, by one rule for each operation."""

from llmatic_daemon.worker.graph.batch_axis import (
    AxisStep,
    BatchAxes,
    BatchAxis,
    MixedBatchError,
    axis_of,
    require,
)
from llmatic_daemon.worker.graph.batch_layer_rules import LAYER_RULES
from llmatic_daemon.worker.graph.batch_shape_rules import CREATING_RULES, SHAPE_RULES
from llmatic_daemon.worker.graph.nodes import Graph
from llmatic_daemon.worker.graph.shapes import Shapes

_RULES = {**LAYER_RULES, **SHAPE_RULES}


def propagate(graph: Graph, shapes: Shapes, batch: int) -> BatchAxis | None:
    """Propagate the batch axis from the input to the output of a graph.

    Args:
        graph: A graph whose shapes were inferred.
        shapes: For this batch.
        batch: Number of images.

    Returns:
        The batch axis of the output; None if it has none.

    Raises:
        MixedBatchError: an operation may mix images.
    """
    found: list[BatchAxes] = []
    for number, node in enumerate(graph.nodes):
        step = AxisStep(graph, node, shapes, batch, found)
        try:
            found.append(_axes_of_results(step))
        except MixedBatchError as error:
            raise MixedBatchError(f"n{number} ({node.op}): {error}") from error
    return axis_of(graph.output, found)


def _axes_of_results(step: AxisStep) -> BatchAxes:
    create = CREATING_RULES.get(step.node.op)
    if create is not None:
        return create(step)
    if not any(map(step.axis_of, step.tensors())):
        return None
    rule = _RULES.get(step.node.op)
    require(rule is not None, "it is not known how it treats the images of a batch")
    assert rule is not None
    return rule(step)
