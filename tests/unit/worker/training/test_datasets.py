"""Data sets: every reader on small files, the splits, and what a person is told."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from llmatic_daemon.worker.training.datasets import DataError, DataSet, Source, load, stratified
from tests.support.paths import ROOT


def _cifar_records(folder: Path, name: str, labels: list[int], *, label_bytes: int = 1) -> np.ndarray:
    rng = np.random.default_rng(len(labels))
    records = rng.integers(0, 256, (len(labels), label_bytes + 3072), dtype=np.uint8)
    records[:, 0] = 0
    records[:, label_bytes - 1] = labels
    records.tofile(folder / name)
    return records[:, label_bytes:].reshape(-1, 3, 32, 32)


def _images_of(data: DataSet) -> list[set[bytes]]:
    splits = (data.train, data.validation, data.test)
    return [{image.numpy().tobytes() for image in split.images} for split in splits]


def _flipped(content: bytes) -> bytes:
    """Damage the first array's bytes."""
    return content[:60] + bytes([content[60] ^ 255]) + content[61:]


def _npz(path: Path, **arrays: np.ndarray) -> str:
    np.savez(path / "data.npz", **arrays)
    return str(path / "data.npz")


def _numbered(count: int, num_classes: int) -> dict[str, np.ndarray]:
    """Images that all differ, and labels in turn."""
    images = np.zeros((count, 4, 4), np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.arange(count) % 256, np.arange(count) // 256
    return {"images": images, "labels": np.arange(count) % num_classes}


# --- readers --------------------------------------------------------------------------------------


def test_digits_are_read_and_split():
    data = load(Source(name="digits", validation_ratio=0.1))

    assert data.input_shape == (1, 8, 8)
    assert data.num_classes == 10
    assert (len(data.train), len(data.validation), len(data.test)) == (1294, 144, 359)


@pytest.mark.parametrize("below", ["", "cifar-10-batches-bin"])
def test_cifar10_reads_the_official_binary_files(tmp_path, below):
    folder = tmp_path / below
    folder.mkdir(exist_ok=True)
    first = _cifar_records(folder, "data_batch_1.bin", [6, 9])
    _cifar_records(folder, "data_batch_2.bin", [1, 4, 4])
    _cifar_records(folder, "test_batch.bin", [3])

    data = load(Source(name="cifar10", folder=str(tmp_path), validation_ratio=0))

    assert data.train.labels.tolist() == [6, 9, 1, 4, 4]
    assert data.test.labels.tolist() == [3]
    assert np.array_equal(data.train.images[0].permute(2, 0, 1).numpy(), first[0])
    assert data.num_classes == 10


def test_cifar100_takes_the_fine_label_of_the_binary_files(tmp_path):
    _cifar_records(tmp_path, "train.bin", [99, 7, 7], label_bytes=2)
    _cifar_records(tmp_path, "test.bin", [5], label_bytes=2)

    data = load(Source(name="cifar100", folder=str(tmp_path), validation_ratio=0))

    assert data.train.labels.tolist() == [99, 7, 7]
    assert data.num_classes == 100


def _idx(path: Path, values: np.ndarray) -> None:
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    path.write_bytes(bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes())


def test_fashion_mnist_is_read_by_torchvision(tmp_path):
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 4), ("t10k", 2)):
        _idx(raw / f"{part}-images-idx3-ubyte", np.full((count, 28, 28), 7, np.uint8))
        _idx(raw / f"{part}-labels-idx1-ubyte", np.arange(count, dtype=np.uint8))

    data = load(Source(name="fashion-mnist", folder=str(tmp_path), validation_ratio=0))

    assert data.input_shape == (1, 28, 28)
    assert data.train.labels.tolist() == [0, 1, 2, 3]
    assert len(data.test) == 2


@pytest.mark.parametrize("test_name", ["test", "val"])
def test_image_folder_is_resized_and_cut(tmp_path, test_name):
    for split, size in (("train", (40, 20)), (test_name, (16, 16))):
        for label, colour in (("cat", (255, 0, 0)), ("dog", (0, 0, 255))):
            folder = tmp_path / split / label
            folder.mkdir(parents=True)
            for number in range(2):
                Image.new("RGB", size, colour).save(folder / f"{number}.png")

    source = Source(name="image-folder", folder=str(tmp_path), validation_ratio=0, image_size=8)
    data = load(source)

    assert data.input_shape == (3, 8, 8)
    assert data.train.labels.tolist() == [0, 0, 1, 1]
    assert data.test.images[data.test.labels == 1][0, 4, 4].tolist() == [0, 0, 255]


def test_npz_reads_both_splits(tmp_path):
    images = np.linspace(0, 1, 4 * 5 * 6 * 3, dtype=np.float64).reshape(4, 5, 6, 3)
    labels = np.array([[0], [1], [2], [1]])
    path = _npz(tmp_path, x_train=images, y_train=labels, x_test=images[:2], y_test=labels[:2])

    data = load(Source(name="npz", folder=path, validation_ratio=0))

    assert data.input_shape == (3, 5, 6)
    assert data.train.labels.tolist() == [0, 1, 2, 1]
    assert data.num_classes == 3


def test_measured_images_are_mixed_where_files_are_sorted_by_class(tmp_path):
    labels = np.repeat(np.arange(4), 50)
    images = np.broadcast_to(labels[:, None, None], (200, 4, 4)).astype(np.uint8)
    path = _npz(tmp_path, x_train=images, y_train=labels, x_test=images, y_test=labels)

    data = load(Source(name="npz", folder=path, validation_ratio=0.5))

    for split in (data.validation, data.test):
        assert all(len(batch.unique()) == 4 for batch in split.labels.split(25))
        assert torch.equal(split.images[:, 0, 0, 0].long(), split.labels), "each has its label still"


def test_npz_without_test_images_holds_some_out(tmp_path):
    path = _npz(tmp_path, **_numbered(50, 5))

    data = load(Source(name="npz", folder=path, validation_ratio=0, test_ratio=0.2))

    assert (len(data.train), len(data.test)) == (40, 10)
    assert data.test.labels.bincount().tolist() == [2, 2, 2, 2, 2]


def test_the_real_cifar10_begins_with_a_frog(real_cifar10):
    data = load(Source(name="cifar10", folder=str(real_cifar10), validation_ratio=0))

    assert data.train.labels[:5].tolist() == [6, 9, 9, 4, 1]
    assert data.test.labels.bincount().tolist() == [1000] * 10


@pytest.fixture
def real_cifar10(tmp_path):
    packed = ROOT.parent / "shared" / "data" / "cifar10" / "data_batch_1.npz"
    if not packed.exists():
        pytest.skip("the real CIFAR-10 does not lie beside the project")
    for name in ("data_batch_1", "test_batch"):
        with np.load(packed.with_name(f"{name}.npz")) as content:
            labels = content["labels"]
        records = np.zeros((len(labels), 3073), np.uint8)
        records[:, 0] = labels
        records.tofile(tmp_path / f"{name}.bin")
    return tmp_path


# --- splits ---------------------------------------------------------------------------------------


def test_splits_are_disjoint_and_complete(tmp_path):
    path = _npz(tmp_path, **_numbered(500, 7))

    train, validation, test = _images_of(load(Source(name="npz", folder=path)))

    assert (len(train), len(validation), len(test)) == (360, 40, 100)
    assert len(train | validation | test) == 500


def test_splits_keep_the_share_of_each_class(tmp_path):
    arrays = _numbered(400, 2)
    arrays["labels"] = np.repeat([0, 1, 2], [300, 80, 20])
    path = _npz(tmp_path, **arrays)

    data = load(Source(name="npz", folder=path, test_ratio=0.25, validation_ratio=0.2))

    assert data.test.labels.bincount().tolist() == [75, 20, 5]
    assert data.validation.labels.bincount().tolist() == [45, 12, 3]


def test_splits_follow_the_seed(tmp_path):
    path = _npz(tmp_path, **_numbered(300, 3))

    one, same, other = (_images_of(load(Source(name="npz", folder=path, seed=seed))) for seed in (1, 1, 2))

    assert one == same
    assert one != other


def test_a_subset_keeps_classes_and_the_validation_ratio(tmp_path):
    path = _npz(tmp_path, **_numbered(1000, 4))

    data = load(Source(name="npz", folder=path, num_train=180, validation_ratio=0.1))

    assert (len(data.train), len(data.validation), len(data.test)) == (180, 20, 200)
    assert data.train.labels.bincount().tolist() == [45] * 4


def test_the_test_split_selects_where_nothing_is_held_out(tmp_path):
    path = _npz(tmp_path, **_numbered(40, 2))

    data = load(Source(name="npz", folder=path, validation_ratio=0))

    assert data.selecting is data.test


def test_stratified_draws_within_one_image_of_each_share():
    labels = np.repeat(np.arange(5), [1, 2, 30, 7, 60]).astype(np.int64)

    drawn, rest = stratified(labels, 33, np.random.default_rng(0))

    shares = np.bincount(labels) * 0.33
    assert np.all(np.abs(np.bincount(labels[drawn], minlength=5) - shares) <= 1)
    assert sorted([*drawn, *rest]) == list(range(100))


def test_resident_images_are_normalised_by_the_training_images(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, 4, 4, 3), dtype=np.uint8)
    images[..., 2] = 9  # a constant channel
    path = _npz(tmp_path, images=images, labels=np.arange(60) % 2)

    data = load(Source(name="npz", folder=path)).resident(torch.device("cpu"), torch.float32)

    flat = data.train.images.flatten(0, 2)
    assert torch.allclose(flat.mean(0), torch.zeros(3), atol=1e-5)
    assert torch.allclose(flat.std(0, correction=0), torch.tensor([1.0, 1.0, 0.0]), atol=1e-5)


# --- what a person is told ------------------------------------------------------------------------


def test_an_unknown_name_is_told_the_nearest():
    with pytest.raises(DataError, match=r"'cifar-10' is offered by none; did you mean 'cifar10'"):
        load(Source(name="cifar-10"))


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "fashion-mnist", "image-folder", "npz"])
def test_a_missing_folder_is_named(name, tmp_path):
    with pytest.raises(DataError, match=r"does not exist: .*/nowhere"):
        load(Source(name=name, folder=str(tmp_path / "nowhere")))
    with pytest.raises(DataError, match="needs a folder"):
        load(Source(name=name))


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "fashion-mnist", "image-folder", "npz"])
def test_an_empty_folder_is_told_what_must_be_there(name, tmp_path):
    with pytest.raises(DataError, match=r"must (be|hold)"):
        load(Source(name=name, folder=str(tmp_path)))


def test_a_cut_binary_file_is_refused(tmp_path):
    _cifar_records(tmp_path, "test_batch.bin", [3])
    (tmp_path / "data_batch_1.bin").write_bytes(b"\0" * 3000)

    with pytest.raises(DataError, match="records of 3073 bytes, got 3000"):
        load(Source(name="cifar10", folder=str(tmp_path)))


def test_a_label_outside_its_range_is_refused(tmp_path):
    _cifar_records(tmp_path, "data_batch_1.bin", [1, 2, 10])
    _cifar_records(tmp_path, "test_batch.bin", [3])

    with pytest.raises(DataError, match="labels of 'cifar10' must be from 0 to 9, got 1 to 10"):
        load(Source(name="cifar10", folder=str(tmp_path)))


def test_a_broken_picture_is_named(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split / "cat").mkdir(parents=True)
        (tmp_path / split / "cat" / "0.png").write_bytes(b"no picture")

    with pytest.raises(DataError, match=r"'image-folder' cannot be read: .*0\.png"):
        load(Source(name="image-folder", folder=str(tmp_path)))


def test_classes_of_an_image_folder_must_agree(tmp_path):
    for split, label in (("train", "cat"), ("train", "dog"), ("test", "cat"), ("test", "cow")):
        (tmp_path / split / label).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / split / label / "0.png")

    with pytest.raises(DataError, match=r"differ in \['cow', 'dog'\]"):
        load(Source(name="image-folder", folder=str(tmp_path)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((40, 4, 4, 2), np.uint8)}, "1, 3 or 4 channels"),
        ({"images": np.full((40, 4, 4), np.nan)}, "must be finite numbers"),
        ({"images": np.full((40, 4, 4), "x")}, "must be finite numbers"),
        ({"labels": np.zeros(39, np.int64)}, "labels must be 40 whole numbers"),
        ({"labels": np.zeros(40)}, "labels must be 40 whole numbers"),
        ({"labels": np.full(40, -1)}, "must be from 0"),
        ({"labels": np.zeros(40, np.int64)}, "must have 2 classes"),
        ({"images": np.array([{}] * 40, dtype=object)}, "cannot be read"),
    ],
)
def test_an_npz_that_cannot_be_used_says_why(tmp_path, change, message):
    path = _npz(tmp_path, **{**_numbered(40, 2), **change})

    with pytest.raises(DataError, match=message):
        load(Source(name="npz", folder=path))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b[: len(b) // 2], _flipped])
def test_a_damaged_npz_is_told_in_one_line(tmp_path, damage, compressed):
    path = tmp_path / "data.npz"
    (np.savez_compressed if compressed else np.savez)(path, **_numbered(40, 2))
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(DataError, match="cannot be read"):
        load(Source(name="npz", folder=str(path)))


def test_a_single_array_is_no_npz(tmp_path):
    np.save(tmp_path / "data.npy", np.zeros((40, 4, 4)))

    with pytest.raises(DataError, match="named arrays"):
        load(Source(name="npz", folder=str(tmp_path / "data.npy")))


def test_test_images_of_another_shape_are_refused(tmp_path):
    train, test = np.zeros((9, 4, 4), np.uint8), np.zeros((9, 4, 5), np.uint8)
    labels = np.arange(9) % 2
    path = _npz(tmp_path, x_train=train, y_train=labels, x_test=test, y_test=labels)

    with pytest.raises(DataError, match="must have the shape of the training images"):
        load(Source(name="npz", folder=path))


def test_a_subset_that_is_too_large_says_what_fits(tmp_path):
    path = _npz(tmp_path, **_numbered(100, 2))

    with pytest.raises(DataError, match="got 79; at most 72 fit"):
        load(Source(name="npz", folder=path, num_train=79))


@pytest.mark.parametrize(
    "wrong", [{"validation_ratio": 1.0}, {"test_ratio": 0.0}, {"num_train": 1}, {"image_size": 0}]
)
def test_a_source_that_no_data_set_can_serve_is_refused(wrong):
    with pytest.raises(DataError, match=next(iter(wrong))):
        Source(name="digits", **wrong)
