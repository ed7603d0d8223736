"""Recipes of training: `paper` follows the paper, `fast` was chosen by measurement."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

SCHEDULES = ("constant", "cosine", "one-cycle")
AUGMENTATIONS = ("none", "shift", "shift-flip")
PRECISIONS = ("float32", "bfloat16")


class RecipeError(Exception):
    """The recipe is invalid; the text is one line for a person."""


def _at_least(name: str, value: float, least: float) -> None:
    if not value >= least:
        raise RecipeError(f"{name} must be at least {least}, got {value}")


def _one_of(name: str, value: object, known: tuple[str, ...] | list[str]) -> None:
    if value not in known:
        near = difflib.get_close_matches(str(value), known, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise RecipeError(f"{name} must be one of {', '.join(known)}, got {value!r}{hint}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How a network is trained with SGD and cross-entropy."""

    epochs: int
    batch_size: int
    #: Constant, or the peak of the schedule.
    learning_rate: float
    #: constant; cosine (down to 0); one-cycle (up for a quarter of the steps, then down to 0).
    schedule: str = "constant"
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    #: In [0, 1); of the training loss only, not of losses on other splits.
    label_smoothing: float = 0.0
    #: none; shift (by up to an eighth of the side, borders repeated); shift-flip (mirrored too).
    augmentation: str = "none"
    #: bfloat16: forward and backward pass under autocast, weights stay float32.
    precision: str = "float32"

    def __post_init__(self) -> None:
        """Reject numbers that cannot train."""
        _at_least("epochs", self.epochs, 0)
        _at_least("batch_size", self.batch_size, 1)
        _at_least("momentum", self.momentum, 0)
        _at_least("weight_decay", self.weight_decay, 0)
        if not self.learning_rate > 0:
            raise RecipeError(f"learning_rate must be above 0, got {self.learning_rate}")
        if not 0 <= self.label_smoothing < 1:
            raise RecipeError(f"label_smoothing must be in [0, 1), got {self.label_smoothing}")
        if self.nesterov and not self.momentum:
            raise RecipeError("nesterov needs a momentum above 0, got 0")
        _one_of("schedule", self.schedule, SCHEDULES)
        _one_of("augmentation", self.augmentation, AUGMENTATIONS)
        _one_of("precision", self.precision, PRECISIONS)


#: Nasir 2024, section 4; the batch size is ours (the paper gives none).
PAPER = Recipe(epochs=50, batch_size=4, learning_rate=0.001, momentum=0.9)

#: Chosen with tests/benchmarks/bench_trainer.py. A batch of 32 costs half the CPU time of 16 on small
#: networks; a schedule that ends at 0 makes up for fewer steps. Batch 128 at a rate of 0.001 is fast
#: and learns nothing in the same epochs.
FAST_CPU = Recipe(
    epochs=10, batch_size=16, learning_rate=0.03, schedule="one-cycle", momentum=0.9, nesterov=True
)

#: Many small kernels leave a GPU idle, so batches are large, with a schedule for them.
FAST_CUDA = Recipe(
    epochs=16,
    batch_size=256,
    learning_rate=0.1,
    schedule="one-cycle",
    momentum=0.9,
    nesterov=True,
    weight_decay=5e-4,
    label_smoothing=0.1,
    augmentation="shift",
    precision="bfloat16",
)

PRESETS = ("paper", "fast")


def choose(preset: str, overrides: Mapping[str, Any], device: torch.device, num_channels: int) -> Recipe:
    """Return a preset for a device and its images, with single numbers replaced.

    Args:
        preset: `paper` or `fast`.
        overrides: Fields of `Recipe`; None leaves the preset's value.
        device: Device that trains.
        num_channels: Channels of an image; only colour images are mirrored (a mirrored digit is none).

    Raises:
        RecipeError: an unknown name, or a number out of its range.
    """
    _one_of("recipe", preset, PRESETS)
    recipe = PAPER if preset == "paper" else _fast(device, num_channels)
    known = [field.name for field in fields(Recipe)]
    for name in overrides:
        _one_of("recipe setting", name, known)
    try:
        return replace(recipe, **{k: v for k, v in overrides.items() if v is not None})
    except TypeError as error:  # a word instead of a number
        raise RecipeError(f"a recipe needs numbers: {error}") from error


def _fast(device: torch.device, num_channels: int) -> Recipe:
    if device.type == "cuda":
        augmentation = "shift-flip" if num_channels > 1 else "shift"
        return replace(FAST_CUDA, augmentation=augmentation)
    return replace(FAST_CPU, precision="bfloat16" if cpu_has_bfloat16() else "float32")


def cpu_has_bfloat16() -> bool:
    """Decide whether the processor has bfloat16 products (AVX-512 bf16 or AMX).

    Without them bfloat16 is emulated, and slower than float32.
    """
    try:
        words = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(words)
