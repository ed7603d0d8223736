"""The order of steps: one straight line for each candidate, walked by every slot beside the others."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from llmatic_daemon.domain import (
    Artefacts,
    Audit,
    CommitResult,
    Duplicate,
    Edition,
    Failure,
    Job,
    Network,
    Outcome,
    Placement,
    Progress,
    Prompt,
    Proposal,
    Rejection,
    Report,
    Request,
    Rung,
    Task,
    TooLong,
    Training,
    Trial,
)
from llmatic_daemon.domain.errors import EndpointOverloaded, StoreUnavailable, Unavailable
from llmatic_daemon.domain.ports import Lifter, Observer, Store, Trainer, Writer
from llmatic_daemon.search.auditing import Due
from llmatic_daemon.search.budget import Budget
from llmatic_daemon.search.candidates.representation import representation_of
from llmatic_daemon.search.evolution import Evolution, apply
from llmatic_daemon.search.placement import audit, due_for_audit, edit, place
from llmatic_daemon.search.proposals import num_epochs, propose, rng_for, shorten, should_continue
from llmatic_daemon.search.rules import RetryPolicy
from llmatic_daemon.search.summaries import describe
from llmatic_daemon.search.variants import measures_untrained

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class Ports:
    """The hands of the engine."""

    writer: Writer
    lifter: Lifter
    trainer: Trainer
    store: Store
    #: Writes the control arm, and whatever else is to be written by rule; None: the writer does.
    rewriter: Writer | None = None
    observers: Sequence[Observer] = ()


class Engine:
    """Slots that take jobs, walk each through its life, and settle it.

    The search is one immutable value; `settle` rebinds it after each commit, under one lock, so
    readers need none.
    """

    def __init__(
        self,
        evolution: Evolution,
        task: Task,
        ports: Ports,
        *,
        num_slots: int,
        budget: Budget,
        retry_policy: RetryPolicy,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._evolution = evolution
        self._task = task
        self._representation = representation_of(task)
        self._ports = ports
        self._num_slots = num_slots
        self._budget = budget
        self._retry_policy = retry_policy
        self._clock = clock
        self._elapsed_before_s = evolution.elapsed_s
        self._started = clock()
        self._settling = asyncio.Lock()
        #: Notified whenever a slot that waits may have to think again.
        self._news = asyncio.Condition()
        self._num_running = 0
        #: Whose commit has not been seen to succeed.
        self._pending: Edition | Audit | None = None
        #: Jobs whose elites are not audited any more in this life.
        self._skipped_audits: set[int] = set()
        self._paused = False
        self._store_is_out = False
        self._draining = asyncio.Event()
        self._aborted = asyncio.Event()
        self._end = ""
        #: By number; one that has ended stays until another takes its place.
        self._slots: dict[int, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None

    @property
    def evolution(self) -> Evolution:
        """The search after the last commit."""
        return self._evolution

    @property
    def elapsed_s(self) -> float:
        """Running time over all restarts, in seconds."""
        return self._elapsed_before_s + self._clock() - self._started

    @property
    def end(self) -> str:
        """Why the search has ended, in words for a person; empty while it has not."""
        return self._end

    @property
    def is_ready(self) -> bool:
        """Tell whether jobs are dispatched and results kept, as far as we know."""
        return not self._end and not self._store_is_out

    @property
    def num_slots(self) -> int:
        """How many candidates may be developed at once, as was wished last."""
        return self._num_slots

    @property
    def is_paused(self) -> bool:
        """Tell whether a person has paused the search."""
        return self._paused

    @property
    def is_draining(self) -> bool:
        """Tell whether no job is started any more."""
        return self._draining.is_set()

    # --- what a person may ask --------------------------------------------------------------------

    async def run(self) -> str:
        """Work until a budget is used up or `drain` is called; say which.

        A bug in a slot ends all of them, and is raised.
        """
        async with asyncio.TaskGroup() as self._group:
            self._start_slots(self._group)
        return self._end

    async def resize(self, num_slots: int) -> None:
        """Have another number of slots: more start at once, fewer end after their jobs.

        Args:
            num_slots: At least 1. A search that drains starts none any more.
        """
        if num_slots < 1:
            raise ValueError(f"there must be at least 1 slot, got {num_slots}")
        self._num_slots = num_slots
        for observer in self._ports.observers:
            observer.resized(num_slots)
        if self._group is not None:
            self._start_slots(self._group)
        await self._wake_slots()

    async def pause(self) -> None:
        """Start no job until `resume`; jobs under way go on."""
        self._paused = True
        self._tell_of_pause()

    async def resume(self) -> None:
        """Start jobs again."""
        self._paused = False
        self._tell_of_pause()
        await self._wake_slots()

    def _tell_of_pause(self) -> None:
        for observer in self._ports.observers:
            observer.paused(self._paused)

    async def settled(self, number: int) -> None:
        """Wait until so many candidates are settled."""
        async with self._news:
            await self._news.wait_for(lambda: self._evolution.num_settled >= number)

    async def take_prompts(self, prompts: Sequence[Prompt], num_slots: int) -> Edition | None:
        """Take a set of prompts as a whole, from the next proposal on; None when it is in use.

        Args:
            prompts: As they were read: at least one for mutation, exactly one for crossover.
            num_slots: Length of the prompt archive's prompt axis.

        Raises:
            ConfigurationError: there are more mutation prompts than slots.
            StoreUnavailable: the search goes on with the prompts that it has.
        """
        return await finish_even_if_cancelled(self._adopt(prompts, num_slots))

    @property
    def due_for_audit(self) -> Due | None:
        """The elite that may be trained again now; None while there is none, or we are paused."""
        return None if self._paused else due_for_audit(self._evolution, self._skipped_audits)

    def skip_audit(self, due: Due) -> None:
        """Audit this one no more until the next start: the world has failed it too often."""
        self._skipped_audits.add(due.contender.elite.job)

    async def audit_due(self) -> None:
        """Wait until an elite may be trained again."""
        async with self._news:
            await self._news.wait_for(lambda: self.due_for_audit is not None)

    async def take_audit(self, due: Due, result: Report | Failure | Rejection) -> None:
        """Settle a second training; while the store is out it waits, until the search drains."""
        await finish_even_if_cancelled(self._take_audit(due, result))

    async def drains(self) -> None:
        """Wait until no job is started any more."""
        await self._draining.wait()

    async def drain(self, why: str, drain_s: float) -> None:
        """Start no job any more; let those under way end within `drain_s`, then give them back.

        What is trained by then is still committed, unless the store takes nothing.
        """
        self._end = self._end or why
        self._draining.set()
        await self._wake_slots()
        if self._slots:
            _, late = await asyncio.wait(self._slots.values(), timeout=drain_s)
            if late:
                self.abort()

    def abort(self, why: str = "aborted") -> None:
        """Give all jobs back at once; a result that is being committed is still committed."""
        self._end = self._end or why
        self._draining.set()
        self._aborted.set()
        for slot in self._slots.values():
            slot.cancel()

    # --- a slot -----------------------------------------------------------------------------------

    def _start_slots(self, group: asyncio.TaskGroup) -> None:
        """Start the slots that are wished for and not there."""
        if self._draining.is_set():  # the group may be over
            return
        for slot in range(self._num_slots):
            if slot not in self._slots or self._slots[slot].done():
                self._slots[slot] = group.create_task(self._slot(slot))

    async def _slot(self, slot: int) -> None:
        try:
            await self._take_jobs(slot)
        except BaseException:  # a bug or a cancellation: the group takes no slot any more
            self._draining.set()
            raise

    async def _take_jobs(self, slot: int) -> None:
        num_faults = 0
        # Nothing is awaited between a last "no" and the end of the task: `resize` either finds the
        # slot done, or it is asked again.
        while await self._may_start(slot):
            try:
                fault = await self._take_one(slot)
            finally:
                self._num_running -= 1
                await self._wake_slots()
            num_faults = num_faults + 1 if fault else 0
            if fault:
                await self._wait_out(num_faults)

    async def _may_start(self, slot: int) -> bool:
        """Wait until a job may start, and count it as running; False when none will any more."""
        async with self._news:
            while slot < self._num_slots:
                why = self._budget.used_up(self._evolution, self.elapsed_s)
                self._end = self._end or why or ""
                if self._end:
                    self._draining.set()
                    return False
                room = self._budget.has_room_for(self._evolution, self._num_running)
                if room and not self._paused:
                    self._num_running += 1
                    return True
                await self._news.wait()
            return False

    async def _wake_slots(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def _wait_out(self, num_faults: int) -> None:
        """Pause after a fault of the world; the end of the search ends the pause."""
        try:
            async with asyncio.timeout(self._retry_policy.pause_s(num_faults)):
                await self._draining.wait()
        except TimeoutError:
            pass

    async def _take_one(self, slot: int) -> bool:
        """Claim a job and walk it to its end. Returns whether the world failed it."""
        try:
            job = await self._ports.store.dispatch(slot)
        except StoreUnavailable as error:
            logger.warning("slot %d claims no job: %s", slot, error, extra={"action": "dispatch"})
            self._store_is_out = True
            return True
        self._store_is_out = False
        for observer in self._ports.observers:
            observer.dispatched(job)
        proposal = self._propose(job)
        try:
            if job.num_charged >= self._retry_policy.max_attempts:
                await self._give_up(proposal, slot, _LETHAL.format(job.num_charged))
            else:
                await self.run_job(proposal, slot)
        except Unavailable as error:
            await self._after_fault(proposal, slot, error)
            return True
        except asyncio.CancelledError:
            await finish_even_if_cancelled(self._release(job, charged=False))
            raise
        finally:
            self._show(slot, "idle", "")
        return False

    async def _after_fault(self, proposal: Proposal, slot: int, error: Unavailable) -> None:
        job = proposal.job
        extra = {"action": "fault", "job": job.number, "slot": slot}
        logger.warning("job %d, attempt %d: %s", job.number, job.attempt, error, extra=extra)
        charged = not isinstance(error, EndpointOverloaded)  # others are served meanwhile
        if not charged or job.num_charged + 1 < self._retry_policy.max_attempts:
            await finish_even_if_cancelled(self._release(job, charged=charged))
            return
        await self._give_up(proposal, slot, str(error))

    async def _give_up(self, proposal: Proposal, slot: int, detail: str) -> None:
        """Place a job as failed by the world, so that it never blocks the queue."""
        failure = Failure(cause=Outcome.ERROR, detail=detail)
        await finish_even_if_cancelled(self._settle(Trial(proposal=proposal, slot=slot, result=failure)))

    async def _release(self, job: Job, *, charged: bool) -> None:
        try:
            await self._ports.store.release(job, charged=charged)
        except StoreUnavailable as error:
            # It stays claimed; the next start releases it.
            logger.warning("job %d is not released: %s", job.number, error)
            return
        for observer in self._ports.observers:
            observer.released(job, charged)

    # --- the life of one candidate ----------------------------------------------------------------

    async def run_job(self, proposal: Proposal, slot: int) -> None:
        """Walk one candidate from its proposal to its place, whatever becomes of it on the way.

        Raises:
            Unavailable: the world failed; nothing is settled and nobody is to blame.
        """
        started = self._clock()
        trial = Trial(proposal=proposal, slot=slot, result=_UNFINISHED)
        trial = await self._develop(trial)
        trial = replace(trial, total_s=self._clock() - started)
        self._show(slot, "commit", "")
        await finish_even_if_cancelled(self._settle(trial))

    async def _develop(self, trial: Trial) -> Trial:
        """Write, read, lift and train; stop where the candidate ends."""
        slot = trial.slot
        trial, parents = await self._write(trial)
        if trial.completion is None:
            return trial
        proposal = trial.proposal
        candidate = self._representation.read(trial.completion, proposal, parents, self._task)
        if isinstance(candidate, Rejection):
            return replace(trial, result=candidate)
        self._show(slot, "lift", candidate.class_name)
        network = await self._ports.lifter.lift(candidate)
        trial = replace(trial, candidate=candidate)
        if isinstance(network, Rejection):
            return replace(trial, result=network)
        trial = replace(trial, network=network)
        duplicate = await self._duplicate_of(network)
        if duplicate:
            return replace(trial, result=duplicate)
        self._show(slot, "wait", f"{network.measures.flops / 1e6:.2f} MFLOPs")
        training = self._training(proposal, network)
        report = await self._ports.trainer.train(network, training, self._watcher(slot))
        return replace(trial, result=report)

    def _training(self, proposal: Proposal, network: Network) -> Training:
        """Say how a network is trained; it is judged by the search as it is at its first look."""
        epochs = num_epochs(self._evolution, proposal)
        ratio = self._evolution.early_stopping_rules.rung_ratio
        rung = None
        if ratio and epochs is None:
            rung = Rung(ratio, lambda accuracy: should_continue(self._evolution, network, accuracy))
        return Training(seed=proposal.seed, epochs=epochs, rung=rung)

    async def _duplicate_of(self, network: Network) -> Duplicate | None:
        """Find how the same network ended before; None when it is to be trained."""
        rules, fidelity = self._evolution.rules, self._evolution.early_stopping_rules
        if rules.duplicates == "train":
            return None
        return await self._ports.store.earlier(
            network.digest,
            initial=not measures_untrained(rules),
            stopped=fidelity.rung_ratio > 0,
        )

    async def _write(self, trial: Trial) -> tuple[Trial, tuple[str, ...]]:
        """Ask the writer, for less each time while the request is too long.

        Returns:
            The trial with its completion, or with a rejection; and the sources of its parents.
        """
        while True:
            self._show(trial.slot, "llm", trial.proposal.prompt.id)
            request = await self._request(trial.proposal)
            by_rule = trial.proposal.by_rule and self._ports.rewriter
            completion = await (by_rule or self._ports.writer).complete(request)
            if not isinstance(completion, TooLong):
                return replace(trial, completion=completion), request.parents
            shorter = shorten(self._evolution, trial.proposal)
            if shorter is None:
                rejection = Rejection(cause=Outcome.CONTEXT, detail=str(completion))
                return replace(trial, result=rejection), request.parents
            trial = replace(trial, proposal=shorter)

    def _propose(self, job: Job) -> Proposal:
        evolution = self._evolution
        return propose(evolution, job, rng_for(evolution.rules.seed, job))

    async def _request(self, proposal: Proposal) -> Request:
        sources = [await self._ports.store.source(digest) for digest in proposal.parent_digests]
        return self._representation.ask(
            proposal, sources or [self._representation.initial(self._task)], self._task
        )

    def _watcher(self, slot: int) -> Callable[[Progress], None]:
        def watch(progress: Progress) -> None:
            accuracy = "" if progress.accuracy is None else f", accuracy {progress.accuracy:.3f}"
            epochs = f"epoch {progress.epoch} of {progress.num_epochs}"
            self._show(slot, "train", f"{epochs}{accuracy} on {progress.device}")

        return watch

    # --- what is settled --------------------------------------------------------------------------

    async def _settle(self, trial: Trial) -> None:
        """Decide, commit, obey, publish: one candidate at a time."""
        async with self._settling:
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

    async def _adopt(self, prompts: Sequence[Prompt], num_slots: int) -> Edition | None:
        async with self._settling:
            before = await self._flush_pending()
            self._pending = edit(self._evolution, prompts, num_slots)
            taken = await self._flush_pending() or before
            return taken if isinstance(taken, Edition) else None

    async def _take_audit(self, due: Due, result: Report | Failure | Rejection) -> None:
        async with self._settling:
            keep = partial(self._persist, self._flush_pending, until=self._draining)
            if self._pending and not await keep():
                return
            num_images = self._task.num_validation or self._task.num_test
            self._pending = audit(self._evolution, due, result, num_images)
            await keep()

    async def _flush_pending(self) -> Edition | Audit | None:
        """Keep the edition or audit that is to be kept, if there is one; then obey, and publish.

        One whose commit reported an error may be on the disk nevertheless. So the same one is kept
        again before anything follows it in the log: keeping it twice is keeping it once.
        """
        entry = self._pending
        if entry is not None:
            await self._keep(entry)
            self._pending = None
            self._evolution = apply(self._evolution, entry)
            self._publish_entry(entry)
        return entry

    async def _keep(self, entry: Edition | Audit) -> None:
        if isinstance(entry, Edition):
            await self._ports.store.adopt(entry)
        else:
            await self._ports.store.keep_audit(entry)

    async def _commit(self, placement: Placement, artefacts: Artefacts) -> bool:
        """Commit, as soon as the store can: a finished training is never lost to a full disk.

        Returns:
            False when the fence refused it, or when the daemon is to stop and the store is out.
        """
        kept = await self._persist(partial(self._try_commit, placement, artefacts))
        return bool(kept)

    async def _try_commit(self, placement: Placement, artefacts: Artefacts) -> bool:
        started, result = self._clock(), CommitResult.UNAVAILABLE
        try:
            kept = await self._ports.store.commit(placement, artefacts)
            result = CommitResult.KEPT if kept else CommitResult.FENCED
            return kept
        finally:
            for observer in self._ports.observers:
                observer.committed(result, self._clock() - started)

    async def _persist(
        self, work: Callable[[], Awaitable[Result]], until: asyncio.Event | None = None
    ) -> Result | None:
        """Have something kept, as often as it takes; None when it is not and an event has come.

        Args:
            work: Keeps it, or raises StoreUnavailable.
            until: The event; our abortion when it is left out.
        """
        until = until or self._aborted
        num_faults = 0
        while True:  # once at least: also a result that waited for the lock when we were aborted
            try:
                kept = await work()
                self._store_is_out = False
                return kept
            except StoreUnavailable as error:
                num_faults += 1
                self._store_is_out = True
                if num_faults == 1:
                    logger.error("the store takes nothing; dispatch waits: %s", error, extra=_COMMIT)
            if until.is_set():
                return None
            await self._wait_for_store(num_faults, until)

    async def _wait_for_store(self, num_faults: int, until: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(self._retry_policy.pause_s(num_faults)):
                await until.wait()
        except TimeoutError:
            pass

    def _publish_entry(self, entry: Edition | Audit) -> None:
        if isinstance(entry, Edition):
            logger.info("%s", describe(entry), extra={"action": "adopted"})
            for observer in self._ports.observers:
                observer.adopted(entry)
        else:
            logger.info("%s", describe(entry), extra={"action": "audited", "job": entry.job})
            for observer in self._ports.observers:
                observer.audited(entry)

    def _publish(self, placement: Placement) -> None:
        extra = {"action": "placed", "job": placement.job.number, "slot": placement.slot}
        logger.info("%s", describe(placement), extra=extra)
        for observer in self._ports.observers:
            observer.placed(placement)

    def _show(self, slot: int, phase: str, detail: str) -> None:
        for observer in self._ports.observers:
            observer.slot_changed(slot, phase, detail)


_COMMIT = {"action": "commit"}
_LETHAL = "the daemon ended {} times while it worked on this job"
_UNFINISHED = Rejection(cause=Outcome.ERROR, detail="unfinished")


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
