"""Tries cells of a kernel grid in forked processes, so that a kernel that kills ends one fork alone.

`python -m llmatic_daemon.worker.kernels.check_server GRID DEVICE TIMEOUT_S`, where GRID is `module:NAME` of a
`KernelGrid`. It first writes one frame {"torch", "capability", "malloc"}. It then answers requests
{"first": number, "count": number} one after the other, each in a new fork:

- {"cell": number, "operation", "call", "avoided_by"} before a cell runs,
- {"fault", "detail"} after it, if something is wrong,
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
from pathlib import Path
from typing import Any, BinaryIO

import torch

from llmatic_daemon.domain import frames
from llmatic_daemon.worker.kernels.guarded_memory import slack_is_filled
from llmatic_daemon.worker.kernels.kernel_cell import KernelGrid
from llmatic_daemon.worker.kernels.kernel_trial import try_cell
from llmatic_daemon.worker.pipes import own_pipes

#: glibc's malloc checked itself, asked by MALLOC_CHECK_ alone, before this version.
_SEPARATE_SINCE = (2, 34)
_MALLOC_LIBRARY = "libc_malloc_debug"


def checks_malloc() -> bool:
    """Decide whether glibc's checking malloc is active in this process."""
    if not os.environ.get("MALLOC_CHECK_"):
        return False
    name, version = platform.libc_ver()
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if name == "glibc" and numbers < _SEPARATE_SINCE:
        return True
    return _MALLOC_LIBRARY in Path("/proc/self/maps").read_text()


def _send(outgoing: BinaryIO, **header: Any) -> None:
    outgoing.write(frames.encode(header))
    outgoing.flush()


def _run(grid: KernelGrid, cells: range, device: str, timeout_s: float, outgoing: BinaryIO) -> None:
    """Try cells one after the other; the alarm ends a fork whose cell hangs."""
    checks_slack = not checks_malloc() and slack_is_filled()
    for number in cells:
        cell = grid.cell(number)
        avoided_by = grid.avoided_by(cell)
        _send(outgoing, cell=number, operation=cell.operation, call=str(cell), avoided_by=avoided_by)
        signal.setitimer(signal.ITIMER_REAL, timeout_s)
        found = try_cell(grid, cell, device=device, checks_slack=checks_slack)
        if found is not None:
            _send(outgoing, fault=found.fault, detail=found.detail)
    signal.setitimer(signal.ITIMER_REAL, 0)


def _in_fork(grid: KernelGrid, cells: range, device: str, timeout_s: float, outgoing: BinaryIO) -> None:
    """Try cells in a fork, and report how it ended."""
    with tempfile.TemporaryFile() as errors:
        pid = os.fork()
        if pid == 0:
            os.dup2(errors.fileno(), 2)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            status = 1
            try:
                _run(grid, cells, device, timeout_s, outgoing)
                status = 0
            except BaseException as error:
                os.write(2, f"{type(error).__name__}: {error}\n".encode())
            finally:
                os._exit(status)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code == 0:
            _send(outgoing, ended=True)
        else:
            _send(outgoing, died=_summary(code, errors), hung=code == -signal.SIGALRM)


def _summary(code: int, errors: BinaryIO) -> str:
    """Return how a fork ended, with its last lines of stderr; one line."""
    how = f"signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"
    errors.seek(0)
    lines = [line.strip() for line in errors.read().decode(errors="replace").splitlines()]
    last = " | ".join([line for line in lines if line][-3:])
    return f"{how}: {last}"[:400] if last else how


def main() -> None:
    """Answer requests until the input ends."""
    name, device, timeout_s = sys.argv[1:4]
    incoming, outgoing = own_pipes()
    warnings.simplefilter("ignore")
    grid = pkgutil.resolve_name(name)
    capability = torch.backends.cpu.get_cpu_capability()
    _send(outgoing, torch=torch.__version__, capability=capability, malloc=checks_malloc())
    while True:
        try:
            request, _ = frames.read_file(incoming)
        except EOFError:
            return
        cells = range(request["first"], request["first"] + request["count"])
        _in_fork(grid, cells, device, float(timeout_s), outgoing)


if __name__ == "__main__":
    main()
