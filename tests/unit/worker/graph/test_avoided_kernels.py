"""Kernels of torch that are wrong on some processors are not run, and nothing else changes."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import nn

from llmatic_daemon.worker.graph import avoided_kernels, operations
from llmatic_daemon.worker.graph.avoided_kernels import AVOIDED, AvoidingMode
from llmatic_daemon.worker.graph.serialization import loads
from tests.support.trainer import lifted_network

LEVELS = ("AVX2", "DEFAULT")
#: glibc's checking malloc, which ends the process at the first damaged block; ignored where it is missing.
GUARDS = {"LD_PRELOAD": "libc_malloc_debug.so.0", "MALLOC_CHECK_": "3"}


def trained(
    kind: str, level: str, num_threads: int = 1, channels: Sequence[int] = (3, 12)
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.support.strided_convolutions",
            kind,
            str(num_threads),
            *map(str, channels),
        ],
        env={**os.environ, **GUARDS, "ONEDNN_MAX_CPU_ISA": level},
        capture_output=True,
        text=True,
        check=False,
    )


#: Level, threads, channels. Several threads show what one does not at AVX-512.
EVERYTHING = [(level, threads, tuple(range(1, 17))) for level in LEVELS for threads in (1, 2)]
SAMPLE = [("AVX2", 1, (3, 7)), ("DEFAULT", 2, (3, 15))]


@pytest.mark.parametrize(
    ("level", "num_threads", "channels"),
    [*SAMPLE, *(pytest.param(*each, marks=pytest.mark.exhaustive) for each in EVERYTHING)],
)
def test_strided_1x1_convolutions_write_only_their_own_memory_and_are_right(
    level: str, num_threads: int, channels: tuple[int, ...]
):
    result = trained("avoiding", level, num_threads, channels)

    assert result.returncode == 0, result.stderr
    assert float(result.stdout) == 0.0


@pytest.mark.parametrize(("level", "num_threads"), [("AVX2", 1), ("DEFAULT", 2)])
def test_unprotected_kernel_is_as_wrong_as_the_table_says(level: str, num_threads: int):
    result = trained("plain", level, num_threads)

    if result.returncode == 0:
        pytest.skip("this processor or version of torch does not show the fault")
    assert result.returncode < 0


@pytest.mark.parametrize("level", ["DEFAULT", pytest.param("AVX2", marks=pytest.mark.exhaustive)])
def test_results_and_losses_are_those_of_the_plain_convolution_to_the_bit(level: str):
    result = trained("both", level)

    if result.returncode < 0:
        pytest.skip("the plain convolution kills its process here")
    assert (result.returncode, int(result.stdout)) == (0, 0)


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (2, 1)])
@pytest.mark.parametrize("stride", [2, 3])
def test_gradient_of_a_bfloat16_kernel_that_reads_only_padding_is_zero(shape: tuple[int, int], stride: int):
    weight = torch.randn(8, 8, 3, 3, requires_grad=True)
    images = torch.randn(4, 8, *shape)
    for _ in range(8):  # what memory holds differs
        with AvoidingMode(), torch.autocast("cpu", dtype=torch.bfloat16):
            output = nn.functional.conv2d(images, weight, stride=stride, padding=1)
        (gradient,) = torch.autograd.grad(output.float().sum(), weight)

        exact = weight.detach().double().requires_grad_()
        nn.functional.conv2d(images.double(), exact, stride=stride, padding=1).sum().backward()
        assert torch.allclose(gradient.double(), exact.grad, atol=0.1)  # type: ignore[arg-type]
        assert not gradient[exact.grad == 0].any()  # type: ignore[index]


def test_masked_weights_change_no_bit_of_the_output():
    images, weight = torch.randn(4, 8, 1, 1).bfloat16(), torch.randn(8, 8, 3, 3).bfloat16()
    plain = nn.functional.conv2d(images, weight, stride=2, padding=1)

    with AvoidingMode():
        assert torch.equal(nn.functional.conv2d(images, weight, stride=2, padding=1), plain)


@pytest.mark.parametrize(
    "call",
    [
        lambda x, w: torch.conv2d(x, w, None, 2),
        lambda x, w: torch.conv2d(x, stride=(2, 2), weight=w),
        lambda x, w: nn.functional.conv2d(x, w, stride=2, padding="valid"),
        lambda x, w: torch.ops.aten.conv2d.default(x, w, None, [2, 2]),
        lambda x, w: torch.ops.aten.conv2d(x, w, None, [2, 1]),
    ],
    ids=["positions", "names", "padding in words", "overload", "packet"],
)
def test_mode_reaches_every_way_to_call_a_convolution(call: Callable[..., torch.Tensor]):
    images, weight = torch.randn(2, 3, 8, 8), torch.randn(4, 3, 1, 1, requires_grad=True)

    with AvoidingMode():
        output = call(images, weight)

    assert "Constant" in repr(output.grad_fn.next_functions)  # the padding's gradient
    assert torch.equal(output, call(images, weight))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(16, 4, 1, 2),
        nn.Conv2d(3, 4, 1),
        nn.Conv2d(3, 4, 2, 2),
        nn.Conv2d(4, 4, 1, 2, groups=2),
        nn.Conv2d(3, 4, 1, 2, device="meta"),
    ],
    ids=["16 channels", "no stride", "2x2", "groups", "another device"],
)
def test_other_convolutions_are_called_as_they_are(layer: nn.Conv2d):
    images = torch.zeros(2, layer.in_channels, 8, 8, device=layer.weight.device)

    with AvoidingMode():
        output = layer(images)

    assert "Constant" not in repr(output.grad_fn.next_functions)


def test_every_operation_of_the_table_exists():
    for kernel in AVOIDED:
        for name in kernel.operations:
            base, _, overload = name.partition(".")
            assert overload in getattr(torch.ops.aten, base).overloads()


@pytest.mark.parametrize(
    ("layer", "may_run"),
    [
        ("nn.Conv2d(1, 8, 1, 2)", True),
        ("nn.Conv2d(1, 16, 3), nn.Conv2d(16, 8, 1, 2)", False),
        ("nn.Conv2d(1, 8, 1)", False),
        ("nn.Conv2d(1, 8, 3, 2)", False),
        ("nn.ConvTranspose2d(1, 8, 1, 2)", True),
        ("nn.Linear(8, 8)", False),
    ],
)
def test_graph_that_may_run_such_a_kernel_is_known(layer: str, may_run: bool):
    network = lifted_network(f"{layer}, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(10)")

    assert avoided_kernels.may_be_run_by(loads(network.graph)) == may_run


def test_other_operations_are_the_fastest_callables():
    for name in operations.table():
        if not any(name in kernel.operations for kernel in AVOIDED):
            assert avoided_kernels.function(name) is operations.function(name)
