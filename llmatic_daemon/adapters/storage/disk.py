"""Files that are there whole or not at all, and the errors of the disk as ours."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmatic_daemon.domain.errors import LLMaticError


def write_atomically(file: Path, content: str | bytes) -> None:
    """Write a file durably: readers, and a start after a power loss, find the old or the new content.

    Raises:
        OSError: the file is as it was before.
    """
    draft = draft_of(file)
    try:
        with draft.open("wb") as opened:
            opened.write(content.encode() if isinstance(content, str) else content)
            opened.flush()
            os.fsync(opened.fileno())
        draft.replace(file)
        sync_folder(file.parent)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def draft_of(file: Path) -> Path:
    """Return where the content of a file is written before the file gets its name."""
    return file.with_name(f".{file.name}.new")


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def os_errors_as(
    kind: type[LLMaticError], expected: str, remedy: str, *, only: type[OSError] = OSError
) -> Iterator[None]:
    """Raise an error of the disk as one of ours: what was expected, what the system said, what to do."""
    try:
        yield
    except only as error:
        raise kind(f"{expected}, got: {error.strerror or error}; {remedy}") from error
