"""A note in the state folder that the search is paused, and since when; it outlives the daemon."""

import os
from datetime import UTC, datetime
from pathlib import Path

from llmatic_daemon.adapters.storage.state_folder import sync_folder
from llmatic_daemon.domain.errors import StoreUnavailable

FILE = "paused"


def write(folder: Path) -> None:
    """Note durably that the search is paused, from now.

    Raises:
        StoreUnavailable: the disk is full, or worse.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        with (folder / FILE).open("w", encoding="utf-8") as note:
            note.write(now + "\n")
            note.flush()
            os.fsync(note.fileno())
        sync_folder(folder)
    except OSError as error:
        raise _unavailable(folder, error) from error


def remove(folder: Path) -> None:
    """Take the note away, durably.

    Raises:
        StoreUnavailable: it stays.
    """
    try:
        (folder / FILE).unlink(missing_ok=True)
        sync_folder(folder)
    except OSError as error:
        raise _unavailable(folder, error) from error


def read(folder: Path) -> str | None:
    """Tell since when the search is paused (UTC, ISO 8601); None: it is not."""
    try:
        return (folder / FILE).read_text("utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):  # it is there: somebody wanted a pause
        return ""


def _unavailable(folder: Path, error: OSError) -> StoreUnavailable:
    return StoreUnavailable(
        f"{str(folder / FILE)!r} must be writable, or a restart does not know of it, got: "
        f"{error.strerror or error}; make room, and ask again"
    )
