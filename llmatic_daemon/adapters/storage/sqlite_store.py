"""The search's state in SQLite: jobs, the log, and both archives beside it.

One transaction keeps all that a placement changes. The archives' tables follow from the placement
alone (what was added, who was credited), so folding the log gives the same; nothing here decides.
"""

import asyncio
import contextlib
import math
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

from llmatic_daemon.adapters.storage.database import Database
from llmatic_daemon.adapters.storage.json_format import PLACEMENTS
from llmatic_daemon.adapters.storage.rows import (
    arm_rows,
    audit_rows,
    checkpoint_rows,
    death_rows,
    job_rows,
    placement_rows,
    prompt_set_rows,
    total_rows,
)
from llmatic_daemon.adapters.storage.state_folder import StateFolder
from llmatic_daemon.domain import (
    Artefacts,
    Audit,
    Checkpoint,
    Comparison,
    Duplicate,
    Edition,
    Identity,
    Job,
    Outcome,
    Placement,
    Tessellation,
    TrainerDeath,
    digest,
)
from llmatic_daemon.domain.errors import ConfigurationError, StoreUnavailable
from llmatic_daemon.domain.ports import Entry, SearchStore

_ADD_CENTROID = "INSERT INTO centroids (archive, cell, x, y) VALUES (?, ?, ?, ?)"
_ADD_SOURCE = "INSERT INTO sources (digest, text) VALUES (?, ?) ON CONFLICT DO NOTHING"
#: One that was emptied is filled again.
_ADD_GRAPH = """
INSERT INTO graphs (digest, graph) VALUES (?, ?)
ON CONFLICT DO UPDATE SET graph = excluded.graph WHERE graphs.graph = ''"""
_PUT_ELITE = """
INSERT OR REPLACE INTO network_elites (cell, job, objective, test_accuracy) VALUES (?, ?, ?, ?)"""
_PUT_PROMPT_ELITE = """
INSERT OR REPLACE INTO prompt_elites
  (cell, job, prompt, prompt_version, temperature, objective, curiosity)
VALUES (?, ?, ?, ?, ?, ?, ?)"""
_CREDIT = "UPDATE prompt_elites SET curiosity = curiosity + ? WHERE cell = ? AND job = ?"
_REPRODUCIBLE = ", ".join(f"'{outcome}'" for outcome in Outcome if outcome.is_reproducible)
_EARLIER = f"""
SELECT job, outcome FROM placements
WHERE network_digest = ? AND outcome IN ({_REPRODUCIBLE}) AND (? OR operator <> 'initialisation')
  AND (? OR outcome <> 'stopped')
ORDER BY number LIMIT 1"""

#: Sources of at most 64 KiB that are kept in memory, most of them far smaller.
_NUM_RECENT = 256
#: Placements that are held at once while the log is read.
PAGE_SIZE = 500


class SQLiteStore(SearchStore):
    """A state folder that is ours, and its database."""

    def __init__(self, folder: StateFolder, database: Database) -> None:
        self._folder = folder
        self._database = database
        self._jobs = job_rows.Jobs()
        self._making = asyncio.Lock()
        #: Sources that were read: parents are drawn again and again, and a digest never changes.
        self._recent: dict[str, str] = {}
        #: Attempts whose COMMIT reported an error: some of these are on the disk nevertheless.
        self._in_doubt: set[tuple[int, int]] = set()

    @classmethod
    async def open(
        cls, folder: Path, *, busy_timeout_s: float = 5.0, checkpoint_every: int = 200
    ) -> "SQLiteStore":
        """Lock a state folder, open its database, and release the jobs of an earlier daemon.

        Args:
            folder: Made, with mode 0750, when it is missing.
            busy_timeout_s: How long to wait for another program's lock on the database.
            checkpoint_every: Transactions between checkpoints of the write-ahead log.

        Raises:
            StateLocked: another daemon has the folder.
            StateVersionError: the database is another program's, or of a newer version.
            ConfigurationError: it is damaged or not writable.
            StoreUnavailable: the disk is full or failing, or the database is locked.
        """
        claimed = StateFolder.claim(folder)  # a few system calls, before there is anything to hold up
        async with contextlib.AsyncExitStack() as undo:
            undo.callback(claimed.release)
            database = Database(
                claimed.database, busy_timeout_s=busy_timeout_s, checkpoint_every=checkpoint_every
            )
            undo.push_async_callback(database.close)
            await database.open()
            await database.write("recover", job_rows.release_all)
            undo.pop_all()
        return cls(claimed, database)

    async def identity(self) -> Identity | None:
        """Return what the state belongs to; None when it is new."""
        return await self._database.read(stored_identity)

    async def identify(self, identity: Identity) -> None:
        """Claim the state for a search, or check that it belongs to it."""
        stored = await self._database.write("identify", lambda c: _identity(c, identity))
        different = list(stored.differences(identity))
        if different:
            raise ConfigurationError(
                f"state folder {str(self._folder.path)!r} must belong to this search, found "
                f"another: {'; '.join(different)}; change back, or choose another folder"
            )

    async def tessellation(self, make: Callable[[], Awaitable[Tessellation]]) -> Tessellation:
        """Return the stored centroids; make and keep them the first time."""
        async with self._making:
            stored = await self._database.read(_stored_tessellation)
            if stored is None:
                stored = await make()
                rows = _centroid_rows(stored)
                await self._database.write("tessellation", lambda c: c.executemany(_ADD_CENTROID, rows))
            return stored

    async def dispatch(self, slot: int) -> Job:
        """Claim a job for a slot: the oldest released one, else a new one. Durable on return."""
        claim = self._database.begin("dispatch", lambda c: self._jobs.claim(c, slot))
        try:
            return await asyncio.shield(claim)
        except asyncio.CancelledError:
            # Nobody will hear of this job: without a release it waits for the next start.
            with contextlib.suppress(StoreUnavailable):
                await self.release(await claim, charged=False)
            raise

    async def release(self, job: Job, *, charged: bool) -> None:
        """Give a job back; uncharged, its attempt does not count."""
        await self._database.write("release", lambda c: job_rows.release(c, job, charged))

    async def commit(self, placement: Placement, artefacts: Artefacts) -> bool:
        """Keep all that a placement changes, in one durable transaction."""
        check_artefacts(placement, artefacts)
        entry = PLACEMENTS.write(placement)
        attempt = (placement.job.number, placement.job.attempt)
        in_doubt = attempt in self._in_doubt
        self._in_doubt.add(attempt)
        kept = await self._database.write(
            "commit", lambda c: _commit(c, placement, entry, artefacts, in_doubt)
        )
        self._in_doubt.discard(attempt)
        return kept

    async def adopt(self, edition: Edition) -> None:
        """Keep a prompt set that the search takes, in one durable transaction."""
        await self._database.write("adopt", lambda c: prompt_set_rows.add(c, edition))

    async def keep_audit(self, audit: Audit) -> None:
        """Keep a second training of an elite, in one durable transaction."""
        await self._database.write("audit", lambda c: audit_rows.add(c, audit))

    async def keep_death(self, death: TrainerDeath, artefacts: Artefacts) -> None:
        """Store the death of a trainer with its network, in one durable transaction."""
        check_artefacts(death, artefacts)
        await self._database.write("death", lambda c: _add_death(c, death, artefacts))

    async def note_refusal(self, why: str) -> None:
        """Keep the reason for which a prompt set was not taken."""
        await self._database.write("refusal", lambda c: prompt_set_rows.add_refusal(c, why))

    async def source(self, digest: str) -> str:
        """Read the source that a placement names."""
        if digest in self._recent:
            return self._recent[digest]
        query = "SELECT text FROM sources WHERE digest = ?"
        found = await self._database.read(lambda c: c.execute(query, (digest,)).fetchone())
        if found is None:
            raise KeyError(digest)
        if len(self._recent) >= _NUM_RECENT:
            del self._recent[next(iter(self._recent))]
        return self._recent.setdefault(digest, str(found[0]))

    async def earlier(self, network_digest: str, *, initial: bool, stopped: bool) -> Duplicate | None:
        """Find how the same network ended first; None when no lasting end of it is known."""
        asked = (network_digest, initial, stopped)
        found = await self._database.read(lambda c: c.execute(_EARLIER, asked).fetchone())
        return Duplicate(of=found[0], outcome=Outcome(found[1])) if found else None

    async def compare(self, control_ratio: float) -> Comparison | None:
        """Go on with a comparison of both arms, or begin another one; in one durable transaction."""
        return await self._database.write("compare", lambda c: arm_rows.compare(c, control_ratio))

    async def checkpoint(self) -> Checkpoint | None:
        """Return the last checkpoint; None if there is none, or if it does not fit the log."""
        return await self._database.read(checkpoint_rows.read)

    async def keep_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Replace the last checkpoint."""
        await self._database.write("milestone", lambda c: checkpoint_rows.put(c, checkpoint))

    async def log(self, after: Checkpoint | None = None) -> AsyncIterator[Entry]:
        """Read placements, editions, audits and deaths, oldest first, a page at a time."""
        after = after or Checkpoint()
        between = await self._database.read(partial(entries_between, after=after))
        last = after.num_settled
        while page := await self._database.read(
            partial(placement_rows.read_page, after=last, size=PAGE_SIZE)
        ):
            for entry in interleaved(page, between):
                yield entry
            last = page[-1].number
        for entry in between:
            yield entry

    async def ping(self) -> None:
        """Return as soon as the thread has come round to it."""
        await self._database.ping()

    async def close(self) -> None:
        """Checkpoint, close and unlock. Running jobs stay claimed until the next start."""
        try:
            await self._database.close()
        finally:
            self._folder.release()


# --- inside transactions -------------------------------------------------------------------------


def _identity(connection: sqlite3.Connection, identity: Identity) -> Identity:
    stored = stored_identity(connection)
    if stored:
        return stored
    connection.executemany("INSERT INTO search (name, value) VALUES (?, ?)", identity.fields)
    return identity


def stored_identity(connection: sqlite3.Connection) -> Identity | None:
    """Read what a state belongs to; None when it is new."""
    fields = tuple(connection.execute("SELECT name, value FROM search ORDER BY name"))
    return Identity(fields=fields) if fields else None


def _stored_tessellation(connection: sqlite3.Connection) -> Tessellation | None:
    query = "SELECT x, y FROM centroids WHERE archive = ? ORDER BY cell"
    network = tuple(connection.execute(query, ("network",)))
    prompt = tuple(connection.execute(query, ("prompt",)))
    return Tessellation(network=network, prompt=prompt) if network or prompt else None


def _centroid_rows(tessellation: Tessellation) -> list[tuple[str, int, float, float]]:
    archives = (("network", tessellation.network), ("prompt", tessellation.prompt))
    rows = [(name, cell, x, y) for name, cells in archives for cell, (x, y) in enumerate(cells)]
    for name, cell, x, y in rows:
        if not (math.isfinite(x) and math.isfinite(y)):
            raise ValueError(f"centroid {cell} of the {name} archive must be finite: {x!r}, {y!r}")
    return rows


def _commit(
    connection: sqlite3.Connection, placement: Placement, entry: str, artefacts: Artefacts, in_doubt: bool
) -> bool:
    if not job_rows.is_leased(connection, placement.job):
        if in_doubt and _was_kept(connection, placement):
            return True
        job_rows.record_event(connection, placement.job, "fenced")
        return False
    _keep_artefacts(connection, placement, artefacts)
    placement_rows.add(connection, placement, entry)
    _update_archives(connection, placement)
    total_rows.add(connection, placement)
    arm_rows.add(connection, placement)
    job_rows.settle(connection, placement.job)
    return True


def _was_kept(connection: sqlite3.Connection, placement: Placement) -> bool:
    found = placement_rows.read(connection, placement.job.number)
    return found is not None and (found.number, found.job) == (placement.number, placement.job)


def _add_death(connection: sqlite3.Connection, death: TrainerDeath, artefacts: Artefacts) -> None:
    if not death_rows.is_stored(connection, death):
        _keep_artefacts(connection, death, artefacts)
        death_rows.add(connection, death)


def check_artefacts(entry: Placement | TrainerDeath, artefacts: Artefacts) -> None:
    """Refuse content under a name that is not its own: it would never be found out later.

    Raises:
        ValueError: a digest of the entry is not that of its content.
    """
    source, graph = artefacts.source, artefacts.graph
    if source is not None and digest(source.encode()) != entry.source_digest:
        raise ValueError(f"source_digest of entry {entry.number} is not its source's")
    if graph is not None and digest(graph) != entry.network_digest:
        raise ValueError(f"network_digest of entry {entry.number} is not its graph's")


def _keep_artefacts(
    connection: sqlite3.Connection, entry: Placement | TrainerDeath, artefacts: Artefacts
) -> None:
    if artefacts.source is not None:
        connection.execute(_ADD_SOURCE, (entry.source_digest, artefacts.source))
    if artefacts.graph is not None:
        connection.execute(_ADD_GRAPH, (entry.network_digest, artefacts.graph.decode()))


def _update_archives(connection: sqlite3.Connection, placement: Placement) -> None:
    job, report, offer = placement.job.number, placement.report, placement.offer
    if placement.status.added and report is not None:
        elite = (placement.cell, job, report.objective, report.test_accuracy)
        connection.execute(_PUT_ELITE, elite)
    if placement.credited_cell is not None:
        credit = (placement.curiosity_change, placement.credited_cell, placement.credited_job)
        connection.execute(_CREDIT, credit)
    if offer is not None and offer.status.added:
        version = (placement.prompt, placement.prompt_version)
        individual = (*version, offer.temperature, offer.objective, offer.curiosity)
        connection.execute(_PUT_PROMPT_ELITE, (offer.cell, job, *individual))


def entries_between(
    connection: sqlite3.Connection, after: Checkpoint
) -> deque[Edition | Audit | TrainerDeath]:
    """Read what stands between the placements and has not been seen, oldest first."""
    found: list[Edition | Audit | TrainerDeath] = [
        *prompt_set_rows.read_all(connection, after.num_editions),
        *audit_rows.read_all(connection, after.num_audits),
        *death_rows.read_all(connection, after.num_deaths),
    ]
    return deque(sorted(found, key=lambda entry: entry.num_settled))  # the sort is stable


def interleaved(page: list[Placement], between: deque[Edition | Audit | TrainerDeath]) -> Iterator[Entry]:
    """Put what came before each placement in front of it, and take it away."""
    for placement in page:
        while between and between[0].num_settled < placement.number:
            yield between.popleft()
        yield placement
