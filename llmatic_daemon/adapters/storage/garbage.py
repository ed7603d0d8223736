"""Unneeded content of a state folder, found and removed while no daemon works on it."""

import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from llmatic_daemon.adapters.storage import copies as snapshots
from llmatic_daemon.adapters.storage import database_file
from llmatic_daemon.adapters.storage.replace import REPLACED
from llmatic_daemon.adapters.storage.state_folder import LEFTOVERS, database_path

#: Copies of a whole search that a migration or a restore has left, for a person who wants to go back.
_COPIES = rf"(schema-\d+|{REPLACED})"
_SPARE = """
FROM graphs WHERE graph <> '' AND digest NOT IN (
  SELECT network_digest FROM network_elites JOIN placements ON placements.job = network_elites.job
) AND digest NOT IN (SELECT network_digest FROM deaths)"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Removable:
    """Something that can go."""

    path: str
    size_bytes: int


def drafts(folder: Path) -> list[Removable]:
    """List what never got its name; only right while no daemon is about to give it one."""
    files = [file for name in LEFTOVERS if (file := folder / name).exists()]
    return [_spare(each) for each in (*files, *snapshots.drafts(folder))]


def copies(folder: Path) -> list[Removable]:
    """List the copies that migrations and restores have left, the oldest first."""
    return [_spare(each) for each in snapshots.named(folder, _COPIES)]


def remove(spare: Removable) -> None:
    """Remove a file or a copy."""
    path = Path(spare.path)
    if not path.is_dir():
        path.unlink()
    elif path.name.startswith("."):
        shutil.rmtree(path)
    else:
        snapshots.remove(path)


def spare_graphs(folder: Path) -> tuple[int, int]:
    """Count the graphs of networks that hold no cell and ended no trainer, and their bytes."""
    with closing(database_file.connect_read_only(database_path(folder))) as connection:
        query = f"SELECT count(*), coalesce(sum(length(CAST(graph AS BLOB))), 0) {_SPARE}"
        number, size_bytes = connection.execute(query).fetchone()
    return number, size_bytes


def empty_graphs(folder: Path) -> None:
    """Empty them, in one transaction; rows and names stay, for the log refers to them."""
    with closing(database_file.connect(database_path(folder), busy_timeout_s=5.0)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"UPDATE graphs SET graph = '' WHERE digest IN (SELECT digest {_SPARE})")
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def vacuum(folder: Path) -> int:
    """Rewrite the database without its free pages; return by how many bytes it shrank."""
    path = database_path(folder)
    before = path.stat().st_size
    with closing(database_file.connect(path, busy_timeout_s=5.0)) as connection:
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return before - path.stat().st_size


def _spare(path: Path) -> Removable:
    files = [path] if not path.is_dir() else [each for each in path.rglob("*") if each.is_file()]
    return Removable(path=str(path), size_bytes=sum(file.lstat().st_size for file in files))
