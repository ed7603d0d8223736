"""Kernels of a processor or a GPU that were tried, and the faults that were found."""

from dataclasses import dataclass
from enum import StrEnum


class KernelFault(StrEnum):
    """Kind of a fault."""

    #: A result or gradient is not the reference's.
    DIFFERS = "differs"
    #: It wrote outside a tensor.
    OUT_OF_BOUNDS = "out of bounds"
    #: It ended its process.
    DIED = "died"
    #: It did not end within the time limit.
    HUNG = "hung"
    #: It raised an exception where the reference does not.
    RAISED = "raised"


@dataclass(frozen=True, kw_only=True, slots=True)
class KernelFinding:
    """A cell of the kernel grid with a fault."""

    #: Instruction set level, or device.
    level: str
    #: Number of the cell, which reproduces it.
    number: int
    operation: str
    #: The call in one line.
    cell: str
    fault: KernelFault
    #: One line: what was found.
    detail: str
    #: The known fault that the trainer avoids; None: unknown.
    avoided_by: str | None = None
    #: Variables of the environment under which the cell is right; empty: none was found.
    remedy: str = ""

    @property
    def is_explained(self) -> bool:
        """Whether the trainer avoids this fault without anyone's help."""
        return self.avoided_by is not None
