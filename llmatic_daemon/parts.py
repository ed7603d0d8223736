"""The hands, built from the settings: adapters take plain values, and this is where they get them."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmatic_daemon.adapters.lifter import ProcessLifter
from llmatic_daemon.adapters.offline import OfflineRewriter
from llmatic_daemon.adapters.prompts import PromptFolder, default_folder, read_prompts
from llmatic_daemon.adapters.trainer import TrainerPool
from llmatic_daemon.config import Settings
from llmatic_daemon.core.budget import Budget
from llmatic_daemon.engine import Patience
from llmatic_daemon.ports import Lifter, SearchStore, Trainer, Writer
from llmatic_daemon.records import Prompt, PromptSet


@dataclass(frozen=True, slots=True)
class Hands:
    """Who writes, lifts and trains; the latter two work while their context lasts."""

    writer: Writer
    lifter: AbstractAsyncContextManager[Lifter]
    trainer: AbstractAsyncContextManager[Trainer]


def hands(settings: Settings) -> Hands:
    """Make the real ones."""
    return Hands(writer(settings), lifter(settings), trainers(settings))


def limits(settings: Settings) -> dict[str, int]:
    """Say what a network may cost, in the words of the lifter and the trainers."""
    return {
        "max_parameters": settings.lifter.max_parameters,
        "max_flops": settings.lifter.max_flops,
        "max_activation_bytes": settings.lifter.max_activation_mib << 20,
    }


def writer(settings: Settings) -> Writer:
    """Make the writer."""
    return {"offline": OfflineRewriter}[settings.writer.name]()


def lifter(settings: Settings) -> ProcessLifter:
    """Make the lifter; entering it starts its warm parents."""
    return ProcessLifter(
        num_parents=settings.lifter.places,
        timeout_s=settings.lifter.timeout_s,
        memory_bytes=settings.lifter.memory_mib << 20,
        limits=limits(settings),
    )


def trainers(settings: Settings) -> TrainerPool:
    """Make the trainers; entering the pool starts them."""
    return TrainerPool(
        places=settings.training.places,
        configuration={
            "data": _data(settings),
            "recipe": _recipe(settings),
            "limits": limits(settings),
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


def prompt_files(settings: Settings) -> tuple[tuple[Prompt, ...], Prompt]:
    """Read the mutation prompts, sorted by id, and the crossover prompt."""
    return read_prompts(Path(settings.prompts.folder or default_folder()))


async def prompts(files: tuple[tuple[Prompt, ...], Prompt], store: SearchStore) -> PromptFolder:
    """Give each prompt its slot on the archive's axis."""
    mutation, crossover = files
    slots = await store.prompt_slots([prompt.id for prompt in mutation])
    return PromptFolder(PromptSet(mutation=mutation, crossover=crossover, slots=slots))


def budget(settings: Settings) -> Budget:
    """Read 0 as no limit."""
    limit = settings.budget
    return Budget(
        max_evaluations=limit.max_evaluations or None,
        max_gpu_hours=limit.max_gpu_hours or None,
        max_hours=limit.max_hours or None,
        target_accuracy=limit.target_accuracy or None,
    )


def patience(settings: Settings) -> Patience:
    """Say how often the world may fail."""
    engine = settings.engine
    return Patience(
        max_attempts=engine.max_attempts, retry_s=engine.retry_s, max_retry_s=engine.max_retry_s
    )
