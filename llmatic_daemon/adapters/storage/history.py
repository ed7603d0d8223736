"""Read-only queries of a state folder for the command line, with or without a running daemon."""

import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, get_args

from pydantic import TypeAdapter

from llmatic_daemon import domain
from llmatic_daemon.adapters.storage import database_file, schema, stored_status, verification
from llmatic_daemon.adapters.storage.history_records import (
    Ancestor,
    PromptCredit,
    PromptVersion,
    StoredElite,
    StoredPromptElite,
    StoredStatus,
)
from llmatic_daemon.adapters.storage.rows import (
    arm_rows,
    audit_rows,
    checkpoint_rows,
    death_rows,
    placement_rows,
)
from llmatic_daemon.adapters.storage.sqlite_store import (
    PAGE_SIZE,
    entries_between,
    interleaved,
    stored_identity,
)
from llmatic_daemon.adapters.storage.state_folder import database_path
from llmatic_daemon.adapters.storage.verification import LogTotals
from llmatic_daemon.domain.errors import ConfigurationError, StateVersionError, UserError
from llmatic_daemon.domain.ports import Entry

T = TypeVar("T")
Order = Literal["objective", "flops", "num_parameters", "width_to_depth", "cell", "job"]


class History:
    """A read-only view of a state folder; each answer is of one moment."""

    def __init__(self, folder: Path) -> None:
        """Open the folder's database.

        Raises:
            UserError: there is no search.
            StateVersionError: it is another version's, or another program's.
            ConfigurationError: it is damaged or not readable.
        """
        self._folder = folder
        self._path = database_path(folder)
        if not self._path.exists():
            raise UserError(
                f"there must be a search in {str(folder)!r}, found none; begin one with "
                "'llmatic-daemon demo' or 'llmatic-daemon run', or name its folder with --state"
            )
        self._connection = self._open()

    def close(self) -> None:
        """Close the database; the answers stay."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def identity(self) -> domain.Identity:
        """Return what the state belongs to.

        Raises:
            UserError: its first start has not come so far.
        """
        found = self._ask(stored_identity)
        if found is None:
            raise UserError(f"the search in {str(self._folder)!r} has not begun; start it once")
        return found

    def checkpoint(self) -> domain.Checkpoint | None:
        """Return what the next start begins with; None when it folds the whole log."""
        return self._ask(checkpoint_rows.read)

    def log(self, after: domain.Checkpoint | None = None) -> Iterator[Entry]:
        """Read placements, editions, audits and deaths, oldest first, a page at a time."""
        after = after or domain.Checkpoint()
        between = self._ask(partial(entries_between, after=after))
        last = after.num_settled
        while page := self._ask(partial(placement_rows.read_page, after=last, size=PAGE_SIZE)):
            yield from interleaved(page, between)
            last = page[-1].number
        yield from between

    def placements(self) -> Iterator[domain.Placement]:
        """Read all placements, oldest first."""
        return (entry for entry in self.log() if isinstance(entry, domain.Placement))

    def totals(self) -> LogTotals:
        """Return what counts the entries of the log for `check`; nothing is counted yet."""
        return LogTotals(self._ask(arm_rows.stretches))

    def check(self, totals: LogTotals | None = None) -> tuple[str, ...]:
        """Return what is wrong with the database: its pages, references, jobs and sums.

        Args:
            totals: After it has counted the whole log; None: the log is read for it.
        """
        if totals is None:
            totals = self.totals()
            deque(totals.watch(self.log()), maxlen=0)
        return self._ask(partial(verification.faults, totals=totals))

    def status(self) -> StoredStatus:
        """Return how far the search has come, and who works on it."""
        with self.moment():
            return self._ask(partial(stored_status.read, folder=self._folder))

    def comparison(self) -> domain.Comparison | None:
        """Return the last comparison of both arms; None: there never was a control arm."""
        return self._ask(arm_rows.read)

    @contextmanager
    def moment(self) -> Iterator[None]:
        """Answer all questions of this moment, while a daemon goes on writing."""
        self._rows("BEGIN")
        try:
            yield
        finally:
            self._rows("COMMIT")

    def elites(self, order: Order = "objective") -> tuple[StoredElite, ...]:
        """List the network archive; by falling objective, or by another figure, rising.

        Raises:
            UserError: there is no such order.
        """
        if order not in get_args(Order):
            raise UserError(f"elites can be ordered by {', '.join(get_args(Order))}, not by {order!r}")
        direction = "DESC" if order == "objective" else "ASC"
        return self._elites(f"ORDER BY {order} {direction}, cell")

    def page(self, after: int, size: int) -> list[domain.Placement]:
        """Read at most `size` placements that follow a number of the log, oldest first."""
        return self._ask(partial(placement_rows.read_page, after=after, size=size))

    def num_settled(self) -> int:
        """Return the number of the last placement; 0 before the first."""
        return self._ask(placement_rows.last)

    def elites_from(self, cell: int, limit: int) -> tuple[StoredElite, ...]:
        """List the first elites of the network archive from a cell on, by cell."""
        return self._elites("WHERE cell >= ? ORDER BY cell LIMIT ?", cell, limit)

    def _elites(self, which: str, *values: object) -> tuple[StoredElite, ...]:
        rows = self._named_rows(f"{_ELITES} {which}", *values)
        return _records(_ELITE, [{**row, "measures": row} for row in rows])

    def placement(self, job: int) -> domain.Placement:
        """Return all that is known of a settled job.

        Raises:
            UserError: it has not been settled.
        """
        found = self._ask(partial(placement_rows.read, job=job))
        if found is None:
            raise UserError(
                f"job {job} must be a settled one of {str(self._folder)!r}, found "
                f"{self._state_of(job)}; 'llmatic-daemon elites' lists the best ones"
            )
        return found

    def audit(self, job: int) -> domain.Audit | None:
        """Return what a second training of a network has said; None when there was none."""
        return self._ask(lambda connection: audit_rows.read(connection, job))

    def deaths(self, job: int) -> list[domain.TrainerDeath]:
        """Return the deaths of trainers that worked on a network, oldest first."""
        return self._ask(partial(death_rows.of_job, job=job))

    def lineage(self, job: int) -> tuple[Ancestor, ...]:
        """List a network and all its ancestors, nearest first.

        Raises:
            UserError: the job has not been settled.
        """
        facts = {row["job"]: row for row in self._named_rows(_LINEAGE, job)}
        if not facts:
            self.placement(job)
        parents: dict[int, list[int]] = {number: [] for number in facts}
        for child, parent in self._rows(_LINEAGE_PARENTS, job):
            parents[child].append(parent)
        rows = [
            {**facts[number], "distance": distance, "parents": parents[number]}
            for number, distance in _distances(job, parents)
        ]
        return _records(_ANCESTOR, rows)

    def source(self, digest: str) -> str:
        """Return a source by its digest.

        Raises:
            UserError: it is not here.
        """
        return str(self._content("SELECT text FROM sources WHERE digest = ?", "source", digest))

    def graph(self, digest: str) -> bytes:
        """Return a network's graph, canonical JSON, by its digest.

        Raises:
            UserError: it is not here, or `gc` has emptied it.
        """
        graph = str(self._content("SELECT graph FROM graphs WHERE digest = ?", "graph", digest))
        if not graph:
            raise UserError(f"graph {digest!r} was emptied by gc; its source gives it again")
        return graph.encode()

    def centroids(self) -> domain.Tessellation:
        """Return the cells of both archives; none before the first start has made them."""
        query = "SELECT x, y FROM centroids WHERE archive = ? ORDER BY cell"
        return domain.Tessellation(
            network=tuple(self._rows(query, "network")), prompt=tuple(self._rows(query, "prompt"))
        )

    def prompt_elites(self) -> tuple[StoredPromptElite, ...]:
        """List the prompt archive, the most curious first."""
        return self._individuals("ORDER BY curiosity DESC, cell")

    def prompt_elites_from(self, cell: int, limit: int) -> tuple[StoredPromptElite, ...]:
        """List the first individuals of the prompt archive from a cell on, by cell."""
        return self._individuals("WHERE cell >= ? ORDER BY cell LIMIT ?", cell, limit)

    def _individuals(self, which: str, *values: object) -> tuple[StoredPromptElite, ...]:
        rows = self._named_rows(f"SELECT * FROM prompt_elites {which}", *values)
        return _records(_PROMPT_ELITE, rows)

    def prompt_credit(self) -> tuple[PromptCredit, ...]:
        """List what each version of each prompt has brought about, by id and version."""
        rows = self._named_rows("SELECT * FROM prompt_credit ORDER BY prompt, version")
        return _records(_CREDIT, rows)

    def prompt_versions(self, prompt: str) -> tuple[PromptVersion, ...]:
        """List the texts that a prompt has had, oldest first.

        Raises:
            UserError: the search has never used such a prompt.
        """
        rows = self._named_rows(_VERSIONS, prompt)
        if not rows:
            known = ", ".join(id_ for (id_,) in self._rows(_PROMPT_IDS)) or "none"
            raise UserError(f"a prompt of this search must be one of {known}; got {prompt!r}")
        return _records(_VERSION, rows)

    def prompt_weight(self, prompt: str) -> float:
        """Return the weight that a prompt had last; 1 when it is unknown."""
        query = "SELECT weight FROM edition_prompts WHERE prompt = ? ORDER BY edition DESC LIMIT 1"
        rows = self._rows(query, prompt)
        return float(rows[0][0]) if rows else 1.0

    def _open(self) -> sqlite3.Connection:
        try:
            with database_file.closed_on_error(database_file.connect_read_only(self._path)) as connection:
                database_file.check_version(connection, self._path)
                if len(schema.applied(connection)) < schema.VERSION:
                    raise StateVersionError(
                        f"{str(self._path)!r} must be of schema version {schema.VERSION}, found an "
                        "older one; start the daemon on it once, which brings it up to date"
                    )
        except sqlite3.Error as error:
            raise self._unreadable(error) from error
        return connection

    def _ask(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return work(self._connection)
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return self._ask(lambda connection: connection.execute(query, values).fetchall())

    def _named_rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        def read(connection: sqlite3.Connection) -> list[dict[str, Any]]:
            cursor = connection.execute(query, values)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

        return self._ask(read)

    def _unreadable(self, error: sqlite3.Error) -> ConfigurationError:
        return ConfigurationError(
            f"{str(self._path)!r} must be a sound database that we can read, got: {error}; "
            "ask as the daemon's user, or restore a backup"
        )

    def _content(self, query: str, kind: str, digest: str) -> object:
        rows = self._rows(query, digest)
        if not rows:
            raise UserError(f"there is no {kind} {digest!r} in {str(self._folder)!r}")
        return rows[0][0]

    def _state_of(self, job: int) -> str:
        rows = self._rows("SELECT state FROM jobs WHERE number = ?", job)
        return f"a {rows[0][0]} one" if rows else "no such job"


_PROMPT_IDS = "SELECT DISTINCT prompt FROM prompt_versions ORDER BY prompt"
_VERSIONS = """
SELECT prompt, version, kind, text,
  (SELECT min(adopted_at) FROM editions JOIN edition_prompts ON edition = number
    WHERE edition_prompts.prompt = prompt_versions.prompt
    AND edition_prompts.version = prompt_versions.version) AS adopted_at
FROM prompt_versions WHERE prompt = ? ORDER BY version"""
#: All but the source, which may be long.
_ELITES = """
SELECT cell, job, objective, test_accuracy, num_parameters, flops, width, depth,
  operator, prompt, temperature, train_s, source_digest, network_digest, verdict FROM elites"""
#: Each ancestor once: by ways, there can be millions.
_ANCESTORS = """
WITH RECURSIVE ancestors (job) AS (
  SELECT job FROM placements WHERE job = ?
  UNION
  SELECT parents.parent FROM ancestors JOIN parents ON parents.job = ancestors.job
)"""
_LINEAGE = f"""{_ANCESTORS}
SELECT job, operator, prompt, temperature, objective, source_digest
FROM ancestors JOIN placements USING (job)"""
#: CROSS: ancestors first. To have its rows in order, SQLite would read the parents of all jobs.
_LINEAGE_PARENTS = f"""{_ANCESTORS}
SELECT parents.job, parents.parent FROM ancestors CROSS JOIN parents USING (job)
ORDER BY parents.job, parents.position"""


_ELITE = TypeAdapter(StoredElite)
_PROMPT_ELITE = TypeAdapter(StoredPromptElite)
_CREDIT = TypeAdapter(PromptCredit)
_VERSION = TypeAdapter(PromptVersion)
_ANCESTOR = TypeAdapter(Ancestor)


def _records(kind: TypeAdapter[T], rows: list[dict[str, Any]]) -> tuple[T, ...]:
    """Make a record of each row; columns that the record lacks are ignored."""
    return tuple(map(kind.validate_python, rows))


def _distances(job: int, parents: dict[int, list[int]]) -> list[tuple[int, int]]:
    """Walk from a job to its ancestors, breadth first: (job, steps) pairs."""
    found: dict[int, int] = {}
    level, distance = [job], 0
    while level:
        found.update(dict.fromkeys(level, distance))
        above = dict.fromkeys(parent for child in level for parent in parents[child])
        level, distance = [number for number in above if number not in found], distance + 1
    return list(found.items())
