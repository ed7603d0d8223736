"""The steps that make the database's schema, one a file. Append only: each is in a user's database."""

import re
import sqlite3
from collections.abc import Callable
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database


def script(name: str) -> str:
    """Return a script of this folder; for SQLite before 3.37 without STRICT: there the CHECKs stand alone."""
    text = resources.files(__name__).joinpath(f"{name}.sql").read_text("utf-8")
    return text if sqlite3.sqlite_version_info >= (3, 37) else re.sub(r"\bSTRICT\b(, )?", "", text)


def of_script(name: str) -> "Callable[[Database], None]":
    """Return the migration that runs a script of this folder."""

    def migration(db: "Database") -> None:
        db.executescript(script(name))

    migration.__name__ = name
    return migration
