"""The settings of the last start, as a state folder keeps them."""

import json
from pathlib import Path
from typing import Any

from llmatic_daemon.adapters.storage.disk import os_errors_as, write_atomically
from llmatic_daemon.adapters.storage.state_folder import settings_path
from llmatic_daemon.config.loading import path_settings, restore
from llmatic_daemon.config.settings import Settings
from llmatic_daemon.domain import digest
from llmatic_daemon.domain.errors import StoreUnavailable, UserError


def fingerprint(settings: Settings) -> str:
    """Return 12 hexadecimal digits that name the settings by their values."""
    return digest(json.dumps(_anywhere(settings), sort_keys=True).encode())[:12]


def write_settings(settings: Settings) -> None:
    """Save the settings for the commands that read a state folder later."""
    file = settings_path(settings.state_dir)
    expected = f"{str(file)!r} must be writable"
    with os_errors_as(StoreUnavailable, expected, "make room, and start again"):
        write_atomically(file, json.dumps(_anywhere(settings), indent=2) + "\n")


def _anywhere(settings: Settings) -> dict[str, Any]:
    """Return the settings with absolute paths, so that they mean the same in each current folder."""
    values = settings.model_dump(mode="json")
    for place, name in path_settings(values):
        if place[name]:
            place[name] = str(Path(place[name]).absolute())
    return values


def read_settings(state_dir: Path) -> Settings:
    """Read the settings of the last start on a state folder, except its path.

    Raises:
        UserError: the file is missing or unreadable.
    """
    file = settings_path(state_dir)
    try:
        written = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{str(file)!r} must hold the settings of a search, got: {error}; start "
            "'llmatic-daemon run' or 'llmatic-daemon demo' on this folder once"
        ) from error
    return restore({**written, "state_dir": str(state_dir)}, file)
