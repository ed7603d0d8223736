"""A note in the state folder: on which processor and torch the kernels were tried last, and how that ended."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from llmatic_daemon.adapters.storage.disk import write_atomically
from llmatic_daemon.adapters.storage.state_folder import KERNEL_NOTE


@dataclass(frozen=True, kw_only=True, slots=True)
class KernelNote:
    """The last check of the kernels."""

    #: Model, as Linux names it.
    processor: str
    torch: str
    #: Variables that choose kernels.
    variables: Mapping[str, str]
    num_cells: int
    #: Cells with a fault that nothing avoids.
    num_unexplained: int

    def is_about(self, processor: str, torch: str, variables: Mapping[str, str]) -> bool:
        """Decide whether it holds for a processor, a torch and an environment."""
        return (self.processor, self.torch, self.variables) == (processor, torch, variables)


def write(folder: Path, note: KernelNote) -> None:
    """Replace the note.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    write_atomically(folder / KERNEL_NOTE, json.dumps(asdict(note)))


def read(folder: Path) -> KernelNote | None:
    """Read the note; None where there is none, or nonsense."""
    try:
        read = json.loads((folder / KERNEL_NOTE).read_text("utf-8"))
        return KernelNote(
            processor=str(read["processor"]),
            torch=str(read["torch"]),
            variables={str(name): str(value) for name, value in read["variables"].items()},
            num_cells=int(read["num_cells"]),
            num_unexplained=int(read["num_unexplained"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
