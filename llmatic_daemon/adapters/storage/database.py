"""The only read-write connection to the database, in a thread of its own; the only checkpointer.

SQLite before 3.51.3 can corrupt a WAL database when two connections write and checkpoint at once;
with one writer that also checkpoints, and readers that are `mode=ro`, that cannot come about.
"""

import asyncio
import contextlib
import errno
import logging
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from llmatic_daemon.adapters.storage import copies, database_file, schema
from llmatic_daemon.domain import failpoints
from llmatic_daemon.domain.errors import ConfigurationError, LLMaticError, StoreUnavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Primary result codes after which the connection itself is sound: locked, disk full.
_HARMLESS = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL}
#: Codes of a world that fails, and may get well again.
_UNAVAILABLE = _HARMLESS | {
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL,
}
#: Of these, the ones that a person must change when they are met at the start.
_FORBIDDEN = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}
#: What the system says of a disk that may get well again.
_PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EIO}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class Database:
    """A database file, written by one thread; every method may be called from the event loop."""

    def __init__(self, path: Path, *, busy_timeout_s: float, checkpoint_every: int) -> None:
        self._path = path
        self._name = str(path)
        self._busy_timeout_s = busy_timeout_s
        self._checkpoint_every = checkpoint_every
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._num_written = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="llmatic-store")

    async def open(self) -> None:
        """Make the database, or check it and bring its schema up to date.

        Raises:
            StateVersionError: another program's, or a newer version's; nothing was written.
            ConfigurationError: it is damaged, or we may not write it; nothing was written.
            StoreUnavailable: the disk is full or failing, or another program has it locked.
        """
        await self._in_thread(self._prepare)

    async def write(self, point: str, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do some work in one transaction, durable on return, or not done at all.

        A cancelled caller stops nothing: the transaction ends as it would have.

        Args:
            point: Prefix of the failpoints `-begin`, `-inside` and `-after`.
            work: Runs in the thread; anything that it raises rolls back.

        Raises:
            StoreUnavailable: rolled back; may be tried again.
            ConfigurationError: the file is damaged.
            ValueError: the work breaks a rule of the schema.
        """
        return await asyncio.shield(self.begin(point, work))

    def begin(self, point: str, work: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Do as `write` does, for a caller that shields the result itself."""
        return asyncio.wrap_future(self._thread.submit(self._transact, point, work))

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do some reading in the thread.

        Raises:
            StoreUnavailable: the file cannot be read now.
        """
        return await self._in_thread(partial(self._look, work))

    async def ping(self) -> None:
        """Return as soon as the thread has come round to it."""
        await self._in_thread(lambda: None)

    async def close(self) -> None:
        """Finish what was begun, checkpoint, close, and end the thread."""
        try:
            await self._in_thread(self._close)
        finally:
            self._thread.shutdown()

    async def _in_thread(self, function: Callable[[], T]) -> T:
        running = asyncio.wrap_future(self._thread.submit(function))
        return await asyncio.shield(running)

    # --- everything below runs in the thread -----------------------------------------------------

    def _prepare(self) -> None:
        try:
            database_file.ensure(self._path, busy_timeout_s=self._busy_timeout_s)
            self._inode = self._path.stat().st_ino
            self._migrate()
            # SQLite opens a file that it may not write without a word: ask for the write now.
            self._connected().execute("BEGIN IMMEDIATE").execute("ROLLBACK")
        except OSError as error:
            if error.errno in _PASSING:
                raise StoreUnavailable(
                    f"the database {str(self._path)!r} must be kept, got: {error.strerror}; "
                    "make room, and start again"
                ) from error
            raise self._unwritable(error.strerror or str(error)) from error
        except sqlite3.Error as error:
            if _code(error) in _FORBIDDEN:
                raise self._unwritable(str(error)) from error
            raise self._explained(error) from error

    def _migrate(self) -> None:
        """Bring an older schema up to date, after a copy was made that a person can go back to."""
        connection = self._connected()
        version = len(schema.applied(connection))
        if version == schema.VERSION:
            return
        copy = self._path.with_name(copies.name(f"schema-{version}"))
        with copies.publishing(copy) as draft:
            copies.copy_state(self._path.parent, draft)
        logger.warning(
            "the database is of schema version %d and is brought up to %d; as it was, it is kept in %s",
            version,
            schema.VERSION,
            copy,
            extra={"action": "migrate"},
        )
        schema.migrate(connection)

    def _unwritable(self, what: str) -> ConfigurationError:
        return ConfigurationError(
            f"the database {str(self._path)!r} must be writable, got: {what}; "
            "change its owner or mode, or choose another state folder"
        )

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = database_file.connect(self._path, busy_timeout_s=self._busy_timeout_s)
        return self._connection

    def _transact(self, point: str, work: Callable[[sqlite3.Connection], T]) -> T:
        failpoints.reached(f"{point}-begin")
        try:
            self._refuse_another_file()
            connection = self._connected()
            try:
                connection.execute("BEGIN IMMEDIATE")
                result = work(connection)
                failpoints.reached(f"{point}-inside")
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    with contextlib.suppress(sqlite3.Error):  # the first error says more
                        connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise self._explained(error) from error
        failpoints.reached(f"{point}-after")
        self._num_written += 1
        if self._num_written % self._checkpoint_every == 0:
            # Nobody waits for it: the result is handed over first.
            self._thread.submit(self._checkpoint, "PASSIVE")
        return result

    def _look(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return work(self._connected())
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def _refuse_another_file(self) -> None:
        """Refuse to write into a file that has lost its name: nobody would find the results."""
        try:
            here = os.stat(self._name).st_ino
        except OSError as error:
            raise StoreUnavailable(
                f"{str(self._path)!r} must stay where it is, got: {error.strerror}; "
                "put the file back, or stop the daemon and restore a backup"
            ) from error
        if here != self._inode:
            raise StoreUnavailable(
                f"{str(self._path)!r} must stay the file that was opened, found another in its "
                "place; put the first one back, or restart the daemon to use the new one"
            )

    def _explained(self, error: sqlite3.Error) -> LLMaticError | ValueError:
        """Return the error that the caller gets; after an I/O error, drop the connection."""
        code = _code(error)
        if code in _UNAVAILABLE:
            if code not in _HARMLESS:
                self._drop()
            return StoreUnavailable(
                f"the database {str(self._path)!r} must be readable and writable, got: {error}; "
                "make room, or end what holds it: work goes on by itself then"
            )
        if code in _DAMAGED:
            self._drop()
            return database_file.damaged(self._path, str(error))
        return ValueError(f"the store refuses this: {error}")

    def _drop(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):  # it is being dropped because it failed
                self._connection.close()
            self._connection = None

    def _checkpoint(self, mode: str) -> None:
        if self._connection is None:
            return
        failpoints.reached("checkpoint")
        with contextlib.suppress(sqlite3.OperationalError):  # all is safe in the WAL: a later one
            self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()

    def _close(self) -> None:
        self._checkpoint("TRUNCATE")
        self._drop()


def _code(error: sqlite3.Error) -> int:
    """Return the primary result code; errors of Python's own module have none."""
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & 0xFF
