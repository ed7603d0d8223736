"""A note in the state folder that the search is paused, and since when; it outlives the daemon."""

from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

from llmatic_daemon.adapters.storage.disk import os_errors_as, sync_folder, write_atomically
from llmatic_daemon.adapters.storage.state_folder import PAUSE_NOTE
from llmatic_daemon.domain.errors import StoreUnavailable


def write(folder: Path) -> None:
    """Note durably that the search is paused from now on.

    Raises:
        StoreUnavailable: the disk is full or failing.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with _writable(folder):
        write_atomically(folder / PAUSE_NOTE, now + "\n")


def remove(folder: Path) -> None:
    """Remove the note durably.

    Raises:
        StoreUnavailable: it stays.
    """
    with _writable(folder):
        (folder / PAUSE_NOTE).unlink(missing_ok=True)
        sync_folder(folder)


def read(folder: Path) -> str | None:
    """Return since when the search is paused (UTC, ISO 8601), or None if it is not paused."""
    try:
        return (folder / PAUSE_NOTE).read_text("utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):  # it is there, so a person has paused the search
        return ""


def _writable(folder: Path) -> AbstractContextManager[None]:
    expected = f"{str(folder / PAUSE_NOTE)!r} must be writable, or a restart does not know of it"
    return os_errors_as(StoreUnavailable, expected, "make room, and ask again")
