"""What happens while a search runs, as frozen values; and the bus that hands them to every receiver."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from llmatic_daemon.domain.audits import Audit
from llmatic_daemon.domain.completions import Call
from llmatic_daemon.domain.jobs import Job
from llmatic_daemon.domain.placements import CommitResult, Placement
from llmatic_daemon.domain.prompts import Edition
from llmatic_daemon.domain.sandbox import Layer
from llmatic_daemon.domain.trainer_deaths import TrainerDeath
from llmatic_daemon.domain.trainings import DevicePhase, RestartReason


class Event:
    """What has happened; each kind is a subclass."""

    __slots__ = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotChanged(Event):
    """A slot has entered a phase, or what it shows of it has changed."""

    slot: int
    #: idle, llm, lift, wait, train or commit.
    phase: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotsResized(Event):
    """The number of slots has changed; the first new one has not started, those above end after their jobs."""

    num_slots: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PauseChanged(Event):
    """A person has paused the search, or resumed it."""

    is_paused: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class JobDispatched(Event):
    """A slot has claimed a job."""

    job: Job


@dataclass(frozen=True, kw_only=True, slots=True)
class JobReleased(Event):
    """A job has been given back."""

    job: Job
    #: Whether the attempt counts, as the world has failed it.
    charged: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class CallEnded(Event):
    """A call of an LLM's endpoint has ended."""

    call: Call


@dataclass(frozen=True, kw_only=True, slots=True)
class CommitTried(Event):
    """The store has been asked to commit a placement."""

    result: CommitResult
    duration_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed(Event):
    """A placement has been committed and applied."""

    placement: Placement


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptsAdopted(Event):
    """A prompt set has been committed and is active."""

    edition: Edition


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptsRejected(Event):
    """A prompt set was not loaded; the active one stays."""

    #: One line for a person.
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Audited(Event):
    """An audit has been committed and applied."""

    audit: Audit


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceChanged(Event):
    """A device worker has begun another activity."""

    device: str
    #: None: it is free.
    phase: DevicePhase | None


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceRemoved(Event):
    """A device worker has been taken out of service."""

    device: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainerReplaced(Event):
    """The trainer process of a device worker has been given up for a new one."""

    device: str
    reason: RestartReason


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceTakenOut(Event):
    """A device worker starts no trainer any more, because its trainers died with too many networks."""

    device: str
    #: One line for a person: why, and what to do.
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DeathRecorded(Event):
    """The death of a trainer has been committed and applied."""

    death: TrainerDeath


@dataclass(frozen=True, kw_only=True, slots=True)
class SandboxProbed(Event):
    """It is known which layers of the sandbox this machine lacks."""

    missing: Collection[Layer]


@dataclass(frozen=True, kw_only=True, slots=True)
class BackupFinished(Event):
    """A backup is complete, or was found complete at the start."""

    #: Seconds since 1970.
    finished_at: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RoutesServed(Event):
    """These HTTP routes are answered from now on."""

    routes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpAnswered(Event):
    """An HTTP request has been answered."""

    #: As it is declared; empty: there is none.
    route: str
    status: int
    #: Whether it was denied for its token, origin or host.
    is_denied: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class StateMeasured(Event):
    """The state folder has been measured."""

    database_bytes: int
    wal_bytes: int
    #: Free space of its file system.
    free_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseChecked(Event):
    """The integrity of the database has been checked."""

    is_sound: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopLagMeasured(Event):
    """The delay of the event loop has been measured."""

    #: Longest of the last measurements, in seconds.
    longest_s: float


#: Matches the events that it needs and ignores the others. It must return at once and never raise.
Receiver = Callable[[Event], None]


class EventBus:
    """Hands each event to every receiver, in the order of their subscription."""

    def __init__(self) -> None:
        self._receivers: tuple[Receiver, ...] = ()

    def subscribe(self, receiver: Receiver) -> None:
        """Add a receiver; it gets every event from now on."""
        self._receivers += (receiver,)

    def publish(self, event: Event) -> None:
        """Hand an event to all receivers before returning.

        A receiver that raises is a bug: its error reaches the publisher, and ends the daemon.
        """
        for receiver in self._receivers:
            receiver(event)
