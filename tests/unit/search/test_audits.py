"""Audits: who is trained again, what two figures say, and who holds the cell afterwards."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmatic_daemon.domain import (
    Accuracies,
    Audit,
    Edition,
    Failure,
    Job,
    Operator,
    Outcome,
    Placement,
    Rejection,
    Report,
    Verdict,
)
from llmatic_daemon.search import auditing
from llmatic_daemon.search.auditing import NUM_CONTENDERS, AuditRules, is_drawn, standard_error
from llmatic_daemon.search.evolution import Best, Evolution, apply, fold
from llmatic_daemon.search.placement import audit, due_for_audit, edit, place
from llmatic_daemon.search.proposals import propose, rng_for
from llmatic_daemon.search.summaries import describe
from llmatic_daemon.search.variants import strategy_of
from tests.support.fakes import differences, evolution, network, prompt, prompts, proposal, report, trial
from tests.support.scheduler import Scheduler, Step, scripts, searches

NUM_IMAGES = 100
ALL = AuditRules(ratio=1.0, threshold=4.0)


def search_of(*objectives: float, rules: AuditRules = ALL, **changes: bool) -> Evolution:
    """Settle networks of one cell, one after the other; their jobs are 1, 2, ..."""
    search = replace(evolution(**changes), audit_rules=rules)
    for number, objective in enumerate(objectives, 1):
        search = joined(search, number, objective)
    return search


def joined(search: Evolution, job: int, objective: float) -> Evolution:
    return apply(search, place(search, trial(proposal(job), report(objective)), 0.0))


def audited(search: Evolution, result: float | Report | Failure | Rejection) -> tuple[Evolution, Audit]:
    """Audit the elite that is due."""
    due = due_for_audit(search)
    assert due is not None
    if isinstance(result, float):
        result = report(result)
    made = audit(search, due, result, NUM_IMAGES)
    return apply(search, made), made


def holder(search: Evolution) -> tuple[int, float]:
    ((_, held),) = search.networks.items()
    return held.elite.job, held.objective


# --- what an audit says --------------------------------------------------------------------------


def test_fluke_loses_its_cell_to_the_honest_runner_up():
    search = search_of(0.8, 0.99)
    assert holder(search) == (2, 0.99)

    search, made = audited(search, 0.5)

    assert made.verdict is Verdict.UNSTABLE
    assert (made.job, made.first.objective, made.second.objective) == (2, 0.99, 0.5)
    assert holder(search) == (1, 0.8)
    assert (made.holder, made.holder_figures) == (1, Accuracies(objective=0.8, test_accuracy=0.8))
    assert search.best == Best(0.8, 1)


def test_network_that_a_fluke_turned_down_takes_the_cell():
    search = search_of(0.99, 0.8)

    search, _ = audited(search, 0.5)

    assert holder(search) == (2, 0.8)


def test_stable_elite_keeps_its_cell_with_the_mean():
    search, made = audited(search_of(0.7, 0.82), 0.78)

    assert made.verdict is Verdict.STABLE
    assert holder(search) == (2, pytest.approx(0.80))
    assert made.mean.test_accuracy == pytest.approx(0.80)


def test_unstable_elite_keeps_its_cell_while_its_mean_is_the_best():
    search, made = audited(search_of(0.3, 0.99), 0.5)

    assert made.verdict is Verdict.UNSTABLE
    assert holder(search) == (2, pytest.approx(0.745))


def test_runner_up_that_is_as_good_as_the_mean_takes_nothing():
    search = search_of(0.5, 0.75)

    search, _ = audited(search, 0.25)

    assert holder(search) == (2, 0.5)


def test_newcomer_is_judged_by_the_mean():
    search, _ = audited(search_of(0.9), 0.5)

    search = joined(search, 2, 0.75)

    assert holder(search) == (2, 0.75)


@pytest.mark.parametrize(
    "result",
    [
        Failure(cause=Outcome.NAN, detail="the loss is nan", device="fake:0", train_s=3.0),
        Rejection(cause=Outcome.LIFT_FAILED, detail="no \ud800 such layer"),
    ],
)
def test_network_that_does_not_train_again_has_reached_nothing(result: Failure | Rejection):
    search, made = audited(search_of(0.02, 0.04), result)

    assert made.outcome is result.cause
    assert made.second == Accuracies(objective=0.0, test_accuracy=0.0)
    assert made.verdict is Verdict.UNSTABLE, "whatever the standard errors say"
    made.detail.encode()
    assert search.train_s == 2 * 2.0 + made.train_s


def test_elite_that_fell_is_not_audited_again_and_its_successor_is():
    search, _ = audited(search_of(0.8, 0.99), 0.5)

    search, second = audited(search, 0.78)

    assert second.job == 1
    assert due_for_audit(search) is None
    assert holder(search) == (1, pytest.approx(0.79))


def test_elite_that_was_replaced_in_the_meantime_is_audited_for_the_record():
    search = search_of(0.9)
    due = due_for_audit(search)
    assert due is not None
    for job, objective in ((2, 0.95), (3, 0.96), (4, 0.97)):
        search = joined(search, job, objective)

    made = audit(search, due, report(1.0), NUM_IMAGES)
    after = apply(search, made)

    assert (made.job, made.holder, made.holder_figures.objective) == (1, 4, 0.97)
    assert after.networks == search.networks
    assert after.contenders == search.contenders, "it is forgotten, and stays so"


def test_mean_may_win_a_cell_back():
    search = search_of(0.8)
    due = due_for_audit(search)
    assert due is not None
    search = joined(search, 2, 0.85)

    search = apply(search, audit(search, due, report(0.95), NUM_IMAGES))

    assert holder(search) == (1, pytest.approx(0.875))


def test_credit_is_not_taken_back():
    search = search_of(0.8, 0.99)

    after, _ = audited(search, 0.1)

    changed = {"networks", "contenders", "best", "num_audits", "train_s"}
    assert set(differences(after, search)) == changed


def test_audit_must_be_the_next_entry_of_the_log():
    search, made = audited(search_of(0.8, 0.9), 0.7)

    with pytest.raises(ValueError, match="audit 2 after 2 placements must come next, got 1"):
        apply(search, made)


def test_figure_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="finite"):
        audited(search_of(0.8), float("nan"))


def test_audit_is_told_in_one_line():
    _, fell = audited(search_of(0.8, 0.99), 0.5)
    failure = Failure(cause=Outcome.NAN, detail="the loss is nan", train_s=3.0)
    _, failed = audited(search_of(0.8), failure)

    assert describe(fell) == (
        "audit of candidate 2: UNSTABLE, accuracy 0.990 and 0.500, standard error 0.051; mean "
        "0.745, candidate 1 holds cell 37 with 0.800; training 2.0 s"
    )
    assert "0.800 and 0.000 (nan: the loss is nan)" in describe(failed)
    assert "holds cell 37 with 0.400; training 3.0 s" in describe(failed)


# --- the standard error --------------------------------------------------------------------------


def test_standard_error_is_near_the_binomial_one():
    plain = (2 * 0.25 * 0.75 / 10_000) ** 0.5

    assert standard_error(0.25, 0.25, 10_000) == pytest.approx(plain, rel=0.001)


@pytest.mark.parametrize("sure", [0.0, 1.0])
def test_standard_error_takes_nothing_for_certain(sure: float):
    assert standard_error(sure, sure, 100) == pytest.approx(0.0137, abs=0.0001)


@pytest.mark.parametrize(("threshold", "verdict"), [(3.0, Verdict.UNSTABLE), (4.0, Verdict.STABLE)])
def test_threshold_counts_standard_errors(threshold: float, verdict: Verdict):
    """0.6 and 0.36 of a hundred images are 3.4 standard errors apart."""
    rules = AuditRules(ratio=1.0, threshold=threshold)

    _, made = audited(search_of(0.6, rules=rules), 0.36)

    assert made.verdict is verdict


# --- who is audited ------------------------------------------------------------------------------


def test_share_of_the_candidates_is_drawn_and_always_the_same():
    rules = AuditRules(ratio=0.25, threshold=4.0)

    drawn = [job for job in range(1, 2001) if is_drawn(rules, 1, job)]

    assert 430 < len(drawn) < 570
    assert drawn == [job for job in range(1, 2001) if is_drawn(rules, 1, job)]
    assert drawn != [job for job in range(1, 2001) if is_drawn(rules, 2, job)]


def test_larger_share_audits_whom_the_smaller_one_did_too():
    small, large = (AuditRules(ratio=share, threshold=4.0) for share in (0.2, 0.5))

    assert all(is_drawn(large, 1, job) for job in range(500) if is_drawn(small, 1, job))


def test_nothing_is_due_with_share_0():
    assert due_for_audit(search_of(0.8, 0.9, rules=AuditRules(ratio=0.0, threshold=4.0))) is None


def test_only_elites_are_due_the_oldest_first():
    search = search_of(0.9, 0.5)
    far = replace(proposal(3), seed=1)
    search = apply(search, place(search, trial(far, report(0.3), network("far", ratio=190)), 0.0))

    due = due_for_audit(search)

    assert due is not None
    assert due.contender.elite.job == 1
    assert sorted(search.contenders.due.values()) == [1, 3]


def test_seed_of_an_audit_is_never_one_of_a_proposal():
    search = evolution()
    seeds = [
        propose(search, job, rng_for(1, job)).seed
        for job in (Job(number=number, attempt=1) for number in range(1, 50))
    ]
    due = due_for_audit(search_of(0.9))

    assert due is not None
    assert max(seeds) < 2**31 <= due.seed < 2**32


def test_network_that_was_measured_untrained_is_not_due():
    """Its second training would be its first."""
    search = replace(evolution(train_initial=False), audit_rules=ALL)
    made = replace(proposal(1), operator=Operator.INITIALISATION)

    search = apply(search, place(search, trial(made, report(0.1)), 0.0))

    assert len(search.networks) == 1
    assert due_for_audit(search) is None


# --- the whole search ----------------------------------------------------------------------------

audited_searches = st.builds(
    lambda search, share: replace(search, audit_rules=AuditRules(ratio=share, threshold=4.0)),
    searches.filter(lambda search: strategy_of(search.rules).is_map),
    st.sampled_from([0.5, 1.0]),
)
audited_scripts = scripts(*["audit"] * 5, *["trained"] * 6)


def naive_means(log: list[Placement | Edition | Audit]) -> dict[int, dict[int, float]]:
    """Give each network of each cell the mean of its figures, and forget none."""
    cells: dict[int, dict[int, float]] = {}
    for entry in log:
        if isinstance(entry, Placement) and entry.cell is not None and entry.objective is not None:
            cells.setdefault(entry.cell, {})[entry.job.number] = entry.objective
        elif isinstance(entry, Audit):
            before = cells[entry.cell][entry.job]
            cells[entry.cell][entry.job] = (before + entry.second.objective) / 2
    return cells


@settings(max_examples=150, deadline=None)
@given(start=audited_searches, script=audited_scripts)
def test_archive_after_any_log_is_what_a_naive_recomputation_gives(start: Evolution, script: list[Step]):
    """A network is forgotten behind three better ones: three audits must fall for it to be missed."""
    scheduler = Scheduler(start)
    for step in script:
        scheduler.take(step)
    live, means = scheduler.live, naive_means(scheduler.log)
    num_audits = {cell: sum(isinstance(e, Audit) and e.cell == cell for e in scheduler.log) for cell in means}

    assert {cell for cell, _ in live.networks.items()} == means.keys()
    for cell, held in live.networks.items():
        assert means[cell][held.elite.job] == held.objective
        best = max(means[cell].values())
        assert held.objective == best or (num_audits[cell] >= NUM_CONTENDERS and held.objective < best)


@settings(max_examples=150, deadline=None)
@given(start=audited_searches, script=audited_scripts)
def test_fold_of_a_log_with_audits_equals_the_live_search(start: Evolution, script: list[Step]):
    scheduler = Scheduler(start)
    for step in script:
        scheduler.take(step)
    live = scheduler.live

    assert fold(start, scheduler.log) == live
    for cell, held in live.networks.items():
        first, *others = live.contenders.of(cell)
        assert (first.elite, first.figures.objective) == (held.elite, held.objective)
        assert len(others) < NUM_CONTENDERS
        assert (live.contenders.due.get(cell) == held.elite.job) == first.wants_audit
    best = max((held.objective for _, held in live.networks.items()), default=None)
    assert (live.best.objective if live.best else None) == best


@settings(max_examples=100, deadline=None)
@given(start=searches, script=audited_scripts)
def test_search_that_audits_nothing_decides_as_it_always_did(start: Evolution, script: list[Step]):
    """The share is not looked at by anything but the audits: the log is the same, bit for bit."""
    without = Scheduler(start)
    drawn = Scheduler(replace(start, audit_rules=ALL))
    for step in script:
        if step[0] != "audit":
            without.take(step)
            drawn.take(step)

    assert without.log == drawn.log


def test_audit_and_edition_after_the_same_placement_commute():
    """The log keeps no order between the two."""
    search = search_of(0.8, 0.99)
    _, made = audited(search, 0.5)
    edition = edit(search, [*prompts(3), prompt("new", "do it anew")], 16)
    assert edition is not None

    assert fold(search, [made, edition]) == fold(search, [edition, made])


def test_contenders_of_a_cell_are_few_however_many_come():
    search = search_of(*(0.5 + 0.4 * ((7 * n) % 50) / 50 for n in range(50)))

    ((_, kept),) = search.contenders.ranked.items()

    assert len(kept) == auditing.NUM_CONTENDERS
    assert [each.figures.objective for each in kept] == sorted(
        (each.figures.objective for each in kept), reverse=True
    )
