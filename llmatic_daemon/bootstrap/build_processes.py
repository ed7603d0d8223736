"""Build the lifter and the trainers from the settings."""

from typing import Any

from llmatic_daemon.adapters.processes.lifter import ProcessLifter
from llmatic_daemon.adapters.processes.trainer import TrainerPool
from llmatic_daemon.config.settings import Settings
from llmatic_daemon.domain.sandbox import Sandbox


def limits(settings: Settings) -> dict[str, int]:
    """Say what a network may cost, in the words of the lifter and the trainers."""
    return {
        "max_parameters": settings.lifter.max_parameters,
        "max_flops": settings.lifter.max_flops,
        "max_activation_bytes": settings.lifter.max_activation_mib << 20,
        "max_source_bytes": settings.lifter.max_source_kib << 10,
    }


def sandbox(settings: Settings) -> Sandbox:
    """Say which layers are around the code that an LLM wrote."""
    return Sandbox(require=frozenset(settings.sandbox.require), user=settings.sandbox.user)


def lifter(settings: Settings) -> ProcessLifter:
    """Make the lifter; entering it starts its warm parents."""
    hidden = [settings.state_dir, *([settings.data.folder] if settings.data.folder.name else [])]
    return ProcessLifter(
        num_parents=settings.lifter.places,
        timeout_s=settings.lifter.timeout_s,
        memory_bytes=settings.lifter.memory_mib << 20,
        limits=limits(settings),
        sandbox=sandbox(settings),
        hidden=hidden,
    )


def trainers(settings: Settings) -> TrainerPool:
    """Make the trainers; entering the pool starts them."""
    return TrainerPool(
        devices=settings.training.places,
        configuration={
            "data": _data(settings),
            "recipe": _recipe(settings),
            "limits": limits(settings),
            "initial_weights": settings.training.initial_weights,
            "threads": settings.training.threads,
            "timeout_s": settings.training.timeout_s,
            "memory_bytes": settings.training.memory_mib << 20,
        },
    )


def _data(settings: Settings) -> dict[str, Any]:
    data = settings.data
    held_out = data.validation_ratio if data.fitness_split == "validation" else 0.0
    return {
        "name": data.name,
        "folder": str(data.folder),
        "download": data.download,
        "num_train": data.num_train or None,
        "image_size": data.image_size,
        "validation_ratio": held_out,
        "seed": settings.search.seed,
    }


def _recipe(settings: Settings) -> dict[str, Any]:
    """Read 0, a negative number or an empty word as what the recipe says."""
    training = settings.training
    return {
        "preset": training.recipe,
        "epochs": training.epochs or None,
        "batch_size": training.batch_size or None,
        "learning_rate": training.learning_rate or None,
        "momentum": _unless_negative(training.momentum),
        "weight_decay": _unless_negative(training.weight_decay),
        "label_smoothing": _unless_negative(training.label_smoothing),
        "schedule": training.schedule or None,
        "augmentation": training.augmentation or None,
        "precision": training.precision or None,
    }


def _unless_negative(number: float) -> float | None:
    return None if number < 0 else number
