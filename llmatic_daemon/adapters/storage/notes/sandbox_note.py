"""A note in the state folder for those who ask: which layers of the sandbox the daemon could not have."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from llmatic_daemon.domain.sandbox import Layer

_FILE = "sandbox.json"


def write(folder: Path, missing: Mapping[Layer, str]) -> None:
    """Replace the note.

    Raises:
        OSError: the disk is full, or worse.
    """
    place = folder / _FILE
    draft = place.with_suffix(".new")
    draft.write_text(json.dumps({"missing": missing}), "utf-8")
    os.replace(draft, place)


def read(folder: Path) -> dict[str, str] | None:
    """Read the note: layers and why they are missing; None where there is none, or nonsense."""
    try:
        missing = json.loads((folder / _FILE).read_text("utf-8"))["missing"]
        return {str(layer): str(why) for layer, why in missing.items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
