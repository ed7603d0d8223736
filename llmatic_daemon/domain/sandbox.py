"""The layers around the code that an LLM wrote: their names, and which are asked for."""

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

_PR_SET_DUMPABLE = 4

#: Packages that carry data sets, which no candidate may see: it could train itself on what it is measured by.
HIDDEN_PACKAGES = frozenset({"sklearn"})


class Layer(StrEnum):
    """What a machine may offer; triage, a fresh process, supervisor, parser and validator are always there."""

    #: A private view of files, no network, its own table of processes.
    BUBBLEWRAP = "bubblewrap"
    #: Another user than the daemon's.
    USER = "user"
    #: The kernel's own rules on paths, ports, signals.
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
    #: A signal ended it: a forbidden system call, a limit, its own hand.
    KILLED = "killed"
    #: It ended without a result.
    EXITED = "exited"
    #: What it wrote is no result.
    FORGED = "forged"
    #: It met a limit on files or processes, and said so.
    LIMIT = "limit"


#: How the reason begins that the lifter gives for each.
BEGINNINGS = {
    Violation.FLOOD: "wrote more than a network can have",
    Violation.KILLED: "its process was ended by",
    Violation.EXITED: "its process ended with",
    Violation.FORGED: "its result",
}


def violation_of(detail: str) -> Violation:
    """Tell how the rules were broken, by the reason that the lifter has given."""
    for violation, beginning in BEGINNINGS.items():
        if detail.startswith(beginning):
            return violation
    return Violation.LIMIT


@dataclass(frozen=True, kw_only=True, slots=True)
class Sandbox:
    """Which layers are used: all that the machine offers."""

    #: Without these there is no start.
    require: frozenset[Layer] = frozenset()
    #: Whom the lifter becomes where the daemon may switch.
    user: str = "nobody"
    #: Left out; only the tests do that, to see which layer bears which load.
    without: frozenset[Layer] = frozenset()


def hidden_folders(roots: list[str]) -> Iterator[Path]:
    """Find the packages that no candidate may see, wherever Python and the system keep packages.

    Args:
        roots: Prefixes of Python installations; `/usr` and `/usr/local` are looked at in any case.
    """
    for root in dict.fromkeys([*roots, "/usr", "/usr/local"]):
        for name in HIDDEN_PACKAGES:
            yield from Path(root).glob(f"lib*/python*/*-packages/{name}")


def forbid_tracing() -> None:
    """Let nobody of the same user trace this process, or read its memory and environment.

    Raises:
        OSError: the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
