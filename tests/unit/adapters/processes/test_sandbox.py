"""What is missing around the lifter is said where people look, and can be made an error."""

import asyncio
import contextlib
import logging
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from llmatic_daemon import cli
from llmatic_daemon.adapters.metrics.observer import Metrics
from llmatic_daemon.adapters.processes import bubblewrap
from llmatic_daemon.adapters.processes.bubblewrap import NoBubblewrap
from llmatic_daemon.adapters.processes.lifter import ProcessLifter
from llmatic_daemon.adapters.storage.notes import sandbox_note
from llmatic_daemon.bootstrap import build, build_processes
from llmatic_daemon.domain.errors import ConfigurationError, LifterUnavailable
from llmatic_daemon.domain.events import SandboxProbed
from llmatic_daemon.domain.sandbox import Layer, Sandbox, hidden_folders
from tests.support.fake_daemon import fake_adapters
from tests.support.paths import ROOT

NO_SUCH_USER = "llmatic-nobody-has-this-name"
#: A lifter that is ready at once, because it lifts nothing.
QUICK = "tests.support.ready_lifter_child"


@pytest.fixture(autouse=True)
def _child_can_be_found(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def lifter(num_parents: int = 1, **sandbox: Any) -> ProcessLifter:
    return ProcessLifter(
        num_parents=num_parents,
        module=QUICK,
        sandbox=Sandbox(user=NO_SUCH_USER, without=frozenset({Layer.BUBBLEWRAP}), **sandbox),
    )


async def test_what_is_missing_is_told_once_for_all_parents(caplog):
    caplog.set_level(logging.WARNING)

    async with lifter(num_parents=2) as parents:
        missing = await parents.missing()

    assert Layer.USER in missing
    told = [record for record in caplog.records if "the sandbox lacks" in record.getMessage()]
    assert len(told) == 1
    assert "user: " in told[0].getMessage()


async def test_required_layer_that_is_missing_forbids_the_start():
    with pytest.raises(ConfigurationError, match=r"sandbox\.require names user, .* missing here"):
        async with lifter(require=frozenset({Layer.USER})):
            pass


async def test_required_layer_that_is_there_changes_nothing():
    async with lifter(require=frozenset({Layer.RLIMITS})) as parents:
        assert Layer.RLIMITS not in await parents.missing()


def test_run_without_a_required_layer_ends_with_78(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "trainers", lambda *_: fake_adapters().trainer)
    monkeypatch.setattr(build_processes, "ProcessLifter", partial(ProcessLifter, module=QUICK))
    monkeypatch.setattr(bubblewrap, "find", _no_bubblewrap)  # in its view the tests are not
    monkeypatch.setenv("LLMATIC_SANDBOX__USER", NO_SUCH_USER)
    monkeypatch.setenv("LLMATIC_SANDBOX__REQUIRE", '["user"]')
    command = ["run", "--preset", "demo", "--state", str(tmp_path / "state")]

    ended = CliRunner().invoke(cli.main, command)

    assert ended.exit_code == 78, ended.output
    assert "sandbox.require names user" in ended.output


async def _no_bubblewrap(hidden: object) -> tuple[str, ...]:
    raise NoBubblewrap("hidden from this test")


def test_process_that_forbids_tracing_is_not_dumpable():
    script = (
        "import ctypes\nfrom llmatic_daemon.domain.sandbox import forbid_tracing\nforbid_tracing()\n"
        "raise SystemExit(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    )

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize("place", ["lib/python3.11/site-packages", "lib/python3/dist-packages"])
def test_package_with_data_sets_is_found_wherever_packages_lie(place, tmp_path: Path):
    package = tmp_path / place / "sklearn"
    package.mkdir(parents=True)

    assert package in set(hidden_folders([str(tmp_path)]))


@pytest.mark.parametrize(
    "what_hangs", ["echo $$ > $0.pid; exec sleep 600", "sleep 600 & echo $! > $0.pid; wait"]
)
def test_bubblewrap_that_hangs_is_tried_again_and_leaves_no_process(tmp_path, monkeypatch, what_hangs):
    """Its child too: killed at its start, the true one leaves a child that holds our pipe open forever."""
    program = tmp_path / "bwrap"
    program.write_text(f"#!/bin/sh\n{what_hangs}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(bubblewrap, "_TRIAL_S", 0.5)

    with pytest.raises(LifterUnavailable, match=r"within 0\.5 s"):
        asyncio.run(asyncio.wait_for(bubblewrap.find(), 30))

    status = Path(f"/proc/{(tmp_path / 'bwrap.pid').read_text().strip()}/status")
    assert not status.exists() or "Z (zombie)" in status.read_text()  # of init, which has yet to reap it


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap")
async def test_trial_of_bubblewrap_ends_when_it_is_cancelled_at_any_moment():
    for delay_ms in range(24):
        trial = asyncio.create_task(bubblewrap.find())
        await asyncio.sleep(delay_ms / 1000)
        trial.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(trial), 30)


def test_note_is_read_as_it_was_written(tmp_path):
    sandbox_note.write(tmp_path, {Layer.CGROUP: "none was handed over"})

    assert sandbox_note.read(tmp_path) == {"cgroup": "none was handed over"}
    assert [path.name for path in tmp_path.iterdir()] == ["sandbox.json"]


@pytest.mark.parametrize("text", [None, "", "{}", "[]", '{"missing": 3}'])
def test_note_that_makes_no_sense_is_none(text, tmp_path: Path):
    if text is not None:
        (tmp_path / "sandbox.json").write_text(text)

    assert sandbox_note.read(tmp_path) is None


def test_layers_are_metrics():
    metrics = Metrics("0", 1, ())

    metrics.receive(SandboxProbed(missing={Layer.CGROUP: "none"}))

    written = metrics.exposition().decode()
    assert 'llmatic_sandbox_layer{layer="seccomp"} 1.0' in written
    assert 'llmatic_sandbox_layer{layer="cgroup"} 0.0' in written
