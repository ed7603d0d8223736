"""A search driven by a script: several jobs under way at once, in any order."""

from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

from llmatic_daemon.domain import (
    Audit,
    Duplicate,
    Edition,
    Failure,
    Job,
    Network,
    Operator,
    Outcome,
    Placement,
    Proposal,
    Rejection,
    StoppedEarly,
    Trial,
)
from llmatic_daemon.search.evolution import Evolution, apply
from llmatic_daemon.search.placement import audit, due_for_audit, edit, place
from llmatic_daemon.search.proposals import propose, rng_for
from llmatic_daemon.search.variants import STRATEGIES, measures_untrained
from tests.support.fakes import evolution, network, prompt, prompts, report, trial

#: One step of the scheduler: what becomes of one of the jobs under way, or a new job.
Step = tuple[str, int, float]


_NO_CAUSES = (Outcome.TRAINED, Outcome.DUPLICATE, Outcome.STOPPED)


causes = [outcome.value for outcome in Outcome if outcome not in _NO_CAUSES]


kinds = [*["propose"] * 3, *["trained"] * 3, "stopped", "retire", "edit", "fallback", *causes]


def scripts(*more: str) -> st.SearchStrategy[list[Step]]:
    """Draw what happens in a search, some kinds of steps more."""
    kind = st.sampled_from([*kinds, *more])
    return st.lists(st.tuples(kind, st.integers(0, 10**6), st.floats(0.0, 1.0)), max_size=80)


def built(num_cells: int, **rules: Any) -> Evolution:
    """Make a search; a population fills its cells."""
    return evolution(num_cells=num_cells, population_size=num_cells, **rules)


searches = st.builds(
    built,
    num_cells=st.sampled_from([1, 4, 30]),
    variant=st.sampled_from(["llmatic", *STRATEGIES]),
    control_ratio=st.sampled_from([0.0, 0.3]),
    num_initial=st.integers(1, 3),
    window_size=st.integers(1, 7),
    train_initial=st.booleans(),
    duplicates=st.sampled_from(["skip", "train"]),
    tournament_size=st.integers(1, 3),
    mutation_ratio=st.sampled_from([0.0, 0.5, 1.0]),
)


@dataclass
class Scheduler:
    """Drives a search as slots do, several jobs under way at once."""

    live: Evolution
    under_way: list[Proposal] = field(default_factory=list)
    log: list[Placement | Edition | Audit] = field(default_factory=list)
    texts: dict[int, str] = field(default_factory=dict)
    num_jobs: int = 0
    retired: tuple[int, ...] = ()

    def take(self, step: Step) -> None:
        kind, choice, objective = step
        if kind == "retire":
            self.retired = () if self.retired else (choice % 6, (choice // 6) % 6)
            self._edit()
        elif kind == "edit":
            self.texts[choice % 6] = f"now do {choice % 3}"
            self._edit()
        elif kind == "audit":
            self._audit(choice, objective)
        elif kind == "propose" or not self.under_way:
            self.num_jobs += 1
            job = Job(number=self.num_jobs, attempt=1 + choice % 3)
            self.under_way.append(propose(self.live, job, rng_for(1, job)))
        else:
            made = self.under_way.pop(choice % len(self.under_way))
            ended = self._end(made, kind, choice, objective)
            self._add(place(self.live, ended, float(len(self.log))))

    @property
    def placements(self) -> list[Placement]:
        return [entry for entry in self.log if isinstance(entry, Placement)]

    def _edit(self) -> None:
        """Take what the files say now; a new one takes a retired one's slot, as there are six."""
        files = [
            replace(each, text=self.texts.get(number, each.text))
            for number, each in enumerate(prompts(6))
            if number not in self.retired
        ]
        if self.retired and self.num_jobs % 2:
            files.insert(0, prompt("a-new-one", "do something new"))
        edition = edit(self.live, files, 6)
        if edition is not None:
            self._add(edition)

    def _audit(self, choice: int, objective: float) -> None:
        """Train the elite that is due again, if there is one; one in four does not train."""
        due = due_for_audit(self.live)
        if due is not None:
            failure = Failure(cause=Outcome.NAN, detail="no", train_s=1.5)
            result = report(objective) if choice % 4 else failure
            self._add(audit(self.live, due, result, 100))

    def _add(self, entry: Placement | Edition | Audit) -> None:
        self.live = apply(self.live, entry)
        self.log.append(entry)

    def _end(self, made: Proposal, kind: str, choice: int, objective: float) -> Trial:
        lifted = network(f"net {choice % 12}", flops=10 ** (choice % 12), ratio=1 + choice * 37 % 300)
        if kind in (Outcome.NOT_CODE, Outcome.NO_CLASS, Outcome.CONTEXT, Outcome.LIFT_FAILED):
            return trial(made, Rejection(cause=Outcome(kind), detail="no"))
        if duplicate := self._duplicate_of(lifted, choice):
            return trial(made, duplicate, lifted)
        if kind == "stopped":
            cost = 1 / (1 + choice % 7)
            stopped = StoppedEarly(
                rung_accuracy=objective, device="fake:0", wait_s=0.5, train_s=1.0, cost=cost
            )
            return trial(made, stopped, lifted)
        if kind in ("trained", "fallback"):
            rung_accuracy = objective / 2 if choice % 3 else None
            trained = report(objective, rung_accuracy=rung_accuracy)
            return trial(made, trained, lifted, fallback=kind == "fallback")
        return trial(made, Failure(cause=Outcome(kind), detail="no", train_s=1.5), lifted)

    def _duplicate_of(self, lifted: Network, choice: int) -> Duplicate | None:
        rules = self.live.rules
        if rules.duplicates == "train":
            return None
        for before in self.placements:
            counts = not measures_untrained(rules) or before.operator is not Operator.INITIALISATION
            counts &= before.outcome is not Outcome.STOPPED or bool(choice % 2)
            if before.network_digest == lifted.digest and counts and before.outcome.is_reproducible:
                return Duplicate(of=before.job.number, outcome=before.outcome)
        return None
