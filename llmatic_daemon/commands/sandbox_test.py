"""Probes: small programs that try to escape the sandbox of this machine, at least one for each layer."""

import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from llmatic_daemon.bootstrap import build_processes
from llmatic_daemon.config.settings import Settings
from llmatic_daemon.domain import Candidate, Network, Outcome, Rejection, Task
from llmatic_daemon.domain.sandbox import Layer, hidden_folders

#: A probe needs no data, and no large network.
_TASK = Task(name="probe", input_shape=(1, 8, 8), num_classes=10, num_train=0, num_validation=0, num_test=0)
#: A probe that has reached its goal raises this.
_GOT = "GOT"
#: Part of the lifter's message for a program that ran to its end and is not a network.
_RAN = "must be a class"
#: Time limit of the probe that never ends.
_TIMEOUT_S = 10.0

_NETWORK = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(64, 10)
        {init}
    def forward(self, x):
        return self.dense(x.flatten(1))
"""


class ProbeResult(StrEnum):
    """Result of a probe."""

    HOLDS = "holds"
    #: The machine does not offer this layer.
    MISSING = "missing"
    #: The probe reached its goal, or had an unexpected outcome.
    BROKEN = "broken"


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """A program with its expected outcome."""

    #: A `Layer`, or a part that always exists.
    layer: str
    #: What the probe attempts, in a few words.
    attempt: str
    source: str
    outcome: Outcome
    #: Part of the expected message.
    says: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeRow:
    """One row of the table."""

    layer: str
    found: ProbeResult
    attempt: str
    #: Finding, or the reason why the layer is missing.
    detail: str


def _blocked(layer: str, attempt: str, *lines: str) -> Probe:
    """Return a probe that should find nothing and run to its end; any other outcome is a failure."""
    source = "\n".join(["import ctypes, os, resource", *lines])
    return Probe(layer=layer, attempt=attempt, source=source, outcome=Outcome.LIFT_FAILED, says=_RAN)


def _got_if(condition: str, what: str) -> str:
    return f"if {condition}: raise RuntimeError('{_GOT} ' + str({what}))"


def probes(memory_bytes: int) -> tuple[Probe, ...]:
    """Return all probes.

    Args:
        memory_bytes: More than a candidate may allocate.
    """
    bubblewrap, seccomp, rlimits = Layer.BUBBLEWRAP, Layer.SECCOMP, Layer.RLIMITS
    hidden = hidden_folders([sys.prefix, sys.base_prefix])
    data_sets = [str(folder / "__init__.py") for folder in hidden]
    network, processes = (repr(os.readlink(f"/proc/self/ns/{each}")) for each in ("net", "pid"))
    forged = "import os\nos.write(3, b'\\0\\0\\0\\2{}')\nos._exit(0)\n"
    lost = _NETWORK.format(init="self.dense.weight.data[0] = float('inf')")
    return (
        _blocked(
            "process",
            "reads the environment; looks for open file descriptors",
            _got_if("os.environ", "dict(os.environ)"),
            "for n in range(4, 4096):",
            "    try: os.fstat(n)",
            "    except OSError: continue",
            f"    raise RuntimeError('{_GOT} descriptor ' + str(n))",
        ),
        _blocked(Layer.USER, "reads its user id", _got_if(f"os.getuid() == {os.getuid()}", "os.getuid()")),
        _blocked(
            bubblewrap, "looks for /etc/passwd", _got_if("os.path.exists('/etc/passwd')", "'/etc/passwd'")
        ),
        _blocked(
            bubblewrap,
            "reads its process namespace",
            _got_if(f"os.readlink('/proc/self/ns/pid') == {processes}", processes),
        ),
        _blocked(
            bubblewrap,
            "looks for data sets in Python's packages",
            *(_got_if(f"os.path.exists({place!r})", repr(place)) for place in data_sets),
        ),
        _blocked(
            bubblewrap,
            "reads its network namespace",
            _got_if(f"os.readlink('/proc/self/ns/net') == {network}", network),
        ),
        _blocked(
            Layer.LANDLOCK,
            "reads a world-readable file",
            "try: print(open('/proc/uptime').read())",
            "except PermissionError as error: assert error.errno == 13",
            f"else: raise RuntimeError('{_GOT} /proc/uptime')",
        ),
        _blocked(seccomp, "starts a process", *_only_eperm("os.fork()")),
        _blocked(seccomp, "opens a socket", "import socket", *_only_eperm("socket.socket()")),
        _blocked(seccomp, "writes a file", *_only_eperm("open('file', 'w')")),
        _blocked(
            seccomp,
            "calls ptrace",
            "trace = ctypes.CDLL(None, use_errno=True).ptrace",
            "trace(0, 0, 0, 0)",
            _got_if("ctypes.get_errno() != 1", "ctypes.get_errno()"),
        ),
        _blocked(
            seccomp,
            "calls unshare",
            "unshare = ctypes.CDLL(None, use_errno=True).unshare",
            "unshare(0)",
            _got_if("ctypes.get_errno() != 1", "ctypes.get_errno()"),
        ),
        Probe(
            layer=rlimits,
            attempt="allocates more memory than allowed",
            outcome=Outcome.OOM,
            source=f"kept = bytearray({memory_bytes})",
        ),
        _blocked(
            rlimits,
            "reads its limits of file size and processes",
            *(
                _got_if(f"resource.getrlimit(resource.{name})[1] != 0", f"'{name}'")
                for name in ("RLIMIT_FSIZE", "RLIMIT_NPROC", "RLIMIT_CORE")
            ),
        ),
        Probe(
            layer="supervisor",
            attempt="runs forever and ignores signals",
            source="import signal\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n"
            "    except (OSError, ValueError): pass\nwhile True: pass\n",
            outcome=Outcome.TIMEOUT,
        ),
        Probe(layer="parser", attempt="forges a result", source=forged, outcome=Outcome.SANDBOX),
        Probe(
            layer="validator", attempt="returns a weight that is not finite", source=lost, outcome=Outcome.NAN
        ),
    )


def _only_eperm(call: str) -> tuple[str, ...]:
    """Return a call that only this layer rejects with EPERM; other layers use other errors."""
    return (
        f"try: {call}",
        "except OSError as error: refused = error.errno",
        "else: refused = 0",
        _got_if("refused != 1", "refused"),
    )


async def try_out(settings: Settings, only: Sequence[Layer] = ()) -> AsyncIterator[ProbeRow]:
    """Run the probes in the lifter that a search would use; yield each as it ends.

    Args:
        settings: Of the search.
        only: Layers to test; none: all, and the parts that always exist.

    Raises:
        ConfigurationError: a required layer is missing.
        LifterUnavailable: the lifter cannot start, or a probe has killed it.
    """
    lifter = settings.lifter.model_copy(update={"processes": 1, "timeout_s": _TIMEOUT_S})
    async with build_processes.lifter(settings.model_copy(update={"lifter": lifter})) as made:
        missing = await made.missing()
        for probe in probes(lifter.memory_mib << 20):
            if only and probe.layer not in only:
                continue
            if probe.layer in missing:
                yield _missing(probe, missing)
                continue
            candidate = Candidate(source=probe.source, class_name="Net", seed=1, task=_TASK)
            yield _judged(probe, await made.lift(candidate))
        yield _cgroup(missing)


def _missing(probe: Probe, missing: Mapping[Layer, str]) -> ProbeRow:
    why = missing[Layer(probe.layer)]
    return ProbeRow(layer=probe.layer, found=ProbeResult.MISSING, attempt=probe.attempt, detail=why)


def _judged(probe: Probe, result: Network | Rejection) -> ProbeRow:
    if isinstance(result, Network):
        found, detail = ProbeResult.BROKEN, "was accepted as a network"
    else:
        detail = f"{result.cause.value}: {result.detail}"
        held = result.cause is probe.outcome and probe.says in result.detail
        found = ProbeResult.HOLDS if held else ProbeResult.BROKEN
        if held and probe.says:
            detail = "found nothing"
    return ProbeRow(layer=probe.layer, found=found, attempt=probe.attempt, detail=detail)


def _cgroup(missing: Mapping[Layer, str]) -> ProbeRow:
    why = missing.get(Layer.CGROUP)
    found = ProbeResult.HOLDS if why is None else ProbeResult.MISSING
    attempt = "a control group with limits of memory and processes"
    return ProbeRow(layer=Layer.CGROUP, found=found, attempt=attempt, detail=why or "created and joined")
