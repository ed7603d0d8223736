"""Conversion of the official files, or of a compact CSV, to the benchmark's table."""

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llmatic_daemon.adapters.nasbench import official
from llmatic_daemon.adapters.nasbench.table import Table, data_sets_of, written
from llmatic_daemon.adapters.storage.disk import os_errors_as, write_atomically
from llmatic_daemon.domain.errors import UserError


@dataclass(frozen=True, kw_only=True, slots=True)
class Converted:
    """The result of a conversion."""

    data_sets: tuple[str, ...]
    #: Number of cells that the official files store with the size of another cell.
    num_resized: int


def convert(source: Path, target: Path, *, force: bool = False, watch: Callable[[int], None]) -> Converted:
    """Write the compact CSV that `Table.read` reads; the same cells and values give the same bytes.

    Args:
        source: The official folder or file of NATS-Bench, or a compact CSV.
        target: Output file, written atomically; compressed by gzip if its name ends in `.gz`.
        force: Whether to replace an existing file.
        watch: Called with the number of cells read from official files so far.

    Raises:
        UserError: the target exists, or cannot be written.
        ConfigurationError: the source is not valid, or not complete.
    """
    if target.exists() and not force:
        raise UserError(f"{target} must not exist yet; --force overwrites it")
    if not target.parent.is_dir():
        raise UserError(f"{target} must lie in an existing folder; make {target.parent} first")
    if official.is_official(source):
        found = official.read(source, watch)
        tables, num_resized = found.tables, found.num_resized
    else:
        tables = tuple(Table.read(source, name) for name in data_sets_of(source))
        num_resized = 0
    text = written(tables).encode()
    with os_errors_as(UserError, f"{target} must be writable", "make room, or choose another file"):
        write_atomically(target, gzip.compress(text, mtime=0) if target.suffix == ".gz" else text)
    return Converted(data_sets=tuple(each.data_set for each in tables), num_resized=num_resized)
