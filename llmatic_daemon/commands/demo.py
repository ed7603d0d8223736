"""The demo: its goal, and the deletion of an earlier one."""

from dataclasses import replace
from pathlib import Path

from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.adapters.storage.state_folder import OWN_FILES, StateFolder, database_path, settings_path
from llmatic_daemon.bootstrap.saved_settings import read_settings
from llmatic_daemon.config.settings import Settings
from llmatic_daemon.domain.errors import UserError

#: Of the files in its `plots`, those that a demo has drawn.
_OWN_PICTURES = ("archives.png", "archives.svg", "course.png", "course.svg")


def with_next_goal(settings: Settings) -> Settings:
    """Raise the budget of a finished demo by the same number of evaluations and hours."""
    if not database_path(settings.state_dir).exists():
        return settings
    with History(settings.state_dir) as history:
        done = history.status()
    step, hours = settings.budget.max_evaluations, settings.budget.max_hours
    goal = replace(
        settings.budget,
        max_evaluations=step and (done.num_evaluations // step + 1) * step,
        max_hours=hours and done.elapsed_s / 3600 + hours,
    )
    return settings.model_copy(update={"budget": goal})


def delete(folder: Path) -> None:
    """Delete an earlier demo, and only a demo.

    Raises:
        UserError: it is not the folder of a demo.
        StateLocked: a daemon uses it.
    """
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not settings_path(folder).exists() or read_settings(folder).data.name != "digits":
        raise UserError(
            f"--fresh deletes demos only, and {str(folder)!r} is not a demo; choose another folder"
        )
    claimed = StateFolder.claim(folder)
    for name in _OWN_PICTURES:
        (folder / "plots" / name).unlink(missing_ok=True)
    for name in OWN_FILES:
        (folder / name).unlink(missing_ok=True)
    claimed.release()
