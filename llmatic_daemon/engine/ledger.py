"""The ledger: decides, commits, applies and publishes one log entry after the other, under one lock."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from llmatic_daemon.domain import (
    Artefacts,
    Audit,
    Candidate,
    CommitResult,
    Edition,
    Failure,
    Job,
    Network,
    Placement,
    Prompt,
    Rejection,
    Report,
    TrainerDeath,
    Trial,
)
from llmatic_daemon.domain.errors import StoreUnavailable, TrainerDied
from llmatic_daemon.domain.events import (
    Audited,
    CommitTried,
    DeathRecorded,
    EventBus,
    JobDispatched,
    JobReleased,
    Placed,
    PromptsAdopted,
)
from llmatic_daemon.domain.ports import Store
from llmatic_daemon.search.auditing import Due
from llmatic_daemon.search.evolution import Evolution, apply
from llmatic_daemon.search.placement import audit, edit, note_death, place
from llmatic_daemon.search.rules import RetryPolicy
from llmatic_daemon.search.summaries import describe

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

#: An entry whose commit has not been seen to succeed, and its call of the store.
_Pending = tuple[Edition | Audit | TrainerDeath, Callable[[], Awaitable[None]]]


class Ledger:
    """Owns the search as it is after the last commit, and writes its log.

    The search is one immutable value that each commit rebinds, so readers need no lock. Releases and
    entries of the log run to their end even if their caller is cancelled: a finished training is
    never lost.
    """

    def __init__(
        self,
        evolution: Evolution,
        store: Store,
        events: EventBus,
        *,
        retry_policy: RetryPolicy,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._evolution = evolution
        self._store = store
        self._events = events
        self._retry_policy = retry_policy
        self._clock = clock
        self._elapsed_before_s = evolution.elapsed_s
        self._started = clock()
        self._lock = asyncio.Lock()
        self._pending: _Pending | None = None
        #: Whether the last request to the store failed.
        self.is_store_out = False
        #: Set when no job is started any more; audits then wait for the store no longer.
        self.draining = asyncio.Event()
        #: Set when placements wait for the store no longer.
        self.aborted = asyncio.Event()

    @property
    def evolution(self) -> Evolution:
        """The search after the last commit."""
        return self._evolution

    @property
    def elapsed_s(self) -> float:
        """Running time over all restarts, in seconds."""
        return self._elapsed_before_s + self._clock() - self._started

    # --- jobs -------------------------------------------------------------------------------------

    async def dispatch(self, slot: int) -> Job | None:
        """Claim a job for a slot; None if the store is unavailable."""
        try:
            job = await self._store.dispatch(slot)
        except StoreUnavailable as error:
            logger.warning("slot %d claims no job: %s", slot, error, extra={"action": "dispatch"})
            self.is_store_out = True
            return None
        self.is_store_out = False
        self._events.publish(JobDispatched(job=job))
        return job

    async def release(self, job: Job, *, charged: bool) -> None:
        """Give a job back; charged, its attempt counts."""
        await finish_even_if_cancelled(self._release(job, charged=charged))

    async def _release(self, job: Job, *, charged: bool) -> None:
        try:
            await self._store.release(job, charged=charged)
        except StoreUnavailable as error:
            # It stays claimed; the next start releases it.
            logger.warning("job %d is not released: %s", job.number, error)
            return
        self._events.publish(JobReleased(job=job, charged=charged))

    # --- entries of the log -----------------------------------------------------------------------

    async def settle(self, trial: Trial) -> None:
        """Place a candidate, commit, apply and publish; wait while the store is out."""
        await finish_even_if_cancelled(self._settle(trial))

    async def adopt(self, prompts: Sequence[Prompt], axis_size: int) -> Edition | None:
        """Activate a prompt set; None if it is active already.

        Raises:
            ConfigurationError: there are more mutation prompts than positions on the axis.
            StoreUnavailable: the active prompts stay.
        """
        return await finish_even_if_cancelled(self._adopt(prompts, axis_size))

    async def take_audit(self, due: Due, result: Report | Failure | Rejection, num_images: int) -> None:
        """Settle a second training; while the store is out, wait until the search drains."""
        await finish_even_if_cancelled(self._take_audit(due, result, num_images))

    async def note_death(
        self, error: TrainerDied, job: int, candidate: Candidate, network: Network, seed: int
    ) -> bool:
        """Record that a network has ended its trainer; False if the search was aborted while the store is out."""
        return await finish_even_if_cancelled(self._note_death(error, job, candidate, network, seed))

    async def _settle(self, trial: Trial) -> None:
        async with self._lock:
            if self._pending and not await self._persist(self._flush_pending):
                return
            placement = place(self._evolution, trial, self.elapsed_s)
            artefacts = Artefacts(
                source=trial.candidate.source if trial.candidate else None,
                graph=trial.network.graph if trial.network else None,
            )
            if not await self._commit(placement, artefacts):
                extra = {"action": "refused", "job": placement.job.number, "slot": trial.slot}
                logger.warning("job %d is not placed", placement.job.number, extra=extra)
                return
            self._evolution = apply(self._evolution, placement)
            self._publish(placement)

    async def _adopt(self, prompts: Sequence[Prompt], axis_size: int) -> Edition | None:
        async with self._lock:
            before = await self._flush_pending()
            edition = edit(self._evolution, prompts, axis_size)
            self._pending = (edition, partial(self._store.adopt, edition)) if edition else None
            adopted = await self._flush_pending() or before
            return adopted if isinstance(adopted, Edition) else None

    async def _take_audit(self, due: Due, result: Report | Failure | Rejection, num_images: int) -> None:
        async with self._lock:
            flush = partial(self._persist, self._flush_pending, until=self.draining)
            if self._pending and not await flush():
                return
            judged = audit(self._evolution, due, result, num_images)
            self._pending = judged, partial(self._store.keep_audit, judged)
            await flush()

    async def _note_death(
        self, error: TrainerDied, job: int, candidate: Candidate, network: Network, seed: int
    ) -> bool:
        async with self._lock:
            if self._pending and not await self._persist(self._flush_pending):
                return False
            death = note_death(self._evolution, error, job, candidate, network, seed)
            artefacts = Artefacts(source=candidate.source, graph=network.graph)
            self._pending = death, partial(self._store.keep_death, death, artefacts)
            return bool(await self._persist(self._flush_pending))

    async def _flush_pending(self) -> Edition | Audit | TrainerDeath | None:
        """Store the pending entry, if there is one; then apply and publish it.

        If its commit reported an error, it may be on the disk nevertheless. So the same one is
        stored again before anything follows it in the log; storing is idempotent.
        """
        if self._pending is None:
            return None
        entry, store = self._pending
        await store()
        self._pending = None
        self._evolution = apply(self._evolution, entry)
        self._publish_entry(entry)
        return entry

    # --- the store --------------------------------------------------------------------------------

    async def _commit(self, placement: Placement, artefacts: Artefacts) -> bool:
        """Commit as soon as the store can: a finished training is never lost to a full disk.

        Returns:
            False if the fence rejected it, or if the search was aborted while the store is out.
        """
        return bool(await self._persist(partial(self._try_commit, placement, artefacts)))

    async def _try_commit(self, placement: Placement, artefacts: Artefacts) -> bool:
        started, result = self._clock(), CommitResult.UNAVAILABLE
        try:
            kept = await self._store.commit(placement, artefacts)
            result = CommitResult.KEPT if kept else CommitResult.FENCED
            return kept
        finally:
            self._events.publish(CommitTried(result=result, duration_s=self._clock() - started))

    async def _persist(
        self, work: Callable[[], Awaitable[Result]], until: asyncio.Event | None = None
    ) -> Result | None:
        """Retry until the store accepts; return None if an event is set before that.

        Args:
            work: Writes to the store, or raises StoreUnavailable.
            until: The event; None: `aborted`.
        """
        until = until or self.aborted
        num_faults = 0
        while True:  # at least once: also for a result that waited for the lock when we were aborted
            try:
                kept = await work()
                self.is_store_out = False
                return kept
            except StoreUnavailable as error:
                num_faults += 1
                self.is_store_out = True
                if num_faults == 1:
                    extra = {"action": "commit"}
                    logger.error("the store is unavailable; dispatch waits: %s", error, extra=extra)
            if until.is_set():
                return None
            await wait_for(until, self._retry_policy.pause_s(num_faults))

    # --- publication ------------------------------------------------------------------------------

    def _publish_entry(self, entry: Edition | Audit | TrainerDeath) -> None:
        match entry:
            case Edition():
                logger.info("%s", describe(entry), extra={"action": "adopted"})
                self._events.publish(PromptsAdopted(edition=entry))
            case Audit():
                logger.info("%s", describe(entry), extra={"action": "audited", "job": entry.job})
                self._events.publish(Audited(audit=entry))
            case TrainerDeath():
                logger.error("%s", describe(entry), extra={"action": "trainer_died", "job": entry.job})
                self._events.publish(DeathRecorded(death=entry))

    def _publish(self, placement: Placement) -> None:
        extra = {"action": "placed", "job": placement.job.number, "slot": placement.slot}
        logger.info("%s", describe(placement), extra=extra)
        self._events.publish(Placed(placement=placement))


async def wait_for(event: asyncio.Event, timeout_s: float) -> None:
    """Wait until an event is set, or a time has passed."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        pass


async def finish_even_if_cancelled(work: Awaitable[Result]) -> Result:
    """Await work that a cancelled slot must still finish; the cancellation follows afterwards."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        task.result()
        raise asyncio.CancelledError
    return task.result()
