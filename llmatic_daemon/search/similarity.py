"""The structure of a network, as the number of each operation in its graph, and their similarity."""

import json
import math
import re
from collections import Counter

#: Name and number of each operation, sorted by name.
Structure = tuple[tuple[str, int], ...]

#: An operation in the canonical name of a cell (`nasbench_cells.Cell.canonical`).
_OF_CELL = re.compile(r"@(\w+)")


def structure_of(graph: bytes) -> Structure:
    """Count the operations of a network's graph: canonical JSON, or the name of a cell."""
    text = graph.decode()
    if text.startswith("{"):
        found = [operation for operation, *_ in json.loads(text)["nodes"]]
    else:
        found = _OF_CELL.findall(text)
    return tuple(sorted(Counter(found).items()))


def similarity(one: Structure, other: Structure) -> float:
    """Return the cosine similarity of two structures, in [0, 1]; 0 if one has no operation."""
    theirs = dict(other)
    product = sum(number * theirs.get(name, 0) for name, number in one)
    length = math.sqrt(sum(n * n for _, n in one) * sum(n * n for _, n in other))
    return product / length if length else 0.0
