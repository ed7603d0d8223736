"""A note in the state folder for those who ask: when it was backed up last, and where to."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from llmatic_daemon.adapters.storage.disk import write_atomically
from llmatic_daemon.adapters.storage.state_folder import BACKUP_NOTE


@dataclass(frozen=True, kw_only=True, slots=True)
class BackupNote:
    """The last backup of a state folder that succeeded."""

    #: Seconds since 1970, as the clock said.
    finished_at: float
    folder: str


def write(folder: Path, note: BackupNote) -> None:
    """Replace the note.

    Raises:
        OSError: the disk is full, or the folder is not ours to write.
    """
    write_atomically(folder / BACKUP_NOTE, json.dumps(asdict(note)))


def read(folder: Path) -> BackupNote | None:
    """Read the note; None where there is none, or nonsense."""
    try:
        read = json.loads((folder / BACKUP_NOTE).read_text("utf-8"))
        return BackupNote(finished_at=float(read["finished_at"]), folder=str(read["folder"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
