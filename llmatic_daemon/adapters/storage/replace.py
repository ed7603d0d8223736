"""Replaces one search by another: the old one is kept, and its WAL never meets the new database."""

import contextlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from llmatic_daemon.adapters.storage import copies, database_file
from llmatic_daemon.adapters.storage.disk import sync_folder
from llmatic_daemon.adapters.storage.state_folder import database_path, settings_path

#: What the search that was there before is called, before the time.
REPLACED = "replaced"


def set_aside(state_dir: Path) -> Path | None:
    """Keep what is there under another name as well; None when there is nothing."""
    database = database_path(state_dir)
    _settle(database)
    files = [database, _wal(database), settings_path(state_dir)]
    if not any(file.exists() for file in files[:2]):
        return None
    aside = state_dir / copies.name(REPLACED)
    with copies.publishing(aside) as draft:
        for file in files:
            with contextlib.suppress(FileNotFoundError):
                os.link(file, draft / file.name)
    return aside


def _settle(database: Path) -> None:
    """Bring what is in the write-ahead log into the database; one that is damaged keeps it."""
    if not (database.exists() and _wal(database).exists()):
        return
    with contextlib.suppress(sqlite3.Error):
        # Read it first: SQLite deletes the log when a writer closes a file that is no database.
        database_file.connect_read_only(database).close()
        with closing(database_file.connect(database, busy_timeout_s=5.0)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def put_in_place(draft: Path, state_dir: Path) -> None:
    """Give the copy its name. The old log goes first: SQLite would write it into the new database."""
    database = database_path(state_dir)
    for leftover in (_wal(database), database.with_name(f"{database.name}-shm")):
        leftover.unlink(missing_ok=True)
    sync_folder(state_dir)
    os.replace(database_path(draft), database)
    os.replace(settings_path(draft), settings_path(state_dir))
    sync_folder(state_dir)


def _wal(database: Path) -> Path:
    return database.with_name(f"{database.name}-wal")
