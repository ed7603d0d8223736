"""Guarded memory: what a kernel writes beside a tensor is seen, or ends the process at once."""

import ctypes
import signal
import subprocess
import sys

import pytest
import torch

from llmatic_daemon.worker.kernels.guarded_memory import GuardedMemory


def written(at_end: bool, offset_bytes: int) -> bool:
    """Write one byte near a guarded tensor; return whether the canaries are intact."""
    memory = GuardedMemory(at_end=at_end)
    tensor = memory.copy(torch.arange(5.0))
    ctypes.memset(tensor.data_ptr() + offset_bytes, 0, 1)
    return memory.is_intact()


def exit_code_of_write(at_end: bool, offset_bytes: int) -> int:
    script = (
        "import ctypes, torch\n"
        "from llmatic_daemon.worker.kernels.guarded_memory import GuardedMemory\n"
        f"memory = GuardedMemory(at_end={at_end})\n"
        "tensor = memory.copy(torch.arange(5.0))\n"
        f"ctypes.memset(tensor.data_ptr() + {offset_bytes}, 0, 1)\n"
    )
    return subprocess.run([sys.executable, "-c", script], check=False).returncode


@pytest.mark.parametrize(("at_end", "offset_bytes"), [(True, -1), (False, 20)])
def test_canary_shows_a_write_on_the_open_side(at_end: bool, offset_bytes: int):
    assert not written(at_end, offset_bytes)


@pytest.mark.parametrize("offset_bytes", [0, 19])
@pytest.mark.parametrize("at_end", [True, False])
def test_write_inside_is_none_of_its_business(at_end: bool, offset_bytes: int):
    assert written(at_end, offset_bytes)


@pytest.mark.parametrize(("at_end", "offset_bytes"), [(True, 20), (False, -1)])
def test_access_on_the_guarded_side_ends_the_process(at_end: bool, offset_bytes: int):
    assert exit_code_of_write(at_end, offset_bytes) == -signal.SIGSEGV


@pytest.mark.parametrize("at_end", [True, False])
def test_copy_has_values_and_memory_order(at_end: bool):
    picture = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)

    copied = GuardedMemory(at_end=at_end).copy(picture)

    assert torch.equal(copied, picture)
    assert copied.stride() == picture.stride()


def test_large_and_empty_tensors_are_copied():
    memory = GuardedMemory(at_end=True)

    assert memory.copy(torch.zeros(3, 4096)).shape == (3, 4096)
    assert memory.copy(torch.zeros(0, 2)).shape == (0, 2)
    assert memory.is_intact()
