"""The warm parent that lifts candidates: `python -m llmatic_daemon.worker.lifting.lift_server SANDBOX`.

SANDBOX is JSON: {"user": null or [user id, group id], "without": [layers to leave out]}. The parent has
imported torch and exported a network once, so that a fork of it starts in milliseconds. It speaks frames on
its pipes. The first frame is
    {"ready": true, "missing": {layer: reason}}
Each request
    {"source", "class_name", "seed", "input_shape", "num_classes",
     "limits": {"time_s", "memory_bytes", "max_parameters", "max_flops", "max_activation_bytes",
                "max_source_bytes"}}
gets one answer, in the order of the requests:
    {"outcome": "lifted", "measures": {...}, "activation_bytes", "order", "lift_s"} with the blobs graph,
    weights
    {"outcome": cause, "violation": kind or null, "detail", "lift_s"}
The candidate runs in a fork that can only write to one pipe. The parent judges the bytes that it wrote:
outcome and kind of violation are the parent's decision, never a claim of the candidate.
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
from llmatic_daemon.domain.sandbox import Layer, Violation
from llmatic_daemon.worker.graph.serialization import MAX_GRAPH_BYTES
from llmatic_daemon.worker.graph.validation import GraphLimits, InvalidNetwork, validate
from llmatic_daemon.worker.lifting.confinement import RESULT_DESCRIPTOR, Bounds, Confinement, adopt_orphans
from llmatic_daemon.worker.lifting.export import describe, export
from llmatic_daemon.worker.lifting.supervisor import Ending, run
from llmatic_daemon.worker.pipes import own_pipes

#: A result also has a header, with a number for each operation.
_HEADER_BYTES = 1 << 19
_DETAIL_CHARACTERS = 500
#: Reserved in a candidate's process so that it can still report that no memory is left.
_RESERVE_BYTES = 32 << 20
#: Errors of the kernel for a file too large, too many open files or processes, and forbidden calls.
_LIMITS_MET = (errno.EFBIG, errno.EMFILE, errno.EAGAIN, errno.EPERM, errno.EACCES, errno.EROFS)
#: Causes that a candidate's process may report of itself; each harms only the candidate.
_SELF_REPORTED = (Outcome.OOM, Outcome.SANDBOX)
#: Signals by which the kernel ends a process that has used its CPU time.
_OUT_OF_TIME = (-signal.SIGXCPU,)
#: Lifted once at start, so that forks find the modules that a network usually needs already imported.
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
    """One candidate, and what it may cost."""

    source: str
    class_name: str
    seed: int
    input_shape: tuple[int, ...]
    num_classes: int
    bounds: Bounds
    limits: GraphLimits

    @classmethod
    def from_header(cls, header: dict[str, Any]) -> "LiftRequest":
        """Read a request of the daemon; a mistake in it is a bug and may raise."""
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
    """The parent rejects the candidate, which is at fault."""

    def __init__(self, cause: Outcome, detail: str, violation: Violation | None = None) -> None:
        super().__init__(detail)
        self.cause = cause
        self.violation = violation


def _violation(kind: Violation, detail: str) -> Rejected:
    return Rejected(Outcome.SANDBOX, detail, kind)


def main() -> NoReturn:
    """Warm up, then answer requests until the daemon closes the pipe."""
    requests, answers = own_pipes()
    _stay_single_threaded()
    adopt_orphans()
    warm_up()
    confinement = _prepare(json.loads(sys.argv[1]))
    tempfile.tempdir = None  # the folder found as the former user may be closed to this one
    gc.collect()
    gc.freeze()  # forks share these pages as long as no collection touches them
    answers.write(frames.encode({"ready": True, "missing": confinement.missing}))
    while True:
        answers.flush()
        try:
            header, _ = frames.read_file(requests)
        except EOFError:
            os._exit(0)  # nothing to clean up, and the normal exit of torch takes a second
        answers.write(answer(LiftRequest.from_header(header), confinement, client=requests.fileno()))


def _stay_single_threaded() -> None:
    """Prevent all threads: a fork inherits none, and a confined process may start none.

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
        user=(user[0], user[1]) if user else None, without=frozenset(map(Layer, asked["without"]))
    )


def answer(request: LiftRequest, confinement: Confinement, client: int) -> bytes:
    """Lift one candidate and return the answer frame."""
    started = time.monotonic()
    try:
        header, blobs = lift(request, confinement, client)
    except Rejected as rejected:
        header = {
            "outcome": rejected.cause.value,
            "violation": rejected.violation,
            "detail": _one_line(str(rejected)),
        }
        blobs = ()
    return frames.encode({**header, "lift_s": time.monotonic() - started}, *blobs)


def lift(
    request: LiftRequest, confinement: Confinement, client: int
) -> tuple[dict[str, Any], tuple[bytes, ...]]:
    """Run the candidate in a process of its own, and judge what it wrote.

    Raises:
        Rejected: with its cause, and the kind of violation where the sandbox stopped it.
    """
    _check_source(request.source, request.limits)
    ending = _run_confined(request, confinement, client)
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


def _run_confined(request: LiftRequest, confinement: Confinement, client: int) -> Ending:
    folder = tempfile.mkdtemp(prefix="llmatic-lift-")
    try:
        return run(
            functools.partial(_be_candidate, request, confinement, folder),
            time_s=request.bounds.time_s,
            max_bytes=_max_bytes(request.limits),
            client=client,
        )
    finally:
        _remove(folder)


def _remove(folder: str) -> None:
    """Remove what a candidate has written, also folders nested too deep for `shutil`."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
    except RecursionError:  # rmtree calls itself for each level
        subprocess.run(["rm", "-rf", "--", folder], stderr=subprocess.DEVNULL, check=False)


def _be_candidate(request: LiftRequest, confinement: Confinement, folder: str, pipe: int) -> None:
    """Confine the process, build, export, write the result; untrusted code runs only here."""
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
    np.random.seed(seed % (1 << 32))  # noqa: NPY002 - candidates use the global generator


def _cause(error: BaseException) -> Outcome:
    """Return whether an exception is a limit that was met, or a mistake of the candidate."""
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return Outcome.OOM
    if isinstance(error, OSError) and error.errno in _LIMITS_MET:
        return Outcome.SANDBOX
    return Outcome.LIFT_FAILED


def _write(result: bytes) -> None:
    view = memoryview(result)
    while view:
        view = view[os.write(RESULT_DESCRIPTOR, view) :]


# --- the parent's side of the fork -----------------------------------------------------------------------


def _max_bytes(limits: GraphLimits) -> int:
    """Return the most bytes of a result: buffers may take as much as parameters."""
    return _HEADER_BYTES + MAX_GRAPH_BYTES + 8 * limits.max_parameters + (1 << 20)


def _check_source(source: str, limits: GraphLimits) -> None:
    size = len(source.encode(errors="replace"))
    if size > limits.max_source_bytes:
        detail = f"a source may have at most {limits.max_source_bytes} bytes, has {size}"
        raise Rejected(Outcome.NOT_CODE, detail)


def _check_ending(ending: Ending, bounds: Bounds) -> None:
    if ending.abandoned:
        os._exit(0)  # the daemon is gone, and the candidate was killed
    if ending.timed_out or ending.exit_code in _OUT_OF_TIME:
        raise Rejected(Outcome.TIMEOUT, f"not lifted within {bounds.time_s:g} s")
    if ending.flooded:
        raise _violation(Violation.FLOOD, "wrote more than a network can have")
    if ending.exit_code < 0:
        raise _violation(Violation.KILLED, f"its process was ended by {_signal_name(-ending.exit_code)}")
    if ending.exit_code > 0 or not ending.output:
        detail = f"its process ended with exit code {ending.exit_code} and without a result"
        raise _violation(Violation.EXITED, detail)


def _signal_name(number: int) -> str:
    """Return the name of a signal; most real-time signals have none."""
    known = {each.value: each.name for each in signal.Signals}
    return known.get(number, f"signal {number}")


def _read_result(output: bytes, limits: GraphLimits) -> tuple[bytes, bytes, Any]:
    stream = io.BytesIO(output)
    try:
        header, blobs = frames.read_file(stream, _HEADER_BYTES, _max_bytes(limits))
    except (frames.FrameError, EOFError) as error:
        raise _violation(Violation.FORGED, f"its result is no frame: {error}") from error
    if stream.read(1):
        raise _violation(Violation.FORGED, "its result must be one: it wrote more than one result")
    if "cause" in header:
        raise _self_reported(header)
    if len(blobs) != 2:
        raise _violation(Violation.FORGED, "its result must be a graph and weights")
    return blobs[0], blobs[1], header.get("order", [])


def _self_reported(header: dict[str, Any]) -> Rejected:
    """Return what the candidate's process reports of itself; its only violation is a limit."""
    cause = Outcome(header["cause"] if header["cause"] in _SELF_REPORTED else Outcome.LIFT_FAILED)
    violation = Violation.LIMIT if cause is Outcome.SANDBOX else None
    return Rejected(cause, str(header.get("detail", "")), violation)


def _one_line(detail: str) -> str:
    """Shorten a detail for logs and tables: also our own messages may quote a graph of megabytes."""
    words = " ".join(detail[: 4 * _DETAIL_CHARACTERS].split())
    return "".join(filter(str.isprintable, words))[:_DETAIL_CHARACTERS]


if __name__ == "__main__":
    main()
