"""The corpus under the full stack: each program ends as its header says, and leaves nothing behind."""

import os
import re
from pathlib import Path

import pytest

from llmatic_daemon.domain import Network
from llmatic_daemon.domain.sandbox import Layer
from tests.benchmarks.bench_sandbox import soak
from tests.corpus.hostile.corpus import KINDS, programs, sample
from tests.corpus.hostile.environment import descendants
from tests.corpus.hostile.harness import DENSE, MIXED, SandboxHarness, candidate, reaches
from tests.corpus.hostile.slots import EVERYTHING, REMOVABLE, WITHOUT, Ended
from tests.support.samples import sampled

PROGRAMS = programs()
#: A second honest network follows these: what they break would be seen in random numbers or layers.
_SEVERAL = ("patched_seeds", "torch_overwrite", "code_overwrite", "memory_of_its_own")
BEARING = [name for name, each in PROGRAMS.items() if each.bearing and not each.always and not each.unproven]
#: What is left on, all else being left out: nothing, or one load-bearing set.
LEFT = (
    frozenset[Layer](),
    *(frozenset({layer}) for layer in REMOVABLE),
    frozenset({Layer.RLIMITS, Layer.USER}),
)


@pytest.mark.parametrize("name", sampled(PROGRAMS, sample()))
def test_program_ends_as_expected_and_leaves_nothing(name: str, harness: SandboxHarness):
    program = PROGRAMS[name]
    slot = harness.slots.without()
    before = descendants(os.getpid())

    ended = harness.run(program, frozenset())

    orphans, changes = harness.tidy(frozenset(), ended, before), harness.repaired()
    got = reaches(program, ended) and program.goal == "GOT"
    harness.seen[program.kind, _verdict(program.ends, ended, got or bool(changes), orphans)] += 1
    assert not got, ended
    assert not changes
    assert not orphans
    assert ended.outcome in program.ends, ended
    assert re.search(program.says, ended.detail), ended
    assert (ended.violation is not None) == (ended.outcome == "sandbox"), ended
    assert program.violates in (None, ended.violation), ended
    _check_network(program.name, ended, harness)
    for honest in (DENSE, MIXED) if name in _SEVERAL else (DENSE,):
        assert _bits(slot.lift(candidate(honest)).network) == _bits(harness.honest(honest))


def _verdict(ends: object, ended: Ended, escaped: bool, orphans: set[int]) -> str:
    if orphans:
        return "orphans"
    if escaped:
        return "escaped"
    if ended.outcome not in ends:  # type: ignore[operator]
        return "another end"
    return "harmless" if ended.outcome == "lifted" else "stopped as expected"


def _check_network(name: str, ended: Ended, harness: SandboxHarness) -> None:
    program = PROGRAMS[name]
    if ended.network is None:
        return
    if program.twin:
        assert _bits(ended.network) == _bits(harness.honest(DENSE))
    if program.parameters is not None:
        assert ended.network.measures.num_parameters == program.parameters


def _bits(network: Network | None) -> tuple[bytes, bytes]:
    assert network is not None, "an honest network was rejected"
    return network.graph, network.weights


# --- which layer bears which load ------------------------------------------------------------------


def _says(left: frozenset[Layer]) -> str:
    return "+".join(sorted(left)) or "no layer"


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", BEARING)
@pytest.mark.parametrize("left", LEFT, ids=_says)
def test_program_is_stopped_by_its_layers_alone_and_by_no_other(
    left: frozenset[Layer], name: str, harness: SandboxHarness
):
    program = PROGRAMS[name]
    _skip_what_cannot_be_shown(left, harness)
    expected = any(layers <= left for layers in program.layers)
    before = descendants(os.getpid())

    ended = harness.run(program, EVERYTHING - left, triage=False)

    harness.tidy(EVERYTHING - left, ended, before)
    harness.repaired()
    if expected:
        assert not reaches(program, ended), ended
    elif os.geteuid() != 0 and Layer.USER in program.bearing and not reaches(program, ended):
        pytest.skip("an ordinary user has no right to it in the first place")
    else:
        assert reaches(program, ended), ended


def _skip_what_cannot_be_shown(left: frozenset[Layer], harness: SandboxHarness) -> None:
    lacking = left & (WITHOUT | harness.slots.without(EVERYTHING - left).missing())
    if lacking:
        pytest.skip(f"there is no {_says(frozenset(lacking))} here")


# --- the corpus itself -----------------------------------------------------------------------------


def test_corpus_has_programs_of_each_kind():
    kinds = [program.kind for program in PROGRAMS.values()]

    assert len(PROGRAMS) >= 110
    assert {kind: kinds.count(kind) for kind in KINDS}.keys() == set(kinds)
    assert all(program.layers or program.always for program in PROGRAMS.values())


def test_no_program_hides_that_it_was_refused():
    """One that catches whatever stops it, and goes on, would be taken for a harmless one."""
    texts = {path.stem: path.read_bytes().decode() for path in Path(__file__).parent.glob("programs/*.py")}

    caught = {name for name, text in texts.items() if re.search(r"except( OSError| Exception)?:", text)}

    assert caught == set()


# --- many in a row ---------------------------------------------------------------------------------


@pytest.mark.parametrize("num_lifts", sampled([15, 60], [15]))
def test_lifts_leave_no_process_and_no_descriptor(num_lifts: int, harness: SandboxHarness):
    done = soak(harness, num_lifts)

    assert done.after.num_processes == done.before.num_processes
    assert done.after.num_descriptors == done.before.num_descriptors
    assert done.after.memory_bytes < done.before.memory_bytes + (16 << 20)
    assert done.num_changed == 0
    assert not done.changes
    assert done.outcomes["error"] == 0
