"""Tries cells of a kernel grid in forked processes, so that a kernel that kills ends one fork alone.

`python -m llmatic_daemon.worker.kernels.check_server GRID DEVICE TIMEOUT_S`, where GRID is `module:NAME` of a
`KernelGrid`. It first writes one frame {"torch", "capability", "malloc"}. It then answers requests
{"first": number, "count": number, "repeats": number} one after the other, each in new forks:

- {"cell": number, "operation", "call", "avoided_by"} before a cell runs, `repeats` times,
- {"fault", "detail"} after it, once, if something is wrong,
- {"ended": true}, or {"died": detail, "hung": bool} where the fork died at the last cell.

This process imports torch and computes nothing: a fork of a process with threads could hang.
"""

import os
import pkgutil
import platform
import resource
import signal
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import torch
import torch.fx.experimental.symbolic_shapes  # which the first backward pass of each fork would import

from llmatic_daemon.domain import frames
from llmatic_daemon.worker.kernels.guarded_memory import slack_is_filled
from llmatic_daemon.worker.kernels.kernel_cell import KernelGrid
from llmatic_daemon.worker.kernels.kernel_trial import try_cell
from llmatic_daemon.worker.pipes import own_pipes

#: glibc's malloc checked itself, asked by MALLOC_CHECK_ alone, before this version.
_SEPARATE_SINCE = (2, 34)
_MALLOC_LIBRARY = "libc_malloc_debug"
#: How torch begins a warning on stderr.
_WARNING = "[W"


def checks_malloc() -> bool:
    """Decide whether glibc's checking malloc is active in this process."""
    if not os.environ.get("MALLOC_CHECK_"):
        return False
    name, version = platform.libc_ver()
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if name == "glibc" and numbers < _SEPARATE_SINCE:
        return True
    return _MALLOC_LIBRARY in Path("/proc/self/maps").read_text()


@dataclass(frozen=True, kw_only=True, slots=True)
class _CheckServer:
    grid: KernelGrid
    device: str
    #: Limit of one cell, in seconds.
    timeout_s: float
    outgoing: BinaryIO

    def send(self, **header: Any) -> None:
        self.outgoing.write(frames.encode(header))
        self.outgoing.flush()

    def answer(self, cells: range, repeats: int) -> None:
        """Try cells in forks, and report how they ended."""
        if all(self._try_in_fork(part, repeats) for part in self._parts(cells)):
            self.send(ended=True)

    def _parts(self, cells: range) -> Iterator[range]:
        """Split cells, so that one with a known fault is alone: its damage would be blamed on others."""
        start = cells.start
        for number in cells:
            if self.grid.avoided_by(self.grid.cell(number)) is not None:
                yield from (part for part in (range(start, number), range(number, number + 1)) if part)
                start = number + 1
        if start < cells.stop:
            yield range(start, cells.stop)

    def _try_in_fork(self, cells: range, repeats: int) -> bool:
        """Try cells in one fork; report if it died, and return whether it did not."""
        with tempfile.TemporaryFile() as errors:
            pid = os.fork()
            if pid == 0:
                self._end_fork(cells, repeats, errors)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if code:
                self.send(died=_summary(code, errors), hung=code == -signal.SIGALRM)
        return code == 0

    def _end_fork(self, cells: range, repeats: int, errors: BinaryIO) -> NoReturn:
        """Try cells, then end this fork without the clean-up that belongs to its parent."""
        status = 1
        try:
            os.dup2(errors.fileno(), 2)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            self._try(cells, repeats)
            status = 0
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(status)

    def _try(self, cells: range, repeats: int) -> None:
        """Try cells one after the other; the alarm ends a fork whose cell hangs."""
        checks_slack = not checks_malloc() and slack_is_filled()
        for cell in map(self.grid.cell, cells):
            avoided_by = self.grid.avoided_by(cell)
            self.send(cell=cell.number, operation=cell.operation, call=str(cell), avoided_by=avoided_by)
            for _ in range(repeats):
                signal.setitimer(signal.ITIMER_REAL, self.timeout_s)
                found = try_cell(self.grid, cell, device=self.device, checks_slack=checks_slack)
                signal.setitimer(signal.ITIMER_REAL, 0)
                if found is not None:
                    self.send(fault=found.fault, detail=found.detail)
                    break


def _summary(code: int, errors: BinaryIO) -> str:
    """Return how a fork ended, with its last lines of stderr; one line."""
    how = f"signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"
    errors.seek(0)
    lines = [line.strip() for line in errors.read().decode(errors="replace").splitlines()]
    last = " | ".join([line for line in lines if line and not line.startswith(_WARNING)][-3:])
    return f"{how}: {last}"[:400] if last else how


def main() -> None:
    """Answer requests until the input ends."""
    name, device, timeout_s = sys.argv[1:4]
    incoming, outgoing = own_pipes()
    warnings.simplefilter("ignore")
    grid = pkgutil.resolve_name(name)
    server = _CheckServer(grid=grid, device=device, timeout_s=float(timeout_s), outgoing=outgoing)
    capability = torch.backends.cpu.get_cpu_capability()
    server.send(torch=torch.__version__, capability=capability, malloc=checks_malloc())
    while True:
        try:
            request, _ = frames.read_file(incoming)
        except EOFError:
            return
        first = request["first"]
        server.answer(range(first, first + request["count"]), request["repeats"])


if __name__ == "__main__":
    main()
