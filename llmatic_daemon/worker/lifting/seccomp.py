"""Seccomp: the system calls that a candidate may make; all others fail with EPERM."""

import errno
import importlib
import os
from collections.abc import Iterator
from types import ModuleType

#: To compute, read files, import modules and exit.
_ALLOWED = tuple(
    name
    for line in (
        "read readv pread64 preadv write writev lseek close close_range dup dup2 dup3 pipe2 poll ppoll",
        "stat lstat fstat newfstatat statx statfs fstatfs access faccessat faccessat2 readlink readlinkat",
        "getdents64 getcwd chdir fchdir mmap munmap mprotect mremap madvise brk futex set_robust_list rseq",
        "membarrier rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending sigaltstack restart_syscall",
        "nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday time times getrusage sysinfo",
        "uname getpid gettid getppid getpgrp getpgid getsid getuid geteuid getgid getegid getresuid",
        "getresgid getgroups getrlimit sched_yield sched_getaffinity getcpu getrandom exit exit_group",
    )
    for name in line.split()
)
#: glibc falls back to the older call, which has its own rule.
_UNKNOWN = ("clone3", "openat2")
_GET_NAME, _SET_NAME = 16, 15
#: Signals to itself: `abort` and `raise` need them.
_TO_ITSELF = ("kill", "tkill", "tgkill")
#: Commands of `fcntl`: duplicate, get and set flags; no leases, signals to others, or huge pipes.
_FCNTL = (0, 1, 2, 3, 4, 1030)
#: Requests of `ioctl`: terminal or not, number of bytes, close on exec.
_IOCTL = (0x5401, 0x541B, 0x5450, 0x5451)


class NoSeccomp(Exception):
    """The library is missing, or the kernel has no filters; the text gives the reason."""


class Filter:
    """A filter of system calls, prepared before the fork."""

    def __init__(self) -> None:
        """Add the allowed calls.

        Raises:
            NoSeccomp: libseccomp or its Python binding is missing, or too old.
        """
        self._seccomp = _library()
        try:
            self._filter = self._seccomp.SyscallFilter(self._seccomp.ERRNO(errno.EPERM))
            for name, *conditions in self._rules():
                self._allow(name, *conditions)
            for name in _UNKNOWN:
                self._add(self._seccomp.ERRNO(errno.ENOSYS), name)
        except OSError as error:
            raise NoSeccomp(f"libseccomp makes no filter: {error}") from error

    def _rules(self) -> Iterator[tuple[object, ...]]:
        equal, masked = self._seccomp.EQ, self._seccomp.MASKED_EQ
        where = self._seccomp.Arg
        yield from ((name,) for name in _ALLOWED)
        # Files may be opened for reading only.
        changes = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC | os.O_APPEND | (os.O_TMPFILE & ~os.O_DIRECTORY)
        yield "open", where(1, masked, changes, os.O_RDONLY)
        yield "openat", where(2, masked, changes, os.O_RDONLY)
        yield "prlimit64", where(2, equal, 0)  # reads a limit, changes nothing
        for command in _FCNTL:
            yield "fcntl", where(1, equal, command)
        for request in _IOCTL:
            yield "ioctl", where(1, equal, request)
        for option in (_GET_NAME, _SET_NAME):
            yield "prctl", where(0, equal, option)

    def _allow(self, name: object, *conditions: object) -> None:
        self._add(self._seccomp.ALLOW, name, *conditions)

    def _add(self, action: int, name: object, *conditions: object) -> None:
        number = self._seccomp.resolve_syscall(self._seccomp.Arch.NATIVE, name)
        if number >= 0:  # else not a call of this architecture, or newer than the library
            self._filter.add_rule(action, number, *conditions)

    def load(self) -> None:
        """Apply the filter to this process for the rest of its life; it may still signal itself.

        Raises:
            OSError: the kernel rejects it.
        """
        for name in _TO_ITSELF:
            self._allow(name, self._seccomp.Arg(0, self._seccomp.EQ, os.getpid()))
        self._filter.load()


def _library() -> ModuleType:
    try:
        return importlib.import_module("pyseccomp")  # loads a library of the system
    except (ImportError, OSError, RuntimeError) as error:
        raise NoSeccomp(f"libseccomp must be installed: {error}") from error
