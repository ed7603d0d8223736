"""Build the lifter and the trainers from the settings."""

from typing import Any

from llmatic_daemon.adapters.processes.lifter import ProcessLifter
from llmatic_daemon.adapters.processes.trainer import TrainerPool
from llmatic_daemon.config.settings import Settings
from llmatic_daemon.domain.events import EventBus
from llmatic_daemon.domain.sandbox import Sandbox


def limits(settings: Settings) -> dict[str, int]:
    """Return the limits of a network, by the names of the lifter and the trainers."""
    return {
        "max_parameters": settings.lifter.max_parameters,
        "max_flops": settings.lifter.max_flops,
        "max_activation_bytes": settings.lifter.max_activation_mib << 20,
        "max_source_bytes": settings.lifter.max_source_kib << 10,
    }


def sandbox(settings: Settings) -> Sandbox:
    """Return the sandbox for the code that an LLM wrote."""
    return Sandbox(require=frozenset(settings.sandbox.require), user=settings.sandbox.user)


def lifter(settings: Settings) -> ProcessLifter:
    """Build the lifter; entering its context starts its warm parents."""
    hidden = [settings.state_dir, *([settings.data.folder] if settings.data.folder.name else [])]
    return ProcessLifter(
        num_parents=settings.lifter.processes,
        timeout_s=settings.lifter.timeout_s,
        memory_bytes=settings.lifter.memory_mib << 20,
        limits=limits(settings),
        sandbox=sandbox(settings),
        hidden=hidden,
    )


def trainers(settings: Settings, events: EventBus | None = None) -> TrainerPool:
    """Build the trainers; entering the context of the pool starts them."""
    return TrainerPool(
        devices=settings.training.devices,
        events=events,
        configuration={
            "data": {**settings.data.model_dump(mode="json"), "seed": settings.search.seed},
            "recipe": _recipe(settings),
            "limits": limits(settings),
            "initial_weights": settings.training.initial_weights,
            "threads": settings.training.threads,
            "timeout_s": settings.training.timeout_s,
            "memory_bytes": settings.training.memory_mib << 20,
        },
    )


#: Numbers of a recipe that may be 0; below 0 they are as the recipe says.
_MAY_BE_ZERO = ("momentum", "weight_decay", "label_smoothing")
_RECIPE = (*_MAY_BE_ZERO, "epochs", "batch_size", "learning_rate", "schedule", "augmentation", "precision")


def _recipe(settings: Settings) -> dict[str, Any]:
    """Return the name of the recipe, and the numbers that the settings change in it."""
    values = settings.training.model_dump(include=set(_RECIPE))
    chosen = {n: value for n, value in values.items() if (value >= 0 if n in _MAY_BE_ZERO else value)}
    return {"preset": settings.training.recipe, **chosen}
