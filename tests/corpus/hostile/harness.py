"""One sandbox environment, its lifters, and their results: shared by all tests of the corpus."""

import ctypes
import os
import re
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from llmatic_daemon.domain import Candidate, Network, Outcome, Rejection
from llmatic_daemon.domain.sandbox import Layer
from tests.corpus.hostile.corpus import KINDS, SEED, TASK, Program
from tests.corpus.hostile.environment import SandboxEnvironment, descendants, kill_all
from tests.corpus.hostile.slots import PATIENT_S, SHORT_S, Ended, Slots

_SUBREAPER = 36
#: The honest network that many programs are, beside what they try.
DENSE = """import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        return self.f(x.flatten(1))
"""
#: A network with more to lose: random weights of several kinds, buffers, dropout.
MIXED = """import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(3, 8, 3, padding=1)
        self.b = nn.BatchNorm2d(8)
        self.d = nn.Dropout(0.1)
        self.f = nn.Linear(8 * 16, 10)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.b(self.c(x))), 2)
        return self.f(self.d(x.flatten(1)))
"""


def candidate(source: str) -> Candidate:
    return Candidate(source=source, class_name="Net", seed=SEED, task=TASK)


class SandboxHarness:
    """Run programs and find what they have changed."""

    def __init__(self) -> None:
        self.tmp = Path(tempfile.mkdtemp(prefix="hostile-tmp-"))
        self.tmp.chmod(0o1777)
        os.environ["TMPDIR"] = str(self.tmp)
        os.environ["LLMATIC_LLM_TOKEN"] = "decoy"
        # An orphan becomes our child, wherever it hides.
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
        self.slots = Slots()
        self.environment = SandboxEnvironment(self.tmp)
        #: For the table: (kind, verdict).
        self.seen: Counter[tuple[str, str]] = Counter()
        #: Lifted by the slot with all layers while nobody has used it: a start takes seconds.
        self._honest: dict[str, Network] = {}
        for each in (DENSE, MIXED):
            self._honest[each] = self.slots.without().lift(candidate(each)).network  # type: ignore[assignment]

    def close(self) -> None:
        self.slots.close()
        self.environment.close()
        shutil.rmtree(self.tmp, ignore_errors=True)
        ctypes.CDLL(None).prctl(_SUBREAPER, 0, 0, 0, 0)
        del os.environ["TMPDIR"], os.environ["LLMATIC_LLM_TOKEN"]

    def honest(self, source: str) -> Network:
        """Return what a slot that nobody has used makes of a source."""
        return self._honest[source]

    def run(self, program: Program, without: frozenset[Layer], *, triage: bool = True) -> Ended:
        """Read and lift one program."""
        read = program.triaged(self.environment.victim)
        if isinstance(read, Rejection):
            if triage:
                return Ended(read.cause.value, read.detail)
            read = program.untriaged(self.environment.victim)
        return self.slots.without(without).lift(read, time_of(program))

    def tidy(self, without: frozenset[Layer], ended: Ended, before: set[int]) -> set[int]:
        """End what a lift has left behind, and say what it was; `before` it these processes were there."""
        if ended.outcome == "error":  # its parent is gone: the next one is no orphan
            self.slots.without(without).lift(candidate(DENSE))
            return set()
        orphans = descendants(os.getpid()) - before
        kill_all(orphans)
        return orphans

    def outlasts(self, program: Program, seconds: float) -> bool:
        """Tell whether a program still runs after so many seconds, when nobody ends it; then end it."""
        read = program.triaged(self.environment.victim)
        assert isinstance(read, Candidate)
        lift = self.slots.without().begin(read, time_s=600.0)
        try:
            lift.result(timeout=seconds)
        except TimeoutError:
            return True
        finally:
            lift.cancel()
        return False

    def repaired(self) -> list[str]:
        """Name what has changed, and replace the environment if something has."""
        changes = self.environment.changes()
        if changes:
            self.environment.close()
            self._empty_tmp()
            self.environment = SandboxEnvironment(self.tmp)
        return changes

    def _empty_tmp(self) -> None:
        for place in self.tmp.iterdir():
            if place.is_dir() and not place.is_symlink():
                if not place.name.startswith("torchinductor_"):
                    shutil.rmtree(place, ignore_errors=True)
            else:
                place.unlink()

    def table(self) -> list[str]:
        """Lay out what was seen, by kinds of programs and verdicts."""
        verdicts = ["stopped as expected", "harmless", "another end", "escaped", "forged", "orphans"]
        lines = ["".join(each.rjust(21) for each in ("", *verdicts))]
        for kind in KINDS:
            counts = [self.seen[kind, verdict] for verdict in verdicts]
            lines.append(kind.rjust(21) + "".join(str(each).rjust(21) for each in counts))
        return lines


def time_of(program: Program) -> float:
    """Those that are expected to use up their time get little."""
    return SHORT_S if Outcome.TIMEOUT in program.ends else PATIENT_S


def reaches(program: Program, ended: Ended) -> bool:
    """Tell whether a program got what it wanted."""
    return re.search(program.goal, str(ended)) is not None
