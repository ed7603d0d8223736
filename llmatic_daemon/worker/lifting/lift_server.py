"""The warm parent that lifts candidates: `python -m llmatic_daemon.worker.lifting.lift_server SANDBOX`, frames on its pipes.

SANDBOX is JSON: {"user": null or [user id, group id], "without": [layers to leave out]}. It has imported torch
and exported a network once, so that a fork of it starts in milliseconds. First it answers
    {"ready": true, "missing": {layer: why it is not there}}
Then for each request
    {"source", "class_name", "seed", "input_shape", "num_classes",
     "limits": {"time_s", "memory_bytes", "max_parameters", "max_flops", "max_activation_bytes",
                "max_source_bytes"}}
one answer, in the order of the requests:
    {"outcome": "lifted", "measures": {...}, "activation_bytes", "order", "lift_s"} with the blobs graph,
    weights
    {"outcome": cause, "detail", "lift_s"}
The candidate runs in a fork that can only write to one pipe. What it writes is judged here, from the bytes.
"""

import errno
import functools
import gc
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, fields
from typing import Any, NoReturn

import numpy as np
import safetensors.torch
import torch

from llmatic_daemon.domain import Outcome, frames
from llmatic_daemon.domain.sandbox import BEGINNINGS, Layer, Violation
from llmatic_daemon.worker.graph.serialization import MAX_GRAPH_BYTES
from llmatic_daemon.worker.graph.validation import GraphLimits, InvalidNetwork, validate
from llmatic_daemon.worker.lifting.confinement import RESULT_DESCRIPTOR, Bounds, Confinement, adopt_orphans
from llmatic_daemon.worker.lifting.export import describe, export
from llmatic_daemon.worker.lifting.supervisor import Ending, run
from llmatic_daemon.worker.pipes import own_pipes

#: Beside the graph and the weights, a result has a header, with a number for each operation.
_HEADER_BYTES = 1 << 19
_DETAIL_CHARACTERS = 500
#: Kept by a candidate's process so that it can still say that it has no memory left.
_RESERVE_BYTES = 32 << 20
#: What the kernel says to a file too large, too many open files or processes, and to what is not allowed.
_LIMITS_MET = (errno.EFBIG, errno.EMFILE, errno.EAGAIN, errno.EPERM, errno.EACCES, errno.EROFS)
#: What a candidate's process may say of itself; it can only do harm to itself.
_CONFESSIONS = (Outcome.OOM, Outcome.SANDBOX)
#: Signals by which the kernel ends a process that has used its time.
_OUT_OF_TIME = (-signal.SIGXCPU,)
#: Lifted once at start, so that forks find every module that a network usually needs already there.
_WARM_UP = """
import torch
from torch import nn
class WarmUp(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.recurrent = nn.LSTM(8, 4, batch_first=True)
        self.attention = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.dense = nn.Linear(4, 10)
    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.norm(self.conv(x))), 2)
        x = nn.functional.adaptive_avg_pool2d(x, (4, 8)).mean(1)
        x, _ = self.recurrent(x)
        x = self.attention(x)
        return self.dense(nn.functional.gelu(x[:, -1]))
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class LiftRequest:
    """One candidate, as asked for."""

    source: str
    class_name: str
    seed: int
    input_shape: tuple[int, ...]
    num_classes: int
    bounds: Bounds
    limits: GraphLimits

    @classmethod
    def from_header(cls, header: dict[str, Any]) -> "LiftRequest":
        """Read a request; it comes from the daemon, so a mistake in it is a bug and may raise."""
        given = header["limits"]
        known = {each.name for each in fields(GraphLimits)}
        return cls(
            source=header["source"],
            class_name=header["class_name"],
            seed=header["seed"],
            input_shape=tuple(header["input_shape"]),
            num_classes=header["num_classes"],
            bounds=Bounds(time_s=given["time_s"], memory_bytes=given["memory_bytes"]),
            limits=GraphLimits(**{name: value for name, value in given.items() if name in known}),
        )


class Rejected(Exception):
    """The candidate's own fault."""

    def __init__(self, cause: Outcome, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause


def main() -> NoReturn:
    """Warm up, then answer requests until the daemon closes the pipe."""
    requests, answers = own_pipes()
    _stay_single_threaded()
    adopt_orphans()
    warm_up()
    confinement = _prepare(json.loads(sys.argv[1]))
    tempfile.tempdir = None  # what was found while we were another user may be closed to us
    gc.collect()
    gc.freeze()  # forks share these pages as long as no collection touches them
    answers.write(frames.encode({"ready": True, "missing": confinement.missing}))
    while True:
        answers.flush()
        try:
            header, _ = frames.read_file(requests)
        except EOFError:
            os._exit(0)  # nothing to clean up, and torch takes a second for it
        answers.write(answer(LiftRequest.from_header(header), confinement, asker=requests.fileno()))


def _stay_single_threaded() -> None:
    """Keep every thread out: a fork inherits none, and a confined process may start none.

    Without a GPU, export pretends that there are 8 CUDA devices so that it can trace for them; autograd
    then starts a thread for each, and half of the forks die in `set_num_threads`.
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    torch.set_num_threads(1)
    torch._C._ensureCUDADeviceGuardSet = lambda: None


def warm_up() -> None:
    """Import all that a lift needs, by lifting a network once."""
    exported = export(_WARM_UP, "WarmUp", (3, 32, 32), 10)
    weights = safetensors.torch.save(exported.weights)
    validate(exported.graph, weights, GraphLimits(), (3, 32, 32), 10)


def _prepare(asked: dict[str, Any]) -> Confinement:
    user = asked["user"]
    return Confinement.prepare(
        user=(user[0], user[1]) if user else None,
        without=frozenset(map(Layer, asked["without"])),
    )


def answer(request: LiftRequest, confinement: Confinement, asker: int) -> bytes:
    """Lift one candidate and lay out the answer."""
    started = time.monotonic()
    try:
        header, blobs = lift(request, confinement, asker)
    except Rejected as rejected:
        header, blobs = {"outcome": rejected.cause.value, "detail": _one_line(str(rejected))}, ()
    return frames.encode({**header, "lift_s": time.monotonic() - started}, *blobs)


def lift(
    request: LiftRequest, confinement: Confinement, asker: int
) -> tuple[dict[str, Any], tuple[bytes, ...]]:
    """Run the candidate in a process of its own, and judge what it wrote.

    Raises:
        Rejected: with the cause.
    """
    _check_source(request.source, request.limits)
    ending = _run_confined(request, confinement, asker)
    _check_ending(ending, request.bounds)
    graph, weights, order = _read_result(ending.output, request.limits)
    shape, num_classes = request.input_shape, request.num_classes
    try:
        valid = validate(graph, weights, request.limits, shape, num_classes, order)
    except InvalidNetwork as error:
        raise Rejected(error.cause, error.detail) from error
    header = {
        "outcome": "lifted",
        "measures": asdict(valid.measures),
        "activation_bytes": valid.activation_bytes,
        "order": order,
    }
    return header, (graph, weights)


# --- the candidate's side of the fork -------------------------------------------------------------


def _run_confined(request: LiftRequest, confinement: Confinement, asker: int) -> Ending:
    folder = tempfile.mkdtemp(prefix="llmatic-lift-")
    try:
        return run(
            functools.partial(_be_candidate, request, confinement, folder),
            time_s=request.bounds.time_s,
            max_bytes=_max_bytes(request.limits),
            asker=asker,
        )
    finally:
        _remove(folder)


def _remove(folder: str) -> None:
    """Remove what a candidate has written, however deep it has nested folders."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
    except RecursionError:  # it calls itself for each level
        subprocess.run(["rm", "-rf", "--", folder], stderr=subprocess.DEVNULL, check=False)


def _be_candidate(request: LiftRequest, confinement: Confinement, folder: str, pipe: int) -> None:
    """Confine, build, export, say the result, end; the only place where untrusted code runs."""
    confinement.confine(request.bounds, folder, pipe)
    reserve = bytearray(_RESERVE_BYTES)
    _seed(request.seed)
    try:
        exported = export(request.source, request.class_name, request.input_shape, request.num_classes)
        weights = safetensors.torch.save(exported.weights)
        result = frames.encode({"order": exported.order}, exported.graph, weights)
    except BaseException as error:  # the boundary: a candidate may raise anything, also SystemExit
        del reserve
        result = frames.encode({"cause": _cause(error).value, "detail": describe(error)})
    _write(result)
    os._exit(0)


def _seed(seed: int) -> None:
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % (1 << 32))  # noqa: NPY002 - candidates use the global one


def _cause(error: BaseException) -> Outcome:
    """Tell a limit that was met from a mistake."""
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return Outcome.OOM
    if isinstance(error, OSError) and error.errno in _LIMITS_MET:
        return Outcome.SANDBOX
    return Outcome.LIFT_FAILED


def _write(result: bytes) -> None:
    view = memoryview(result)
    while view:
        view = view[os.write(RESULT_DESCRIPTOR, view) :]


# --- the parent's judgement -----------------------------------------------------------------------


def _max_bytes(limits: GraphLimits) -> int:
    """Bound a result: buffers may take as much as parameters."""
    return _HEADER_BYTES + MAX_GRAPH_BYTES + 8 * limits.max_parameters + (1 << 20)


def _check_source(source: str, limits: GraphLimits) -> None:
    size = len(source.encode(errors="replace"))
    if size > limits.max_source_bytes:
        detail = f"a source may have at most {limits.max_source_bytes} bytes, has {size}"
        raise Rejected(Outcome.NOT_CODE, detail)


def _check_ending(ending: Ending, bounds: Bounds) -> None:
    if ending.abandoned:
        os._exit(0)  # the daemon is gone, and so is everything of the candidate
    if ending.timed_out or ending.exit_code in _OUT_OF_TIME:
        raise Rejected(Outcome.TIMEOUT, f"not lifted within {bounds.time_s:g} s")
    if ending.flooded:
        raise Rejected(Outcome.SANDBOX, BEGINNINGS[Violation.FLOOD])
    if ending.exit_code < 0:
        name = _signal_name(-ending.exit_code)
        raise Rejected(Outcome.SANDBOX, f"{BEGINNINGS[Violation.KILLED]} {name}")
    if ending.exit_code > 0 or not ending.output:
        detail = f"{BEGINNINGS[Violation.EXITED]} exit code {ending.exit_code} and without a result"
        raise Rejected(Outcome.SANDBOX, detail)


def _signal_name(number: int) -> str:
    """Name a signal; most real-time signals have no name, and kill all the same."""
    known = {each.value: each.name for each in signal.Signals}
    return known.get(number, f"signal {number}")


def _read_result(output: bytes, limits: GraphLimits) -> tuple[bytes, bytes, Any]:
    stream = io.BytesIO(output)
    try:
        header, blobs = frames.read_file(stream, _HEADER_BYTES, _max_bytes(limits))
    except (frames.FrameError, EOFError) as error:
        raise Rejected(Outcome.SANDBOX, f"{BEGINNINGS[Violation.FORGED]} is no frame: {error}") from error
    if stream.read(1):
        raise Rejected(
            Outcome.SANDBOX,
            f"{BEGINNINGS[Violation.FORGED]} must be one: it wrote more than one result",
        )
    if "cause" in header:
        raise _own_words(header)
    if len(blobs) != 2:
        raise Rejected(Outcome.SANDBOX, f"{BEGINNINGS[Violation.FORGED]} must be a graph and weights")
    return blobs[0], blobs[1], header.get("order", [])


def _own_words(header: dict[str, Any]) -> Rejected:
    """Take over what the candidate's process says of itself."""
    cause = header["cause"] if header["cause"] in _CONFESSIONS else Outcome.LIFT_FAILED
    return Rejected(Outcome(cause), str(header.get("detail", "")))


def _one_line(detail: str) -> str:
    """Bound what goes to logs and tables: also our own words may quote a graph of megabytes."""
    words = " ".join(detail[: 4 * _DETAIL_CHARACTERS].split())
    return "".join(filter(str.isprintable, words))[:_DETAIL_CHARACTERS]


if __name__ == "__main__":
    main()
