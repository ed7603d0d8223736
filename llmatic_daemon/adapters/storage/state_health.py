"""How a state folder is: its sizes, the space that is left, and whether its database is sound."""

import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

from llmatic_daemon.adapters.storage.database_file import connect_read_only

#: Of SQLite's machine, between two checks whether to stop: some milliseconds.
_INSTRUCTIONS = 100_000


def sizes(database: Path) -> tuple[int, int, int]:
    """Measure a database, its write-ahead log, and the space left beside it, in bytes.

    What cannot be read counts as 0: a file system that is gone has no space left.
    """
    try:
        disk = os.statvfs(database.parent)
        free = disk.f_bavail * disk.f_frsize
    except OSError:
        free = 0
    return _size(database), _size(database.with_name(f"{database.name}-wal")), free


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def damage_of(database: Path, stop: threading.Event) -> str | None:
    """Return what is wrong with a database; empty: nothing; None: it cannot be read now.

    Takes as long as the whole file takes to read, or until `stop` is set.
    """
    try:
        with closing(connect_read_only(database)) as connection:
            connection.set_progress_handler(stop.is_set, _INSTRUCTIONS)
            (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError:
        return None
    except sqlite3.DatabaseError as error:
        return str(error)
    return "" if answer == "ok" else str(answer)
