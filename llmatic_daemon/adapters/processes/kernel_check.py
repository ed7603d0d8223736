"""Tries cells of the kernel grid in child processes side by side, at one instruction set level after another."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from llmatic_daemon.adapters.processes.child import Child, ChildGone
from llmatic_daemon.adapters.processes.instruction_sets import InstructionSet, alternatives
from llmatic_daemon.domain.errors import KernelCheckUnavailable
from llmatic_daemon.domain.kernels import KernelFault, KernelFinding

MODULE = "llmatic_daemon.worker.kernels.check_server"
VOCABULARY = "llmatic_daemon.worker.kernels.vocabulary_grid:VOCABULARY_GRID"

#: glibc's checking malloc ends a process that has written behind a buffer, when it frees the buffer.
_CHECKS = {"LD_PRELOAD": "libc_malloc_debug.so.0", "MALLOC_CHECK_": "3", "MALLOC_PERTURB_": "165"}
#: Threads that wait leave the core to other children.
_THREADS = {"OMP_WAIT_POLICY": "passive"}
#: Cells in one fork.
_CHUNK = 200
#: How often a cell is tried alone: the heap decides whether damage is seen.
_REPEATS = 20
#: Findings for which a remedy is looked up, of each operation.
_MOST_REMEDIES = 3
#: Limit of a start, and what an answer may take beyond the limit of a cell.
_SLACK_S = 120.0


@dataclass(slots=True)
class _Outcome:
    """What one request has found."""

    num_tried: int = 0
    findings: list[KernelFinding] = field(default_factory=list)
    #: The fork died at the last cell, which is the last finding.
    died: bool = False


class _CheckChild:
    """A child that tries cells at one level."""

    def __init__(self, child: Child, level: str, timeout_s: float) -> None:
        self._child, self._level, self._timeout_s = child, level, timeout_s
        #: Whether glibc's checking malloc is active.
        self.checks_malloc = False

    async def begin(self) -> None:
        hello = await self._receive()
        self.checks_malloc = bool(hello.get("malloc"))

    async def run(
        self, cells: range, tried: Callable[[], None] = lambda: None, *, repeats: int = 1
    ) -> _Outcome:
        """Try cells until one kills the fork, each so often."""
        with self._errors_named():
            await self._child.send({"first": cells.start, "count": len(cells), "repeats": repeats})
        outcome, cell = _Outcome(), dict[str, Any]()
        while "ended" not in (answer := await self._receive()):
            if "cell" in answer:
                cell = answer
                outcome.num_tried += 1
                tried()
            elif "fault" in answer:
                fault = KernelFault(answer["fault"])
                outcome.findings.append(self._finding(cell, fault, answer["detail"]))
            else:
                fault = KernelFault.HUNG if answer["hung"] else KernelFault.DIED
                outcome.findings.append(self._finding(cell, fault, answer["died"]))
                outcome.died = True
                break
        return outcome

    async def _receive(self) -> dict[str, Any]:
        with self._errors_named():
            async with asyncio.timeout(self._timeout_s + _SLACK_S):
                answer, _ = await self._child.receive()
        return answer

    @contextlib.contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except (ChildGone, TimeoutError) as error:
            why = str(error) or f"no answer within {self._timeout_s + _SLACK_S:g} s"
            raise KernelCheckUnavailable(
                f"expected a process that tries kernels at {self._level}, got: {why}; try again"
            ) from error

    def _finding(self, cell: Mapping[str, Any], fault: KernelFault, detail: str) -> KernelFinding:
        if not cell:
            raise KernelCheckUnavailable(f"expected a process that tries kernels, got: {detail}; try again")
        return KernelFinding(
            level=self._level,
            number=cell["cell"],
            operation=cell["operation"],
            cell=cell["call"],
            fault=fault,
            detail=detail,
            avoided_by=cell["avoided_by"],
        )


class KernelCheck:
    """One check of kernels; what it has found so far can be read at any time."""

    def __init__(
        self,
        levels: Sequence[InstructionSet],
        cells: range,
        *,
        grid: str = VOCABULARY,
        num_processes: int | None = None,
        timeout_s: float = 20.0,
        device: str = "cpu",
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare a check.

        Args:
            levels: Tried one after another.
            cells: Numbers of the cells tried at each level.
            grid: `module:NAME` of a grid of the workers.
            num_processes: Children side by side; None: one for each core.
            timeout_s: Limit of one cell.
            device: `cpu`, or a CUDA device that is compared with the CPU.
            watch: Called for each cell that begins.
        """
        self._levels, self._cells, self._grid = levels, cells, grid
        self._num_processes = num_processes or len(os.sched_getaffinity(0))
        self._timeout_s, self._device, self._watch = timeout_s, device, watch
        self._open: set[int] = set()
        self.num_tried = 0
        self.findings: list[KernelFinding] = []
        #: The level that is being tried, and from which cell on it is not finished.
        self.level = levels[0].name
        self.first_open = cells.start
        self.is_done = False
        #: Whether glibc's checking malloc was active in every child that tries the processor.
        self.checks_malloc = True

    @property
    def level_names(self) -> list[str]:
        """Names of the levels."""
        return [level.name for level in self._levels]

    @property
    def num_cells(self) -> int:
        """Cells to try, at all levels together."""
        return len(self._levels) * len(self._cells)

    async def run(self) -> list[KernelFinding]:
        """Try all cells at all levels; cancelling leaves no process.

        Raises:
            ExceptionGroup: of KernelCheckUnavailable: a child does not start or answer.
        """
        for level in self._levels:
            self.level, self.first_open = level.name, self._cells.start
            chunks = _chunks(self._cells)
            async with asyncio.TaskGroup() as children:
                for _ in range(min(self._num_processes, -(-len(self._cells) // _CHUNK))):
                    children.create_task(self._work(level, chunks))
            await self._find_remedies(level)
        self.is_done = True
        return self.findings

    async def _work(self, level: InstructionSet, chunks: Iterator[range]) -> None:
        async with self._child(level.name, level.environment) as child:
            for chunk in chunks:
                self._open.add(chunk.start)
                await self._try(child, chunk)
                self._open.remove(chunk.start)
                self.first_open = min(self._open, default=chunk.stop)

    async def _try(self, child: _CheckChild, cells: range) -> None:
        """Try cells; go on behind each one that kills."""
        while cells:
            outcome = await child.run(cells, self._count)
            reached = cells.start + outcome.num_tried
            if outcome.died:
                last = outcome.findings.pop()
                outcome.findings += await _blamed(child, last, range(cells.start, reached))
            self.findings += outcome.findings
            cells = range(reached, cells.stop)

    def _count(self) -> None:
        self.num_tried += 1
        self._watch()

    async def _find_remedies(self, level: InstructionSet) -> None:
        """Look up which environment avoids each unexplained fault of a level."""
        for environment in () if self._device != "cpu" else alternatives(level):
            wanted = [n for n in _without_remedy(self.findings) if self.findings[n].level == level.name]
            if not wanted:
                return
            async with self._child(level.name, {**level.environment, **environment}) as child:
                for index in wanted:
                    number = self.findings[index].number
                    if not (await child.run(range(number, number + 1), repeats=_REPEATS)).findings:
                        words = " ".join(f"{name}={value}" for name, value in environment.items())
                        self.findings[index] = replace(self.findings[index], remedy=words)

    @contextlib.asynccontextmanager
    async def _child(self, name: str, variables: Mapping[str, str]) -> AsyncIterator[_CheckChild]:
        child = await Child.start(
            MODULE,
            self._grid,
            self._device,
            str(self._timeout_s),
            name=f"kernel check at {name}",
            only={**_THREADS, **variables, **(_CHECKS if self._device == "cpu" else _visible_devices())},
            prefix=() if self._device == "cpu" else _sanitizer(),
        )
        try:
            made = _CheckChild(child, name, self._timeout_s)
            await made.begin()
            self.checks_malloc &= made.checks_malloc or self._device != "cpu"
            yield made
        finally:
            await child.kill()


def _chunks(cells: range) -> Iterator[range]:
    return (cells[start : start + _CHUNK] for start in range(0, len(cells), _CHUNK))


async def _blamed(child: _CheckChild, last: KernelFinding, cells: range) -> list[KernelFinding]:
    """Return the finding of the cell that killed, or of one before it that has damaged the heap."""
    if last.fault is KernelFault.HUNG:
        return [last]
    for number in reversed(cells):
        alone = await child.run(range(number, number + 1), repeats=_REPEATS)
        if alone.findings:
            return alone.findings
    before = f"cells {cells.start} to {cells.stop - 1} one after another"
    return [replace(last, detail=f"{last.detail}; not alone, but in {before}")]


def _without_remedy(findings: Sequence[KernelFinding]) -> list[int]:
    """Return the positions of the first unexplained findings of each operation that have no remedy."""
    wanted: dict[tuple[str, str], list[int]] = {}
    for index, finding in enumerate(findings):
        if not finding.is_explained:
            wanted.setdefault((finding.level, finding.operation), []).append(index)
    first = [index for each in wanted.values() for index in each[:_MOST_REMEDIES]]
    return [index for index in first if not findings[index].remedy]


def _visible_devices() -> dict[str, str]:
    names = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")
    return {name: os.environ[name] for name in names if name in os.environ}


def _sanitizer() -> list[str]:
    """Return the command that checks the memory of a GPU, if it is installed."""
    program = shutil.which("compute-sanitizer")
    if program is None:
        return []
    return [program, "--target-processes", "all", "--log-file", "/dev/stderr"]
