"""What the commands say of audits, of first looks, and of who has written."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from llmatic_daemon.adapters.storage.history_records import Ancestor, StoredElite
from llmatic_daemon.cli import views
from llmatic_daemon.domain import Accuracies, Audit, Job, Operator, Outcome, Placement, TrainerDeath, Verdict
from tests.support.sample_placements import audit, death, failure, success
from tests.support.views import shown, status


@pytest.fixture
def placement() -> Placement:
    return success(7, Job(number=7, attempt=1))[0]


def elite(placement: Placement, verdict: Verdict | None) -> StoredElite:
    assert placement.measures
    return StoredElite(
        cell=3,
        job=placement.job.number,
        objective=0.5,
        test_accuracy=0.5,
        measures=placement.measures,
        operator=Operator.MUTATION,
        prompt="widen",
        temperature=0.5,
        train_s=1.0,
        source_digest="s",
        network_digest="n",
        verdict=verdict,
    )


def candidate(placement: Placement, made: Audit | None, deaths: Sequence[TrainerDeath] = ()) -> str:
    ancestor = Ancestor(
        job=7,
        distance=0,
        parents=(),
        operator=Operator.MUTATION,
        prompt="widen",
        temperature=None,
        objective=None,
        source_digest=None,
    )
    return shown(views.candidate(placement, made, deaths, [ancestor], None, None))


def test_status_counts_audits_when_there_are_any():
    assert "12, 3 of them unstable" in shown(views.status(status(12, 3)))
    assert "audits" not in shown(views.status(status(0, 0)))


def test_status_counts_trainers_that_died_and_names_what_is_out_of_service():
    now = replace(status(0, 0), num_trainer_deaths=4, devices_out_reasons={"cuda:1": "restart the daemon"})

    text = shown(views.status(now))

    assert "4, while they trained a network" in text
    assert "cuda:1: restart the daemon" in text
    assert "trainers died" not in shown(views.status(status(0, 0)))


def test_show_tells_of_the_trainers_that_a_network_ended(placement: Placement):
    died, _ = death(1, suspects=(3, 5), detail="after 1.2 s: a last word")

    text = candidate(placement, None, [died])

    assert "ended trainer on cpu:0 (SIGSEGV) with seed 7: after 1.2 s: a last word" in text
    assert "candidates 3, 5" in text


def test_elites_are_marked_when_any_was_audited(placement: Placement):
    unstable, unknown = elite(placement, Verdict.UNSTABLE), elite(placement, None)

    first, second = shown(views.elites([unstable, unknown])).splitlines()[1:]

    assert first.rstrip().endswith("unstable")
    assert second.rstrip().endswith("(widen)")
    assert "audit" not in shown(views.elites([unknown]))


def test_show_tells_both_figures_and_the_verdict(placement: Placement):
    made = audit(
        1,
        placement,
        first=Accuracies(objective=0.99, test_accuracy=0.9),
        second=Accuracies(objective=0.5, test_accuracy=0.4),
        standard_error=0.05,
        verdict=Verdict.UNSTABLE,
    )

    text = candidate(placement, made)

    assert (
        f"audit: unstable, accuracy 0.9900 and 0.5000 with seed {made.seed}, 9.8 standard errors "
        "apart; mean 0.7450, test 0.6500"
    ) in text
    assert "audit" not in candidate(placement, None)


def test_show_tells_why_an_audit_failed(placement: Placement):
    made = audit(1, placement, outcome=Outcome.NAN, detail="the loss is nan")

    assert "(nan: the loss is nan)" in candidate(placement, made)


def test_candidate_tells_of_its_first_look_and_of_who_has_written_it() -> None:
    stopped = failure(
        1,
        Job(number=1, attempt=1),
        outcome=Outcome.STOPPED,
        by_rule=True,
        rung_accuracy=0.25,
        cost=0.1,
        detail="stopped early: accuracy 0.250 at the rung was too low",
        writer="offline",
        model="rewriter",
    )

    text = candidate(stopped, None)

    assert "written by: rewriter in 0.0 s (control arm)" in text
    assert "outcome: stopped: stopped early: accuracy 0.250 at the rung was too low" in text
    assert "early-stopping rung: accuracy 0.2500; 0.10 of a full training in total" in text
