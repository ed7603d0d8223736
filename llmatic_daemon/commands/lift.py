"""Lift one source as the search would: parse, lift, validate; nothing is stored."""

from pathlib import Path

from llmatic_daemon.bootstrap import build_processes
from llmatic_daemon.config.settings import Settings
from llmatic_daemon.domain import Network, Rejection, Task
from llmatic_daemon.domain.errors import UserError
from llmatic_daemon.search.candidates.source import read_text


async def lift_file(
    file: Path, settings: Settings, input_shape: tuple[int, int, int], num_classes: int
) -> Network | Rejection:
    """Return the network of a file, or the reason for its rejection.

    Args:
        file: A Python source.
        settings: Settings with the limits.
        input_shape: (channels, height, width) of an image, in pixels.
        num_classes: At least 2.

    Raises:
        UserError: the file cannot be read.
        LifterUnavailable: the lifter cannot start.
    """
    task = Task(
        name=file.stem,
        input_shape=input_shape,
        num_classes=num_classes,
        num_train=0,
        num_validation=0,
        num_test=0,
    )
    candidate = read_text(_read(file), (), seed=settings.search.seed, task=task)
    if isinstance(candidate, Rejection):
        return candidate
    async with build_processes.lifter(settings) as lifter:
        return await lifter.lift(candidate)


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"expected a readable Python file, got {file}: {error}") from error
