"""A control group (cgroup v2) for the lifter, where the service manager has delegated one to the daemon."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")
_CONTROLLERS = ("memory", "pids")
#: Attributes by which systemd marks a delegated group; root needs the second.
_DELEGATED = ("user.delegate", "trusted.delegate")
#: Group that the daemon moves to: a group with processes may not pass its controllers on to groups.
_OURS = "daemon"
#: Limit of one sandbox: bubblewrap, the warm parent, its candidate, and what `sh` needs.
_MAX_PROCESSES = 32
#: Memory of the warm parent, in addition to the candidate's.
_PARENT_BYTES = 2 << 30


class NoCgroup(Exception):
    """No group was delegated; the text gives the reason in one line."""


class Cgroup:
    """The group that was delegated to the daemon."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def find(cls, mount: Path = _MOUNT, listing: Path = Path("/proc/self/cgroup")) -> "Cgroup":
        """Find the group, move the daemon into a subgroup, and pass the controllers on.

        Raises:
            NoCgroup: none was delegated, or it does not control memory and processes.
        """
        folder = _own(mount, listing)
        if folder.name == _OURS and _is_delegated(folder.parent):
            return cls(folder.parent)
        if not _is_delegated(folder):
            raise NoCgroup("none was delegated to the daemon (systemd: Delegate=yes)")
        try:
            _divide(folder)
        except OSError as error:
            raise NoCgroup(f"{folder} cannot be divided: {error.strerror}") from error
        return cls(folder)

    def prefix(self, name: str, memory_bytes: int) -> Sequence[str]:
        """Make a group, and return the prefix of a command that runs in it.

        Args:
            name: Name of the group.
            memory_bytes: Memory that a candidate may use.

        Raises:
            OSError: the group cannot be made.
        """
        group = self._folder / name
        group.mkdir(exist_ok=True)
        (group / "memory.max").write_text(str(memory_bytes + _PARENT_BYTES))
        with contextlib.suppress(OSError):  # where there is no swap
            (group / "memory.swap.max").write_text("0")
        (group / "pids.max").write_text(str(_MAX_PROCESSES))
        return joining(group)

    def end(self, name: str) -> None:
        """Kill all processes of a group at once; the group is used again."""
        with contextlib.suppress(OSError):  # it was never made
            (self._folder / name / "cgroup.kill").write_text("1")


def joining(group: Path) -> tuple[str, ...]:
    """Return the prefix of a command that runs in a group, with all that it starts."""
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


def _is_delegated(folder: Path) -> bool:
    for name in _DELEGATED:
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
