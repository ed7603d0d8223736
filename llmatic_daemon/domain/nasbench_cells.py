"""Cells of NAS-Bench-201: four nodes, six edges, one of five operations on each.

Node 0 is the cell's input, node 3 its output; a node is the sum of its incoming edges. As text, a cell is
`|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`. The number after each operation is the node that it reads.

Source: Dong & Yang 2020 (NAS-Bench-201), section 2.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
#: The (source, target) nodes of the edges, in the order of the text.
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
NUM_CELLS = len(OPERATIONS) ** len(EDGES)

_OPERATION = "|".join(OPERATIONS)
#: Regular expression of a cell. LLM servers use it as a grammar, so it has groups and alternatives only.
PATTERN = r"\+".join(
    r"\|" + "".join(rf"(?:{_OPERATION})~{source}\|" for source in range(target)) for target in (1, 2, 3)
)
_WORDS = re.compile(rf"({_OPERATION})~(\d)")
_ZERO = "#"


class CellError(ValueError):
    """A text that is not a valid cell; the message has one line."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One of the 15,625 cells: the operations of its edges, in the order of `EDGES`."""

    operations: tuple[str, ...]

    def __post_init__(self) -> None:
        """Reject operations that the benchmark does not contain."""
        if len(self.operations) != len(EDGES) or not set(self.operations) <= set(OPERATIONS):
            raise CellError(
                f"a cell must have {len(EDGES)} operations of {', '.join(OPERATIONS)}, "
                f"got {self.operations!r}"
            )

    @classmethod
    def parse(cls, text: str) -> "Cell":
        """Parse a cell.

        Raises:
            CellError: the text is not a valid cell.
        """
        if not re.fullmatch(PATTERN, text):
            raise CellError(
                f"a cell must look like |op~0|+|op~0|op~1|+|op~0|op~1|op~2|, with op one of "
                f"{', '.join(OPERATIONS)}; got {text[:120]!r}"
            )
        return cls(tuple(operation for operation, _ in _WORDS.findall(text)))

    def __str__(self) -> str:
        """Return the text that `parse` reads."""
        nodes = [
            "".join(f"{operation}~{source}|" for operation, source in self.into(target))
            for target in (1, 2, 3)
        ]
        return "+".join(f"|{node}" for node in nodes)

    def into(self, target: int) -> Iterator[tuple[str, int]]:
        """Yield the operation and the source of each edge that ends in a node."""
        for operation, (source, end) in zip(self.operations, EDGES, strict=True):
            if end == target:
                yield operation, source

    def with_operation(self, edge: int, operation: str) -> "Cell":
        """Return the cell with another operation on an edge, 0 to 5."""
        operations = list(self.operations)
        operations[edge] = operation
        return replace(self, operations=tuple(operations))

    @property
    def canonical(self) -> str:
        """Canonical name of the function that the cell computes, equal for isomorphic cells.

        The rules are the benchmark's. An edge of `none`, or from a zero node, is zero; a skip equals its
        source; the order of a sum does not count. There are 6,466 names.

        Source: Dong & Yang 2020, section 2.2; their code calls it `to_unique_str`.
        """
        return _canonical(self)

    @property
    def longest_path(self) -> int:
        """Number of operations on the longest path from input to output, 0 to 3, without skips."""
        depth: list[int | None] = [0]
        for target in (1, 2, 3):
            reached = [
                before + (operation != "skip_connect")
                for operation, source in self.into(target)
                if operation != "none" and (before := depth[source]) is not None
            ]
            depth.append(max(reached, default=None))
        return depth[-1] or 0


@cache
def _canonical(cell: Cell) -> str:
    names = ["0"]
    for target in (1, 2, 3):
        terms = sorted(_term(operation, names[source]) for operation, source in cell.into(target))
        names.append("+".join(terms))
    return names[-1]


def _term(operation: str, name: str) -> str:
    if operation == "none" or name == _ZERO:
        return _ZERO
    return name if operation == "skip_connect" else f"({name})@{operation}"


def every_cell() -> Iterator[Cell]:
    """Yield all cells."""
    for number in range(NUM_CELLS):
        digits = [number // len(OPERATIONS) ** power % len(OPERATIONS) for power in range(6)]
        yield Cell(tuple(OPERATIONS[digit] for digit in digits))
