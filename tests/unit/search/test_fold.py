"""Folding the log rebuilds the search, however slots interleave and whatever becomes of jobs."""

from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from llmatic_daemon.domain import Edition, Report
from llmatic_daemon.search.auditing import AuditRules
from llmatic_daemon.search.checkpoint import checkpoint_of, resumed
from llmatic_daemon.search.evolution import Evolution, apply, fold
from llmatic_daemon.search.placement import place
from llmatic_daemon.search.variants import Credit, strategy_of
from tests.support.fakes import differences, evolution, proposal, report, trial
from tests.support.scheduler import Scheduler, Step, scripts, searches

steps = scripts()


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
    start = replace(start, audit_rules=AuditRules(ratio=0.7, threshold=4.0))
    scheduler = Scheduler(start)
    for step in script[:cut]:
        scheduler.take(step)
    checkpoint, num_seen = checkpoint_of(scheduler.live), len(scheduler.log)
    for step in script[cut:]:
        scheduler.take(step)

    begun = resumed(start, checkpoint)

    assert begun is not None
    assert differences(fold(begun, scheduler.log[num_seen:]), scheduler.live) == []
    assert fold(begun, scheduler.log[num_seen:]) == scheduler.live
    assert checkpoint_of(fold(start, scheduler.log[:num_seen])) == checkpoint


def test_milestone_of_other_rules_is_not_read():
    """Windows of another length give another search from the same log."""
    checkpoint = checkpoint_of(evolution(window_size=100))

    assert resumed(evolution(window_size=50), checkpoint) is None
    audited = replace(evolution(), audit_rules=AuditRules(ratio=0.5, threshold=4.0))
    assert resumed(audited, checkpoint) is None
    assert resumed(evolution(window_size=100), checkpoint) is not None
