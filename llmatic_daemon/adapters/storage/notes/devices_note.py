"""A note in the state folder for those who ask: which device workers the daemon has taken out of service."""

import json
from collections.abc import Mapping
from pathlib import Path

from llmatic_daemon.adapters.storage.disk import write_atomically
from llmatic_daemon.adapters.storage.state_folder import DEVICES_NOTE


def write(folder: Path, out: Mapping[str, str]) -> None:
    """Replace the note: device workers, each with the reason.

    Raises:
        OSError: the disk is full, or worse.
    """
    write_atomically(folder / DEVICES_NOTE, json.dumps({"out": dict(out)}))


def read(folder: Path) -> dict[str, str]:
    """Read the note; empty if there is none, or if it cannot be read."""
    try:
        out = json.loads((folder / DEVICES_NOTE).read_text("utf-8"))["out"]
        return {str(device): str(reason) for device, reason in out.items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return {}
