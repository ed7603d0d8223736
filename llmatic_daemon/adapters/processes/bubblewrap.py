"""Bubblewrap around the lifter: a read-only view of files, no network, no other processes."""

import asyncio
import contextlib
import functools
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from llmatic_daemon import PACKAGE_ROOT
from llmatic_daemon.domain.errors import LifterUnavailable
from llmatic_daemon.domain.sandbox import hidden_folders

#: Size of /tmp, which is memory.
TMP_BYTES = 64 << 20
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_TRIAL_S = 10.0


class NoBubblewrap(Exception):
    """Bubblewrap is missing or does not work here; the text gives the reason in one line."""


async def find(hidden: Sequence[Path] = ()) -> tuple[str, ...]:
    """Return the prefix of a command that runs in bubblewrap, after a trial of about 20 ms.

    Args:
        hidden: Folders that are shown empty: state, data.

    Raises:
        NoBubblewrap: not installed, too old (below 0.7), or the machine forbids namespaces.
        LifterUnavailable: the trial could not be started, or took too long.
    """
    program = shutil.which("bwrap")
    if program is None:
        raise NoBubblewrap("bwrap must be installed (Debian's package bubblewrap)")
    prefix = (program, *_isolation(), *_view(), *_covers(hidden), "--")
    await _try([*prefix, sys.executable, "-I", "-S", "-c", ""])
    return prefix


async def _try(command: Sequence[str]) -> None:
    # A file: asyncio waits for the end of a pipe, which a child of a killed bwrap keeps open.
    with tempfile.TemporaryFile() as errors:
        starting = asyncio.ensure_future(_start(command, errors))
        process = None
        try:
            async with asyncio.timeout(_TRIAL_S):
                process = await asyncio.shield(starting)
                await process.wait()
        except TimeoutError as error:
            raise LifterUnavailable(f"bwrap must end within {_TRIAL_S:g} s, and did not") from error
        finally:
            if process is None or process.returncode is None:  # late, or cancelled
                await _kill(await starting)
        errors.seek(0)
        message = errors.read().decode(errors="replace").strip()
    if process.returncode:
        last = (message.splitlines() or ["no message"])[-1]
        raise NoBubblewrap(f"bwrap does not work here: {last[:300]}")


async def _start(command: Sequence[str], errors: IO[bytes]) -> asyncio.subprocess.Process:
    nowhere = asyncio.subprocess.DEVNULL
    try:
        return await asyncio.create_subprocess_exec(
            *command, stdin=nowhere, stdout=nowhere, stderr=errors, start_new_session=True
        )
    except OSError as error:
        raise LifterUnavailable(f"bwrap could not be started: {error}") from error


async def _kill(process: asyncio.subprocess.Process) -> None:
    """Kill the whole group: the child of a bwrap that is killed at its start waits for it forever."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _isolation() -> tuple[str, ...]:
    # No cgroup namespace: it would hide nothing, and the systemd unit would have to allow it.
    names = [f"--unshare-{name}" for name in ("pid", "net", "ipc", "uts")]
    common = ("--die-with-parent", "--new-session", "--cap-drop", "ALL", *names)
    if os.geteuid() == 0:
        # No user namespace: the user that the lifter switches to would not exist in it.
        return (*common, "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")
    return (*common, "--unshare-user", "--uid", "65534", "--gid", "65534")


def _view() -> Iterator[str]:
    for name in _SYSTEM:
        yield from _shown(Path(name))
    yield from (*_open_folder(Path("/etc")), "--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache")
    yield from ("--ro-bind-try", "/etc/alternatives", "/etc/alternatives")
    # Root could write the new /proc, and the kernel runs the program that core_pattern names.
    yield from ("--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys", "--dev", "/dev")
    yield from ("--size", str(TMP_BYTES), "--perms", "1777", "--tmpfs", "/tmp")
    for above in sorted({above for folder in _python() for above in folder.parents}):
        yield from _open_folder(above)
    for folder in _python():
        yield from ("--ro-bind", str(folder), str(folder))


def _open_folder(path: Path) -> tuple[str, ...]:
    """Make a folder that other users may enter; those that root's bubblewrap makes by itself are closed."""
    return ("--perms", "0755", "--dir", str(path))


def _shown(path: Path) -> tuple[str, ...]:
    if path.is_symlink():
        return ("--symlink", str(path.readlink()), str(path))
    return ("--ro-bind", str(path), str(path)) if path.is_dir() else ()


@functools.cache
def _python() -> tuple[Path, ...]:
    """List the folders that Python needs outside the system's, and this package; nothing around them."""
    named = ":".join(os.environ.get(name, "") for name in ("LD_LIBRARY_PATH", "PYTHONPATH"))
    libraries = [each for each in map(Path, named.split(":")) if _may_be_shown(each)]
    folders = dict.fromkeys([Path(sys.base_prefix), Path(sys.prefix), PACKAGE_ROOT, *libraries])
    return tuple(each for each in folders if each.is_dir() and not each.is_relative_to("/usr"))


def _may_be_shown(folder: Path) -> bool:
    """Decide by its path whether a folder named by the environment holds libraries alone."""
    private = (Path(os.path.expanduser("~")), Path.cwd(), PACKAGE_ROOT)
    return folder.is_absolute() and not any(each.is_relative_to(folder) for each in private)


def _covers(hidden: Sequence[Path]) -> Iterator[str]:
    """Cover packages with data sets, and hidden folders that lie in what is shown."""
    shown = [Path("/usr"), *_python()]
    packages = hidden_folders(list(map(str, shown)))
    for folder in (*packages, *(each.absolute() for each in hidden)):
        if folder.is_dir() and any(folder.is_relative_to(each) for each in shown):
            yield from ("--size", "4096", "--tmpfs", str(folder))
    yield from ("--remount-ro", "/")
