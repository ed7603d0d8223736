"""What the warm parent makes of a candidate's end and of its bytes; no process is started."""

import io
import json
import os
from dataclasses import replace
from typing import Any

import pytest

from llmatic_daemon.domain import frames
from llmatic_daemon.worker.graph.validation import GraphLimits
from llmatic_daemon.worker.lifting import lift_server
from llmatic_daemon.worker.lifting.confinement import Bounds, Confinement
from llmatic_daemon.worker.lifting.supervisor import Ending

REQUEST = lift_server.LiftRequest(
    source="",
    class_name="Net",
    seed=1,
    input_shape=(1, 8, 8),
    num_classes=10,
    bounds=Bounds(time_s=1.0, memory_bytes=1 << 30),
    limits=GraphLimits(),
)
GRAPH = {"version": 1, "input": [1, 8, 8], "weights": [], "nodes": [], "output": "x"}


@pytest.fixture
def judged(monkeypatch):
    """Answer as if the candidate's process had ended so."""

    def answered(output: bytes = b"", exit_code: int = 0, flooded: bool = False) -> dict[str, Any]:
        ending = Ending(output=output, exit_code=exit_code, timed_out=False, flooded=flooded, abandoned=False)
        monkeypatch.setattr(lift_server, "_run_confined", lambda request, confinement, client: ending)
        header, _ = frames.read_file(io.BytesIO(lift_server.answer(REQUEST, Confinement(), client=-1)))
        return header

    return answered


@pytest.mark.parametrize(("number", "name"), [(9, "SIGKILL"), (33, "signal 33"), (40, "signal 40")])
def test_signal_is_named_even_when_it_has_no_name(judged, number, name):
    header = judged(exit_code=-number)

    assert header["outcome"] == "sandbox"
    assert header["detail"] == f"its process was ended by {name}"
    assert header["violation"] == "killed"


RESULT = frames.encode({}, b"", b"")


@pytest.mark.parametrize(
    ("ending", "violation"),
    [
        ({"flooded": True, "output": RESULT}, "flood"),
        ({"exit_code": -11, "output": RESULT}, "killed"),
        ({"exit_code": 7, "output": RESULT}, "exited"),
        ({"exit_code": 0}, "exited"),
        ({"output": b"no frame at all"}, "forged"),
        ({"output": RESULT + RESULT}, "forged"),
        ({"output": frames.encode({})}, "forged"),
        ({"output": frames.encode({"cause": "sandbox", "detail": "its process was ended by"})}, "limit"),
    ],
)
def test_violation_is_decided_by_how_the_process_ended(judged, ending, violation):
    header = judged(**ending)

    assert (header["outcome"], header["violation"]) == ("sandbox", violation)


@pytest.mark.parametrize("cause", ["sandbox", "oom", "lift_failed", "trained"])
def test_candidate_cannot_choose_its_violation(judged, cause):
    header = judged(frames.encode({"cause": cause, "detail": "", "violation": "flood", "outcome": "lifted"}))

    assert header["violation"] == ("limit" if cause == "sandbox" else None)


def test_detail_that_quotes_a_graph_stays_one_short_line(judged):
    nodes = [["relu.default", {"\n\x7f" + "k" * 1_000_000: 1}]]
    graph = json.dumps({**GRAPH, "nodes": nodes}, separators=(",", ":")).encode()

    header = judged(frames.encode({}, graph, b""))

    assert header["outcome"] == "invalid_graph"
    assert header["detail"].isprintable()
    assert len(header["detail"]) == 500


def test_what_a_candidate_says_of_itself_stays_one_short_line(judged):
    header = judged(frames.encode({"cause": "trained", "detail": "no\nmore \x1b[2J" + "!" * 9_000}))

    assert header["outcome"] == "lift_failed"
    assert header["detail"].startswith("no more [2J!")
    assert len(header["detail"]) == 500


def test_folder_nested_beyond_pythons_recursion_is_removed(tmp_path, monkeypatch):
    folder = tmp_path / "candidate"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for _ in range(1500):
        os.mkdir("d")
        os.chdir("d")
    os.chdir(tmp_path)

    lift_server._remove(str(folder))

    assert not folder.exists()


def test_source_beyond_the_setting_is_not_run(monkeypatch):
    monkeypatch.setattr(lift_server, "_run_confined", None)
    request = replace(REQUEST, source="é" * 600, limits=replace(REQUEST.limits, max_source_bytes=1024))

    header, _ = frames.read_file(io.BytesIO(lift_server.answer(request, Confinement(), client=-1)))

    assert header["outcome"] == "not_code"
    assert header["detail"] == "a source may have at most 1024 bytes, has 1200"
