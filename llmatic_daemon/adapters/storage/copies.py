"""Copies of a state folder that are state folders themselves: whole under their names, or not there.

A database is never copied as a file: its daemon writes meanwhile, and half of it is in another one.
"""

import contextlib
import json
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from llmatic_daemon.adapters.storage import database_file, schema
from llmatic_daemon.adapters.storage.disk import draft_of, sync_folder
from llmatic_daemon.adapters.storage.state_folder import database_path, settings_path
from llmatic_daemon.domain import digest, failpoints
from llmatic_daemon.domain.errors import ConfigurationError, StoreUnavailable, UserError

#: Pages in a step, 4 MiB: between two steps others get at the disk.
_PAGES = 1024
_STAMP = r"\d{8}T\d{6}\.\d{3}Z"
_DRAFT = re.compile(rf"\.[a-z0-9-]+-{_STAMP}\.new")


def name(kind: str) -> str:
    """Name a copy made now, by its kind and the time in UTC: names of a kind sort by age."""
    return f"{kind}-{datetime.now(UTC).strftime('%Y%m%dT%H%M%S.%f')[:-3]}Z"


def named(folder: Path, kind: str) -> list[Path]:
    """List the copies of a kind, the oldest first: those with a name of ours, and no others.

    Args:
        folder: Where they lie.
        kind: A regular expression.
    """
    ours = re.compile(rf"{kind}-{_STAMP}")
    return sorted(each for each in folder.iterdir() if each.is_dir() and ours.fullmatch(each.name))


def drafts(folder: Path) -> list[Path]:
    """List the unfinished copies of interrupted processes; the caller must hold the folder alone."""
    return sorted(each for each in folder.iterdir() if _DRAFT.fullmatch(each.name))


def origin(database: Path) -> str | None:
    """Name the search that a database holds: what it is of, and when it took its first prompts.

    The same for all copies of a search, whatever their age and schema; None: it cannot be read.
    """
    try:
        with closing(database_file.connect_read_only(database)) as connection:
            began = connection.execute("SELECT min(adopted_at) FROM editions").fetchone()
            fields = connection.execute("SELECT name, value FROM search ORDER BY name").fetchall()
    except sqlite3.Error:
        return None
    return digest(json.dumps([began, fields]).encode())


def of_search(folder: Path, kind: str, search: str | None) -> list[Path]:
    """List a search's copies of a kind, the oldest first; damaged ones are among them.

    Args:
        folder: Where they lie.
        kind: As for `named`.
        search: Its `origin`; None: whichever search they are of.

    Raises:
        UserError: there are copies of another search too.
    """
    found = {copy: origin(database_path(copy)) for copy in named(folder, kind)}
    known = {each for each in (search, *found.values()) if each is not None}
    if len(known) > 1:
        theirs = next(copy for copy, each in reversed(found.items()) if each not in (search, None))
        raise UserError(
            f"{str(folder)!r} must hold copies of one search, and {theirs.name} is of another; "
            "give each search a folder of its own, or name the copy"
        )
    return list(found)


@contextmanager
def publishing(folder: Path) -> Iterator[Path]:
    """Give a folder to be filled, which gets its name when all of it is on the disk; else it goes.

    Raises:
        OSError: the disk is full, or worse.
    """
    draft = draft_of(folder)
    draft.mkdir(mode=0o750)
    try:
        yield draft
        sync(draft)
        failpoints.reached("snapshot-inside")
        os.rename(draft, folder)
        sync_folder(folder.parent)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def remove(folder: Path) -> None:
    """Take a copy away; a half of it never has its name."""
    gone = draft_of(folder)
    os.rename(folder, gone)
    shutil.rmtree(gone)


def copy_state(folder: Path, target: Path) -> None:
    """Copy database and settings of a state folder into an empty one, a daemon at work or not.

    Raises:
        OSError: the settings cannot be copied.
        LLMaticError: the database cannot, as below.
    """
    copy_database(database_path(folder), database_path(target))
    with contextlib.suppress(FileNotFoundError):  # of a database on its own
        shutil.copyfile(settings_path(folder), settings_path(target))


def copy_database(source: Path, target: Path) -> None:
    """Copy a database as it is at this moment into one file of its own; nobody waits for it.

    Raises:
        StoreUnavailable: the disk is full or failing, or it cannot be read now.
        ConfigurationError: it is damaged.
    """
    with (
        _explained(source),
        closing(database_file.connect_read_only(source)) as here,
        closing(sqlite3.connect(target, isolation_level=None)) as there,
    ):
        # One snapshot: otherwise each commit during the copy makes SQLite begin again.
        here.execute("BEGIN").execute("SELECT 1 FROM sqlite_master").fetchone()
        there.execute("PRAGMA synchronous = OFF")  # it is synced as a whole, before it has its name
        here.backup(there, pages=_PAGES, progress=_step)
        here.execute("COMMIT")
        there.execute("PRAGMA journal_mode = DELETE").fetchall()  # one file, not two
    target.chmod(0o640)


def check(database: Path) -> None:
    """Look whether a backup's database is one of ours, not newer than we are, and sound.

    Raises:
        StateVersionError: it is a newer version's, or another program's.
        ConfigurationError: it is damaged.
    """
    with _explained(database), closing(database_file.connect_read_only(database)) as connection:
        database_file.check_version(connection, database)
        (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if answer != "ok":
        raise unsound(database, answer.replace("\n", " "))


def bring_up_to_date(database: Path) -> None:
    """Migrate a copy that nobody uses yet.

    Raises:
        StoreUnavailable: the disk is full or failing.
        ConfigurationError: it is damaged.
    """
    with _explained(database), closing(sqlite3.connect(database, isolation_level=None)) as copy:
        schema.migrate(copy)


def unsound(database: Path, what: str) -> ConfigurationError:
    """Return the error for a damaged copy, or for a damaged source of one."""
    return ConfigurationError(
        f"{str(database)!r} must be sound, got: {what}; nothing was changed: take an older backup"
    )


@contextmanager
def _explained(database: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StoreUnavailable(
            f"{str(database)!r} must be copied, got: {error}; make room, and try again"
        ) from error
    except sqlite3.Error as error:
        raise unsound(database, str(error)) from error


def _step(status: int, remaining: int, total: int) -> None:
    failpoints.reached("snapshot-step")


def sync(folder: Path) -> None:
    """Make all files of a folder durable, and their names."""
    for path, _, files in os.walk(folder):
        for file in files:
            descriptor = os.open(Path(path, file), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_folder(Path(path))
