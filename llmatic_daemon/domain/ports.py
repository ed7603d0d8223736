"""What the engine asks of the world: one Protocol for each outside thing, with what it may raise."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from llmatic_daemon.domain.audits import Audit
from llmatic_daemon.domain.completions import Call, Completion, EndpointState, Request, TooLong
from llmatic_daemon.domain.jobs import Job
from llmatic_daemon.domain.networks import Candidate, Duplicate, Network, Rejection
from llmatic_daemon.domain.placements import Artefacts, CommitResult, Placement
from llmatic_daemon.domain.prompts import Edition
from llmatic_daemon.domain.sandbox import Layer
from llmatic_daemon.domain.states import Checkpoint, Identity, Tessellation
from llmatic_daemon.domain.task import Task
from llmatic_daemon.domain.trainings import (
    DevicePhase,
    Failure,
    Progress,
    Report,
    RestartReason,
    StoppedEarly,
    Training,
)
from llmatic_daemon.domain.uplift import Comparison

#: What the log of a search is made of.
Entry = Placement | Edition | Audit


class Writer(Protocol):
    """Writes a variation of a network's source."""

    async def complete(self, request: Request) -> Completion | TooLong:
        """Answer one request; as long as it takes while there is no LLM, if so configured.

        Raises:
            WriterUnavailable: no LLM answered this request.
        """
        ...

    def endpoints(self) -> tuple[EndpointState, ...]:
        """Return the LLM servers that it asks, as they are now; none when it asks none."""
        return ()

    async def wait_until_probed(self) -> None:
        """Wait until each LLM server has been asked who it is, whatever it answered."""
        return


class Lifter(Protocol):
    """Turns untrusted source into a graph of allow-listed operations, without trusting it."""

    async def lift(self, candidate: Candidate) -> Network | Rejection:
        """Build and export one candidate in a process of its own, and check the graph.

        Raises:
            LifterUnavailable: the lifter itself died or cannot start.
        """
        ...

    async def missing(self) -> Mapping[Layer, str]:
        """Wait until it is known which layers of the sandbox this machine lacks; each with its reason."""
        return {}


class Trainer(Protocol):
    """Trains a network on the first device place that gets free.

    A training that is `spare` comes after all others: it takes a place only while nobody else
    waits for one.
    """

    async def task(self) -> Task:
        """Describe the data set; waits until a trainer has loaded it.

        Raises:
            ConfigurationError: the data set is unknown, missing or of a wrong shape.
            TrainerUnavailable: no trainer could be started.
        """
        ...

    async def wait_until_idle(self) -> None:
        """Wait until a place is free and nobody waits for it; another may take it first.

        Raises:
            TrainerUnavailable: no trainer could be started.
        """
        ...

    async def train(
        self, network: Network, training: Training, watch: Callable[[Progress], None]
    ) -> Report | Failure | StoppedEarly:
        """Train and measure one network; the place is held from the first `watch` to the return.

        Returns:
            Stopped only where `training.look` has said that it is not to go on.

        Raises:
            TrainerUnavailable: the trainer died; it has been replaced.
        """
        ...

    def watched_by(self, observers: "Sequence[Observer]") -> None:
        """Tell these what the device places do: how they are now, and each change from now on."""
        return

    def overdue(self) -> tuple[str, ...]:
        """Name the places that have been at one thing for longer than they are ever given."""
        return ()

    async def resize(self, devices: Sequence[str]) -> None:
        """Train on these devices from now on; who trains on a place that goes finishes first.

        Raises:
            ConfigurationError: there is none, or a new one cannot be set up; nothing has changed.
            TrainerUnavailable: a new one does not start; nothing has changed.
        """
        ...


class Store(Protocol):
    """Keeps jobs and placements. Dispatch is at least once, results are exactly once."""

    async def dispatch(self, slot: int) -> Job:
        """Claim a job for a slot: the oldest released one, else a new one. Durable on return.

        Raises:
            StoreUnavailable: nothing was claimed.
        """
        ...

    async def release(self, job: Job, *, charged: bool) -> None:
        """Give a job back; uncharged, its attempt does not count.

        Raises:
            StoreUnavailable: it stays claimed until the next start releases it.
        """
        ...

    async def commit(self, placement: Placement, artefacts: Artefacts) -> bool:
        """Keep all that a placement changes, in one durable transaction.

        Args:
            placement: Its number is the next one of the log.
            artefacts: What the placement names by digest; content stored before may be left out.

        Returns:
            False when the fence refused it: this job was settled, or dispatched anew, before.

        Raises:
            StoreUnavailable: nothing was written; the same call may be tried again.
            ValueError: a number is not finite, or names something that the store does not know.
        """
        ...

    async def adopt(self, edition: Edition) -> None:
        """Keep a prompt set that the search takes, in one durable transaction; twice is once.

        Args:
            edition: Its number is the next one among the editions; its versions keep their texts.

        Raises:
            StoreUnavailable: nothing was written; the same call may be tried again.
            ValueError: the number is not the next one, or a known version has another text.
        """
        ...

    async def keep_audit(self, audit: Audit) -> None:
        """Keep a second training of an elite, in one durable transaction; twice is once.

        Args:
            audit: Its number is the next one among the audits, and its networks were placed.

        Raises:
            StoreUnavailable: nothing was written; the same call may be tried again.
            ValueError: the number is not the next one, a number is not finite, or a network was
                never placed.
        """
        ...

    async def note_refusal(self, why: str) -> None:
        """Keep the reason for which a prompt set was not taken, for those who ask later.

        Args:
            why: One line; empty: the prompts are good again.

        Raises:
            StoreUnavailable: nothing was written.
        """
        ...

    async def source(self, digest: str) -> str:
        """Read the source that a placement names.

        Raises:
            KeyError: no placement names it.
            StoreUnavailable: it cannot be read now.
        """
        ...

    async def earlier(self, network_digest: str, *, initial: bool, stopped: bool) -> Duplicate | None:
        """Find how the same network ended first; None when no lasting end of it is known.

        Args:
            network_digest: Of its graph.
            initial: Whether the ends of initial networks count: some are measured untrained.
            stopped: Whether it counts that a first look ended a training.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        ...


class SearchStore(Store, Protocol):
    """A store as its owner sees it: identity, tessellation and log around the life of a search."""

    async def identity(self) -> Identity | None:
        """Return what the state belongs to; None when it is new."""
        ...

    async def identify(self, identity: Identity) -> None:
        """Claim the state for a search, or check that it belongs to it.

        Raises:
            ConfigurationError: the state belongs to another search; says what differs.
        """
        ...

    async def tessellation(self, make: Callable[[], Awaitable[Tessellation]]) -> Tessellation:
        """Return the stored centroids; make and keep them the first time."""
        ...

    async def compare(self, control_ratio: float) -> Comparison | None:
        """Say which share of the jobs is written by rule from now on, to compare with the LLM.

        The comparison under way goes on if the share is the same. Another one begins anew: what
        enters the archive early and late cannot be compared, so each has one share throughout.

        Args:
            control_ratio: In [0, 1]; 0: there is no control arm any more.

        Returns:
            The last comparison, under way or over; None: there never was one.

        Raises:
            StoreUnavailable: nothing is changed.
        """
        ...

    async def checkpoint(self) -> Checkpoint | None:
        """Return the last milestone; None when there is none, or when it does not fit the log."""
        ...

    async def keep_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Keep a milestone in the place of the last one.

        Raises:
            StoreUnavailable: the last one is still there.
        """
        ...

    def log(self, after: Checkpoint | None = None) -> AsyncIterator[Entry]:
        """Read the log, oldest first; a stream, as a long one need not fit in memory.

        After a milestone, if one is given: without what that one has seen.

        Equal to what was committed, but for the weights of a report, which are never stored. An
        edition or audit comes after the placements that it counts; of those that follow the same
        placement editions come first, which changes nothing, as neither touches what the other does.

        Raises:
            StoreUnavailable: the log cannot be read now.
        """
        ...

    async def ping(self) -> None:
        """Return as soon as the store has come round to it: whatever was asked before is done."""
        ...

    async def close(self) -> None:
        """Checkpoint, close and unlock. Running jobs stay claimed until the next start."""
        ...


class Observer(Protocol):
    """Hears what happens, as far as it cares to; must return at once and never raise."""

    def slot_changed(self, slot: int, phase: str, detail: str) -> None:
        """Hear that a slot has entered a phase: idle, llm, lift, wait, train, commit."""
        ...

    def placed(self, placement: Placement) -> None:
        """Hear of a placement after its commit."""
        ...

    def resized(self, num_slots: int) -> None:
        """Hear of another number of slots, before the first new one starts; those above end after their jobs."""
        return

    def paused(self, is_paused: bool) -> None:
        """Hear that a person has paused the search, or lets it go on."""
        return

    def called(self, call: Call) -> None:
        """Hear how a call of an LLM's endpoint ended."""
        return

    def adopted(self, edition: Edition) -> None:
        """Hear of a prompt set that the search has taken."""
        return

    def audited(self, audit: Audit) -> None:
        """Hear of an audit after its commit."""
        return

    def refused(self, why: str) -> None:
        """Hear of a prompt set that was not taken; one line for a person."""
        return

    def dispatched(self, job: Job) -> None:
        """Hear that a job has been claimed for a slot."""
        return

    def released(self, job: Job, charged: bool) -> None:
        """Hear that a job has been given back; charged: the world has failed it."""
        return

    def committed(self, result: CommitResult, duration_s: float) -> None:
        """Hear what came of a try to commit a placement, and how long it took."""
        return

    def device_changed(self, device: str, phase: DevicePhase | None) -> None:
        """Hear what a device place does from now on; None: it is free."""
        return

    def device_gone(self, device: str) -> None:
        """Hear that a device place is there no more."""
        return

    def trainer_replaced(self, device: str, reason: RestartReason) -> None:
        """Hear that the trainer of a device place has been given up for another."""
        return
