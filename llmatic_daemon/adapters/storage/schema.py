"""The database's schema: made and brought up to date by the migrations; `schema.sql` shows the result.

`placements`, `editions`, `audits` and `deaths` are the log: one JSON text for each settled job, with all that
it changed, for each prompt set, each second training and each death of a trainer. The tables of the archives and sums change
in the same transaction; what else can be computed from the log is a view.
"""

import re
import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING

from llmatic_daemon.adapters.storage.migrations import of_script, script
from llmatic_daemon.adapters.storage.migrations.m007_entries import m007_entries
from llmatic_daemon.domain import failpoints

if TYPE_CHECKING:
    from sqlite_utils import Database

#: "LLMa" in ASCII: marks our databases.
APPLICATION_ID = 0x4C4C4D61

_SET = "llmatic"

#: In the order in which they are applied. Append only: each is in a user's database.
_MIGRATIONS: tuple[Callable[["Database"], None], ...] = (
    of_script("m001_search"),
    of_script("m002_writers"),
    of_script("m003_audits"),
    of_script("m004_growth"),
    of_script("m005_comparisons"),
    of_script("m006_arms"),
    m007_entries,
    of_script("m008_deaths"),
)

VERSION = len(_MIGRATIONS)


def applied(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Return the names of the migrations that a database has had, without writing to it."""
    known = "SELECT 1 FROM sqlite_master WHERE name = '_sqlite_migrations'"
    if connection.execute(known).fetchone() is None:
        return ()
    names = "SELECT name FROM _sqlite_migrations WHERE migration_set = ? ORDER BY id"
    return tuple(name for (name,) in connection.execute(names, (_SET,)))


def unknown(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Return the names of applied migrations that only a newer version knows."""
    ours = {migration.__name__ for migration in _MIGRATIONS}
    return tuple(name for name in applied(connection) if name not in ours)


def migrate(connection: sqlite3.Connection) -> None:
    """Apply the missing migrations, all in one transaction; do nothing if none is missing.

    Raises:
        sqlite3.Error: the database is as it was before.
    """
    if len(applied(connection)) == VERSION:
        return
    # Imported here only: it costs 0.3 s and up to 50 MB, and most starts do not need it.
    from sqlite_utils import Database
    from sqlite_utils.migrations import Migrations

    views, migrations = script("views"), Migrations(_SET)
    for migration in _MIGRATIONS:
        migrations()(migration)
    (enforced,) = connection.execute("PRAGMA foreign_keys").fetchone()
    # A table is replaced while others refer to it. No effect inside a transaction, hence here.
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("BEGIN IMMEDIATE")
    try:
        database = Database(connection)
        for name in re.findall(r"CREATE VIEW (\w+)", views):
            connection.execute(f"DROP VIEW IF EXISTS {name}")
        migrations.apply(database)
        database.executescript(views)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        failpoints.reached("migration")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        connection.execute(f"PRAGMA foreign_keys = {enforced}")
