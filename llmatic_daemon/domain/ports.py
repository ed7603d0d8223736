"""What the engine needs from the outside: one Protocol for each thing, with the errors that it may raise."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from llmatic_daemon.domain.audits import Audit
from llmatic_daemon.domain.completions import Completion, EndpointState, Request, TooLong
from llmatic_daemon.domain.events import EventBus
from llmatic_daemon.domain.jobs import Job
from llmatic_daemon.domain.networks import Candidate, Duplicate, Network, Rejection
from llmatic_daemon.domain.placements import Artefacts, Placement
from llmatic_daemon.domain.prompts import Edition
from llmatic_daemon.domain.sandbox import Layer
from llmatic_daemon.domain.states import Checkpoint, Identity, Tessellation
from llmatic_daemon.domain.task import Task
from llmatic_daemon.domain.trainer_deaths import TrainerDeath
from llmatic_daemon.domain.trainings import Failure, Progress, Report, StoppedEarly, Training
from llmatic_daemon.domain.uplift import Comparison

#: What the log of a search is made of.
Entry = Placement | Edition | Audit | TrainerDeath


class Writer(Protocol):
    """Writes a variation of a network's source."""

    async def complete(self, request: Request) -> Completion | TooLong:
        """Answer one request; if so configured, wait while no LLM is available.

        Raises:
            WriterUnavailable: no LLM answered this request.
        """
        ...

    def endpoints(self) -> tuple[EndpointState, ...]:
        """Return the current state of each LLM server; empty for a writer without servers."""
        return ()

    async def wait_until_probed(self) -> None:
        """Wait until each LLM server has been asked for its model, whatever it answered."""
        return


class Lifter(Protocol):
    """Turns untrusted source into a graph of allow-listed operations, without trusting it."""

    async def lift(self, candidate: Candidate) -> Network | Rejection:
        """Build and export one candidate in a process of its own, and validate the graph.

        Raises:
            LifterUnavailable: the lifter itself died or cannot start.
        """
        ...

    async def missing(self) -> Mapping[Layer, str]:
        """Return the sandbox layers that this machine lacks, each with its reason; waits until known."""
        return {}


class Trainer(Protocol):
    """Trains a network on the first device worker that gets free.

    A training of low priority starts only while no other training waits for a device worker.
    """

    async def task(self) -> Task:
        """Describe the data set; waits until a trainer has loaded it.

        Raises:
            ConfigurationError: the data set is unknown, missing or of a wrong shape.
            TrainerUnavailable: no trainer could be started.
        """
        ...

    async def wait_until_idle(self) -> None:
        """Wait until a device worker is free and no training waits; another training may take it first.

        Raises:
            TrainerUnavailable: no trainer could be started.
        """
        ...

    async def train(
        self, network: Network, training: Training, watch: Callable[[Progress], None]
    ) -> Report | Failure | StoppedEarly:
        """Train and measure one network; the worker is held from the first `watch` to the return.

        Returns:
            StoppedEarly only if `training.rung.should_continue` returned False.

        Raises:
            TrainerDied: the network ended its trainer, which has been replaced.
            TrainerUnavailable: the training did not end in time, or no trainer could be started.
            NoDeviceWorker: all device workers have been taken out of service.
        """
        ...

    def out_of_service(self) -> tuple[str, ...]:
        """Name the device workers that start no trainer any more, because theirs died too often."""
        return ()

    def overdue(self) -> tuple[str, ...]:
        """Name the device workers whose current activity exceeds its time limit."""
        return ()

    async def resize(self, devices: Sequence[str]) -> None:
        """Train on these devices from now on; a training on a device that is removed finishes first.

        Raises:
            ConfigurationError: the list is empty, or a new one cannot be set up; nothing has changed.
            TrainerUnavailable: a new one does not start; nothing has changed.
        """
        ...


class Store(Protocol):
    """Stores jobs and placements. Dispatch is at least once, results are exactly once."""

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
        """Store all that a placement changes, in one durable transaction.

        Args:
            placement: Its number is the next one of the log.
            artefacts: What the placement names by digest; content stored before may be left out.

        Returns:
            False if the fence rejected it: this job was settled or dispatched again before.

        Raises:
            StoreUnavailable: nothing was written; the same call may be tried again.
            ValueError: a number is not finite, or a digest is unknown to the store.
        """
        ...

    async def adopt(self, edition: Edition) -> None:
        """Store a prompt set that becomes active, in one durable transaction; idempotent.

        Args:
            edition: Its number is the next one among the editions; its versions keep their texts.

        Raises:
            StoreUnavailable: nothing was written; the same call may be tried again.
            ValueError: the number is not the next one, or a known version has another text.
        """
        ...

    async def keep_audit(self, audit: Audit) -> None:
        """Store a second training of an elite, in one durable transaction; idempotent.

        Args:
            audit: Its number is the next one among the audits, and its networks were placed.

        Raises:
            StoreUnavailable: nothing was written; the same call may be tried again.
            ValueError: the number is not the next one, a number is not finite, or a network was
                never placed.
        """
        ...

    async def keep_death(self, death: TrainerDeath, artefacts: Artefacts) -> None:
        """Store the death of a trainer with the network it worked on, in one durable transaction; idempotent.

        Args:
            death: Its number is the next one among the deaths.
            artefacts: Source and graph of the network.

        Raises:
            StoreUnavailable: nothing was written; the same call may be tried again.
            ValueError: the number is not the next one, or a number is not finite.
        """
        ...

    async def note_refusal(self, why: str) -> None:
        """Store why the last prompt set was rejected, for `status`.

        Args:
            why: One line; empty: the prompts are valid again.

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
        """Find how the same network ended first; None if no reproducible end of it is stored.

        Args:
            network_digest: Of its graph.
            initial: Whether the ends of initial networks count: some are measured untrained.
            stopped: Whether a training that was stopped early counts.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        ...


class SearchStore(Store, Protocol):
    """A store as its owner uses it: identity, tessellation and log around the life of a search."""

    async def identity(self) -> Identity | None:
        """Return the search to which the state belongs; None if the state is new."""
        ...

    async def identify(self, identity: Identity) -> None:
        """Claim the state for a search, or check that it belongs to it.

        Raises:
            ConfigurationError: the state belongs to another search; names what differs.
        """
        ...

    async def tessellation(self, make: Callable[[], Awaitable[Tessellation]]) -> Tessellation:
        """Return the stored centroids; make and store them the first time."""
        ...

    async def compare(self, control_ratio: float) -> Comparison | None:
        """Set the share of the jobs that the control arm writes from now on.

        The current comparison goes on if the share is the same. Otherwise a new one begins: what
        enters the archive early and late cannot be compared, so each has one share throughout.

        Args:
            control_ratio: In [0, 1]; 0: there is no control arm any more.

        Returns:
            The last comparison, running or over; None: there never was one.

        Raises:
            StoreUnavailable: nothing is changed.
        """
        ...

    async def checkpoint(self) -> Checkpoint | None:
        """Return the last checkpoint; None if there is none, or if it does not fit the log."""
        ...

    async def keep_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Store a checkpoint, and delete the last one.

        Raises:
            StoreUnavailable: the last one is still there.
        """
        ...

    def log(self, after: Checkpoint | None = None) -> AsyncIterator[Entry]:
        """Read the log, oldest first; a stream, as a long one need not fit in memory.

        With a checkpoint, the entries that it already contains are left out.

        Equal to what was committed, except for the weights of a report, which are never stored. An
        edition, audit or death comes after the placements that it counts. Of those that follow the same
        placement, editions come first and deaths last; the order makes no difference to the search.

        Raises:
            StoreUnavailable: the log cannot be read now.
        """
        ...

    async def ping(self) -> None:
        """Wait until the store thread has processed all earlier requests."""
        ...

    async def close(self) -> None:
        """Flush, close and unlock. Running jobs stay claimed until the next start."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Ports:
    """All that the engine uses, ready for work."""

    writer: Writer
    lifter: Lifter
    trainer: Trainer
    store: Store
    #: Writes the control arm and all other rule-based candidates; None: `writer` does.
    rewriter: Writer | None = None
    events: EventBus = field(default_factory=EventBus)
