"""What `doctor --kernels` prints, with planted faults, and what is left after Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from llmatic_daemon.adapters.processes import instruction_sets, kernel_check
from llmatic_daemon.cli import main
from llmatic_daemon.cli.kernel_views import run_kernel_check
from llmatic_daemon.commands.doctor_kernels import KernelPlan
from tests.support import planted_kernels
from tests.support.paths import ROOT


def ended(name: str, num_cells: int, *, as_json: bool = False, level: str = "DEFAULT") -> object:
    plan = KernelPlan(
        cells=range(num_cells), level=level, grid=f"{planted_kernels.__name__}:{name}", num_processes=1
    )
    with pytest.raises(SystemExit) as raised:
        run_kernel_check(plan, as_json=as_json)
    return raised.value.code


def test_unexplained_fault_is_a_row_and_exit_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kernel_check, "alternatives", lambda level: ())

    assert ended("FAULTS", 6) == 1

    output = capsys.readouterr().out
    assert "wrong_channel" in output
    assert "nothing that was tried" in output.replace("\n", " ")
    assert "repeat one: llmatic-daemon doctor --kernels --isa DEFAULT --first 1 --cells 1" in output
    assert "6 cells tried at DEFAULT; 5 unexplained faults, 0 that the trainer avoids" in output


def test_document_has_every_finding(capsys: pytest.CaptureFixture[str]):
    assert ended("AVOIDED", 2, as_json=True) == 0

    document = json.loads(capsys.readouterr().out)
    assert document["processor"] == instruction_sets.processor()
    assert document["num_tried"] == 2
    (finding,) = document["findings"]
    assert finding["operation"] == "wrong_channel"
    assert finding["avoided_by"] == "a planted entry"


def test_level_that_the_processor_lacks_is_one_line():
    lacking = frozenset({"sse4_1"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(instruction_sets, "processor_flags", lambda: lacking)
        result = CliRunner().invoke(main, ["doctor", "--kernels", "--isa", "AVX2"])

    assert result.exit_code == 78
    assert result.output.count("\n") == 1
    assert "expected a level that this processor has (SSE41, DEFAULT), got AVX2" in result.output


def test_interrupted_check_is_one_line_and_leaves_no_process(tmp_path: Path):
    command = "from llmatic_daemon.cli import main; main()"
    words = ["doctor", "--kernels", "--isa", "DEFAULT", "--cells", "100000"]
    process = subprocess.Popen(
        [sys.executable, "-c", command, *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    children = _wait_for_children(process.pid)

    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 130
    assert errors.count("\n") == 1
    assert errors.startswith("interrupted after ")
    assert "continue there with --isa DEFAULT --first 0 --cells 100000" in errors
    assert [child for child in children if _is_running(child)] == []


def _wait_for_children(pid: int) -> list[int]:
    """Return the children of a process, and theirs, as soon as one of them tries a cell."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        children = _children(pid)
        grandchildren = [each for child in children for each in _children(child)]
        if grandchildren:
            return children + grandchildren
        time.sleep(0.05)
    raise AssertionError("no child within 60 s")


def _is_running(pid: int) -> bool:
    """Decide whether a process has not ended; process 1 may be slow to wait for one that was killed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _children(pid: int) -> list[int]:
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
