"""A note in the state folder for those who ask: when it was backed up last, and where to."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

_FILE = "backup.json"


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
    place = folder / _FILE
    draft = place.with_suffix(".new")
    draft.write_text(json.dumps(asdict(note)), "utf-8")
    os.replace(draft, place)


def read(folder: Path) -> BackupNote | None:
    """Read the note; None where there is none, or nonsense."""
    try:
        read = json.loads((folder / _FILE).read_text("utf-8"))
        return BackupNote(finished_at=float(read["finished_at"]), folder=str(read["folder"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
