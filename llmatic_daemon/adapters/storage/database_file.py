"""The database as a file: made whole under another name, checked before it is written, opened."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from llmatic_daemon.adapters.storage import schema
from llmatic_daemon.adapters.storage.disk import sync_folder
from llmatic_daemon.domain.errors import ConfigurationError, StateVersionError

#: Files up to this size are read through at each start (0.3 s); of larger ones SQLite reads
#: length and schema only, so that a start does not take minutes.
_CHECKED_BYTES = 64 * 1024**2


def ensure(path: Path, *, busy_timeout_s: float) -> None:
    """Make the database if there is none; else check that it is ours and sound.

    Raises:
        StateVersionError: another program's, or a newer version's.
        ConfigurationError: damaged, or a part of it is missing.
        sqlite3.Error: it cannot be read or made.
    """
    wal = _wal(path)
    if path.exists():
        _check(path, busy_timeout_s)
    elif wal.exists():
        raise damaged(path, f"the file is missing, though {wal.name!r} is there")
    else:
        _make(path)


def connect(path: Path, *, busy_timeout_s: float) -> sqlite3.Connection:
    """Open an existing database for writing, in WAL mode, every commit synced to the disk."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=busy_timeout_s,
        isolation_level=None,
        check_same_thread=False,
    )
    # Checkpoints are the writer's own, between transactions: see Database.
    with closed_on_error(connection):
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            "wal_autocheckpoint = 0",
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()
    return connection


def connect_read_only(path: Path, *, busy_timeout_s: float = 5.0) -> sqlite3.Connection:
    """Open an existing database for reading, while its daemon writes or after it was killed.

    Raises:
        sqlite3.Error: it cannot be read.
    """
    connection = _connect_to_read(path, "mode=ro", busy_timeout_s)
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        if _wal(path).exists():
            raise
        # A cleanly closed one on a read-only disk: SQLite wants to make its WAL, but nobody writes.
        return _connect_to_read(path, "mode=ro&immutable=1", busy_timeout_s)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def closed_on_error(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Close a connection when the block raises, leave it open otherwise."""
    try:
        yield connection
    except BaseException:
        connection.close()
        raise


def check_version(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a database that another program made, or a newer version of ours.

    Raises:
        StateVersionError: says which.
    """
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if application_id != schema.APPLICATION_ID:
        raise StateVersionError(
            f"{str(path)!r} must be a database of llmatic-daemon, found one of another program "
            f"(application id {application_id:#x}); choose another state folder"
        )
    newer = schema.unknown(connection)
    if newer:
        raise StateVersionError(
            f"{str(path)!r} must be of schema version {schema.VERSION} or older, found "
            f"{newer[-1]!r}; use the newer llmatic-daemon, or another state folder"
        )


def damaged(path: Path, what: str) -> ConfigurationError:
    """Return the error for a damaged database, which stays unchanged for a person to examine."""
    return ConfigurationError(
        f"{str(path)!r} must be a sound database, got: {what}; nothing was changed: restore a "
        f"backup, or move the folder {str(path.parent)!r} away to start again"
    )


def _check(path: Path, busy_timeout_s: float) -> None:
    """Look at the version, and at small files as a whole, with a connection that cannot write."""
    if path.stat().st_size == 0:
        raise damaged(path, "an empty file")
    with contextlib.closing(connect_read_only(path, busy_timeout_s=busy_timeout_s)) as connection:
        check_version(connection, path)
        if path.stat().st_size <= _CHECKED_BYTES:
            (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if answer != "ok":
                raise damaged(path, answer.replace("\n", " "))


def _connect_to_read(path: Path, mode: str, busy_timeout_s: float) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=busy_timeout_s, isolation_level=None
    )


def _wal(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _make(path: Path) -> None:
    """Make a new database whole, then give it its name: half a one never has it."""
    new = path.with_name(f"{path.name}.new")
    for leftover in (new, new.with_name(f"{new.name}-journal")):
        leftover.unlink(missing_ok=True)
    connection = sqlite3.connect(new, isolation_level=None)
    try:
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        schema.migrate(connection)
    finally:
        connection.close()
    os.rename(new, path)
    sync_folder(path.parent)
