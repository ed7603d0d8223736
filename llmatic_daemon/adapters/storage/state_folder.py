"""The state folder: where one search lives, and the lock that keeps it to one daemon."""

import contextlib
import fcntl
import json
import os
import socket
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from llmatic_daemon.adapters.storage.disk import os_errors_as, sync_folder
from llmatic_daemon.domain.errors import ConfigurationError, StateLocked

DATABASE = "llmatic.db"
SETTINGS = "settings.json"
LOCK = "lock"
CONTROL_SOCKET = "control.sock"
PAUSE_NOTE = "paused"
BACKUP_NOTE = "backup.json"
SANDBOX_NOTE = "sandbox.json"
DEVICES_NOTE = "devices.json"
KERNEL_NOTE = "kernels.json"

#: All files of ours that may lie in a state folder; drafts and copies aside.
OWN_FILES = (
    DATABASE,
    f"{DATABASE}-wal",
    f"{DATABASE}-shm",
    SETTINGS,
    SANDBOX_NOTE,
    DEVICES_NOTE,
    KERNEL_NOTE,
    BACKUP_NOTE,
    PAUSE_NOTE,
    LOCK,
)
#: What a daemon that was killed may leave: files without their final names, older versions' too.
LEFTOVERS = (
    f"{DATABASE}.new",
    f"{DATABASE}.new-journal",
    *(
        f".{name}.new"
        for name in (SETTINGS, SANDBOX_NOTE, DEVICES_NOTE, KERNEL_NOTE, BACKUP_NOTE, PAUSE_NOTE)
    ),
    *("settings.new", "sandbox.new", "backup.new"),
    CONTROL_SOCKET,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Holder:
    """The daemon that has a state folder."""

    pid: int
    host: str
    #: UTC, ISO 8601.
    started: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, started {self.started}"


class StateFolder:
    """A state folder that is ours until `release`, or until this process ends in whatever way."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def claim(cls, path: Path) -> "StateFolder":
        """Make the folder if it is missing (mode 0750), and lock it.

        Raises:
            StateLocked: another daemon has it; names its process, host and start.
            ConfigurationError: it cannot be made, or not be written.
        """
        with _writable(path):
            _make(path)
            lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o640)
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, lock)
            if not _locked(lock):
                raise StateLocked(
                    f"state folder {str(path)!r} must belong to one daemon, found "
                    f"{_read_holder(path) or 'another one'}; stop that one, or choose another folder"
                )
            with _writable(path):
                _write_holder(lock)
            undo.pop_all()
        return cls(path, lock)

    @property
    def database(self) -> Path:
        """Path of the database file."""
        return database_path(self.path)

    def release(self) -> None:
        """Unlock; a second call does nothing."""
        if self._lock < 0:
            return
        os.ftruncate(self._lock, 0)
        os.close(self._lock)
        self._lock = -1


def database_path(folder: Path) -> Path:
    """Name the database file of a state folder."""
    return folder / DATABASE


def settings_path(folder: Path) -> Path:
    """Name the file that keeps a search's settings beside its database."""
    return folder / SETTINGS


def holder(path: Path) -> Holder | None:
    """Return the daemon that holds a state folder; None: there is none, even after a crash."""
    try:
        probe = os.open(path / LOCK, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(probe, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_holder(path)
    finally:
        os.close(probe)
    return None


def _writable(path: Path) -> contextlib.AbstractContextManager[None]:
    return os_errors_as(
        ConfigurationError,
        f"state folder {str(path)!r} must be a folder that we can write",
        "change its owner or mode, make room, or choose another folder",
    )


def _make(path: Path) -> None:
    if path.is_dir():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o750, exist_ok=True)
    sync_folder(path.parent)


def _locked(lock: int) -> bool:
    """Lock for ourselves; tried three times, for `holder` has a shared lock for an instant."""
    for pause_s in (0.02, 0.05, 0.0):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(pause_s)
        else:
            return True
    return False


def _write_holder(lock: int) -> None:
    mine = Holder(
        pid=os.getpid(), host=socket.gethostname(), started=datetime.now(UTC).isoformat(timespec="seconds")
    )
    os.ftruncate(lock, 0)
    os.pwrite(lock, json.dumps(asdict(mine)).encode(), 0)


def _read_holder(path: Path) -> Holder | None:
    try:
        return Holder(**json.loads((path / LOCK).read_text()))
    except (OSError, ValueError, TypeError):  # it was locked this instant, and is not yet signed
        return None
