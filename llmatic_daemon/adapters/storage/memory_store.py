"""The store in memory, for searches that nobody needs to keep: it passes the real one's suite.

Every question costs the same however long the search is, but for reading the log.
"""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from itertools import product

from llmatic_daemon import domain
from llmatic_daemon.adapters.storage.json_format import AUDITS, DEATHS, PLACEMENTS
from llmatic_daemon.adapters.storage.sqlite_store import check_artefacts
from llmatic_daemon.domain.errors import ConfigurationError
from llmatic_daemon.domain.ports import Entry, SearchStore


@dataclass
class Memory:
    """What survives the daemon; a second store on the same memory is a restart."""

    identity: domain.Identity | None = None
    tessellation: domain.Tessellation | None = None
    editions: list[domain.Edition] = field(default_factory=list)
    audits: list[domain.Audit] = field(default_factory=list)
    deaths: list[domain.TrainerDeath] = field(default_factory=list)
    texts: dict[tuple[str, int], str] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)
    #: Jobs in the order in which they were released.
    queue: deque[domain.Job] = field(default_factory=deque)
    running: dict[int, domain.Job] = field(default_factory=dict)
    num_jobs: int = 0
    placements: list[domain.Placement] = field(default_factory=list)
    #: Jobs that are settled, and those whose elites were audited.
    settled: set[int] = field(default_factory=set)
    audited: set[int] = field(default_factory=set)
    #: By network digest, and whether initial networks count: how it ended first.
    ends: dict[tuple[str, bool, bool], domain.Duplicate] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    graphs: dict[str, bytes] = field(default_factory=dict)
    checkpoint: domain.Checkpoint | None = None
    comparison: domain.Comparison | None = None


class MemoryStore(SearchStore):
    """Keeps everything in a `Memory`."""

    def __init__(self, memory: Memory | None = None) -> None:
        self.memory = memory or Memory()
        for number in sorted(self.memory.running):
            self._release(self.memory.running[number], charged=True)

    async def identity(self) -> domain.Identity | None:
        """Return what the memory belongs to."""
        return self.memory.identity

    async def identify(self, identity: domain.Identity) -> None:
        """Claim the memory for a search, or check that it belongs to it."""
        stored = self.memory.identity or identity
        self.memory.identity = stored
        if different := list(stored.differences(identity)):
            raise ConfigurationError(f"found another search: {'; '.join(different)}")

    async def tessellation(self, make: Callable[[], Awaitable[domain.Tessellation]]) -> domain.Tessellation:
        """Return the centroids; make them the first time."""
        if self.memory.tessellation is None:
            self.memory.tessellation = await make()
        return self.memory.tessellation

    async def dispatch(self, slot: int) -> domain.Job:
        """Claim the oldest released job, else a new one."""
        memory = self.memory
        if memory.queue:
            oldest = memory.queue.popleft()
            job = replace(oldest, attempt=oldest.attempt + 1)
        else:
            memory.num_jobs += 1
            job = domain.Job(number=memory.num_jobs, attempt=1)
        memory.running[job.number] = job
        return job

    async def release(self, job: domain.Job, *, charged: bool) -> None:
        """Give a job back."""
        if self._is_leased(job):
            self._release(self.memory.running[job.number], charged=charged)

    async def commit(self, placement: domain.Placement, artefacts: domain.Artefacts) -> bool:
        """Keep a placement, unless the fence refuses it."""
        check_artefacts(placement, artefacts)
        PLACEMENTS.write(placement)  # refuses what the real one cannot store
        if not self._is_leased(placement.job):
            return False
        self._check_known(placement, artefacts)
        self._keep_artefacts(placement, artefacts)
        if placement.report is not None:
            placement = replace(placement, report=replace(placement.report, weights=None))
        self._settle(placement)
        if self.memory.comparison is not None:
            self.memory.comparison = self.memory.comparison.after(placement)
        return True

    async def adopt(self, edition: domain.Edition) -> None:
        """Keep a prompt set."""
        if edition in self.memory.editions[-1:]:
            return
        if edition.number != len(self.memory.editions) + 1:
            raise ValueError("the number is not the next one")
        for prompt in edition.prompts.all:
            if self.memory.texts.setdefault((prompt.id, prompt.version), prompt.text) != prompt.text:
                raise ValueError(f"prompt {prompt.name} must keep its text")
        self.memory.editions.append(edition)

    async def keep_audit(self, audit: domain.Audit) -> None:
        """Keep an audit."""
        if audit in self.memory.audits[-1:]:
            return
        if audit.number != len(self.memory.audits) + 1 or audit.job in self.memory.audited:
            raise ValueError("the number is not the next one, or the job audited before")
        if not {audit.job, audit.holder} <= self.memory.settled:
            raise ValueError("a job that is named was not settled")
        AUDITS.write(audit)  # refuses what the real one cannot store
        self.memory.audits.append(audit)
        self.memory.audited.add(audit.job)

    async def keep_death(self, death: domain.TrainerDeath, artefacts: domain.Artefacts) -> None:
        """Keep the death of a trainer."""
        check_artefacts(death, artefacts)
        DEATHS.write(death)  # refuses what the real one cannot store
        if death in self.memory.deaths[-1:]:
            return
        if death.number != len(self.memory.deaths) + 1:
            raise ValueError("the number is not the next one")
        self._keep_artefacts(death, artefacts)
        self.memory.deaths.append(death)

    async def note_refusal(self, why: str) -> None:
        """Keep the reason."""
        self.memory.refusals.append(why)

    async def source(self, digest: str) -> str:
        """Return a source."""
        return self.memory.sources[digest]

    async def earlier(self, network_digest: str, *, initial: bool, stopped: bool) -> domain.Duplicate | None:
        """Find how the same network ended first."""
        return self.memory.ends.get((network_digest, initial, stopped))

    async def compare(self, control_ratio: float) -> domain.Comparison | None:
        """Go on with a comparison of both arms, or begin another one."""
        last, num_settled = self.memory.comparison, len(self.memory.placements)
        if last is not None and last.until is None:
            if last.control_ratio == control_ratio:
                return last
            last = replace(last, until=num_settled)
        if control_ratio:
            last = domain.Comparison(control_ratio=control_ratio, since=num_settled)
        self.memory.comparison = last
        return last

    async def checkpoint(self) -> domain.Checkpoint | None:
        """Return the last checkpoint, if it fits the log."""
        found, memory = self.memory.checkpoint, self.memory
        if found is None or found.num_settled > len(memory.placements):
            return None
        fits = found.num_editions <= len(memory.editions) and found.num_audits <= len(memory.audits)
        return found if fits and found.num_deaths <= len(memory.deaths) else None

    async def keep_checkpoint(self, checkpoint: domain.Checkpoint) -> None:
        """Replace the last checkpoint."""
        self.memory.checkpoint = checkpoint

    async def log(self, after: domain.Checkpoint | None = None) -> AsyncIterator[Entry]:
        """Read the log, oldest first."""
        memory, after = self.memory, after or domain.Checkpoint()
        entries: list[Entry] = [
            *memory.editions[after.num_editions :],
            *memory.audits[after.num_audits :],
            *memory.deaths[after.num_deaths :],
            *memory.placements[after.num_settled :],
        ]
        for entry in sorted(entries, key=_position):
            yield entry

    async def ping(self) -> None:
        """Return at once: nothing is ever under way."""

    async def close(self) -> None:
        """Do nothing: what runs is released by the next start."""

    def _keep_artefacts(
        self, entry: domain.Placement | domain.TrainerDeath, artefacts: domain.Artefacts
    ) -> None:
        if artefacts.source is not None and entry.source_digest:
            self.memory.sources[entry.source_digest] = artefacts.source
        if artefacts.graph is not None and entry.network_digest:
            self.memory.graphs[entry.network_digest] = artefacts.graph

    def _is_leased(self, job: domain.Job) -> bool:
        if not 1 <= job.number <= self.memory.num_jobs:
            raise ValueError(f"job {job.number} was never dispatched")
        running = self.memory.running.get(job.number)
        return running is not None and running.attempt == job.attempt

    def _release(self, job: domain.Job, *, charged: bool) -> None:
        del self.memory.running[job.number]
        self.memory.queue.append(replace(job, num_charged=job.num_charged + charged))

    def _settle(self, placement: domain.Placement) -> None:
        memory, job = self.memory, placement.job.number
        memory.placements.append(placement)
        memory.settled.add(job)
        del memory.running[job]
        if placement.network_digest is not None and placement.outcome.is_reproducible:
            end = domain.Duplicate(of=job, outcome=placement.outcome)
            is_initial = placement.operator is domain.Operator.INITIALISATION
            is_stopped = placement.outcome is domain.Outcome.STOPPED
            for initial, stopped in product((is_initial, True), (is_stopped, True)):
                memory.ends.setdefault((placement.network_digest, initial, stopped), end)

    def _check_known(self, placement: domain.Placement, artefacts: domain.Artefacts) -> None:
        memory = self.memory
        named = {*placement.parents, placement.duplicate_of, placement.credited_job} - {None}
        if placement.number != len(memory.placements) + 1 or not named <= memory.settled:
            raise ValueError("the number is not the next one, or a job that is named not settled")
        source, graph = placement.source_digest, placement.network_digest
        if source is not None and artefacts.source is None and source not in memory.sources:
            raise ValueError("the source is not known")
        if graph is not None and artefacts.graph is None and graph not in memory.graphs:
            raise ValueError("the graph is not known")


def _position(entry: Entry) -> tuple[int, int]:
    return (entry.number, 0) if isinstance(entry, domain.Placement) else (entry.num_settled, 1)
