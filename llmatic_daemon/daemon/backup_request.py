"""Backups on request: a child process makes each one while the daemon runs."""

import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from llmatic_daemon.adapters.processes.child import run_module
from llmatic_daemon.domain.errors import ConfigurationError, LLMaticError, StoreUnavailable, UserError
from llmatic_daemon.domain.events import BackupFinished, EventBus

#: What the child process runs; a command, so it is named and not imported.
MODULE = "llmatic_daemon.commands.backup"
#: Backups that are kept unless another number is given.
KEEP = 7
#: Errors that the child process reports by name.
ERRORS: dict[str, type[LLMaticError]] = {
    kind.__name__: kind for kind in (UserError, ConfigurationError, StoreUnavailable)
}


async def back_up_beside(state_dir: Path, folder: Path, keep: int) -> dict[str, Any]:
    """Make a backup in a child process; return its `Backup` as JSON has it.

    Raises:
        LLMaticError: as `back_up`.
    """
    status, output = await run_module(MODULE, state_dir, folder, keep)
    answer = json.loads(output) if status == 0 else {}
    if "error" in answer:
        raise ERRORS.get(answer["kind"], UserError)(answer["error"])
    if not answer:
        raise UserError(f"the backup process ended with exit code {status}, expected 0; see the log")
    return dict(answer)


def backup_verb(
    state_dir: Path, events: EventBus
) -> Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]:
    """Build the control socket's `backup` verb; its body is {"folder": "/absolute", "keep": 7}.

    Args:
        state_dir: Of the search.
        events: Where each success is published.
    """

    async def back_up(body: Mapping[str, Any]) -> Mapping[str, Any]:
        folder, keep = body.get("folder"), body.get("keep", KEEP)
        if not isinstance(folder, str) or not Path(folder).is_absolute():
            raise UserError(f"folder must be an absolute path, got {folder!r}")
        if type(keep) is not int or keep < 1:
            raise UserError(f"keep must be a whole number from 1, got {keep!r}")
        made = await back_up_beside(state_dir, Path(folder), keep)
        events.publish(BackupFinished(finished_at=made["finished_at"]))
        return made

    return back_up
