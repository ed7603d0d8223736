"""The life of one candidate: propose, write, read, lift, train, settle."""

import time
from collections.abc import Callable
from dataclasses import replace

from llmatic_daemon.domain import (
    Duplicate,
    Job,
    Network,
    Outcome,
    Progress,
    Proposal,
    Rejection,
    Request,
    Rung,
    Task,
    TooLong,
    Training,
    Trial,
)
from llmatic_daemon.domain.events import SlotChanged
from llmatic_daemon.domain.ports import Ports
from llmatic_daemon.engine import training_attempts
from llmatic_daemon.engine.ledger import Ledger
from llmatic_daemon.search.candidates.representation import representation_of
from llmatic_daemon.search.proposals import num_epochs, propose, rng_for, shorten, should_continue
from llmatic_daemon.search.variants import measures_untrained


class CandidatePipeline:
    """Walks candidates through their lives, any number of them at once.

    Args:
        task: The data set that is searched.
        ports: Who writes, lifts and trains, and where events go.
        ledger: Settles the candidates.
        clock: Monotonic, in seconds.
    """

    def __init__(
        self, task: Task, ports: Ports, ledger: Ledger, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._task = task
        self._representation = representation_of(task)
        self._ports = ports
        self._ledger = ledger
        self._clock = clock

    def propose(self, job: Job) -> Proposal:
        """Decide what a job's candidate is to be; depends on the job and the search alone."""
        evolution = self._ledger.evolution
        return propose(evolution, job, rng_for(evolution.rules.seed, job))

    async def run_job(self, proposal: Proposal, slot: int) -> None:
        """Walk one candidate from its proposal to its placement, whatever becomes of it on the way.

        Raises:
            Unavailable: the outside failed; nothing is settled and no prompt is charged.
        """
        started = self._clock()
        trial = await self._develop(Trial(proposal=proposal, slot=slot, result=_UNFINISHED))
        trial = replace(trial, total_s=self._clock() - started)
        self.show(slot, "commit")
        await self._ledger.settle(trial)

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
        self.show(slot, "lift", candidate.class_name)
        network = await self._ports.lifter.lift(candidate)
        trial = replace(trial, candidate=candidate)
        if isinstance(network, Rejection):
            return replace(trial, result=network)
        trial = replace(trial, network=network)
        duplicate = await self._duplicate_of(network)
        if duplicate:
            return replace(trial, result=duplicate)
        self.show(slot, "wait", f"{network.measures.flops / 1e6:.2f} MFLOPs")
        result = await training_attempts.train(
            self._ports.trainer,
            self._ledger,
            proposal.job.number,
            candidate,
            network,
            self._training(proposal, network),
            self._watcher(slot),
        )
        return replace(trial, result=result)

    async def _write(self, trial: Trial) -> tuple[Trial, tuple[str, ...]]:
        """Ask the writer, with a shorter request each time while it is too long.

        Returns:
            The trial with its completion, or with a rejection; and the sources of its parents.
        """
        while True:
            self.show(trial.slot, "llm", trial.proposal.prompt.id)
            request = await self._request(trial.proposal)
            by_rule = trial.proposal.by_rule and self._ports.rewriter
            completion = await (by_rule or self._ports.writer).complete(request)
            if not isinstance(completion, TooLong):
                return replace(trial, completion=completion), request.parents
            shorter = shorten(self._ledger.evolution, trial.proposal)
            if shorter is None:
                rejection = Rejection(cause=Outcome.CONTEXT, detail=str(completion))
                return replace(trial, result=rejection), request.parents
            trial = replace(trial, proposal=shorter)

    async def _request(self, proposal: Proposal) -> Request:
        sources = [await self._ports.store.source(digest) for digest in proposal.parent_digests]
        return self._representation.ask(
            proposal, sources or [self._representation.initial(self._task)], self._task
        )

    async def _duplicate_of(self, network: Network) -> Duplicate | None:
        """Find how the same network ended before; None if it is to be trained."""
        evolution = self._ledger.evolution
        if evolution.rules.duplicates == "train":
            return None
        return await self._ports.store.earlier(
            network.digest,
            initial=not measures_untrained(evolution.rules),
            stopped=evolution.early_stopping_rules.rung_ratio > 0,
        )

    def _training(self, proposal: Proposal, network: Network) -> Training:
        """Build the training request.

        The early-stopping decision uses the search as it is when the rung is reached, not as it is
        now.
        """
        evolution = self._ledger.evolution
        epochs = num_epochs(evolution, proposal)
        ratio = evolution.early_stopping_rules.rung_ratio
        rung = None
        if ratio and epochs is None:
            rung = Rung(ratio, lambda accuracy: should_continue(self._ledger.evolution, network, accuracy))
        return Training(seed=proposal.seed, epochs=epochs, rung=rung)

    def _watcher(self, slot: int) -> Callable[[Progress], None]:
        def watch(progress: Progress) -> None:
            accuracy = "" if progress.accuracy is None else f", accuracy {progress.accuracy:.3f}"
            epochs = f"epoch {progress.epoch} of {progress.num_epochs}"
            self.show(slot, "train", f"{epochs}{accuracy} on {progress.device}")

        return watch

    def show(self, slot: int, phase: str, detail: str = "") -> None:
        """Publish what a slot does."""
        self._ports.events.publish(SlotChanged(slot=slot, phase=phase, detail=detail))


_UNFINISHED = Rejection(cause=Outcome.ERROR, detail="unfinished")
