"""The engine: slots that take jobs, walk each through its life, and settle it."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from llmatic_daemon.domain import (
    Candidate,
    Edition,
    Failure,
    Network,
    Outcome,
    Progress,
    Prompt,
    Proposal,
    Rejection,
    Report,
    StoppedEarly,
    Task,
    Training,
    Trial,
)
from llmatic_daemon.domain.errors import EndpointOverloaded, Unavailable
from llmatic_daemon.domain.events import PauseChanged, SlotsResized
from llmatic_daemon.domain.ports import Ports
from llmatic_daemon.engine import training_attempts
from llmatic_daemon.engine.ledger import Ledger, wait_for
from llmatic_daemon.engine.pipeline import CandidatePipeline
from llmatic_daemon.search.auditing import Due
from llmatic_daemon.search.budget import Budget
from llmatic_daemon.search.evolution import Evolution
from llmatic_daemon.search.placement import due_for_audit
from llmatic_daemon.search.rules import RetryPolicy

logger = logging.getLogger(__name__)


class Engine:
    """Runs a search: starts, pauses and ends its slots, each of which takes one job after the other.

    Args:
        evolution: The search at the start.
        task: The data set that is searched.
        ports: Who writes, lifts, trains and stores, and where events go.
        num_slots: Candidates that are developed at once.
        budget: Ends the search.
        retry_policy: For jobs and commits that the outside has failed.
        clock: Monotonic, in seconds.
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
        self._task = task
        self._events = ports.events
        self._trainer = ports.trainer
        self._num_slots = num_slots
        self._budget = budget
        self._retry_policy = retry_policy
        self._ledger = Ledger(evolution, ports.store, ports.events, retry_policy=retry_policy, clock=clock)
        self._pipeline = CandidatePipeline(task, ports, self._ledger, clock)
        #: Notified whenever a slot that waits has to check its condition again.
        self._changed = asyncio.Condition()
        self._num_running = 0
        #: Jobs whose elites are not audited any more until the next start.
        self._skipped_audits: set[int] = set()
        self._paused = False
        self._draining = self._ledger.draining
        self._end = ""
        #: By number; one that has ended stays until another takes its place.
        self._slots: dict[int, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None

    @property
    def evolution(self) -> Evolution:
        """The search after the last commit."""
        return self._ledger.evolution

    @property
    def elapsed_s(self) -> float:
        """Running time over all restarts, in seconds."""
        return self._ledger.elapsed_s

    @property
    def end(self) -> str:
        """Why the search has ended, in words for a person; empty while it has not."""
        return self._end

    @property
    def is_ready(self) -> bool:
        """Whether jobs are dispatched and results stored, as far as is known."""
        return not self._end and not self._ledger.is_store_out

    @property
    def num_slots(self) -> int:
        """How many candidates may be developed at once, as requested last."""
        return self._num_slots

    @property
    def is_paused(self) -> bool:
        """Whether a person has paused the search."""
        return self._paused

    @property
    def is_draining(self) -> bool:
        """Whether no job is started any more."""
        return self._draining.is_set()

    # --- control ----------------------------------------------------------------------------------

    async def run(self) -> str:
        """Work until a budget is used up or `drain` is called; return the reason.

        A bug in a slot ends all of them, and is raised.
        """
        async with asyncio.TaskGroup() as self._group:
            self._start_slots(self._group)
        return self._end

    async def resize(self, num_slots: int) -> None:
        """Change the number of slots: new ones start at once, removed ones end after their jobs.

        Args:
            num_slots: At least 1. A search that drains starts no slot any more.
        """
        if num_slots < 1:
            raise ValueError(f"there must be at least 1 slot, got {num_slots}")
        self._num_slots = num_slots
        self._events.publish(SlotsResized(num_slots=num_slots))
        if self._group is not None:
            self._start_slots(self._group)
        await self._wake_slots()

    async def pause(self) -> None:
        """Start no job until `resume`; running jobs go on."""
        self._paused = True
        self._events.publish(PauseChanged(is_paused=True))

    async def resume(self) -> None:
        """Start jobs again."""
        self._paused = False
        self._events.publish(PauseChanged(is_paused=False))
        await self._wake_slots()

    async def settled(self, number: int) -> None:
        """Wait until so many candidates are settled."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.evolution.num_settled >= number)

    async def take_prompts(self, prompts: Sequence[Prompt], axis_size: int) -> Edition | None:
        """Activate a set of prompts as a whole from the next proposal on; None if it is active already.

        Args:
            prompts: As they were read: at least one for mutation, exactly one for crossover.
            axis_size: Length of the prompt archive's prompt axis.

        Raises:
            ConfigurationError: there are more mutation prompts than positions on the axis.
            StoreUnavailable: the active prompts stay.
        """
        return await self._ledger.adopt(prompts, axis_size)

    @property
    def due_for_audit(self) -> Due | None:
        """The elite that may be trained again now; None if there is none, or while paused."""
        return None if self._paused else due_for_audit(self.evolution, self._skipped_audits)

    def skip_audit(self, due: Due) -> None:
        """Audit this elite no more until the next start: the outside has failed it too often."""
        self._skipped_audits.add(due.contender.elite.job)

    async def audit_due(self) -> None:
        """Wait until an elite may be trained again."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.due_for_audit is not None)

    async def take_audit(self, due: Due, result: Report | Failure | Rejection) -> None:
        """Settle a second training; while the store is out, wait until the search drains."""
        await self._ledger.take_audit(due, result, self._task.num_validation or self._task.num_test)

    async def train(
        self,
        job: int,
        candidate: Candidate,
        network: Network,
        training: Training,
        watch: Callable[[Progress], None],
    ) -> Report | Failure | StoppedEarly:
        """Train a network of an earlier job again; see `training_attempts.train`."""
        result = await training_attempts.train(
            self._trainer, self._ledger, job, candidate, network, training, watch
        )
        await self._wake_slots()  # a death may have put elites in doubt
        return result

    async def drains(self) -> None:
        """Wait until no job is started any more."""
        await self._draining.wait()

    async def drain(self, why: str, drain_s: float) -> None:
        """Start no job any more; let running ones end within `drain_s`, then give them back.

        What is trained by then is still committed, unless the store is out.
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
        self._ledger.aborted.set()
        for slot in self._slots.values():
            slot.cancel()

    # --- a slot -----------------------------------------------------------------------------------

    def _start_slots(self, group: asyncio.TaskGroup) -> None:
        """Start the slots that are requested and do not run."""
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
        # Nothing is awaited between a last False and the end of the task: `resize` either finds the
        # slot done, or its condition is checked again.
        while await self._may_start(slot):
            try:
                fault = await self._take_one(slot)
            finally:
                self._num_running -= 1
                await self._wake_slots()
            num_faults = num_faults + 1 if fault else 0
            if fault:  # the end of the search ends the pause
                await wait_for(self._draining, self._retry_policy.pause_s(num_faults))

    async def _may_start(self, slot: int) -> bool:
        """Wait until a job may start, and count it as running; False if none will any more."""
        async with self._changed:
            while slot < self._num_slots:
                why = self._budget.used_up(self.evolution, self.elapsed_s)
                self._end = self._end or why or ""
                if self._end:
                    self._draining.set()
                    return False
                room = self._budget.has_room_for(self.evolution, self._num_running)
                if room and not self._paused:
                    self._num_running += 1
                    return True
                await self._changed.wait()
            return False

    async def _wake_slots(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _take_one(self, slot: int) -> bool:
        """Claim a job and walk it to its end; return whether the outside failed it."""
        job = await self._ledger.dispatch(slot)
        if job is None:
            return True
        proposal = self._pipeline.propose(job)
        try:
            if job.num_charged >= self._retry_policy.max_attempts:
                await self._give_up(proposal, slot, _LETHAL.format(job.num_charged))
            else:
                await self._pipeline.run_job(proposal, slot)
        except Unavailable as error:
            await self._after_fault(proposal, slot, error)
            return True
        except asyncio.CancelledError:
            await self._ledger.release(job, charged=False)
            raise
        finally:
            self._pipeline.show(slot, "idle")
        return False

    async def _after_fault(self, proposal: Proposal, slot: int, error: Unavailable) -> None:
        job = proposal.job
        extra = {"action": "fault", "job": job.number, "slot": slot}
        logger.warning("job %d, attempt %d: %s", job.number, job.attempt, error, extra=extra)
        charged = not isinstance(error, EndpointOverloaded)  # others are served meanwhile
        if not charged or job.num_charged + 1 < self._retry_policy.max_attempts:
            await self._ledger.release(job, charged=charged)
            return
        await self._give_up(proposal, slot, str(error))

    async def _give_up(self, proposal: Proposal, slot: int, detail: str) -> None:
        """Place a job as failed by the outside, so that it never blocks the queue."""
        failure = Failure(cause=Outcome.ERROR, detail=detail)
        await self._ledger.settle(Trial(proposal=proposal, slot=slot, result=failure))


_LETHAL = "the daemon ended {} times while it worked on this job"
