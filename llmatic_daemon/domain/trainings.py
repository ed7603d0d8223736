"""Trainings: how a network is trained, and what comes of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from llmatic_daemon.domain.networks import Outcome


@dataclass(frozen=True, slots=True)
class Rung:
    """A cheap first look at a network in training, after which its training may end."""

    #: After which share of the training, in (0, 1).
    ratio: float
    #: Asked with the accuracy so far, on the split that selects; must return at once.
    should_continue: Callable[[float], bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """How a network is to be trained, beyond the trainer's own recipe."""

    seed: int
    #: 0 measures the untrained network; None trains as long as the recipe says.
    epochs: int | None = None
    keep_weights: bool = False
    #: Take a device place only while nobody else waits for one.
    low_priority: bool = False
    #: None: it is trained to its end without a look.
    rung: Rung | None = None


class Epoch(NamedTuple):
    """One point of a learning curve."""

    number: int
    train_loss: float
    #: On the split that selects, in [0, 1].
    accuracy: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """What a trainer says while it works; the first one, at epoch 0, when it has its place."""

    device: str
    epoch: int
    num_epochs: int
    accuracy: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A network that did not train, and why."""

    cause: Outcome
    detail: str
    device: str = ""
    wait_s: float = 0.0
    train_s: float = 0.0
    #: In full trainings, by the epochs that had ended.
    cost: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class StoppedEarly:
    """A network whose training was ended after the first look; its accuracy never counts as one."""

    #: Accuracy of the look, in [0, 1].
    rung_accuracy: float
    device: str
    wait_s: float
    train_s: float
    #: In full trainings, in (0, 1).
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
    #: Time spent waiting for a device place, and holding it.
    wait_s: float
    train_s: float
    #: Safetensors; only when `Training.keep_weights`.
    weights: bytes | None = field(default=None, repr=False)
    #: Mean and deviation of each channel by which images are normalised; beside the weights only.
    normalisation: tuple[tuple[float, float], ...] | None = None
    #: Accuracy of the first look, in [0, 1]; None when there was none.
    rung_accuracy: float | None = None
    #: In full trainings; a look that is a training of its own comes on top, and to measure an
    #: untrained network costs none.
    cost: float = 1.0


# --- what those who watch hear of -----------------------------------------------------------------


class DevicePhase(StrEnum):
    """What keeps a device place busy."""

    #: A trainer is being started there, or a pause follows a start that failed.
    START = "start"
    TRAIN = "train"
    AUDIT = "audit"


class RestartReason(StrEnum):
    """Why a trainer was replaced."""

    DIED = "died"
    #: It did not end a training in time, and was killed.
    HUNG = "hung"
    #: Nobody wants the result of its training any more.
    CANCELLED = "cancelled"
    #: It did not become ready.
    NOT_STARTED = "not_started"
