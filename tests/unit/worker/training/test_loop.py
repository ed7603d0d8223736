"""The training loop: bits, curve, causes of failure, and the batches that it makes."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from llmatic_daemon.domain import Outcome
from llmatic_daemon.worker.training import loop
from llmatic_daemon.worker.training.datasets import DataSet, Split
from llmatic_daemon.worker.training.loop import Deadline, TrainingFailed, TrainingResult, TrainingRun
from llmatic_daemon.worker.training.recipes import Recipe

CPU = torch.device("cpu")
RECIPE = Recipe(epochs=3, batch_size=8, learning_rate=0.05)


def _split(count: int, seed: int) -> Split:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    images = torch.randn((count, 6, 6, 3), generator=generator)
    images += 2 * nn.functional.one_hot(labels, 3)[:, None, None]  # a class has its own colour
    return Split(images=images, labels=labels)


def _data(num_train: int = 64, num_validation: int = 30) -> DataSet:
    return DataSet(
        name="made up",
        num_classes=3,
        train=_split(num_train, 0),
        validation=_split(num_validation, 1),
        test=_split(40, 2),
    )


def _network(*more: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2), *more)
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 3))
    return network.to(memory_format=torch.channels_last)


def _train(
    network: nn.Module,
    recipe: Recipe = RECIPE,
    data: DataSet | None = None,
    *,
    seed: int = 0,
    timeout_s: float = 60.0,
) -> TrainingResult:
    run = TrainingRun(network, data or _data(), recipe, seed=seed, timeout_s=timeout_s)
    list(run.epochs())
    return run.result()


@pytest.mark.parametrize("augmentation", ["none", "shift-flip"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_same_seed_gives_the_same_bits(augmentation, precision):
    recipe = replace(RECIPE, augmentation=augmentation, precision=precision)
    one, same, other = _network(), _network(), _network()

    results = [_train(one, recipe), _train(same, recipe), _train(other, recipe, seed=1)]

    assert results[0] == results[1] != results[2]
    for name, value in one.state_dict().items():
        assert torch.equal(value, same.state_dict()[name])


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one-cycle"])
def test_training_learns_and_reports_each_epoch(schedule):
    recipe = replace(RECIPE, epochs=12, schedule=schedule, nesterov=True, weight_decay=1e-4)

    result = _train(_network(), recipe)

    assert [epoch.number for epoch in result.curve] == list(range(1, 13))
    assert result.curve[-1].train_loss < 0.7 * result.curve[0].train_loss
    assert result.objective == result.curve[-1].accuracy > 0.5
    assert result.test_accuracy > 0.5
    assert result.test_loss < 1.0


def test_no_epochs_measure_the_untrained_network():
    network = _network()
    before = {name: value.clone() for name, value in network.state_dict().items()}

    result = _train(network, replace(RECIPE, epochs=0))

    assert result.curve == ()
    assert 0 <= result.objective <= 1
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_the_test_split_selects_where_nothing_is_held_out():
    result = _train(_network(), data=_data(num_validation=0))

    assert result.objective == result.test_accuracy


def test_a_last_batch_of_one_is_left_out():
    seen = []

    class Looks(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training:
                seen.append(len(x))
            return x

    _train(_network(Looks()), replace(RECIPE, epochs=1), _data(num_train=17))

    assert seen == [8, 8]


def test_measuring_is_done_in_evaluation_mode():
    network = _network()
    split = _split(40, 2)
    network.eval()
    expected = (network(split.images.permute(0, 3, 1, 2)).argmax(1) == split.labels).float().mean()

    network.train()
    accuracy, _ = loop.measure(network, split, RECIPE, Deadline(60), 16)

    assert accuracy == pytest.approx(float(expected))


def test_images_are_channels_last_without_a_copy():
    strides = []

    class Looks(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            strides.append(x.is_contiguous(memory_format=torch.channels_last))
            return x

    _train(nn.Sequential(Looks(), _network()), replace(RECIPE, epochs=1))

    assert all(strides)


# --- augmentation ---------------------------------------------------------------------------------


def test_a_shifted_image_is_the_image_moved_with_its_border_repeated():
    images = torch.arange(16 * 16.0).reshape(1, 16, 16, 1).repeat(50, 1, 1, 1)
    generator = torch.Generator().manual_seed(0)

    moved = loop.shifted(images, torch.arange(50), False, generator)

    steps = {(int(m[8, 8, 0]) - (8 * 16 + 8)) for m in moved}
    assert steps <= {16 * y + x for y in range(-2, 3) for x in range(-2, 3)}
    assert len(steps) > 10


def test_about_half_of_the_images_are_mirrored():
    images = torch.arange(4.0).reshape(1, 1, 4, 1).repeat(200, 1, 1, 1)  # too small to be moved
    generator = torch.Generator().manual_seed(0)

    moved = loop.shifted(images, torch.arange(200), True, generator)

    mirrored = int((moved[:, 0, 0, 0] == 3).sum())
    assert 70 < mirrored < 130
    assert int((moved[:, 0, 0, 0] == 0).sum()) == 200 - mirrored


# --- causes of failure ----------------------------------------------------------------------------


def _cause(network: nn.Module, recipe: Recipe = RECIPE, **more: float) -> Outcome:
    with pytest.raises(TrainingFailed) as caught:
        _train(network, recipe, **more)
    assert "\n" not in caught.value.detail
    assert caught.value.detail
    return caught.value.cause


class Raises(nn.Module):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise self.error


def test_the_time_limit_is_a_cause():
    assert _cause(_network(), timeout_s=0.0) is Outcome.TIMEOUT


def test_a_loss_that_explodes_is_a_cause():
    assert _cause(_network(), replace(RECIPE, learning_rate=1e30)) is Outcome.NAN


def test_a_measured_loss_that_is_not_finite_is_a_cause():
    class OnlyWhenMeasured(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if self.training else x * float("inf")

    assert _cause(_network(OnlyWhenMeasured())) is Outcome.NAN


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB\nmore"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_too_little_memory_is_a_cause(error):
    assert _cause(_network(Raises(error))) is Outcome.OOM


def test_a_real_allocation_beyond_all_memory_is_a_cause():
    class Greedy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.empty(1 << 50)

    assert _cause(_network(Greedy())) is Outcome.OOM


def test_a_step_that_raises_is_the_graphs_fault():
    assert _cause(_network(nn.Linear(7, 7))) is Outcome.INVALID_GRAPH


def test_a_lost_device_is_nobodys_fault_but_the_worlds():
    with pytest.raises(RuntimeError, match="CUDA error"):
        _train(_network(Raises(RuntimeError("CUDA error: an illegal memory access"))))


def test_an_operation_without_bfloat16_is_trained_in_float32():
    class OnlyFloat32(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.dtype is not torch.float32:
                raise RuntimeError("expected scalar type Float but found BFloat16")
            return x

    result = _train(_network(OnlyFloat32()), replace(RECIPE, precision="bfloat16"))

    assert len(result.curve) == 3


@pytest.mark.gpu
def test_training_on_a_gpu_learns():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    device = torch.device("cuda")
    recipe = replace(RECIPE, epochs=12, precision="bfloat16", augmentation="shift-flip", schedule="one-cycle")
    data = _data().resident(device, loop.image_dtype(recipe))

    result = _train(_network().to(device), recipe, data)
    loop.free_memory()

    assert result.objective > 0.5
