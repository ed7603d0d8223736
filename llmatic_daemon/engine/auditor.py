"""The auditor: trains elites again by another seed, on device places that the search leaves idle."""

import asyncio
import logging
from collections import Counter

from llmatic_daemon.domain import (
    Candidate,
    Failure,
    Progress,
    Rejection,
    Report,
    StoppedEarly,
    Task,
    Training,
)
from llmatic_daemon.domain.errors import Unavailable
from llmatic_daemon.domain.ports import Lifter, Store, Trainer
from llmatic_daemon.engine.engine import Engine
from llmatic_daemon.search.auditing import Due
from llmatic_daemon.search.candidates.representation import representation_of
from llmatic_daemon.search.rules import RetryPolicy

logger = logging.getLogger(__name__)


class Auditor:
    """Audits one elite after the other while a search runs.

    It keeps no list of its own: who is due follows from the search, so that nothing is lost when it
    is stopped. One audit at a time is under way, and so takes one device place at most.
    """

    def __init__(
        self,
        engine: Engine,
        task: Task,
        *,
        store: Store,
        lifter: Lifter,
        trainer: Trainer,
        retry_policy: RetryPolicy,
    ) -> None:
        self._engine = engine
        self._task = task
        self._store = store
        self._lifter = lifter
        self._trainer = trainer
        self._retry_policy = retry_policy
        self._faults = Counter[int]()

    async def run(self) -> None:
        """Audit until the search drains; an audit under way is given up then, and begun anew later."""
        async with asyncio.TaskGroup() as group:
            audits = group.create_task(self._audit_for_ever())
            await self._engine.drains()
            audits.cancel()

    async def _audit_for_ever(self) -> None:
        num_faults = 0
        while True:
            try:
                await self._audit_next()
                num_faults = 0
            except Unavailable as error:
                num_faults += 1
                self._note_fault(error)
                await asyncio.sleep(self._retry_policy.pause_s(num_faults))

    def _note_fault(self, error: Unavailable) -> None:
        """Let no elite that always fails its trainer stand before all others for ever."""
        due = self._engine.due_for_audit
        if due is None:
            return
        job = due.contender.elite.job
        self._faults[job] += 1
        if self._faults[job] < self._retry_policy.max_attempts:
            logger.warning("no audit: %s; it is tried again", error, extra=_AUDIT)
        else:
            logger.warning("no audit of job %d until the next start: %s", job, error, extra=_AUDIT)
            self._engine.skip_audit(due)

    async def _audit_next(self) -> None:
        """Wait for an elite that is due, and for a device place to spare; audit it."""
        await self._engine.audit_due()
        await self._trainer.wait_until_idle()
        due = self._engine.due_for_audit  # while we waited, another network may have taken its cell
        if due is not None:
            result = await self._train_again(due)
            await self._engine.take_audit(due, result)

    async def _train_again(self, due: Due) -> Report | Failure | Rejection:
        """Lift and train a network as the first time, but for its seed."""
        source = await self._store.source(due.contender.elite.source_digest)
        name = representation_of(self._task).name_of(source)
        candidate = Candidate(source=source, class_name=name, seed=due.seed, task=self._task)
        network = await self._lifter.lift(candidate)
        if isinstance(network, Rejection):
            return network
        training = Training(seed=due.seed, low_priority=True)
        result = await self._trainer.train(network, training, _unwatched)
        assert not isinstance(result, StoppedEarly)  # there was no look
        return result


def _unwatched(progress: Progress) -> None:
    """Hear of an epoch: no slot shows it."""


_AUDIT = {"action": "audit"}
