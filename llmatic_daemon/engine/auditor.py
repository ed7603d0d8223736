"""The auditor: trains elites again with another seed, on device workers that the search leaves idle."""

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
from llmatic_daemon.domain.ports import Ports
from llmatic_daemon.engine.engine import Engine
from llmatic_daemon.search.auditing import Due
from llmatic_daemon.search.candidates.representation import representation_of
from llmatic_daemon.search.rules import RetryPolicy

logger = logging.getLogger(__name__)


class Auditor:
    """Audits one elite after the other while a search runs.

    It has no queue of its own: which elite is due follows from the search, so that nothing is lost
    when it is stopped. One audit runs at a time, and so occupies one device worker at most.
    """

    def __init__(self, engine: Engine, task: Task, ports: Ports, retry_policy: RetryPolicy) -> None:
        self._engine = engine
        self._task = task
        self._ports = ports
        self._retry_policy = retry_policy
        self._faults = Counter[int]()

    async def run(self) -> None:
        """Audit until the search drains; a running audit is then cancelled, and repeated after the next start."""
        async with asyncio.TaskGroup() as group:
            audits = group.create_task(self._audit_until_cancelled())
            await self._engine.drains()
            audits.cancel()

    async def _audit_until_cancelled(self) -> None:
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
        """Skip an elite that fails its trainer too often: it would block all others."""
        due = self._engine.due_for_audit
        if due is None:
            return
        job = due.contender.elite.job
        self._faults[job] += 1
        if self._faults[job] < self._retry_policy.max_attempts:
            logger.warning("audit failed: %s; it is retried", error, extra=_AUDIT)
        else:
            logger.warning("job %d is not audited until the next start: %s", job, error, extra=_AUDIT)
            self._engine.skip_audit(due)

    async def _audit_next(self) -> None:
        """Wait for an elite that is due and for an idle device worker, then audit it."""
        await self._engine.audit_due()
        await self._ports.trainer.wait_until_idle()
        due = self._engine.due_for_audit  # while we waited, another network may have taken its cell
        if due is not None:
            result = await self._train_again(due)
            await self._engine.take_audit(due, result)

    async def _train_again(self, due: Due) -> Report | Failure | Rejection:
        """Lift and train a network as the first time, except for its seed."""
        source = await self._ports.store.source(due.contender.elite.source_digest)
        name = representation_of(self._task).name_of(source)
        candidate = Candidate(source=source, class_name=name, seed=due.seed, task=self._task)
        network = await self._ports.lifter.lift(candidate)
        if isinstance(network, Rejection):
            return network
        training = Training(seed=due.seed, low_priority=True, fresh=due.contender.is_suspect)
        job = due.contender.elite.job
        result = await self._engine.train(job, candidate, network, training, _unwatched)
        assert not isinstance(result, StoppedEarly)  # there was no rung
        return result


def _unwatched(progress: Progress) -> None:
    """Ignore an epoch: no slot shows it."""


_AUDIT = {"action": "audit"}
