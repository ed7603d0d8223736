"""Kernels of torch that are wrong on some processors are not run, and nothing else changes."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import nn

from llmatic_daemon.worker.graph import avoided_kernels, operations
from llmatic_daemon.worker.graph.avoided_kernels import AVOIDED, AvoidingMode

LEVELS = ("AVX2", "DEFAULT")
#: glibc's checking malloc, which ends the process at the first damaged block; ignored where it is missing.
GUARDS = {"LD_PRELOAD": "libc_malloc_debug.so.0", "MALLOC_CHECK_": "3"}


def trained(kind: str, level: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.support.strided_convolutions", kind],
        env={**os.environ, **GUARDS, "ONEDNN_MAX_CPU_ISA": level},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("level", LEVELS)
def test_strided_1x1_convolutions_write_only_their_own_memory_and_are_right(level: str):
    result = trained("avoiding", level)

    assert result.returncode == 0, result.stderr
    assert float(result.stdout) < 1e-6


def test_unprotected_kernel_is_as_wrong_as_the_table_says():
    result = trained("plain", "AVX2")

    if result.returncode == 0:
        pytest.skip("this processor or version of torch does not show the fault")
    assert result.returncode < 0


@pytest.mark.parametrize("level", LEVELS)
def test_results_and_losses_are_those_of_the_plain_convolution_to_the_bit(level: str):
    result = trained("both", level)

    if result.returncode < 0:
        pytest.skip("the plain convolution kills its process here")
    assert (result.returncode, int(result.stdout)) == (0, 0)


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
        nn.Conv2d(8, 4, 1, 2),
        nn.Conv2d(3, 4, 1),
        nn.Conv2d(3, 4, 2, 2),
        nn.Conv2d(4, 4, 1, 2, groups=2),
        nn.Conv2d(3, 4, 1, 2, device="meta"),
    ],
    ids=["8 channels", "no stride", "2x2", "groups", "another device"],
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
    ("limit", "capability", "avoids"),
    [
        ({}, "AVX512", False),
        ({"ONEDNN_MAX_CPU_ISA": "avx512_core_bf16"}, "AVX512", False),
        ({"ONEDNN_MAX_CPU_ISA": "AVX2"}, "AVX512", True),
        ({"DNNL_MAX_CPU_ISA": "SSE41"}, "AVX512", True),
        ({}, "AVX2", True),
        ({}, "DEFAULT", True),
    ],
)
def test_kernel_is_avoided_where_the_processor_may_run_it(
    limit: dict[str, str], capability: str, avoids: bool, monkeypatch: pytest.MonkeyPatch
):
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in limit.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)

    function = avoided_kernels.function.__wrapped__("conv2d.default")

    assert (function is not operations.function("conv2d.default")) == avoids


def test_other_operations_are_the_fastest_callables():
    for name in operations.table():
        if not any(name in kernel.operations for kernel in AVOIDED):
            assert avoided_kernels.function(name) is operations.function(name)
