"""The kernels of this machine, tried for real: every operation in the suite, 20,000 cells behind a marker."""

from pathlib import Path

import pytest

from llmatic_daemon.adapters.processes.instruction_sets import InstructionSet, available, processor_flags
from llmatic_daemon.adapters.processes.kernel_check import KernelCheck
from llmatic_daemon.commands.doctor_kernels import SHORT_CELLS


async def test_every_operation_is_right_on_this_processor():
    check = KernelCheck(available(processor_flags())[-1:], range(SHORT_CELLS))

    findings = await check.run()

    assert [finding for finding in findings if not finding.is_explained] == []
    assert check.num_tried == SHORT_CELLS


@pytest.mark.exhaustive
@pytest.mark.timeout(600)
async def test_twenty_thousand_cells_have_no_unexplained_fault():
    levels = available(processor_flags())
    check = KernelCheck(levels, range(-(-20_000 // len(levels))))

    findings = await check.run()

    assert [finding for finding in findings if not finding.is_explained] == []
    assert check.num_tried >= 20_000


@pytest.mark.gpu
@pytest.mark.skipif(not Path("/dev/nvidia0").exists(), reason="no CUDA device")
async def test_every_operation_is_right_on_a_gpu():
    check = KernelCheck([InstructionSet(name="cuda:0")], range(SHORT_CELLS), device="cuda:0", num_processes=1)

    assert await check.run() == []
