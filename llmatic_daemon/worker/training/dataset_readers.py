"""Readers of data sets: from files to plain arrays."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from llmatic_daemon.domain.errors import ConfigurationError
from llmatic_daemon.domain.plugins import DATA_SETS

Array = npt.NDArray[np.generic]
Labels = npt.NDArray[np.int64]


class DataError(Exception):
    """A data set cannot be used as requested; the text is one line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Name, folder and split of a data set: settings `data.*`."""

    name: str
    folder: str | None = None
    #: Of all splits; the same seed gives the same images in every trainer.
    seed: int = 0
    #: Share of the training images that is held out to select by; 0: the test split selects.
    validation_ratio: float = 0.1
    #: "test": nothing is held out, whatever `validation_ratio` says.
    fitness_split: str = "validation"
    #: Training images that are used, in addition to those held out; 0: all.
    num_train: int = 0
    #: Share that is held out for testing if a data set has no test split.
    test_ratio: float = 0.2
    #: Height and width to which an image folder is resized.
    image_size: int = 32
    #: Whether torchvision downloads missing files.
    download: bool = False

    def __post_init__(self) -> None:
        """Reject what no data set allows."""
        if not 0 <= self.validation_ratio < 1:
            raise DataError(f"validation_ratio must be in [0, 1), got {self.validation_ratio}")
        if not 0 < self.test_ratio < 1:
            raise DataError(f"test_ratio must be above 0 and below 1, got {self.test_ratio}")
        if self.num_train < 0 or self.num_train == 1:
            raise DataError(f"num_train must be at least 2, got {self.num_train}")
        if self.image_size < 1:
            raise DataError(f"image_size must be at least 1, got {self.image_size}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Raw:
    """Result of a reader: images (n, height, width, channels) of any number type."""

    num_classes: int
    images: Array
    labels: Labels
    #: None if the data set has no test split.
    test: tuple[Array, Labels] | None


def read(source: Source) -> Raw:
    """Read the files of a data set, and check its labels.

    Raises:
        DataError: no package offers it, a plugin fails, or files are missing or of a wrong shape.
    """
    try:
        raw = DATA_SETS.load(source.name)(source)
    except ConfigurationError as error:
        raise DataError(str(error)) from error
    except DataError:
        raise
    except Exception as error:  # broken files, or the code of a plugin
        raise DataError(f"data set {source.name!r} cannot be read: {_one_line(error)}") from error
    if not isinstance(raw, Raw):
        raise DataError(f"the reader of data set {source.name!r} must return a Raw, got {type(raw).__name__}")
    _check_labels(raw, source)
    return raw


def read_digits(_: Source) -> Raw:
    """Read scikit-learn's 1,797 scans of digits, 8 x 8."""
    from sklearn.datasets import load_digits  # a second, and only for this data set

    digits = load_digits()
    images = digits.images.astype(np.uint8)[..., None]
    return Raw(num_classes=10, images=images, labels=digits.target.astype(np.int64), test=None)


def read_cifar10(source: Source) -> Raw:
    """Read CIFAR-10 from its official binary files, or as torchvision stores it."""
    folder = _folder(source, must_exist=not source.download)
    for place in (folder, folder / "cifar-10-batches-bin"):
        if batches := sorted(place.glob("data_batch_*.bin")):
            test = _records(place / "test_batch.bin", num_labels=1)
            return _arrays(10, _joined([_records(path, num_labels=1) for path in batches]), test)
    return _torchvision("CIFAR10", 10, source, "data_batch_1.bin to test_batch.bin")


def read_cifar100(source: Source) -> Raw:
    """Read CIFAR-100 from its official binary files, or as torchvision stores it."""
    folder = _folder(source, must_exist=not source.download)
    for place in (folder, folder / "cifar-100-binary"):
        if (place / "train.bin").exists():
            train = _records(place / "train.bin", num_labels=2)
            return _arrays(100, train, _records(place / "test.bin", num_labels=2))
    return _torchvision("CIFAR100", 100, source, "train.bin and test.bin")


def read_fashion_mnist(source: Source) -> Raw:
    """Read Fashion-MNIST as torchvision stores it."""
    return _torchvision("FashionMNIST", 10, source, "FashionMNIST/raw/train-images-idx3-ubyte")


def _records(path: Path, num_labels: int) -> tuple[Array, Labels]:
    """Read one official binary file: label bytes (the last is the fine one), then 3072 pixels."""
    if not path.exists():
        raise DataError(f"{path} must lie beside the other binary files, and is missing")
    content = np.fromfile(path, np.uint8)
    size = num_labels + 3072
    if not len(content) or len(content) % size:
        raise DataError(f"{path} must hold records of {size} bytes, got {len(content)} bytes")
    records = content.reshape(-1, size)
    images = records[:, num_labels:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return images, records[:, num_labels - 1].astype(np.int64)


def _joined(parts: list[tuple[Array, Labels]]) -> tuple[Array, Labels]:
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def _arrays(num_classes: int, train: tuple[Array, Labels], test: tuple[Array, Labels]) -> Raw:
    return Raw(num_classes=num_classes, images=train[0], labels=train[1], test=test)


def _torchvision(class_name: str, num_classes: int, source: Source, files: str) -> Raw:
    from torchvision import datasets

    folder = _folder(source, must_exist=not source.download)

    def read(train: bool) -> tuple[Array, Labels]:
        try:
            found = getattr(datasets, class_name)(folder, train=train, download=source.download)
        except RuntimeError as error:  # torchvision raises it for missing and for corrupted files
            raise DataError(
                f"{source.name} must be in {folder} ({files}, or what torchvision downloads), "
                "and is missing or corrupted; set download = true to fetch it"
            ) from error
        images = np.asarray(found.data)
        images = images if images.ndim == 4 else images[..., None]
        return images, np.asarray(found.targets, np.int64)

    return _arrays(num_classes, read(True), read(False))


def read_image_folder(source: Source) -> Raw:
    """Read train/ and test/ (or val/), each with one folder of pictures a class."""
    folder = _folder(source)
    tests = [folder / name for name in ("test", "val") if (folder / name).is_dir()]
    if not (folder / "train").is_dir() or not tests:
        raise DataError(
            f"an image folder must hold train/ and test/ (or val/), each with one folder for "
            f"each class, and {folder} does not"
        )
    classes, images, labels = _classes_in(folder / "train", source.image_size)
    test_classes, test_images, test_labels = _classes_in(tests[0], source.image_size)
    if test_classes != classes:
        odd = sorted(set(classes) ^ set(test_classes))
        raise DataError(f"{tests[0]} must hold the classes of train/, and they differ in {odd}")
    return _arrays(len(classes), (images, labels), (test_images, test_labels))


def _classes_in(folder: Path, image_size: int) -> tuple[list[str], Array, Labels]:
    """Read all images below a folder, shorter side resized and the middle cut out."""
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    fit = v2.Compose([v2.PILToTensor(), v2.Resize(image_size, antialias=True), v2.CenterCrop(image_size)])
    found = ImageFolder(str(folder), transform=fit)

    def pixels(number: int) -> Array:
        return np.asarray(found[number][0].permute(1, 2, 0).numpy())

    with ThreadPoolExecutor() as pool:  # decoding releases the interpreter lock
        images = np.stack(list(pool.map(pixels, range(len(found)))))
    return found.classes, images, np.asarray(found.targets, np.int64)


def read_npz(source: Source) -> Raw:
    """Read named arrays: x_train, y_train, x_test, y_test, or images and labels."""
    path = _folder(source)
    path = path if path.is_file() else path / "data.npz"
    if not path.is_file():
        raise DataError(f"an npz data set must be a file, or data.npz in a folder, not {path}")
    with path.open("rb") as file:  # numpy does not close a file that is no archive
        content = np.load(file, allow_pickle=False)
        if not isinstance(content, np.lib.npyio.NpzFile):
            raise DataError(f"{path} must be an .npz file of named arrays, and is a single array")
        train, test = _named_arrays(content, path)
    num_classes = int(train[1].max(initial=0)) + 1
    return Raw(num_classes=num_classes, images=train[0], labels=train[1], test=test)


def _named_arrays(
    content: np.lib.npyio.NpzFile, path: Path
) -> tuple[tuple[Array, Labels], tuple[Array, Labels] | None]:
    """Find the training images, and the test images where there are some."""
    if {"x_train", "y_train", "x_test", "y_test"} <= set(content):
        train = _checked(content["x_train"], content["y_train"], path)
        return train, _checked(content["x_test"], content["y_test"], path)
    if {"images", "labels"} <= set(content):
        return _checked(content["images"], content["labels"], path), None
    raise DataError(
        f"{path} must hold x_train, y_train, x_test, y_test, or images and labels; "
        f"it holds {', '.join(content) or 'nothing'}"
    )


def _checked(images: Array, labels: Array, path: Path) -> tuple[Array, Labels]:
    """Check a pair of arrays; grey images get their channel."""
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3, 4):
        raise DataError(
            f"{path}: images must be (n, height, width) or (n, height, width, channels) with 1, 3 "
            f"or 4 channels, got {images.shape}"
        )
    labels = labels.reshape(-1) if labels.shape == (len(images), 1) else labels
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise DataError(
            f"{path}: labels must be {len(images)} whole numbers, one for each image, "
            f"got {labels.dtype} of shape {labels.shape}"
        )
    if images.dtype.kind not in "uif" or not np.isfinite(images).all():
        raise DataError(f"{path}: images must be finite numbers, got {images.dtype}")
    return images, labels.astype(np.int64)


def _folder(source: Source, *, must_exist: bool = True) -> Path:
    if source.folder is None:
        raise DataError(f"data set {source.name!r} needs a folder, and none is set")
    folder = Path(source.folder).expanduser()
    if must_exist and not folder.exists():
        raise DataError(
            f"the folder of data set {source.name!r} does not exist: {folder}; "
            "name another as data.folder, or set data.download = true where it can be fetched"
        )
    return folder


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _check_labels(raw: Raw, source: Source) -> None:
    for labels in [raw.labels, *([raw.test[1]] if raw.test else [])]:
        if len(labels) and not 0 <= labels.min() <= labels.max() < raw.num_classes:
            raise DataError(
                f"labels of {source.name!r} must be from 0 to {raw.num_classes - 1}, "
                f"got {labels.min()} to {labels.max()}"
            )
