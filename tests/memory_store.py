"""The store in memory: a fake that passes the same suite as the real one."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field, fields, is_dataclass, replace
from math import isfinite
from typing import Any

from llmatic_daemon.errors import ConfigurationError
from llmatic_daemon.ports import Entry, SearchStore
from llmatic_daemon.records import (
    Artefacts,
    Audit,
    Comparison,
    Duplicate,
    Edition,
    Identity,
    Job,
    Milestone,
    Operator,
    Placement,
    Tessellation,
    digest,
)


@dataclass
class Memory:
    """What survives the daemon; a second store on the same memory is a restart."""

    identity: Identity | None = None
    tessellation: Tessellation | None = None
    editions: list[Edition] = field(default_factory=list)
    audits: list[Audit] = field(default_factory=list)
    texts: dict[tuple[str, int], str] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)
    #: Jobs in the order in which they were released.
    queue: list[Job] = field(default_factory=list)
    running: dict[int, Job] = field(default_factory=dict)
    num_jobs: int = 0
    placements: list[Placement] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)
    graphs: dict[str, bytes] = field(default_factory=dict)
    milestone: Milestone | None = None
    comparison: Comparison | None = None


class MemoryStore(SearchStore):
    """Keeps everything in a `Memory`."""

    def __init__(self, memory: Memory | None = None) -> None:
        self.memory = memory or Memory()
        for number in sorted(self.memory.running):
            self._release(self.memory.running[number], charged=True)

    async def identity(self) -> Identity | None:
        return self.memory.identity

    async def identify(self, identity: Identity) -> None:
        stored = self.memory.identity or identity
        self.memory.identity = stored
        if different := list(stored.differences(identity)):
            raise ConfigurationError(f"found another search: {'; '.join(different)}")

    async def tessellation(self, make: Callable[[], Awaitable[Tessellation]]) -> Tessellation:
        if self.memory.tessellation is None:
            self.memory.tessellation = await make()
        return self.memory.tessellation

    async def dispatch(self, slot: int) -> Job:
        memory = self.memory
        if memory.queue:
            oldest = memory.queue.pop(0)
            job = replace(oldest, attempt=oldest.attempt + 1)
        else:
            memory.num_jobs += 1
            job = Job(number=memory.num_jobs, attempt=1)
        memory.running[job.number] = job
        return job

    async def release(self, job: Job, *, charged: bool) -> None:
        if self._is_leased(job):
            self._release(self.memory.running[job.number], charged=charged)

    async def commit(self, placement: Placement, artefacts: Artefacts) -> bool:
        _check(placement, artefacts)
        if not self._is_leased(placement.job):
            return False
        self._check_known(placement, artefacts)
        if artefacts.source is not None and placement.source_digest:
            self.memory.sources[placement.source_digest] = artefacts.source
        if artefacts.graph is not None and placement.network_digest:
            self.memory.graphs[placement.network_digest] = artefacts.graph
        if placement.report is not None:
            placement = replace(placement, report=replace(placement.report, weights=None))
        self.memory.placements.append(placement)
        if self.memory.comparison is not None:
            self.memory.comparison = self.memory.comparison.after(placement)
        del self.memory.running[placement.job.number]
        return True

    async def adopt(self, edition: Edition) -> None:
        if edition in self.memory.editions[-1:]:
            return
        if edition.number != len(self.memory.editions) + 1:
            raise ValueError("the number is not the next one")
        for prompt in edition.prompts.all:
            if (
                self.memory.texts.setdefault((prompt.id, prompt.version), prompt.text)
                != prompt.text
            ):
                raise ValueError(f"prompt {prompt.name} must keep its text")
        self.memory.editions.append(edition)

    async def keep_audit(self, audit: Audit) -> None:
        if audit in self.memory.audits[-1:]:
            return
        settled = {placement.job.number for placement in self.memory.placements}
        audited = {other.job for other in self.memory.audits}
        if audit.number != len(self.memory.audits) + 1 or audit.job in audited:
            raise ValueError("the number is not the next one, or the job audited before")
        if not {audit.job, audit.holder} <= settled:
            raise ValueError("a job that is named was not settled")
        if not all(isfinite(number) for number in _floats(audit)):
            raise ValueError("a number must be finite")
        self.memory.audits.append(audit)

    async def note_refusal(self, why: str) -> None:
        self.memory.refusals.append(why)

    async def source(self, digest: str) -> str:
        return self.memory.sources[digest]

    async def earlier(self, network_digest: str, *, initial: bool) -> Duplicate | None:
        return earlier(self.memory.placements, network_digest, initial=initial)

    async def compare(self, control_ratio: float) -> Comparison | None:
        last, num_settled = self.memory.comparison, len(self.memory.placements)
        if last is not None and last.until is None:
            if last.control_ratio == control_ratio:
                return last
            last = replace(last, until=num_settled)
        if control_ratio:
            last = Comparison(control_ratio=control_ratio, since=num_settled)
        self.memory.comparison = last
        return last

    async def milestone(self) -> Milestone | None:
        found, memory = self.memory.milestone, self.memory
        if found is None or found.num_settled > len(memory.placements):
            return None
        fits = found.num_editions <= len(memory.editions) and found.num_audits <= len(memory.audits)
        return found if fits else None

    async def keep_milestone(self, milestone: Milestone) -> None:
        self.memory.milestone = milestone

    async def log(self, after: Milestone | None = None) -> AsyncIterator[Entry]:
        memory, after = self.memory, after or Milestone()
        entries: list[Entry] = [
            *memory.editions[after.num_editions :],
            *memory.audits[after.num_audits :],
            *memory.placements[after.num_settled :],
        ]
        for entry in sorted(entries, key=_position):
            yield entry

    async def pulse(self) -> None:
        pass

    async def close(self) -> None:
        """Do nothing: what runs is released by the next start."""

    def _is_leased(self, job: Job) -> bool:
        if not 1 <= job.number <= self.memory.num_jobs:
            raise ValueError(f"job {job.number} was never dispatched")
        running = self.memory.running.get(job.number)
        return running is not None and running.attempt == job.attempt

    def _release(self, job: Job, *, charged: bool) -> None:
        del self.memory.running[job.number]
        self.memory.queue.append(replace(job, num_charged=job.num_charged + charged))

    def _check_known(self, placement: Placement, artefacts: Artefacts) -> None:
        settled = {other.job.number for other in self.memory.placements}
        named = {*placement.parents, placement.duplicate_of, placement.credited_job} - {None}
        if placement.number != len(self.memory.placements) + 1 or not named <= settled:
            raise ValueError("the number is not the next one, or a job that is named not settled")
        sources = {*self.memory.sources, placement.source_digest if artefacts.source else None}
        graphs = {*self.memory.graphs, placement.network_digest if artefacts.graph else None}
        if placement.source_digest not in {*sources, None}:
            raise ValueError("the source is not known")
        if placement.network_digest not in {*graphs, None}:
            raise ValueError("the graph is not known")


def earlier(
    placements: Iterable[Placement], network_digest: str, *, initial: bool
) -> Duplicate | None:
    """Find how the same network ended first."""
    for placement in placements:
        counts = initial or placement.operator is not Operator.INITIALISATION
        if placement.network_digest == network_digest and counts and placement.outcome.is_lasting:
            return Duplicate(of=placement.job.number, outcome=placement.outcome)
    return None


def _position(entry: Entry) -> tuple[int, int]:
    is_placement = isinstance(entry, Placement)
    return (entry.number, 0) if is_placement else (entry.num_settled, 1)


def _check(placement: Placement, artefacts: Artefacts) -> None:
    if not all(isfinite(number) for number in _floats(placement)):
        raise ValueError("a number must be finite")
    source, graph = artefacts.source, artefacts.graph
    if source is not None and digest(source.encode()) != placement.source_digest:
        raise ValueError("source_digest is not the source's")
    if graph is not None and digest(graph) != placement.network_digest:
        raise ValueError("network_digest is not the graph's")


def _floats(value: Any) -> list[float]:
    if isinstance(value, float):
        return [value]
    if is_dataclass(value):
        return [n for part in fields(value) for n in _floats(getattr(value, part.name))]
    if isinstance(value, tuple):
        return [n for part in value for n in _floats(part)]
    return []
