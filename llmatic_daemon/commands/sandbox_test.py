"""Probes: small programs that try to escape the sandbox of this machine, at least one for each layer."""

import os
import sys
import tomllib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from string import Template

from llmatic_daemon.bootstrap import build_processes
from llmatic_daemon.config.settings import Settings
from llmatic_daemon.domain import Candidate, Network, Outcome, Rejection, Task
from llmatic_daemon.domain.sandbox import Layer, hidden_folders

#: A probe needs no data, and no large network.
_TASK = Task(name="probe", input_shape=(1, 8, 8), num_classes=10, num_train=0, num_validation=0, num_test=0)
#: Part of the lifter's message for a program that ran to its end and is not a network.
_RAN = "must be a class"
#: Time limit of the probe that never ends.
_TIMEOUT_S = 10.0


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


def probes(memory_bytes: int) -> tuple[Probe, ...]:
    """Return all probes, as `sandbox_probes.toml` describes them.

    Args:
        memory_bytes: More than a candidate may allocate.
    """
    network, processes = (repr(os.readlink(f"/proc/self/ns/{each}")) for each in ("net", "pid"))
    facts = {
        "uid": os.getuid(),
        "network": network,
        "processes": processes,
        "data_sets": [
            str(folder / "__init__.py") for folder in hidden_folders([sys.prefix, sys.base_prefix])
        ],
        "memory_bytes": memory_bytes,
    }
    text = resources.files("llmatic_daemon.commands").joinpath("sandbox_probes.toml").read_text("utf-8")
    return tuple(_probe(facts, **written) for written in tomllib.loads(text)["probe"])


def _probe(facts: Mapping[str, object], layer: str, attempt: str, source: str, outcome: str = "") -> Probe:
    """Return a probe; without an outcome, anything but running to its end is a failure."""
    program = Template(source).substitute(facts)
    if outcome:
        return Probe(layer=layer, attempt=attempt, source=program, outcome=Outcome(outcome))
    program = f"import ctypes, os, resource\n{program}"
    return Probe(layer=layer, attempt=attempt, source=program, outcome=Outcome.LIFT_FAILED, says=_RAN)


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
