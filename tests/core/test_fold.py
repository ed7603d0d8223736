"""Folding the log rebuilds the search, however slots interleave and whatever becomes of jobs."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
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
    Report,
    StoppedEarly,
    Trial,
)
from llmatic_daemon.search.auditing import AuditRules
from llmatic_daemon.search.checkpoint import milestone_of, resumed
from llmatic_daemon.search.evolution import Evolution, apply, fold
from llmatic_daemon.search.placement import audit, due_for_audit, edit, place
from llmatic_daemon.search.proposals import propose, rng_for
from llmatic_daemon.search.variants import STRATEGIES, Credit, strategy_of
from tests.fakes import differences, evolution, network, prompt, prompts, proposal, report, trial

#: One step of the scheduler: what becomes of one of the jobs under way, or a new job.
Step = tuple[str, int, float]

_NO_CAUSES = (Outcome.TRAINED, Outcome.DUPLICATE, Outcome.STOPPED)
causes = [outcome.value for outcome in Outcome if outcome not in _NO_CAUSES]
kinds = [*["propose"] * 3, *["trained"] * 3, "stopped", "retire", "edit", "stand-in", *causes]


def scripts(*more: str) -> st.SearchStrategy[list[Step]]:
    """Draw what happens in a search, some kinds of steps more."""
    kind = st.sampled_from([*kinds, *more])
    return st.lists(st.tuples(kind, st.integers(0, 10**6), st.floats(0.0, 1.0)), max_size=80)


steps = scripts()


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
        if kind in ("trained", "stand-in"):
            rung_accuracy = objective / 2 if choice % 3 else None
            trained = report(objective, rung_accuracy=rung_accuracy)
            return trial(made, trained, lifted, fallback=kind == "stand-in")
        return trial(made, Failure(cause=Outcome(kind), detail="no", train_s=1.5), lifted)

    def _duplicate_of(self, lifted: Network, choice: int) -> Duplicate | None:
        rules = self.live.rules
        if rules.duplicates == "train":
            return None
        for before in self.placements:
            counts = not rules.measures_untrained or before.operator is not Operator.INITIALISATION
            counts &= before.outcome is not Outcome.STOPPED or bool(choice % 2)
            if before.network_digest == lifted.digest and counts and before.outcome.is_reproducible:
                return Duplicate(of=before.job.number, outcome=before.outcome)
        return None


def qualities(search: Evolution) -> list[dict[int, float]]:
    archives = (search.networks, search.individuals)
    return [{cell: held.objective for cell, held in archive.items()} for archive in archives]


@settings(max_examples=150, deadline=None)
@given(start=searches, script=steps)
def test_fold_of_the_log_equals_the_live_search(start: Evolution, script: list[Step]):
    scheduler = Scheduler(start)
    for step in script:
        scheduler.take(step)

    assert differences(fold(start, scheduler.log), scheduler.live) == []
    assert fold(start, scheduler.log) == scheduler.live


@settings(max_examples=100, deadline=None)
@given(start=searches, script=steps)
def test_search_never_loses_quality_in_a_cell(start: Evolution, script: list[Step]):
    is_map, keeps = strategy_of(start.rules).is_map, strategy_of(start.rules).credit
    assume(is_map and keeps is Credit.ARCHIVE)
    scheduler = Scheduler(start)
    for step in script:
        before = qualities(scheduler.live)
        scheduler.take(step)
        last = scheduler.log[-1:]
        emptied = [(), last[0].emptied if last and isinstance(last[0], Edition) else ()]
        for old, new, gone in zip(before, qualities(scheduler.live), emptied, strict=True):
            assert all(cell in gone or new[cell] >= objective for cell, objective in old.items())


@settings(max_examples=100, deadline=None)
@given(start=searches, script=steps)
def test_placements_add_up_to_the_counts_of_the_search(start: Evolution, script: list[Step]):
    scheduler = Scheduler(start)
    for step in script:
        scheduler.take(step)
    log, live = scheduler.placements, scheduler.live

    assert [placement.number for placement in log] == list(range(1, live.num_settled + 1))
    assert live.cost == sum(placement.cost for placement in log)
    assert live.num_evaluations == sum(isinstance(p.report, Report) for p in log)
    assert live.train_s == sum(placement.durations.train_s for placement in log)
    assert sum(live.scores.values()) == sum(placement.score_change for placement in log)
    best = max((p.objective for p in log if p.objective is not None), default=None)
    assert (live.best.objective if live.best else None) == best


@settings(max_examples=100, deadline=None)
@given(start=searches, script=steps)
def test_curiosity_of_an_elite_is_the_sum_of_its_credit(start: Evolution, script: list[Step]):
    assume(strategy_of(start.rules).credit is Credit.ARCHIVE)
    scheduler = Scheduler(start)
    for step in script:
        scheduler.take(step)

    for cell, held in scheduler.live.individuals.items():
        offered = next(p for p in scheduler.placements if p.job.number == held.elite.job).offer
        credit = [
            placement.curiosity_change
            for placement in scheduler.placements
            if (placement.credited_cell, placement.credited_job) == (cell, held.elite.job)
        ]
        assert offered is not None
        assert held.elite.curiosity == offered.curiosity + sum(credit)


def test_apply_refuses_a_placement_that_is_not_the_next():
    search = evolution()
    placement = place(search, trial(proposal(), report(0.5)), 0.0)
    search = apply(search, placement)

    with pytest.raises(ValueError, match="placement 2 must come next, got 1"):
        apply(search, placement)


# --- milestones ------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(start=searches, script=scripts("audit", "edit"), cut=st.integers(0, 80))
def test_search_that_is_resumed_from_a_milestone_goes_on_as_if_nothing_had_been(
    start: Evolution, script: list[Step], cut: int
):
    start = replace(start, audit_rules=AuditRules(share=0.7, threshold=4.0))
    scheduler = Scheduler(start)
    for step in script[:cut]:
        scheduler.take(step)
    checkpoint, num_seen = milestone_of(scheduler.live), len(scheduler.log)
    for step in script[cut:]:
        scheduler.take(step)

    begun = resumed(start, checkpoint)

    assert begun is not None
    assert differences(fold(begun, scheduler.log[num_seen:]), scheduler.live) == []
    assert fold(begun, scheduler.log[num_seen:]) == scheduler.live
    assert milestone_of(fold(start, scheduler.log[:num_seen])) == checkpoint


def test_milestone_of_other_rules_is_not_read():
    """Windows of another length give another search from the same log."""
    checkpoint = milestone_of(evolution(window_size=100))

    assert resumed(evolution(window_size=50), checkpoint) is None
    audited = replace(evolution(), audit_rules=AuditRules(share=0.5, threshold=4.0))
    assert resumed(audited, checkpoint) is None
    assert resumed(evolution(window_size=100), checkpoint) is not None
