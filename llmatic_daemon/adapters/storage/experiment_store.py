"""What is kept of an experiment: one SQLite database, one transaction for each run that has ended."""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from llmatic_daemon.adapters.storage.database_file import closed_on_error
from llmatic_daemon.domain.errors import ConfigurationError, StateLocked, StoreUnavailable

DATABASE = "experiment.sqlite"
#: Of the file's header: "LMex"; and which schema it has.
_APPLICATION, _VERSION = 0x4C4D6578, 1


@dataclass(frozen=True, slots=True, order=True)
class RunKey:
    """Which search: of all that an experiment has."""

    variant: str
    data_set: str
    seed: int

    def __str__(self) -> str:
        return f"{self.variant} on {self.data_set}, seed {self.seed}"


@dataclass(frozen=True, slots=True)
class Improvement:
    """A candidate that was better than all before it, by the split that selects."""

    number: int
    #: Whole trainings that the search had cost by then, this one included.
    cost: float
    #: Busy time of the device workers until then, in seconds.
    time_s: float
    objective: float
    test_accuracy: float
    flops: int
    source: str


@dataclass(frozen=True, slots=True)
class WindowFacts:
    """A number of settled candidates in a row: how many were trained, and the best of them."""

    number: int
    #: Whole trainings that the search had cost at its end.
    cost: float
    num_settled: int
    num_trained: int
    #: Of the best one; None when none was trained.
    objective: float | None
    test_accuracy: float | None
    flops: int | None


@dataclass(frozen=True, slots=True)
class KeptElite:
    """What a cell held at the end: its value is the objective, or the prompt's curiosity."""

    archive: str
    cell: int
    value: float
    what: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """A run that has ended, and what it has found."""

    run: RunKey
    fingerprint: str
    #: UTC, ISO 8601.
    ended_at: str
    duration_s: float
    reason: str
    num_settled: int
    num_queries: int
    num_looks: int
    cost: float
    improvements: tuple[Improvement, ...] = field(repr=False)
    windows: tuple[WindowFacts, ...] = field(repr=False)
    elites: tuple[KeptElite, ...] = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """A run that came to nothing, and why, in one line."""

    run: RunKey
    fingerprint: str
    ended_at: str
    reason: str


class ExperimentStore:
    """The database of an experiment, which is ours alone to write while it is open."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    @contextmanager
    def opened(cls, folder: Path) -> "Iterator[ExperimentStore]":
        """Open the database of a folder; both are made when they are missing.

        Raises:
            ConfigurationError: it cannot be made or read, or is another program's.
            StateLocked: another command works on it.
        """
        file = folder / DATABASE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o640)
        except OSError as error:
            raise ConfigurationError(
                f"{str(folder)!r} must be a folder that we can write, got: {error.strerror}; "
                "choose another by --out"
            ) from error
        try:
            _lock(lock, folder)
            with closing(_connect(file)) as connection:
                yield cls(connection)
        finally:
            os.close(lock)

    def done(self) -> dict[RunKey, str]:
        """List the runs that have ended, each with the fingerprint of its settings."""
        rows = self._connection.execute("SELECT variant, data_set, seed, fingerprint FROM runs")
        return {RunKey(*which): fingerprint for *which, fingerprint in rows}

    def keep(self, ended: Finished | Failed) -> None:
        """Store a run in one transaction, and delete an older one.

        Raises:
            StoreUnavailable: the disk is full, or broken; nothing was written.
        """
        try:
            self._keep(ended)
        except sqlite3.OperationalError as error:
            raise StoreUnavailable(
                f"the experiment's database must be writable, got: {error}; make room, and type the "
                "same command again: what was kept before is there"
            ) from error

    def _keep(self, ended: Finished | Failed) -> None:
        with _transaction(self._connection) as write:
            key = (ended.run.variant, ended.run.data_set, ended.run.seed)
            for table in ("runs", "failures"):
                write.execute(f"DELETE FROM {table} WHERE variant = ? AND data_set = ? AND seed = ?", key)
            if isinstance(ended, Failed):
                row = (*key, ended.fingerprint, ended.ended_at, ended.reason)
                write.execute("INSERT INTO failures VALUES (?, ?, ?, ?, ?, ?)", row)
            else:
                _insert(write, ended)

    def finished(self) -> list[Finished]:
        """Read all runs that have ended, in the order of variant, data set and seed."""
        rows = self._connection.execute("SELECT * FROM runs ORDER BY variant, data_set, seed")
        return [self._finished(row) for row in rows.fetchall()]

    def failures(self) -> list[Failed]:
        """Read all runs that came to nothing."""
        rows = self._connection.execute("SELECT * FROM failures ORDER BY variant, data_set, seed")
        return [
            Failed(run=RunKey(*which), fingerprint=fingerprint, ended_at=at, reason=reason)
            for *which, fingerprint, at, reason in rows
        ]

    def _finished(self, row: tuple[Any, ...]) -> Finished:
        number, variant, data_set, seed, *facts = row

        def parts(table: str) -> list[list[Any]]:
            query = f"SELECT * FROM {table} WHERE run = ?"
            return [part for _, *part in self._connection.execute(query, (number,))]

        return Finished(
            run=RunKey(variant, data_set, seed),
            **dict(zip(_FACTS, facts, strict=True)),
            improvements=tuple(Improvement(*part) for part in parts("improvements")),
            windows=tuple(WindowFacts(*part) for part in parts("windows")),
            elites=tuple(KeptElite(*part) for part in parts("elites")),
        )


_COUNTS = ("num_settled", "num_queries", "num_looks", "cost")
#: Columns of a run after its key, in their order.
_FACTS = ("fingerprint", "ended_at", "duration_s", "reason", *_COUNTS)


def _lock(lock: int, folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StateLocked(
            f"{str(folder)!r} must belong to one experiment at a time, and another command has it; "
            "wait for its end, or choose another folder by --out"
        ) from error


def _connect(file: Path) -> sqlite3.Connection:
    try:
        with closed_on_error(sqlite3.connect(file, isolation_level=None)) as connection:
            _make_or_check(connection, file)
    except sqlite3.Error as error:
        raise ConfigurationError(
            f"{str(file)!r} must be an experiment's database that we can write, got: {error}; "
            "choose another folder by --out, or delete it"
        ) from error
    return connection


def _make_or_check(connection: sqlite3.Connection, file: Path) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    empty = not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if empty:
        marks = f"PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {_VERSION};"
        tables = (
            resources.files("llmatic_daemon.adapters.storage").joinpath("experiment.sql").read_text("utf-8")
        )
        connection.executescript(f"BEGIN IMMEDIATE; {marks} {tables} COMMIT;")
    elif (application, version) != (_APPLICATION, _VERSION):
        raise ConfigurationError(
            f"{str(file)!r} must be an experiment's database of this version; choose another "
            "folder by --out, or delete it"
        )


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
    except BaseException:
        if connection.in_transaction:  # SQLite itself has rolled it back on a full disk
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _insert(write: sqlite3.Connection, ended: Finished) -> None:
    values = (*astuple(ended.run), *(getattr(ended, name) for name in _FACTS))
    marks = ", ".join("?" * len(values))
    number = write.execute(f"INSERT INTO runs VALUES (NULL, {marks})", values).lastrowid
    for table, parts in (
        ("improvements", ended.improvements),
        ("windows", ended.windows),
        ("elites", ended.elites),
    ):
        rows = [(number, *astuple(part)) for part in parts]
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            write.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
