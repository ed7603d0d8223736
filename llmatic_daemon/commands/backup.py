"""Backups of a search, while it runs or not: copied, verified, and only then given their names.

`python -m llmatic_daemon.commands.backup STATE DIR KEEP` is how a daemon has one made: the verification folds
the whole log, which in the daemon's own process would hold up the search.
"""

import fcntl
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from llmatic_daemon.adapters.storage import copies
from llmatic_daemon.adapters.storage.disk import os_errors_as
from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.adapters.storage.notes import backup_note
from llmatic_daemon.adapters.storage.notes.backup_note import BackupNote
from llmatic_daemon.adapters.storage.state_folder import database_path
from llmatic_daemon.bootstrap import build
from llmatic_daemon.bootstrap.saved_settings import read_settings
from llmatic_daemon.commands.verify import verify
from llmatic_daemon.daemon.backup_request import ERRORS
from llmatic_daemon.domain.errors import ConfigurationError, LLMaticError, StoreUnavailable, UserError

#: What backups are called, before their time.
KIND = "llmatic"
#: Prompt files of a backup, for people: the texts are in the database as well.
PROMPTS = "prompts"
#: Of a process that leaves the processor to the search.
_NICENESS = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Backup:
    """A backup that was made."""

    folder: str
    num_settled: int
    num_evaluations: int
    size_bytes: int
    #: Seconds since 1970.
    finished_at: float
    #: Older backups that were removed for it.
    removed: tuple[str, ...]


def back_up(state_dir: Path, folder: Path, keep: int) -> Backup:
    """Make a backup, and remove the oldest above a number.

    It is a state folder of its own: every command that looks at one takes it by `--state`.

    Args:
        state_dir: Of the search; a daemon may be at work on it, and is not disturbed.
        folder: Where backups lie; made when it is missing.
        keep: How many are kept, at least 1.

    Raises:
        UserError: there is no search, another backup is being made there, or backups of another
            search lie there.
        ConfigurationError: what was copied does not verify, or the folder cannot be written.
        StoreUnavailable: the disk is full or failing.
    """
    with History(state_dir) as history:
        if not history.centroids().network:
            raise UserError(f"the search in {str(state_dir)!r} must have begun; start it once")
    with _alone(folder):
        for draft in copies.drafts(folder):
            shutil.rmtree(draft)
        older = copies.of_search(folder, KIND, copies.origin(database_path(state_dir)))
        target = folder / copies.name(KIND)
        with _writable(folder), copies.publishing(target) as draft:
            num_settled, num_evaluations = _fill(state_dir, draft)
        removed = _remove_oldest(older, keep)
    made = Backup(
        folder=str(target),
        num_settled=num_settled,
        num_evaluations=num_evaluations,
        size_bytes=database_path(target).stat().st_size,
        finished_at=time.time(),
        removed=removed,
    )
    _note(state_dir, made)
    return made


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a folder of backups for ourselves: what is unfinished there is nobody's."""
    with _writable(folder):
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise UserError(
            f"one backup must be made in {str(folder)!r} at a time, and another one is under way; "
            "wait for its end"
        ) from error
    finally:
        os.close(descriptor)


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    where = repr(str(folder))
    remedy = "change its owner or mode, or choose another one"
    with (
        os_errors_as(StoreUnavailable, f"{where} must take a backup", "make room, and try again"),
        os_errors_as(
            ConfigurationError, f"{where} must be a folder that we can write", remedy, only=PermissionError
        ),
    ):
        yield


def _fill(state_dir: Path, draft: Path) -> tuple[int, int]:
    """Copy what a restore needs, and look whether it is sound."""
    copies.copy_state(state_dir, draft)
    prompts = build.prompt_path(read_settings(draft))
    (draft / PROMPTS).mkdir()
    for file in sorted(prompts.glob("*.md")):
        shutil.copyfile(file, draft / PROMPTS / file.name)
    found = verify(draft)
    if found.faults:
        raise ConfigurationError(
            f"what is stored in {str(state_dir)!r} must follow from its log, and differs in "
            f"{len(found.faults)} places: {found.faults[0]}; no backup is kept, older ones are: "
            "'llmatic-daemon verify' tells all"
        )
    return found.num_settled, found.num_evaluations


def _remove_oldest(older: Sequence[Path], keep: int) -> tuple[str, ...]:
    """Remove the oldest; never the one that was made now, whatever the clock says."""
    gone = older[: max(0, len(older) - (keep - 1))]
    for backup in gone:
        copies.remove(backup)
    return tuple(map(str, gone))


def _note(state_dir: Path, made: Backup) -> None:
    try:
        backup_note.write(state_dir, BackupNote(finished_at=made.finished_at, folder=made.folder))
    except OSError as error:  # the backup is made nevertheless
        print(f"no note of the backup in {state_dir}: {error}", file=sys.stderr)


def main() -> None:
    """Make a backup in a process of its own, and print it, or why not."""
    os.nice(_NICENESS)
    state_dir, folder, keep = sys.argv[1:]
    try:
        answer = asdict(back_up(Path(state_dir), Path(folder), int(keep)))
    except LLMaticError as error:
        kind = next(name for name, each in ERRORS.items() if isinstance(error, each))
        answer = {"error": str(error), "kind": kind}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
