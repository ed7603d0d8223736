"""What the sandbox costs a lift, and what a thousand lifts leave behind, one in three of them hostile.

`python -m tests.benchmarks.bench_sandbox [LIFTS]` from the root of a checkout.
"""

import itertools
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llmatic_daemon.domain import Candidate, Outcome
from tests.corpus.hostile.corpus import programs
from tests.corpus.hostile.environment import descendants
from tests.corpus.hostile.harness import DENSE, MIXED, SandboxHarness, candidate
from tests.corpus.hostile.slots import EVERYTHING, Slot

_NUM_PAIRS = 40
_UNMEASURED = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Footprint:
    """What a warm parent holds."""

    num_processes: int
    num_descriptors: int
    #: Of the warm parent's own, private memory.
    memory_bytes: int


def footprint(slot: Slot) -> Footprint:
    """Measure the warm parent, below whatever it was started inside of."""
    (top,) = slot.lifter.pids
    below = {top} | descendants(top)
    parent = max(below, key=_memory_bytes)
    return Footprint(
        num_processes=len(below), num_descriptors=_num_descriptors(parent), memory_bytes=_memory_bytes(parent)
    )


def _num_descriptors(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except PermissionError:  # it hides from its own user
        return 0


def _memory_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except PermissionError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line[:13] == "Private_Dirty"), 0)


def mixture(harness: SandboxHarness) -> Iterator[Candidate]:
    """Alternate honest networks with hostile ones, without end; those that take all their time are left out."""
    hostile = [
        read
        for program in programs().values()
        if Outcome.TIMEOUT not in program.ends
        and isinstance(read := program.triaged(harness.environment.victim), Candidate)
    ]
    for each in itertools.cycle(hostile):
        yield from (candidate(DENSE), each, candidate(MIXED))


@dataclass(frozen=True, kw_only=True, slots=True)
class Soak:
    """What many lifts left behind in one warm parent."""

    before: Footprint
    after: Footprint
    outcomes: Counter[str]
    #: Honest networks that were not lifted to the same bits as the first time.
    num_changed: int
    changes: list[str]


def soak(harness: SandboxHarness, num_lifts: int) -> Soak:
    """Lift so many candidates in one slot, one in three hostile."""
    slot, first = harness.slots.without(), {}
    outcomes, num_changed = Counter[str](), 0
    before = None
    for number, each in enumerate(itertools.islice(mixture(harness), num_lifts + _UNMEASURED)):
        if number == _UNMEASURED:
            before = footprint(slot)
        ended = slot.lift(each)
        outcomes[ended.outcome] += 1
        if each.source in (DENSE, MIXED):
            bits = ended.network and (ended.network.graph, ended.network.weights)
            num_changed += first.setdefault(each.source, bits) != bits
    assert before is not None
    return Soak(
        before=before,
        after=footprint(slot),
        outcomes=outcomes,
        num_changed=num_changed,
        changes=harness.environment.changes(),
    )


def cost(harness: SandboxHarness) -> tuple[list[float], list[float]]:
    """Time lifts with all layers and with none, in pairs, one right after the other; seconds each."""
    slots = harness.slots.without(), harness.slots.without(EVERYTHING)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(_NUM_PAIRS):
        for slot, taken in zip(slots, times, strict=True):
            started = time.perf_counter()
            slot.lift(candidate(MIXED))
            taken.append(time.perf_counter() - started)
    return times


def main() -> None:
    harness = SandboxHarness()
    try:
        inside, bare = cost(harness)
        difference = [a - b for a, b in zip(inside, bare, strict=True)]
        for name, taken in (("all layers", inside), ("no layer", bare), ("difference", difference)):
            cuts = statistics.quantiles(taken, n=4)
            print(
                f"{name}: median {cuts[1] * 1e3:.1f} ms, quartiles {cuts[0] * 1e3:.1f} to {cuts[2] * 1e3:.1f}"
            )
        done = soak(harness, int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
        print("before", done.before)
        print("after ", done.after)
        print(f"outcomes {dict(done.outcomes)}, honest networks changed: {done.num_changed}")
        print("the environment has changed:", done.changes or "no")
    finally:
        harness.close()


if __name__ == "__main__":
    main()
