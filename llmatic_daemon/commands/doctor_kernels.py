"""The check of kernels: `doctor --kernels` tries many cells at each level, plain `doctor` a few once."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from llmatic_daemon.adapters.processes import instruction_sets
from llmatic_daemon.adapters.processes.instruction_sets import InstructionSet
from llmatic_daemon.adapters.processes.kernel_check import VOCABULARY, KernelCheck
from llmatic_daemon.adapters.storage.notes import kernel_note
from llmatic_daemon.adapters.storage.notes.kernel_note import KernelNote
from llmatic_daemon.domain.kernels import KernelFinding

#: Cells of the short form: every operation at least once.
SHORT_CELLS = 450


def _ignore() -> None:
    """Watch nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KernelPlan:
    """What `doctor --kernels` tries."""

    #: Numbers of the cells at each level and device.
    cells: range
    #: A level, or a GPU of the trainers; None: all that the processor has, and all GPUs.
    level: str | None = None
    #: Devices of the trainers.
    devices: Sequence[str] = ("cpu",)
    grid: str = VOCABULARY
    num_processes: int | None = None

    def checks(self, watch: Callable[[], None] = _ignore) -> list[KernelCheck]:
        """Return the checks: one of the processor, and one for each GPU of the trainers.

        Raises:
            ConfigurationError: the processor lacks the level, or there is none of this name.
        """
        gpus = sorted({device for device in self.devices if device != "cpu"})
        if self.level in gpus:
            return [self._of_gpu(self.level, watch)]
        processor = KernelCheck(
            self._levels(), self.cells, grid=self.grid, num_processes=self.num_processes, watch=watch
        )
        return [processor, *(self._of_gpu(device, watch) for device in gpus if self.level is None)]

    def _levels(self) -> list[InstructionSet]:
        flags = instruction_sets.processor_flags()
        if self.level is None:
            return instruction_sets.available(flags)
        return [instruction_sets.named(self.level, flags)]

    def _of_gpu(self, device: str, watch: Callable[[], None]) -> KernelCheck:
        """Return a check by one process: a GPU has one memory."""
        return KernelCheck(
            [InstructionSet(name=device)],
            self.cells,
            grid=self.grid,
            num_processes=1,
            device=device,
            watch=watch,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class KernelSummary:
    """The result of the short form."""

    processor: str
    torch: str
    num_cells: int
    findings: Sequence[KernelFinding] = ()
    #: Whether an earlier check of the same processor and torch was fine, so that nothing was tried now.
    is_earlier: bool = False

    @property
    def unexplained(self) -> list[KernelFinding]:
        """Findings that nothing avoids."""
        return [finding for finding in self.findings if not finding.is_explained]


async def try_once(folder: Path, *, grid: str = VOCABULARY, num_cells: int = SHORT_CELLS) -> KernelSummary:
    """Try a few cells, as trainers run them, unless that was fine before; note it in the state folder.

    Args:
        folder: State folder; if it is missing, nothing is noted.
        grid: `module:NAME` of a grid of the workers.
        num_cells: Cells to try.

    Raises:
        KernelCheckUnavailable: the children do not start.
    """
    now = KernelSummary(processor=instruction_sets.processor(), torch=version("torch"), num_cells=num_cells)
    variables = instruction_sets.chosen()
    note = kernel_note.read(folder)
    if note and note.is_about(now.processor, now.torch, variables) and not note.num_unexplained:
        return replace(now, num_cells=note.num_cells, is_earlier=True)
    own = instruction_sets.available(instruction_sets.processor_flags())[-1:]
    done = replace(now, findings=await KernelCheck(own, range(num_cells), grid=grid).run())
    with contextlib.suppress(OSError):  # no folder yet, or none to write: the next `doctor` tries again
        kernel_note.write(folder, _note(done, variables))
    return done


def _note(done: KernelSummary, variables: dict[str, str]) -> KernelNote:
    return KernelNote(
        processor=done.processor,
        torch=done.torch,
        variables=variables,
        num_cells=done.num_cells,
        num_unexplained=len(done.unexplained),
    )
