"""A control group for the lifter, where the service manager has handed one over to us (cgroup v2)."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")
_CONTROLLERS = ("memory", "pids")
#: By which systemd says that a group is ours to divide; root needs to be told as well.
_HANDED_OVER = ("user.delegate", "trusted.delegate")
#: Where the daemon itself moves: a group with processes may not divide its controllers among groups.
_OURS = "daemon"
#: Of everything in one sandbox: bubblewrap, the warm parent, its candidate, and what `sh` needs.
_MAX_PROCESSES = 32
#: What the warm parent and its pages take, beside the candidate.
_PARENT_BYTES = 2 << 30


class NoCgroup(Exception):
    """There is none that is ours; the text says why, in one line."""


class Cgroup:
    """The group that was handed over to us."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def find(cls, mount: Path = _MOUNT, listing: Path = Path("/proc/self/cgroup")) -> "Cgroup":
        """Find it, move ourselves out of the way, and hand its controllers on.

        Raises:
            NoCgroup: none was handed over, or it controls neither memory nor processes.
        """
        folder = _own(mount, listing)
        if folder.name == _OURS and _is_handed_over(folder.parent):
            return cls(folder.parent)
        if not _is_handed_over(folder):
            raise NoCgroup("none was handed over (systemd: Delegate=yes)")
        try:
            _divide(folder)
        except OSError as error:
            raise NoCgroup(f"{folder} cannot be divided: {error.strerror}") from error
        return cls(folder)

    def inside(self, name: str, memory_bytes: int) -> Sequence[str]:
        """Make a group, and return what is put before a command to run it inside.

        Args:
            name: Of the group.
            memory_bytes: What a candidate may use.

        Raises:
            OSError: it cannot be made.
        """
        group = self._folder / name
        group.mkdir(exist_ok=True)
        (group / "memory.max").write_text(str(memory_bytes + _PARENT_BYTES))
        with contextlib.suppress(OSError):  # where there is no swap
            (group / "memory.swap.max").write_text("0")
        (group / "pids.max").write_text(str(_MAX_PROCESSES))
        return joining(group)

    def end(self, name: str) -> None:
        """Kill all that is left in a group, at one stroke; the group is used again."""
        with contextlib.suppress(OSError):  # it was never made
            (self._folder / name / "cgroup.kill").write_text("1")


def joining(group: Path) -> tuple[str, ...]:
    """Return what is put before a command to have it, and all that it starts, in a group."""
    return ("/bin/sh", "-c", 'echo $$ >"$0" && exec "$@"', str(group / "cgroup.procs"))


def _own(mount: Path, listing: Path) -> Path:
    try:
        lines = listing.read_text().splitlines()
    except OSError as error:
        raise NoCgroup(f"{listing} cannot be read: {error.strerror}") from error
    path = next((line[3:] for line in lines if line.startswith("0::")), None)
    if path is None or not (mount / "cgroup.controllers").exists():
        raise NoCgroup("the machine has no cgroup v2")
    return mount / path.lstrip("/")


def _is_handed_over(folder: Path) -> bool:
    for name in _HANDED_OVER:
        with contextlib.suppress(OSError):
            if os.getxattr(folder, name) == b"1":
                return True
    return False


def _divide(folder: Path) -> None:
    offered = (folder / "cgroup.controllers").read_text().split()
    lacking = [each for each in _CONTROLLERS if each not in offered]
    if lacking:
        raise NoCgroup(f"{folder} does not control {' and '.join(lacking)}")
    ours = folder / _OURS
    ours.mkdir(exist_ok=True)
    for pid in (folder / "cgroup.procs").read_text().split():
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            (ours / "cgroup.procs").write_text(pid)
    (folder / "cgroup.subtree_control").write_text(" ".join(f"+{each}" for each in _CONTROLLERS))
