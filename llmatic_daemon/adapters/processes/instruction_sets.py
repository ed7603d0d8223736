"""Instruction set levels of this processor, at which oneDNN and torch's own kernels can be made to run."""

import difflib
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llmatic_daemon.domain.errors import ConfigurationError

_ONEDNN, _ATEN = "ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY"
#: The level that a trainer uses.
OWN = "DEFAULT"


@dataclass(frozen=True, kw_only=True, slots=True)
class InstructionSet:
    """A level, named as oneDNN names it, with the matching level of torch's own kernels."""

    name: str
    #: Flags of /proc/cpuinfo that it needs.
    flags: frozenset[str] = frozenset()
    #: Variables of the environment that select it.
    environment: Mapping[str, str] = field(default_factory=dict)


def _level(name: str, aten: str, *flags: str) -> InstructionSet:
    variables = {_ONEDNN: name, _ATEN: aten}
    return InstructionSet(name=name, flags=frozenset(flags), environment=variables)


_AVX512 = ("avx512f", "avx512bw", "avx512vl", "avx512dq")
#: From low to high; levels that add 8-bit integers alone change no kernel of a network here.
_LEVELS = (
    _level("SSE41", "default", "sse4_1"),
    _level("AVX2", "avx2", "avx2", "fma"),
    _level("AVX512_CORE", "avx512", *_AVX512),
    _level("AVX512_CORE_BF16", "avx512", *_AVX512, "avx512_bf16"),
    _level("AVX512_CORE_AMX", "avx512", *_AVX512, "avx512_bf16", "amx_tile", "amx_bf16"),
)


def _own_level() -> InstructionSet:
    """Return what a trainer uses: the best that the processor has, or what the environment asks for."""
    return InstructionSet(name=OWN, environment=chosen())


def chosen() -> dict[str, str]:
    """Return the variables of this environment that select a level."""
    return {name: os.environ[name] for name in (_ONEDNN, _ATEN) if name in os.environ}


def processor() -> str:
    """Return the processor's model."""
    lines = _cpuinfo().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""


def processor_flags() -> frozenset[str]:
    """Return the instruction sets that the processor has, as Linux names them."""
    lines = [line for line in _cpuinfo().splitlines() if line.startswith("flags")]
    return frozenset(lines[0].partition(":")[2].split()) if lines else frozenset()


def available(flags: frozenset[str]) -> list[InstructionSet]:
    """Return the levels of a processor, from low to high; the last is what it uses without a variable.

    The highest level that has a name is that one, and is left out.
    """
    below = [level for level in _LEVELS if level.flags <= flags][:-1]
    return [*below, _own_level()]


def named(name: str, flags: frozenset[str]) -> InstructionSet:
    """Return a level by its name, in any case.

    Raises:
        ConfigurationError: there is no such level, or the processor lacks it.
    """
    wanted = name.upper()
    known = (*_LEVELS, _own_level())
    level = {each.name: each for each in known}.get(wanted)
    has = ", ".join(each.name for each in known if each.flags <= flags)
    if level is None:
        near = difflib.get_close_matches(wanted, [each.name for each in known], 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigurationError(f"--isa: expected one of {has}, got {name!r}{hint}")
    if missing := sorted(level.flags - flags):
        raise ConfigurationError(
            f"--isa: expected a level that this processor has ({has}), got {level.name}, which needs "
            f"{', '.join(missing)}; choose another, or leave --isa out to try all it has"
        )
    return level


def alternatives(level: InstructionSet) -> Sequence[Mapping[str, str]]:
    """Return environments that avoid kernels of a level on this processor, the fastest first."""
    has = [each for each in _LEVELS if each.flags <= processor_flags()]
    below = has[: has.index(level)] if level in has else has[:-1]
    onednn = [{_ONEDNN: each.environment[_ONEDNN]} for each in reversed(below)]
    return [*onednn, {_ATEN: "default"}, {_ONEDNN: "SSE41", _ATEN: "default"}]
