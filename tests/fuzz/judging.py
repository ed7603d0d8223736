"""One fuzzed input, judged as the warm parent and the trainer judge it; only our own errors may come out."""

import json
import random
from typing import Any

from llmatic_daemon.domain import frames
from llmatic_daemon.worker.graph.validation import GraphLimits, InvalidNetwork, Validated, validate
from llmatic_daemon.worker.lifting import lift_server
from tests.fuzz import mutations

SHAPE = (3, 32, 32)
LIMITS = GraphLimits(max_parameters=20_000_000, max_flops=5_000_000_000, max_activation_bytes=64 << 20)


def judge(number: int) -> str:
    """Make and judge an input; the answer is one word for statistics.

    Raises:
        Exception: any other than ours is a finding.
    """
    rng = random.Random(number)
    if rng.random() < 0.3:
        return judge_result(mutations.result_bytes(rng))
    graph = mutations.graph_bytes(rng)
    return judge_network(graph, mutations.weight_bytes(rng, graph), mutations.order(rng, graph))


def judge_result(output: bytes) -> str:
    """Read what came through the pipe, and say why not as the parent does."""
    try:
        graph, weights, order = lift_server._read_result(output, LIMITS)
    except lift_server.Rejected as rejected:
        said = {"outcome": rejected.cause.value, "detail": lift_server._one_line(str(rejected))}
        json.loads(frames.encode(said)[4:])
        return "no result"
    return judge_network(graph, weights, order)


def judge_network(graph: bytes, weights: bytes, order: Any) -> str:
    try:
        valid = validate(graph, weights, LIMITS, SHAPE, 10, order)
    except InvalidNetwork as error:
        return "refused" if lift_server._one_line(error.detail) else "refused without a word"
    return "accepted" if isinstance(valid, Validated) else "neither"
