"""The short check of kernels in `doctor`: once for each processor, torch and environment of a state folder."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from llmatic_daemon.adapters.storage.notes import kernel_note
from llmatic_daemon.adapters.storage.state_folder import KERNEL_NOTE
from llmatic_daemon.commands import doctor_kernels
from llmatic_daemon.commands.doctor_kernels import KernelPlan, try_once
from llmatic_daemon.domain.errors import ConfigurationError
from llmatic_daemon.domain.kernels import KernelFault, KernelFinding

FINDING = KernelFinding(
    level="DEFAULT",
    number=7,
    operation="conv2d.default",
    cell="conv2d.default([1x1])",
    fault=KernelFault.DIED,
    detail="signal 11 (SIGSEGV)",
)


class PretendedCheck:
    """Finds what it is given, and starts no process."""

    findings: Sequence[KernelFinding] = ()
    num_runs = 0

    def __init__(self, levels: object, cells: range, *, grid: str) -> None:
        pass

    async def run(self) -> list[KernelFinding]:
        type(self).num_runs += 1
        return list(self.findings)


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> type[PretendedCheck]:
    class Check(PretendedCheck):
        pass

    monkeypatch.setattr(doctor_kernels, "KernelCheck", Check)
    return Check


async def test_kernels_are_tried_once_for_a_state_folder(tmp_path: Path, pretended: type[PretendedCheck]):
    first, second = await try_once(tmp_path), await try_once(tmp_path)

    assert pretended.num_runs == 1
    assert (first.is_earlier, second.is_earlier) == (False, True)
    assert (first.processor, first.torch) == (second.processor, second.torch)


async def test_folder_that_is_missing_stays_missing(tmp_path: Path, pretended: type[PretendedCheck]):
    await try_once(tmp_path / "new")
    await try_once(tmp_path / "new")

    assert pretended.num_runs == 2
    assert not (tmp_path / "new").exists()


async def test_another_torch_is_tried_again(
    tmp_path: Path, pretended: type[PretendedCheck], monkeypatch: pytest.MonkeyPatch
):
    await try_once(tmp_path)
    monkeypatch.setattr(doctor_kernels, "version", lambda package: "99.0")

    assert not (await try_once(tmp_path)).is_earlier
    assert pretended.num_runs == 2


async def test_another_level_of_the_environment_is_tried_again(
    tmp_path: Path, pretended: type[PretendedCheck], monkeypatch: pytest.MonkeyPatch
):
    await try_once(tmp_path)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")

    assert not (await try_once(tmp_path)).is_earlier


async def test_fault_is_found_again_until_it_is_gone(tmp_path: Path, pretended: type[PretendedCheck]):
    pretended.findings = [FINDING]
    assert (await try_once(tmp_path)).unexplained == [FINDING]
    assert (await try_once(tmp_path)).unexplained == [FINDING]

    pretended.findings = []
    assert not (await try_once(tmp_path)).is_earlier
    assert (await try_once(tmp_path)).is_earlier


@pytest.mark.parametrize("text", ["", "nonsense", "[]", '{"processor": 3}', '{"processor": 1, "torch": 1}'])
async def test_note_that_is_nonsense_is_no_note(tmp_path: Path, pretended: type[PretendedCheck], text: str):
    (tmp_path / KERNEL_NOTE).write_text(text)

    assert kernel_note.read(tmp_path) is None
    assert not (await try_once(tmp_path)).is_earlier
    assert (await try_once(tmp_path)).is_earlier


def test_plan_without_a_level_tries_all_and_each_gpu_once():
    plan = KernelPlan(cells=range(5), devices=("cpu", "cuda:0", "cuda:0", "cuda:1"))

    levels = [check.level_names for check in plan.checks()]

    assert levels[0][-1] == "DEFAULT"
    assert levels[1:] == [["cuda:0"], ["cuda:1"]]


def test_plan_with_an_unknown_level_is_an_error():
    with pytest.raises(ConfigurationError, match="--isa: expected one of"):
        KernelPlan(cells=range(5), level="MMX").checks()
