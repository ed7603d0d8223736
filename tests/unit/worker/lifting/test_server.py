"""The warm parent against true processes: whatever a candidate tries, it ends with a cause."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmatic_daemon.domain import frames
from tests.support.hostile_sources import HOSTILE, USELESS
from tests.support.network_sources import DENSE, LENET
from tests.support.paths import ROOT
from tests.support.samples import sampled

#: Nothing around it but what each child does to itself.
SANDBOX = json.dumps({"user": None, "without": []})
#: One for each way to end; the corpus has more of them.
SAMPLE = {
    "endless loop in forward",
    "memory bomb",
    "double fork",
    "sys.exit",
    "crash",
    "forged result",
    "folder",
}
LIMITS = {"time_s": 3.0, "memory_bytes": 1 << 30, "max_parameters": 2_000_000}


class Parent:
    """A warm parent, spoken to as the daemon does."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "llmatic_daemon.worker.lifting.lift_server", SANDBOX],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert self._receive()[0] == {"ready": True, "missing": {}}
        #: What it makes of an honest candidate while it is fresh.
        self.honest = self.lift(LENET, time_s=30)[1]

    def lift(self, source: str, **limits: Any) -> frames.Frame:
        assert self.process.stdin is not None
        request = {"source": source, "class_name": "Net", "seed": 1, "input_shape": [3, 32, 32]}
        header = {**request, "num_classes": 10, "limits": {**LIMITS, **limits}}
        self.process.stdin.write(frames.encode(header))
        self.process.stdin.flush()
        return self._receive()

    def descendants(self) -> str:
        return Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()

    def close(self) -> int:
        with self.process:
            assert self.process.stdin is not None
            self.process.stdin.close()
            return self.process.wait(timeout=10)

    def _receive(self) -> frames.Frame:
        assert self.process.stdout is not None
        return frames.read_file(self.process.stdout)


@pytest.fixture(scope="module")
def parent() -> Iterator[Parent]:
    warm = Parent()
    yield warm
    assert warm.close() == 0


@pytest.mark.parametrize("name", sampled(sorted(HOSTILE), SAMPLE))
def test_hostile_candidate_ends_with_a_cause_and_leaves_nothing(name, parent):
    source, cause = HOSTILE[name]

    header, blobs = parent.lift(source)

    assert header["outcome"] in cause.split(), header
    assert header["detail"]
    assert not blobs
    assert parent.descendants() == ""
    assert parent.lift(LENET, time_s=30)[1] == parent.honest


@pytest.mark.parametrize("name", sorted(USELESS))
def test_useless_misbehaviour_changes_nothing(name, parent):
    honest = parent.lift(DENSE, time_s=30)

    header, blobs = parent.lift(USELESS[name], time_s=30)

    assert header["outcome"] == "lifted", header
    assert blobs == honest[1]
    assert parent.descendants() == ""


def test_limits_are_those_of_the_request(parent):
    header, _ = parent.lift(LENET, time_s=30, max_parameters=62_005)

    assert header["outcome"] == "invalid_graph"
    assert header["detail"] == "a network may have at most 62005 parameters, has 62006"


def test_weight_that_is_not_finite_is_a_rejection(parent):
    source = DENSE.replace(
        "nn.Linear(3072, 10)", "nn.Linear(3072, 10)\n        self.f.bias.data[3] = torch.nan"
    )

    header, _ = parent.lift(source, time_s=30)

    assert header["outcome"] == "nan", header


def test_parent_ends_its_candidate_when_the_daemon_is_gone(parent):
    """The last of all: after it the parent is gone."""
    assert parent.process.stdin is not None
    header = {"source": "import time\ntime.sleep(600)", "class_name": "Net"}
    task = {"seed": 1, "input_shape": [3, 32, 32], "num_classes": 10}
    parent.process.stdin.write(frames.encode({**header, **task, "limits": {**LIMITS, "time_s": 600}}))

    assert parent.close() == 0
