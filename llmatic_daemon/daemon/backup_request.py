"""Backups on request: the daemon starts a child process that makes one."""

import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from llmatic_daemon.adapters.processes.child import run_module
from llmatic_daemon.domain.errors import ConfigurationError, LLMaticError, StoreUnavailable, UserError

#: What the child process runs; a command, so it is named and not imported.
MODULE = "llmatic_daemon.commands.backup"
#: Backups that are kept unless another number is asked for.
KEEP = 7


async def back_up_beside(state_dir: Path, folder: Path, keep: int) -> dict[str, Any]:
    """Have another process make a backup; returns its `Backup` as JSON has it.

    Raises:
        LLMaticError: as `back_up`.
    """
    status, output = await run_module(MODULE, state_dir, folder, keep)
    answer = json.loads(output) if status == 0 else {}
    if "error" in answer:
        raise ERRORS.get(answer["kind"], UserError)(answer["error"])
    if not answer:
        raise UserError(f"a backup must come to its end, and ended with {status}; see the log")
    return dict(answer)


def backup_verb(
    state_dir: Path, told: Callable[[float], None]
) -> Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]:
    """Make what the control socket's `backup` does: {"folder": "/absolute", "keep": 7}.

    Args:
        state_dir: Of the search.
        told: Hears of each success: seconds since 1970.
    """

    async def back_up_as_asked(body: Mapping[str, Any]) -> Mapping[str, Any]:
        folder, keep = body.get("folder"), body.get("keep", KEEP)
        if not isinstance(folder, str) or not Path(folder).is_absolute():
            raise UserError(f"folder must be an absolute path, got {folder!r}")
        if type(keep) is not int or keep < 1:
            raise UserError(f"keep must be a whole number from 1, got {keep!r}")
        made = await back_up_beside(state_dir, Path(folder), keep)
        told(made["finished_at"])
        return made

    return back_up_as_asked


ERRORS: dict[str, type[LLMaticError]] = {
    kind.__name__: kind for kind in (UserError, ConfigurationError, StoreUnavailable)
}
