"""Trainings of networks, and their results."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from llmatic_daemon.domain.networks import Outcome


@dataclass(frozen=True, slots=True)
class Rung:
    """The point of a training at which early stopping decides whether it continues."""

    #: Share of the training before the rung, in (0, 1).
    ratio: float
    #: Called with the accuracy so far, on the split that selects; must return at once.
    should_continue: Callable[[float], bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """The parameters of one training, in addition to the trainer's recipe."""

    seed: int
    #: 0 measures the untrained network; None trains as long as the recipe says.
    epochs: int | None = None
    keep_weights: bool = False
    #: Whether all other trainings are dispatched first.
    low_priority: bool = False
    #: None: no early stopping.
    rung: Rung | None = None
    #: Whether the trainer must be a new process that has trained nothing before.
    fresh: bool = False


class Epoch(NamedTuple):
    """One point of a learning curve."""

    number: int
    train_loss: float
    #: Accuracy on the split that selects, in [0, 1].
    accuracy: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Progress of a training; the first one, at epoch 0, when its device is assigned."""

    device: str
    epoch: int
    num_epochs: int
    accuracy: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A network whose training failed, and why."""

    cause: Outcome
    detail: str
    device: str = ""
    wait_s: float = 0.0
    train_s: float = 0.0
    #: Cost of the completed epochs, in full trainings.
    cost: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class StoppedEarly:
    """A network whose training was stopped at the rung; its accuracy is no objective."""

    #: Accuracy at the rung, in [0, 1].
    rung_accuracy: float
    device: str
    wait_s: float
    train_s: float
    #: Cost in full trainings, in (0, 1).
    cost: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """A network that was trained and measured."""

    #: Accuracy on the split that selects, in [0, 1].
    objective: float
    #: In [0, 1].
    test_accuracy: float
    #: Mean cross-entropy on the test split.
    test_loss: float
    curve: tuple[Epoch, ...]
    device: str
    #: Time spent waiting for a device, and using it.
    wait_s: float
    train_s: float
    #: Safetensors; None unless `Training.keep_weights`.
    weights: bytes | None = field(default=None, repr=False)
    #: Mean and deviation of each channel for the normalisation of images; None without weights.
    normalisation: tuple[tuple[float, float], ...] | None = None
    #: Accuracy at the rung, in [0, 1]; None if there was none.
    rung_accuracy: float | None = None
    #: Cost in full trainings. A rung that is a separate training is added; measuring an untrained
    #: network costs 0.
    cost: float = 1.0
    #: Identity of the trainer's process; empty: there was none.
    trainer: str = ""


# --- events for observers ------------------------------------------------------------------------


class DevicePhase(StrEnum):
    """Activity of a device worker."""

    #: The trainer starts, or waits after a start that failed.
    START = "start"
    TRAIN = "train"
    AUDIT = "audit"


class RestartReason(StrEnum):
    """Why a trainer was restarted."""

    DIED = "died"
    #: A training exceeded its time limit, and the trainer was killed.
    HUNG = "hung"
    #: Its training was cancelled.
    CANCELLED = "cancelled"
    #: A network asked for a trainer that has trained nothing.
    FRESH = "fresh"
    #: It did not become ready in time.
    NOT_STARTED = "not_started"
