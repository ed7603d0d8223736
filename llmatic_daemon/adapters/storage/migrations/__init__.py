"""The steps that make the database's schema, one a file. Append only: each is in a user's database."""

import sqlite3

#: SQLite before 3.37 knows no STRICT tables; there the CHECKs stand alone.
STRICT = "STRICT" if sqlite3.sqlite_version_info >= (3, 37) else ""
#: The same, in front of another option of the table.
STRICT_AND = f"{STRICT}," if STRICT else ""
