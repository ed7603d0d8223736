"""What a candidate's process gives up before its first line runs.

Covered here: descriptors, environment, working folder, session, resource limits, the life of the parent. NOT
covered, each to be added as a step of `confine` without changing anything else: another user, a private view of
files, no network, a system call filter. Processes that escape are killed by the supervisor.

As root the limit on processes does not bind; the supervisor's hunt for descendants does.
"""

import ctypes
import os
import resource
import signal
from dataclasses import dataclass

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
#: Where a candidate's process finds its result pipe; 0, 1 and 2 are /dev/null.
RESULT_DESCRIPTOR = 3

#: Loaded before any fork: looking for it later would need files.
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """What a candidate's process may use."""

    #: Wall-clock time until the result is there.
    time_s: float
    #: Address space beyond what the warm parent has.
    memory_bytes: int
    #: Of one file that it may write.
    file_bytes: int = 1 << 20
    #: Open descriptors, for lazy imports.
    num_files: int = 64


def confine(bounds: Bounds, folder: str, result: int) -> None:
    """Leave the parent's world; called in the fresh child, once.

    Args:
        bounds: Its resource limits.
        folder: An empty folder of its own.
        result: Descriptor of the result pipe; becomes `RESULT_DESCRIPTOR`.

    Raises:
        OSError: a step failed; nothing of the candidate may run.
    """
    # Before setsid: at each moment either this or the signal to our parent's group ends us.
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    _keep_only(result)
    os.environ.clear()
    os.chdir(folder)
    _limit(bounds)


def adopt_orphans() -> None:
    """Become the parent of all descendants whose own parent dies (double forks)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl {option}: {os.strerror(error)}")


def _keep_only(result: int) -> None:
    """Close every descriptor but the result pipe."""
    kept = os.dup(result)  # above 2 in any case, so that the next lines cannot overwrite it
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.dup2(kept, RESULT_DESCRIPTOR, inheritable=False)
    os.closerange(RESULT_DESCRIPTOR + 1, os.sysconf("SC_OPEN_MAX"))


def _limit(bounds: Bounds) -> None:
    cpu_s = int(bounds.time_s) + 1
    for kind, limit in (
        (resource.RLIMIT_AS, _address_space() + bounds.memory_bytes),
        (resource.RLIMIT_FSIZE, bounds.file_bytes),
        (resource.RLIMIT_NOFILE, bounds.num_files),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(kind, (limit, limit))
    # The kernel looks at the hard limit first, and its SIGKILL would not tell time from a crash.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))


def _address_space() -> int:
    """Measure what the warm parent handed on: a CUDA build of torch maps gigabytes."""
    with open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")
