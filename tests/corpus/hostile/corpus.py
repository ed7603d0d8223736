"""The corpus: each program with what is to become of it, as its header says.

`ends` names the outcomes that it may have under the full stack, `says` is a pattern of the detail,
`violates` is the kind of violation where the outcome is sandbox, and
`stopped by` names what stops it, each alone: layers of the sandbox (joined by + where only both together
do), or one of `ALWAYS`. `goal` is a pattern of "outcome: detail" when nothing stops it; GOT if not given.
"""

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from llmatic_daemon.domain import Candidate, Outcome, Rejection, Task
from llmatic_daemon.domain.sandbox import Layer, Violation
from llmatic_daemon.search.candidates.source import read_text

FOLDER = Path(__file__).parent / "programs"
KINDS = ("resources", "escape", "cheating", "bugs")
#: What stops programs and cannot be left out.
ALWAYS = frozenset(
    ["triage", "process", "supervisor", "parser", "validator", "trainer", "plausibility", "interpreter"]
)
TASK = Task(name="made up", input_shape=(3, 8, 8), num_classes=10, num_train=1, num_validation=1, num_test=1)
SEED = 1
_HEADER = re.compile(r"^# ([a-z ]+): (.*)$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """One file of the corpus."""

    name: str
    text: str = field(repr=False)
    what: str
    kind: str
    ends: frozenset[Outcome | str]
    says: str = ""
    violates: Violation | None = None
    goal: str = "GOT"
    #: Each of these sets of layers stops it alone.
    layers: frozenset[frozenset[Layer]]
    #: Those of `ALWAYS` that stop it.
    always: frozenset[str]
    #: Why it cannot be shown here that it would reach its goal.
    unproven: str = ""
    #: Layers that bear this load alone where they are there; without them it reaches its goal.
    needs: frozenset[Layer] = frozenset()
    #: The honest network that it must be lifted as, bit for bit.
    twin: str = ""
    #: Trainable numbers that it must be measured to have.
    parameters: int | None = None
    #: A training loop in its own interpreter reports a forged score.
    forges: bool = False
    #: The token limit ended it.
    cut: bool = False

    def source(self, victim: dict[str, object]) -> str:
        """Write the answer of an LLM that knows where its victim is."""
        return f"VICTIM = {victim!r}\n{self.text}"

    def triaged(self, victim: dict[str, object]) -> Candidate | Rejection:
        """Read it as the daemon does."""
        return read_text(self.source(victim), (), seed=SEED, task=TASK, cut=self.cut)

    def untriaged(self, victim: dict[str, object]) -> Candidate:
        """Hand it to the lifter as it stands."""
        return Candidate(source=self.source(victim), class_name="Net", seed=SEED, task=TASK)

    @property
    def bearing(self) -> frozenset[Layer]:
        """All layers that take part in stopping it."""
        return frozenset(layer for layers in self.layers for layer in layers)


def _read(path: Path) -> Program:
    text = path.read_bytes().decode()
    header: dict[str, str] = {}
    for line in text.splitlines():
        found = _HEADER.match(line)
        if found is None:
            break
        header[found[1]] = found[2].strip()
    if padding := header.get("padded to"):
        text += "#" * (int(padding) - len(text)) + "\n"
    stops = header["stopped by"].split()
    return Program(
        name=path.stem,
        text=text,
        what=header["what"],
        kind=header["kind"],
        ends=frozenset(Outcome(e) if e != "lifted" else e for e in header["ends"].split(" or ")),
        says=header.get("says", ""),
        violates=Violation(header["violates"]) if "violates" in header else None,
        goal=header.get("goal", "GOT"),
        layers=frozenset(_layers(stop) for stop in stops if stop not in ALWAYS),
        always=ALWAYS.intersection(stops),
        unproven=header.get("unproven", ""),
        needs=frozenset(map(Layer, header.get("needs", "").split())),
        twin=header.get("twin", ""),
        parameters=int(header["parameters"]) if "parameters" in header else None,
        forges=header.get("forges") == "yes",
        cut=header.get("cut") == "yes",
    )


def _layers(stop: str) -> frozenset[Layer]:
    return frozenset(map(Layer, stop.split("+")))


def sample() -> list[str]:
    """Name the first program of each kind, of each end and of each layer or check that stops one."""
    seen, chosen = set[object](), list[str]()
    for name, program in programs().items():
        facets = {program.kind, *program.ends, *program.layers, *program.always}
        if not facets <= seen:
            chosen.append(name)
            seen |= facets
    return chosen


@cache
def programs() -> dict[str, Program]:
    """Read the corpus, by name."""
    return {path.stem: _read(path) for path in sorted(FOLDER.glob("*.py"))}
