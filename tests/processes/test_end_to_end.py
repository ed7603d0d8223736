"""The real thing: the daemon as a process, its lifter, its trainers, real images."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmatic_daemon.adapters.prompts.prompt_files import default_folder
from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.commands.verify import verify
from tests.support.paths import ROOT

pytestmark = pytest.mark.timeout(300)

#: A trainer takes seconds to start.
ONE_DEVICE = '["cpu"]'


def llmatic(*words: str, **settings: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", "from llmatic_daemon.cli import main; main()", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings}
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def finished(*words: str, **settings: str) -> tuple[int, str, str]:
    process = llmatic(*words, **settings)
    output, log = process.communicate(timeout=240)
    return process.returncode, output, log


def demo(folder: Path, num_evaluations: int) -> None:
    code, output, log = finished(
        "demo",
        "--state",
        str(folder),
        LLMATIC_BUDGET__MAX_EVALUATIONS=str(num_evaluations),
        LLMATIC_BUDGET__MAX_HOURS="0",
        LLMATIC_TRAINING__EPOCHS="4",
        LLMATIC_TRAINING__DEVICES=ONE_DEVICE,
    )
    assert code == 0, output + log


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run a demo of six evaluations."""
    folder = tmp_path_factory.mktemp("demo") / "state"
    demo(folder, 6)
    return folder


def test_demo_trains_what_it_promised(state: Path) -> None:
    found = verify(state)

    assert found.num_evaluations == 6
    assert found.faults == ()


@pytest.mark.exhaustive
def test_second_demo_goes_on(state: Path, tmp_path: Path) -> None:
    """With the true lifter and trainers; `tests.unit.cli.test_cli` does it with fake ones."""
    folder = shutil.copytree(state, tmp_path / "state")

    demo(folder, 6)

    found = verify(folder)
    assert found.num_evaluations == 12
    assert found.faults == ()


def test_demo_leaves_pictures_of_both_archives(state: Path) -> None:
    names = {file.name for file in (state / "plots").iterdir()}

    assert names == {"archives.png", "archives.svg", "course.png", "course.svg"}


def test_demo_finds_networks_that_read_digits(state: Path) -> None:
    with History(state) as history:
        best = history.elites()[0]

    assert best.objective > 0.5
    assert best.test_accuracy > 0.5


@pytest.mark.parametrize("kind", ["pt2"])
def test_exported_elite_is_a_program_that_runs_without_us(state: Path, tmp_path: Path, kind: str) -> None:
    with History(state) as history:
        job = history.elites()[0].job

    code, output, log = finished(
        "export", str(tmp_path), "--only", str(job), "--format", kind, "--state", str(state)
    )

    assert code == 0, output + log
    folder = tmp_path / f"{job:06d}"
    card = json.loads((folder / "card.json").read_text())
    (channel,) = card["normalisation"]
    check = (
        "import torch\n"
        "from sklearn.datasets import load_digits\n"
        f"module = torch.export.load({str(folder / 'network.pt2')!r}).module()\n"
        "digits = load_digits()\n"
        "images = torch.tensor(digits.images, dtype=torch.float32)[:, None]\n"
        f"scores = module((images - {channel['mean']}) / {channel['deviation']})\n"
        "assert module(images[:1]).shape == (1, 10)\n"
        "print(float((scores.argmax(1) == torch.tensor(digits.target)).float().mean()))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", check], check=True, timeout=120, capture_output=True, text=True
    )
    assert float(ran.stdout) == pytest.approx(card["final_training"]["test_accuracy"], abs=0.1)


@pytest.mark.exhaustive
def test_export_of_the_same_elite_gives_the_same_weights(state: Path, tmp_path: Path) -> None:
    with History(state) as history:
        job = history.elites("flops")[0].job

    for name in ("first", "second"):
        code, *rest = finished("export", str(tmp_path / name), "--only", str(job), "--state", str(state))
        assert code == 0, rest

    first, second = (
        (tmp_path / name / f"{job:06d}" / "weights.safetensors").read_bytes() for name in ("first", "second")
    )
    assert first == second


@pytest.mark.exhaustive
def test_sigterm_drains_and_leaves_no_process(tmp_path: Path) -> None:
    state = tmp_path / "state"
    process = llmatic("demo", "--state", str(state), LLMATIC_TRAINING__EPOCHS="1", MARK=str(state))
    assert process.stderr is not None
    seen = next(line for line in process.stderr if "INFO candidate" in line)
    assert len(processes_with(f"MARK={state}")) >= 3  # the daemon and two trainers

    process.send_signal(signal.SIGTERM)
    output, log = process.communicate(timeout=60)

    assert process.returncode == 0, seen + log
    assert "stopped by SIGTERM" in output
    assert verify(state).faults == ()
    assert processes_with(f"MARK={state}") == []


def processes_with(variable: str) -> list[int]:
    """Find living processes that inherited a variable: the daemon's children, however orphaned."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            inherited = variable.encode() in environ.read_bytes().split(b"\0")
        except OSError:  # it has ended, or is somebody else's
            continue
        if inherited:
            found.append(int(environ.parent.name))
    return found


def test_wrong_data_set_is_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    code, _, log = finished(
        "run",
        "--preset",
        "demo",
        "--state",
        str(tmp_path / "state"),
        LLMATIC_DATA__NAME="npz",
        LLMATIC_DATA__FOLDER=str(tmp_path / "missing.npz"),
        LLMATIC_TRAINING__DEVICES=ONE_DEVICE,
    )

    assert code == 78
    assert [line for line in log.splitlines() if not line.startswith("INFO")] == [log.splitlines()[-1]]
    assert "missing.npz" in log.splitlines()[-1]
    assert not (tmp_path / "state").exists()


@pytest.mark.exhaustive
def test_search_that_asks_an_llm_takes_an_edit_on_the_way(tmp_path: Path) -> None:
    """Over HTTP, with the real lifter and trainers; the key stays with the daemon."""
    prompts = tmp_path / "prompts"
    shutil.copytree(default_folder(), prompts)
    state, key = tmp_path / "state", "sk-nobody-may-see-this"
    with an_llm("--api-key", key) as url:
        process = llmatic(
            "run",
            "--preset",
            "demo",
            "--state",
            str(state),
            LLMATIC_WRITER__KIND="tgi",
            LLMATIC_WRITER__URL=url,
            LLMATIC_LLM_TOKEN=key,
            LLMATIC_PROMPTS__FOLDER=str(prompts),
            LLMATIC_BUDGET__MAX_EVALUATIONS="0",
            LLMATIC_BUDGET__MAX_HOURS="0",
            LLMATIC_TRAINING__EPOCHS="1",
            MARK=str(state),
        )
        assert process.stderr is not None
        seen = [next(line for line in process.stderr if "INFO candidate" in line)]
        with History(state) as history:
            slot = next(c.slot for c in history.prompt_credit() if c.prompt == "widen")
        (prompts / "widen.md").write_text("+++\nweight = 1000.0\n+++\nMake it much wider.\n")
        seen += [next(line for line in process.stderr if "widen v2" in line)]
        children = [pid for pid in processes_with(f"MARK={state}") if pid != process.pid]
        environments = [Path(f"/proc/{pid}/environ").read_bytes() for pid in children]
        process.send_signal(signal.SIGTERM)
        output, log = process.communicate(timeout=60)

    assert process.returncode == 0, output + log
    assert verify(state).faults == ()
    with History(state) as history:
        wide = {c.version: c for c in history.prompt_credit() if c.prompt == "widen"}
        written = [p for p in history.placements() if p.num_tokens]
    assert (wide[2].in_use, wide[2].slot) == (True, slot)
    assert {(p.writer, p.endpoint, p.model) for p in written} == {
        ("tgi", "tgi", "Salesforce/codegen-6B-mono")
    }
    assert any(p.report for p in written)
    assert key not in "".join(seen) + output + log
    assert not any(key.encode() in found for found in environments)
    assert not any(key.encode() in file.read_bytes() for file in state.iterdir() if file.is_file())


@contextlib.contextmanager
def an_llm(*options: str) -> Iterator[str]:
    """Run the fake text-generation-inference as a process; yields its address."""
    command = [sys.executable, "-m", "tests.support.fake_tgi", "--port", "0", *options]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        yield server.stdout.readline().strip()
    finally:
        server.kill()
        server.communicate()
