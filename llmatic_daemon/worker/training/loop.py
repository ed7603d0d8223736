"""The training loop: trains and measures one network on resident data."""

import contextlib
import gc
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from llmatic_daemon.domain import Epoch, Outcome
from llmatic_daemon.worker.training.datasets import DataSet, Split
from llmatic_daemon.worker.training.recipes import Recipe

#: Images, and bytes of activations, in one batch of a measurement: more cost memory and gain nothing.
MEASURED_AT_ONCE = {"cpu": 256, "cuda": 2048}
MEASURED_BYTES = {"cpu": 512 << 20, "cuda": 4 << 30}
#: Steps between checks of the loss: each check makes a GPU wait for its queue.
STEPS_BETWEEN_CHECKS = 32


class TrainingFailed(Exception):
    """The network cannot be trained or measured, and is at fault."""

    def __init__(self, cause: Outcome, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause
        self.detail = detail


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingResult:
    """The measurements of a training."""

    #: Accuracy on the split that selects, in [0, 1].
    objective: float
    test_accuracy: float
    #: Mean cross-entropy on the test split.
    test_loss: float
    curve: tuple[Epoch, ...]


class Deadline:
    """The end of a training's time limit, by the monotonic clock."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._end = time.monotonic() + timeout_s

    def check(self) -> None:
        """Raise TrainingFailed if it has passed."""
        if time.monotonic() > self._end:
            detail = f"training must end within {self._timeout_s:g} s, and did not"
            raise TrainingFailed(Outcome.TIMEOUT, detail)


class TrainingRun:
    """One training in place: iterate over its epochs, then get its result.

    Every step may raise TrainingFailed: TIMEOUT, NAN, OOM, or INVALID_GRAPH if the network raises.
    """

    def __init__(
        self,
        network: nn.Module,
        data: DataSet,
        recipe: Recipe,
        *,
        seed: int,
        timeout_s: float,
        activation_bytes: int = 0,
    ) -> None:
        """Prepare a training.

        Args:
            network: On the data's device; (n, channels, height, width) to (n, num_classes).
            data: Resident: `DataSet.resident`.
            recipe: With `epochs=0` the untrained network is measured.
            seed: Seed of order, augmentation and dropout. Same seed, same bits on a CPU.
            timeout_s: Limit from now to the result, by the monotonic clock.
            activation_bytes: All results of one image; keeps measurements within memory.
        """
        self._network, self._data, self._recipe, self._seed = network, data, recipe, seed
        self._deadline = Deadline(timeout_s)
        self._at_once = at_once(data.test.images.device.type, recipe, activation_bytes)
        self._curve: list[Epoch] = []

    def epochs(self) -> Iterator[Epoch]:
        """Train, and yield each epoch when it ends."""
        with failures_named():
            self._recipe = supported(self._network, self._data, self._recipe)
            torch.manual_seed(self._seed)
            steps = Steps(self._network, self._data.train, self._recipe, self._seed)
        for number in range(1, self._recipe.epochs + 1):
            with failures_named():
                loss = steps.epoch(self._deadline)
                accuracy, _ = self._measure(self._data.selecting)
            self._curve.append(Epoch(number=number, train_loss=loss, accuracy=accuracy))
            yield self._curve[-1]

    def result(self) -> TrainingResult:
        """Measure the trained network."""
        with failures_named():
            test_accuracy, test_loss = self._measure(self._data.test)
            objective = self._curve[-1].accuracy if self._curve else test_accuracy
            if not self._curve and len(self._data.validation):
                objective, _ = self._measure(self._data.validation)
        return TrainingResult(
            objective=objective, test_accuracy=test_accuracy, test_loss=test_loss, curve=tuple(self._curve)
        )

    def _measure(self, split: Split) -> tuple[float, float]:
        return measure(self._network, split, self._recipe, self._deadline, self._at_once)


def supported(network: nn.Module, data: DataSet, recipe: Recipe) -> Recipe:
    """Return the recipe, with float32 for a network with an operation that autocast does not know.

    Such an operation gets a bfloat16 and a float32 argument, and raises. A trial step in evaluation mode
    changes no state.
    """
    if recipe.precision == "float32":
        return recipe
    network.eval()
    try:
        with autocast(recipe, data.train.images.device):
            outputs = network(data.train.images[:2].permute(0, 3, 1, 2))
        outputs.float().sum().backward()
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or device_is_lost(error):
            raise
        return replace(recipe, precision="float32")
    finally:
        network.zero_grad(set_to_none=True)
    return recipe


class Steps:
    """The steps of one training: order, augmentation, optimiser, schedule."""

    def __init__(self, network: nn.Module, split: Split, recipe: Recipe, seed: int) -> None:
        self._network, self._split, self._recipe = network, split, recipe
        self._device = split.images.device
        self._generator = torch.Generator(self._device).manual_seed(seed)
        self._loss = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
        self._optimizer = torch.optim.SGD(
            [p for p in network.parameters() if p.requires_grad],
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        self._schedule = _schedule(self._optimizer, recipe, recipe.epochs * self._num_steps)

    @property
    def _num_steps(self) -> int:
        return len(_sizes(len(self._split), self._recipe.batch_size))

    def epoch(self, deadline: Deadline) -> float:
        """Train on every image once; return the mean loss."""
        self._network.train()
        sizes = _sizes(len(self._split), self._recipe.batch_size)
        order = torch.randperm(len(self._split), generator=self._generator, device=self._device)
        total = torch.zeros((), device=self._device)
        for number, chosen in enumerate(torch.split(order[: sum(sizes)], sizes)):
            total += self._step(chosen) * len(chosen)
            deadline.check()
            if number % STEPS_BETWEEN_CHECKS == 0:
                _finite(total)
        return _finite(total) / sum(sizes)

    def _step(self, chosen: Tensor) -> Tensor:
        images = self._images(chosen)
        with autocast(self._recipe, self._device):
            outputs = self._network(images)
        loss: Tensor = self._loss(outputs.float(), self._split.labels.index_select(0, chosen))
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self._optimizer.step()
        if self._schedule is not None:
            self._schedule.step()
        return loss.detach()

    def _images(self, chosen: Tensor) -> Tensor:
        if self._recipe.augmentation == "none":
            images = self._split.images.index_select(0, chosen)
        else:
            flip = self._recipe.augmentation == "shift-flip"
            images = shifted(self._split.images, chosen, flip, self._generator)
        return images.to(image_dtype(self._recipe)).permute(0, 3, 1, 2)


def shifted(images: Tensor, chosen: Tensor, flip: bool, generator: torch.Generator) -> Tensor:
    """Return images, each moved by up to an eighth of its side, with repeated borders, in one gather.

    Args:
        images: (n, height, width, channels).
        chosen: (batch,) positions.
        flip: Mirror each image with probability 0.5.
        generator: On the images' device.

    Returns:
        (batch, height, width, channels).
    """
    rows = _moved(images.shape[1], len(chosen), images.device, generator)
    columns = _moved(images.shape[2], len(chosen), images.device, generator)
    if flip:
        coin = torch.rand((len(chosen), 1), generator=generator, device=images.device) < 0.5
        columns = torch.where(coin, columns.flip(1), columns)
    return images[chosen[:, None, None], rows[:, :, None], columns[:, None, :]]


def _moved(side: int, count: int, device: torch.device, generator: torch.Generator) -> Tensor:
    reach = side // 8
    by = torch.randint(-reach, reach + 1, (count, 1), generator=generator, device=device)
    return (torch.arange(side, device=device) + by).clamp_(0, side - 1)


def _sizes(num_images: int, batch_size: int) -> list[int]:
    """Return the batch sizes of an epoch, without a last batch of 1: BatchNorm raises for it."""
    full, rest = divmod(num_images, batch_size)
    return [batch_size] * full + ([rest] if rest > 1 else [])


def _schedule(
    optimizer: torch.optim.Optimizer, recipe: Recipe, num_steps: int
) -> torch.optim.lr_scheduler.LRScheduler | None:
    if recipe.schedule == "constant" or not num_steps:
        return None
    if recipe.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=recipe.learning_rate,
        total_steps=num_steps + 1,
        pct_start=0.25,
        cycle_momentum=False,
    )


@torch.no_grad()
def measure(
    network: nn.Module, split: Split, recipe: Recipe, deadline: Deadline, at_once: int
) -> tuple[float, float]:
    """Return accuracy, in [0, 1], and mean cross-entropy of a network, in evaluation mode."""
    network.eval()
    device = split.images.device
    correct = torch.zeros((), device=device)
    total = torch.zeros((), device=device, dtype=torch.float64)
    for start in range(0, len(split), at_once):
        images = split.images[start : start + at_once]
        labels = split.labels[start : start + at_once]
        with autocast(recipe, device):
            outputs = network(images.to(image_dtype(recipe)).permute(0, 3, 1, 2))
        outputs = outputs.float()
        correct += (outputs.argmax(1) == labels).sum()
        total += functional.cross_entropy(outputs, labels, reduction="sum")
        deadline.check()
    return float(correct) / len(split), _finite(total) / len(split)


def at_once(device_type: str, recipe: Recipe, activation_bytes: int) -> int:
    """Return the batch size of measurements; at least that of training, which needs more memory."""
    fitting = MEASURED_BYTES.get(device_type, 512 << 20) // max(1, activation_bytes)
    return max(recipe.batch_size, min(MEASURED_AT_ONCE.get(device_type, 256), fitting))


def autocast(recipe: Recipe, device: torch.device) -> torch.autocast:
    """Return the autocast context for the precision of a recipe."""
    enabled = recipe.precision == "bfloat16"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def image_dtype(recipe: Recipe) -> torch.dtype:
    """Return the type of resident images: the one that the first layer would cast them to."""
    return torch.bfloat16 if recipe.precision == "bfloat16" else torch.float32


# --- failures ----------------------------------------------------------------------------


def _finite(total: Tensor) -> float:
    value = float(total)
    if not math.isfinite(value):
        raise TrainingFailed(Outcome.NAN, f"the loss must be finite, got {value}")
    return value


#: Messages of allocators other than CUDA's.
_NO_MEMORY = ("can't allocate", "not enough memory", "could not create a memory")


@contextlib.contextmanager
def failures_named() -> Iterator[None]:
    """Convert exceptions of a step, or of building a network, to TrainingFailed."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise TrainingFailed(Outcome.OOM, _first_line(error)) from error
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        if device_is_lost(error):
            raise
        no_memory = any(words in str(error) for words in _NO_MEMORY)
        cause = Outcome.OOM if no_memory else Outcome.INVALID_GRAPH
        raise TrainingFailed(cause, _first_line(error)) from error


def free_memory() -> None:
    """Free the memory of the last network; no reference to it may be left, not even in an exception."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def device_is_lost(error: Exception) -> bool:
    """Decide whether a CUDA error has broken the whole process, so that only a new one helps."""
    accelerator_error = getattr(torch, "AcceleratorError", ())
    return isinstance(error, accelerator_error) or str(error).startswith("CUDA error")


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or ["out of memory"]
    return f"{type(error).__name__}: {lines[0]}"[:300]
