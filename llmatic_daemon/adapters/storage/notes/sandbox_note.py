"""A note in the state folder for those who ask: which layers of the sandbox the daemon could not have."""

import json
from collections.abc import Mapping
from pathlib import Path

from llmatic_daemon.adapters.storage.disk import write_atomically
from llmatic_daemon.adapters.storage.state_folder import SANDBOX_NOTE
from llmatic_daemon.domain.sandbox import Layer


def write(folder: Path, missing: Mapping[Layer, str]) -> None:
    """Replace the note.

    Raises:
        OSError: the disk is full, or worse.
    """
    write_atomically(folder / SANDBOX_NOTE, json.dumps({"missing": missing}))


def read(folder: Path) -> dict[str, str] | None:
    """Read the note: layers and why they are missing; None where there is none, or nonsense."""
    try:
        missing = json.loads((folder / SANDBOX_NOTE).read_text("utf-8"))["missing"]
        return {str(layer): str(why) for layer, why in missing.items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
