"""Data sets: split, normalised and resident on a device."""

from dataclasses import dataclass, field, replace

import numpy as np
import torch

from llmatic_daemon.worker.training.dataset_readers import Array, DataError, Labels, Raw, Source, read

__all__ = ["DataError", "DataSet", "Source", "Split", "load", "stratified"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Images and their labels, resident on one device."""

    #: (n, height, width, channels): a batch, permuted, is channels_last without a copy.
    images: torch.Tensor = field(repr=False)
    #: (n,) int64, in [0, num_classes).
    labels: torch.Tensor = field(repr=False)

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSet:
    """A data set as it is trained on: three disjoint splits."""

    name: str
    num_classes: int
    train: Split
    #: Empty if the test split selects.
    validation: Split
    test: Split
    #: Mean and deviation of each channel of the training images, once the images are normalised.
    normalisation: tuple[tuple[float, float], ...] = ()

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        _, height, width, channels = self.train.images.shape
        return int(channels), int(height), int(width)

    @property
    def selecting(self) -> Split:
        """The split whose accuracy selects."""
        return self.validation if len(self.validation) else self.test

    def resident(self, device: torch.device, dtype: torch.dtype) -> "DataSet":
        """Normalise by the training images' channel mean and deviation, and move to a device.

        Args:
            device: Where the tensors stay.
            dtype: Type of the images; torch.bfloat16 needs half the memory and no cast by autocast.
        """
        mean, deviation = _channel_statistics(self.train.images)

        def move(split: Split) -> Split:
            images = torch.empty(split.images.shape, device=device, dtype=dtype)
            for start in range(0, len(split), _CHUNK):
                chunk = split.images[start : start + _CHUNK].to(torch.float32)
                images[start : start + _CHUNK] = (chunk - mean).div_(deviation).to(device)
            return Split(images=images, labels=split.labels.to(device))

        return replace(
            self,
            train=move(self.train),
            validation=move(self.validation),
            test=move(self.test),
            normalisation=tuple(zip(mean.tolist(), deviation.tolist(), strict=True)),
        )


def load(source: Source) -> DataSet:
    """Read a data set from its files and split it.

    Raises:
        DataError: it is unknown, missing, of a wrong shape, or too small for its splits.
    """
    return _split(read(source), source)


# --- from arrays to splits ------------------------------------------------------------------------

_CHUNK = 4096


def _split(raw: Raw, source: Source) -> DataSet:
    """Hold out test images if there is no test split, then validation images; then take a subset.

    Images that measure are shuffled: in files sorted by class a batch has one class. A network that mixes
    the images of a batch could find the class from their average.
    """
    rng = np.random.default_rng(source.seed)
    images, labels, test = raw.images, raw.labels, raw.test
    if test is None:
        held, rest = stratified(labels, round(source.test_ratio * len(labels)), rng)
        test = images[held], labels[held]
        images, labels = images[rest], labels[rest]
    num_train, num_validation = _sizes(len(labels), source)
    held, rest = stratified(labels, num_validation, rng)
    used = rest[stratified(labels[rest], num_train, rng)[0]]
    shuffled = rng.permutation(len(test[1]))
    data = DataSet(
        name=source.name,
        num_classes=raw.num_classes,
        train=_tensors(images[used], labels[used]),
        validation=_tensors(*_picked(images, labels, rng.permutation(held))),
        test=_tensors(*_picked(*test, shuffled)),
    )
    return _usable(data)


def _picked(images: Array, labels: Labels, chosen: Labels) -> tuple[Array, Labels]:
    return images[chosen], labels[chosen]


def stratified(labels: Labels, count: int, rng: np.random.Generator) -> tuple[Labels, Labels]:
    """Draw positions so that each class keeps its ratio, within one image.

    Returns:
        The `count` positions drawn, and all others, each sorted.
    """
    shuffled = rng.permutation(len(labels))
    grouped = shuffled[np.argsort(labels[shuffled], kind="stable")]
    sizes = np.bincount(labels)
    ranks = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    quantiles = (ranks + np.repeat(rng.random(len(sizes)), sizes)) / np.repeat(sizes, sizes)
    order = grouped[np.argsort(quantiles, kind="stable")]
    return np.sort(order[:count]), np.sort(order[count:])


def _sizes(available: int, source: Source) -> tuple[int, int]:
    """Return the numbers of training and validation images; a subset keeps their ratio."""
    ratio = source.validation_ratio if source.fitness_split == "validation" else 0.0
    if not source.num_train:
        num_validation = round(ratio * available)
        return available - num_validation, num_validation
    num_validation = round(source.num_train * ratio / (1 - ratio))
    if source.num_train + num_validation > available:
        raise DataError(
            f"num_train must leave {ratio:.0%} of {available} images for validation, "
            f"got {source.num_train}; at most {int(available * (1 - ratio))} fit"
        )
    return source.num_train, num_validation


def _usable(data: DataSet) -> DataSet:
    if len(data.train) < 2 or not len(data.test) or data.num_classes < 2:
        raise DataError(
            f"data set {data.name!r} must have 2 classes, 2 training images and 1 test image, got "
            f"{data.num_classes} classes, {len(data.train)} and {len(data.test)} images"
        )
    if data.test.images.shape[1:] != data.train.images.shape[1:]:
        raise DataError(
            f"test images of {data.name!r} must have the shape of the training images, "
            f"got {tuple(data.test.images.shape[1:])} and {tuple(data.train.images.shape[1:])}"
        )
    return data


def _tensors(images: Array, labels: Labels) -> Split:
    kept = images if images.dtype == np.uint8 else images.astype(np.float32)
    return Split(
        images=torch.from_numpy(np.ascontiguousarray(kept)),
        labels=torch.from_numpy(np.ascontiguousarray(labels)),
    )


def _channel_statistics(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and deviation of each channel, in float64; a constant channel gets deviation 1."""
    total = torch.zeros(images.shape[-1], dtype=torch.float64)
    squares = torch.zeros_like(total)
    for start in range(0, len(images), _CHUNK):
        values = images[start : start + _CHUNK].to(torch.float64).flatten(0, 2)
        total += values.sum(0)
        squares += values.square().sum(0)
    count = images.numel() // images.shape[-1]
    mean = total / count
    deviation = (squares / count - mean.square()).clamp_min(0).sqrt()
    return mean.float(), deviation.where(deviation > 1e-6 * (mean.abs() + 1e-12), 1.0).float()
