"""Replaces a state folder's search by a backup: checked before, complete after, nothing lost."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from llmatic_daemon.adapters.storage import copies, replace
from llmatic_daemon.adapters.storage.disk import os_errors_as
from llmatic_daemon.adapters.storage.state_folder import StateFolder, database_path, settings_path
from llmatic_daemon.commands.backup import KIND
from llmatic_daemon.commands.verify import Verification, verify
from llmatic_daemon.domain import failpoints
from llmatic_daemon.domain.errors import StoreUnavailable, UserError


@dataclass(frozen=True, kw_only=True, slots=True)
class Restored:
    """A search that was put back."""

    source: str
    num_settled: int
    num_evaluations: int
    #: Where the search lies that was there before; empty when there was none.
    replaced: str


def restore(source: Path, state_dir: Path) -> Restored:
    """Replace a search by a backup; the search is kept beside it.

    Args:
        source: A backup, a folder of backups (then the newest of them), or a database with its
            settings beside it. It stays as it is.
        state_dir: Made when it is missing.

    Raises:
        UserError: there is no backup, or backups of several searches to choose from.
        StateLocked: a daemon works on the state folder.
        StateVersionError: the backup is a newer version's, or another program's.
        ConfigurationError: it is damaged, or does not verify.
        StoreUnavailable: the disk is full or failing.
    """
    database = find(source)
    copies.check(database)
    claimed = StateFolder.claim(state_dir)
    expected = f"{str(state_dir)!r} must take the backup"
    try:
        with os_errors_as(StoreUnavailable, expected, "make room, and try again"):
            return _restore(database, state_dir)
    finally:
        claimed.release()


def find(source: Path) -> Path:
    """Find the database of a backup.

    Raises:
        UserError: there is none, its settings are not beside it, or there are several searches'.
    """
    found = source
    if source.is_dir():
        found = database_path(source)
        if not found.exists() and (backups := copies.of_search(source, KIND, None)):
            found = database_path(backups[-1])
    if not found.is_file() or not settings_path(found.parent).is_file():
        raise UserError(
            f"{str(source)!r} must be a backup, a folder of backups, or a database with its "
            "settings.json beside it, and is none"
        )
    return found


def _restore(database: Path, state_dir: Path) -> Restored:
    for left in copies.drafts(state_dir):  # of a restore that was killed
        shutil.rmtree(left)
    draft = state_dir / f".{copies.name('restored')}.new"
    draft.mkdir(mode=0o750)
    try:
        found = _copy(database, draft)
        copies.sync(draft)
        replaced = replace.set_aside(state_dir)
        failpoints.reached("restore-inside")
        replace.put_in_place(draft, state_dir)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Restored(
        source=str(database.parent),
        num_settled=found.num_settled,
        num_evaluations=found.num_evaluations,
        replaced=str(replaced or ""),
    )


def _copy(database: Path, draft: Path) -> Verification:
    """Copy a backup, bring it up to date, and verify it."""
    copied = database_path(draft)
    copies.copy_database(database, copied)
    copies.bring_up_to_date(copied)
    shutil.copyfile(settings_path(database.parent), settings_path(draft))
    found = verify(draft)
    if found.faults:
        raise copies.unsound(database, found.faults[0])
    return found
