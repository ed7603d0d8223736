"""The sandbox around the code that an LLM wrote: its layers, and how a candidate can violate it."""

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

_PR_SET_DUMPABLE = 4

#: Packages with data sets. A candidate that sees them could train on the images that measure it.
HIDDEN_PACKAGES = frozenset({"sklearn"})


class Layer(StrEnum):
    """Layers that a machine may lack; triage, fresh process, supervisor, parser, validator are always there."""

    #: A private view of files, no network, a process table of its own.
    BUBBLEWRAP = "bubblewrap"
    #: Another user than the daemon's.
    USER = "user"
    #: The kernel's access rules for paths, ports and signals.
    LANDLOCK = "landlock"
    #: A list of allowed system calls.
    SECCOMP = "seccomp"
    #: Resource limits of the process.
    RLIMITS = "rlimits"
    #: Resource limits of everything in the sandbox together.
    CGROUP = "cgroup"


class Violation(StrEnum):
    """How a candidate broke the sandbox's rules."""

    #: It wrote more than a network can have.
    FLOOD = "flood"
    #: A signal ended it: by a forbidden system call, a limit, or its own `kill`.
    KILLED = "killed"
    #: It ended without a result.
    EXITED = "exited"
    #: Its output is not a valid result.
    FORGED = "forged"
    #: It reported that it met a limit on files or processes.
    LIMIT = "limit"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sandbox:
    """Settings of the sandbox; every layer that the machine offers is used."""

    #: Layers without which the daemon does not start.
    require: frozenset[Layer] = frozenset()
    #: User that the lifter switches to, where the daemon may.
    user: str = "nobody"
    #: Layers to leave out. Only tests do that, to show what each layer stops.
    without: frozenset[Layer] = frozenset()


def hidden_folders(roots: list[str]) -> Iterator[Path]:
    """Find the folders of hidden packages in all places where Python and the system keep packages.

    Args:
        roots: Prefixes of Python installations; `/usr` and `/usr/local` are always searched.
    """
    for root in dict.fromkeys([*roots, "/usr", "/usr/local"]):
        for name in HIDDEN_PACKAGES:
            yield from Path(root).glob(f"lib*/python*/*-packages/{name}")


def forbid_tracing() -> None:
    """Forbid other processes of this user to trace this one, or read its memory and environment.

    Raises:
        OSError: the kernel rejects it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
