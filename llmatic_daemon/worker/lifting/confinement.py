"""Confine a candidate's process before its first line runs.

The warm parent prepares once: it switches to another user where it may, and makes the rules of Landlock and
seccomp. Each child applies them to itself within a millisecond. Every child gets a session of its own, no
descriptor but the result pipe, no environment and an empty folder, and dies with its parent. Bubblewrap and
the cgroup, if the machine offers them, are already around the warm parent. The supervisor kills processes
that escape.
"""

import ctypes
import os
import resource
import signal
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from llmatic_daemon import PACKAGE_ROOT
from llmatic_daemon.domain.sandbox import HIDDEN_PACKAGES, Layer, forbid_tracing
from llmatic_daemon.worker.lifting import landlock
from llmatic_daemon.worker.lifting.seccomp import Filter, NoSeccomp

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT, _CLEAR_ALL = 47, 4
_CAPABILITIES_VERSION = 0x20080522
#: The result pipe in a candidate's process; 0, 1 and 2 are /dev/null.
RESULT_DESCRIPTOR = 3
#: Above every descriptor: the limit of this process does not bound those that are open already.
_NO_DESCRIPTOR = 1 << 30
#: Folders of libraries, in addition to Python's own.
_LIBRARIES = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")
#: Lists of libraries, and devices without content.
_SYSTEM = ("/etc/ld.so.cache", "/etc/alternatives", "/dev/null", "/dev/zero", "/dev/urandom")
_PACKAGE_FOLDERS = ("site-packages", "dist-packages")

#: Loaded before any fork: a later search for it would need files.
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """Limits of a candidate's process."""

    #: Wall-clock time until the result.
    time_s: float
    #: Address space in addition to the warm parent's.
    memory_bytes: int
    #: Open descriptors, for lazy imports.
    num_files: int = 64


@dataclass(kw_only=True, slots=True)
class Confinement:
    """The rules that the warm parent has prepared for its children."""

    #: Missing layers, with the reason in one line.
    missing: dict[Layer, str] = field(default_factory=dict)
    rlimits: bool = True
    #: Descriptor of Landlock's rules.
    rules: int | None = None
    filter: Filter | None = None

    @classmethod
    def prepare(cls, user: tuple[int, int] | None, without: frozenset[Layer]) -> "Confinement":
        """Switch to another user and make the rules for each child; called once, after all imports.

        Args:
            user: Ids of user and group to switch to; None: no switch.
            without: Layers to leave out.

        Raises:
            OSError: a layer that the machine offers cannot be used.
        """
        made = cls(rlimits=Layer.RLIMITS not in without)
        if Layer.USER not in without:
            if user is not None:
                try:
                    made._become(*user)
                except OSError as error:  # root of a container that knows no other user
                    made.missing[Layer.USER] = f"the lifter may not switch users: {error.strerror}"
            if os.geteuid() == 0:
                _drop_capabilities()
            forbid_tracing()
        if Layer.LANDLOCK not in without:
            made._write_rules()
        if Layer.SECCOMP not in without:
            made._make_filter()
        return made

    def _become(self, user: int, group: int) -> None:
        unreadable = _unreadable_to(user, group)
        if unreadable:
            self.missing[Layer.USER] = f"user {user} cannot read {unreadable}"
            return
        os.setgroups([])
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)

    def _write_rules(self) -> None:
        if landlock.version():
            self.rules = landlock.read_only(_readable_paths())
        else:
            self.missing[Layer.LANDLOCK] = "the kernel has none, or its lsm= does not name it"

    def _make_filter(self) -> None:
        try:
            self.filter = Filter()
        except NoSeccomp as error:
            self.missing[Layer.SECCOMP] = str(error)

    def confine(self, bounds: Bounds, folder: str, result: int) -> None:
        """Confine the fresh child; called in it, once.

        Args:
            bounds: Resource limits.
            folder: An empty folder of the child.
            result: Descriptor of the result pipe; becomes `RESULT_DESCRIPTOR`.

        Raises:
            OSError: a step failed; nothing of the candidate may run.
        """
        # Before setsid: at each moment either this or the signal to the parent's group kills the child.
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setsid()
        os.environ.clear()
        os.chdir(folder)
        null = os.open(os.devnull, os.O_RDWR)
        if self.rlimits:
            _limit(bounds)
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        if self.rules is not None:
            landlock.restrict(self.rules)
        _keep_only(result, null)
        if self.filter is not None:
            self.filter.load()


def adopt_orphans() -> None:
    """Become the parent of all descendants whose own parent dies (double forks)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl {option}: {os.strerror(error)}")


# --- another user --------------------------------------------------------------------------------


def _unreadable_to(user: int, group: int) -> str | None:
    """Return a module file that this user could not read, or None; candidates import lazily."""
    groups = os.getgroups()
    try:
        os.setgroups([])
        os.setegid(group)
        os.seteuid(user)
        files = [sys.modules[name].__file__ for name in ("os", "torch", __name__)]
        return next((f for f in files if f and not _readable(f)), None)
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def _readable(file: str) -> bool:
    return os.access(file, os.R_OK, effective_ids=True)


def _drop_capabilities() -> None:
    """Drop all capabilities; root then has only the rights of an owner of files."""
    _prctl(_PR_CAP_AMBIENT, _CLEAR_ALL)
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION, 0)
    nothing = (ctypes.c_uint32 * 6)()
    if _libc.capset(header, nothing) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"capset: {os.strerror(error)}")


# --- what may be read ----------------------------------------------------------------------------


def _readable_paths() -> Iterator[Path]:
    """List Python, its packages without those that hold data sets, and the system's libraries."""
    yield from map(Path, _SYSTEM)
    yield PACKAGE_ROOT
    for folder in map(Path, _LIBRARIES):
        # Python's folders are listed below.
        yield from (path for path in _listed(folder) if not path.name.startswith("python"))
    for library in (*_loader_path(), Path(sys.base_prefix) / "lib"):
        yield from library.glob("*.so*")
    for folder in _python_folders():
        yield from (path for path in _listed(folder) if path.name not in HIDDEN_PACKAGES)


def _python_folders() -> set[Path]:
    standard = Path(sysconfig.get_path("stdlib"))
    on_path = {Path(entry) for entry in sys.path if Path(entry).name in _PACKAGE_FOLDERS}
    return {standard, *on_path}


def _loader_path() -> list[Path]:
    return [Path(each) for each in os.environ.get("LD_LIBRARY_PATH", "").split(":") if each]


def _listed(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.name not in _PACKAGE_FOLDERS]
    except OSError:
        return []


# --- descriptors and limits ----------------------------------------------------------------------


def _keep_only(result: int, null: int) -> None:
    """Close every descriptor but the result pipe; `null` becomes 0, 1 and 2."""
    kept = os.dup(result)  # above 2 in any case, so that the next lines cannot overwrite it
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.dup2(kept, RESULT_DESCRIPTOR, inheritable=False)
    os.closerange(RESULT_DESCRIPTOR + 1, _NO_DESCRIPTOR)


def _limit(bounds: Bounds) -> None:
    cpu_s = int(bounds.time_s) + 1
    for kind, limit in (
        (resource.RLIMIT_AS, _address_space() + bounds.memory_bytes),
        (resource.RLIMIT_FSIZE, 0),  # no file may be written at all
        (resource.RLIMIT_NOFILE, bounds.num_files),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(kind, (limit, limit))
    # The kernel checks the hard limit first, and its SIGKILL would look like a crash.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))


def _address_space() -> int:
    """Return the address space inherited from the warm parent; torch for CUDA maps gigabytes."""
    with open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")
