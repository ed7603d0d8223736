"""The benchmark's table made: from the official files, or from a compact CSV that is checked."""

import gzip
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llmatic_daemon.adapters.nasbench import official
from llmatic_daemon.adapters.nasbench.table import Table, data_sets_of, written
from llmatic_daemon.adapters.storage.state_folder import sync_folder
from llmatic_daemon.domain.errors import UserError


@dataclass(frozen=True, kw_only=True, slots=True)
class Converted:
    """What has been written."""

    data_sets: tuple[str, ...]
    #: Cells that the official files hold with the size of another one.
    num_resized: int


def convert(source: Path, target: Path, *, force: bool = False, watch: Callable[[int], None]) -> Converted:
    """Write the compact CSV that `Table.read` takes; the same cells and figures give the same bytes.

    Args:
        source: The official folder or file of NATS-Bench, or a compact CSV.
        target: Packed by gzip where its name ends in `.gz`; there whole, or as it was before.
        force: Replace what is there.
        watch: Told of the number of cells that have been read from official files.

    Raises:
        UserError: the target is there already, or cannot be written.
        ConfigurationError: the source is none, or is not whole.
    """
    if target.exists() and not force:
        raise UserError(f"{target} must not exist yet; --force overwrites it")
    if not target.parent.is_dir():
        raise UserError(f"{target} must lie in a folder that there is; make {target.parent} first")
    if official.is_official(source):
        found = official.read(source, watch)
        tables, num_resized = found.tables, found.num_resized
    else:
        tables = tuple(Table.read(source, name) for name in data_sets_of(source))
        num_resized = 0
    text = written(tables).encode()
    _publish(target, gzip.compress(text, mtime=0) if target.suffix == ".gz" else text)
    return Converted(data_sets=tuple(each.data_set for each in tables), num_resized=num_resized)


def _publish(file: Path, content: bytes) -> None:
    """Write beside, then rename: whoever reads the file meets the old or the new one."""
    draft = file.with_name(f".{file.name}.new")
    try:
        with draft.open("wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        draft.replace(file)
        sync_folder(file.parent)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise UserError(f"{file} must be writable, got: {error.strerror or error}") from error
