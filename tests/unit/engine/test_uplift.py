"""What the LLM is worth, shown: in words, as JSON, to Prometheus, in a picture; live and from the state alike."""

import json
import math
import re
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import replace
from functools import reduce
from pathlib import Path

import pytest

from llmatic_daemon.adapters.http import schemas
from llmatic_daemon.adapters.metrics.observer import Metrics
from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.adapters.storage.history_records import StoredStatus
from llmatic_daemon.adapters.storage.sqlite_store import SQLiteStore
from llmatic_daemon.adapters.storage.state_folder import database_path
from llmatic_daemon.cli import views
from llmatic_daemon.commands.plot import bands
from llmatic_daemon.commands.verify import verify
from llmatic_daemon.daemon import main as daemon
from llmatic_daemon.domain import (
    ArmTally,
    Artefacts,
    Comparison,
    Completion,
    Finding,
    Job,
    Outcome,
    Placement,
    Request,
    SearchStatus,
    Uplift,
)
from llmatic_daemon.domain.events import Placed
from llmatic_daemon.engine.control_arm import ControlArm
from llmatic_daemon.search.comparison import uplift
from tests.support.fake_daemon import SOURCE, fake_adapters
from tests.support.fakes import FakeWriter
from tests.support.finished_search import command, settings
from tests.support.metrics import SNAPSHOT, samples
from tests.support.sample_placements import failure, success
from tests.support.views import shown, status

FEW = Comparison(control_ratio=0.1, since=250)
#: The LLM enters more often, and trains no better.
MANY = replace(
    FEW,
    writer=ArmTally(
        num_settled=900,
        num_entered=180,
        num_trained=800,
        objective_sum=56_000_000,
        objective_squares=3_928_000_000_000,
    ),
    control=ArmTally(
        num_settled=100,
        num_entered=5,
        num_trained=90,
        objective_sum=6_300_000,
        objective_squares=441_900_000_000,
    ),
)


def compared(comparison: Comparison | None) -> StoredStatus:
    return replace(status(0, 0), comparison=comparison)


def snapshot(known: Uplift | None) -> SearchStatus:
    return replace(SNAPSHOT, uplift=known)


def arms(num_placements: int) -> Iterable[Placement]:
    """Make every third candidate the control arm's, which never enters and often fails."""
    for number in range(1, num_placements + 1):
        job = Job(number=number, attempt=1)
        if number % 3 == 0:
            yield failure(number, job, by_rule=True, outcome=Outcome.NOT_CODE)
        else:
            yield success(number, job)[0]


# --- in words ------------------------------------------------------------------------------------


def test_status_says_what_each_arm_has_done_and_what_follows():
    said = shown(views.status(compared(MANY)))

    assert "180 of 900 entered (20.0%), mean accuracy 0.7000 of 800 trained" in said
    assert "5 of 100 entered (5.0%), mean accuracy 0.7000 of 90 trained; 10% of the jobs after" in said
    assert re.search(r"entered \+15\.00 points \(\+\d\.\d\d to \+\d\d\.\d\d\), better", said)
    assert re.search(r"accuracy \+0\.00 points \(-0\.\d\d to \+0\.\d\d\), not yet disting", said)


def test_status_says_so_when_an_arm_is_too_small():
    said = shown(views.status(compared(FEW)))

    assert "0 of 0 entered, none trained; 10% of the jobs after candidate 250" in said
    assert "entered not yet distinguishable, fewer than 20 in an arm" in said


def test_status_says_when_a_comparison_was_over():
    said = shown(views.status(compared(replace(MANY, until=1250))))

    assert "10% of the jobs after candidate 250 until 1250" in said


def test_status_is_silent_where_there_never_was_a_control_arm():
    assert "arm" not in shown(views.status(compared(None)))
    assert views.status_facts(compared(None))["uplift"] is None


def test_status_as_json_holds_the_figures_and_not_the_sums():
    facts = json.loads(views.as_json(views.status_facts(compared(MANY))))

    assert "comparison" not in facts
    assert facts["uplift"]["writer"]["num_entered"] == 180
    assert facts["uplift"]["entered"]["finding"] == "better"
    assert facts["uplift"]["entered"]["mean"] == pytest.approx(0.15)


def test_api_tells_the_uplift_and_describes_it():
    schema = schemas.schema(SearchStatus)

    assert schemas.plain(SearchStatus, snapshot(uplift(MANY)))["uplift"]["control"]["num_settled"] == 100
    assert schemas.plain(SearchStatus, snapshot(None))["uplift"] is None
    assert {"Uplift", "Difference", "ArmFigures"} <= schema["$defs"].keys()


# --- to Prometheus -------------------------------------------------------------------------------


def exported(known: Uplift | None) -> dict[tuple[str, ...], float]:
    made = Metrics("1.2.3", 2, ())
    made.watch(lambda: snapshot(known), tuple)
    return samples(made)


def test_metrics_tell_the_uplift_and_its_interval():
    known = uplift(MANY)

    found = exported(known)

    assert known.entered
    assert found["llmatic_uplift_ratio", "low", "entered"] == known.entered.low
    assert found["llmatic_uplift_ratio", "mean", "entered"] == known.entered.mean
    assert found["llmatic_uplift_ratio", "high", "entered"] == known.entered.high
    assert found["llmatic_arm_candidates", "control", "entered"] == 5
    assert found["llmatic_arm_candidates", "writer", "trained"] == 800


@pytest.mark.parametrize("known", [None, uplift(FEW)])
def test_uplift_that_nobody_knows_is_no_number(known: Uplift | None):
    found = exported(known)

    for kind in ("entered", "objective"):
        for bound in ("low", "mean", "high"):
            assert math.isnan(found["llmatic_uplift_ratio", bound, kind])
    assert found["llmatic_arm_candidates", "control", "settled"] == 0


# --- live, and from the state --------------------------------------------------------------------


async def place(store: SQLiteStore, placements: Iterable[Placement]) -> None:
    for each in placements:
        job = await store.dispatch(0)
        content = success(each.number, job)[1] if each.report else Artefacts()
        assert await store.commit(replace(each, job=job), content)


async def test_state_tells_what_the_daemon_told(tmp_path: Path):
    store = await SQLiteStore.open(tmp_path)
    arm = ControlArm(await store.compare(0.25))
    placements = list(arms(90))
    await place(store, placements)
    for each in placements:
        arm.receive(Placed(placement=each))
    await store.close()

    with History(tmp_path) as history:
        stored = history.status().comparison
        faults = history.check()

    assert stored
    assert (stored.writer.num_settled, stored.control.num_settled) == (60, 30)
    assert uplift(stored) == arm.uplift()
    assert faults == ()


async def test_sums_that_the_log_does_not_give_are_found(tmp_path: Path):
    store = await SQLiteStore.open(tmp_path)
    await store.compare(0.25)
    await place(store, arms(6))
    await store.close()
    with sqlite3.connect(database_path(tmp_path)) as database:
        database.execute("UPDATE arm_tallies SET num_entered = 7 WHERE arm = 'control'")
    database.close()

    with History(tmp_path) as history:
        (fault,) = history.check()

    counted = ArmTally(num_settled=2)
    stored = replace(counted, num_entered=7)
    assert fault == f"arm (1, 'control'): the log gives {counted}, stored is {stored}"


def test_daemon_without_a_control_arm_knows_nothing():
    arm = ControlArm(None)
    for each in arms(3):
        arm.receive(Placed(placement=each))

    assert arm.uplift() is None


def test_uplift_is_worked_out_once_between_two_placements():
    arm = ControlArm(MANY)

    first, again = arm.uplift(), arm.uplift()
    arm.receive(Placed(placement=success(1, Job(number=1, attempt=1))[0]))

    assert first is again
    assert first
    assert arm.uplift() != first


def test_placement_costs_the_daemon_nothing_to_speak_of():
    """Intervals are worked out for those who look, not for each of a thousand candidates."""
    arm, (placement, *_) = ControlArm(MANY), arms(1)
    began = time.process_time()
    for _ in range(1000):
        arm.receive(Placed(placement=placement))

    assert time.process_time() - began < 0.1


class Looker:
    """Keeps the view of a search."""

    def __call__(self, view: Callable[[], SearchStatus]) -> None:
        self.view = view
        self.first = view()


async def run(state: Path, num_evaluations: int, control_ratio: float, **more: object) -> Looker:
    """Let the true daemon with fake adapters search; what its LLM writes is prose, half of the time."""
    chosen = settings(
        state,
        budget={"max_evaluations": num_evaluations},
        search={"control_ratio": control_ratio, **more},
        writer={"kind": "tgi"},
        archives={"network_cells": 50, "prompt_cells": 50, "num_samples": 1000},
    )
    adapters = replace(fake_adapters(), writer=nullcontext(Rambler()), rewriter=Coder())
    looker = Looker()
    await daemon.run(chosen, adapters, ready=looker)
    return looker


class Coder(FakeWriter):
    async def complete(self, request: Request) -> Completion:
        return Completion(text=SOURCE.format(request.seed), writer="offline", model="rule")


class Rambler(Coder):
    async def complete(self, request: Request) -> Completion:
        written = await super().complete(request)
        return replace(written, text="no code") if request.seed % 2 else written


async def test_llm_that_writes_prose_is_found_to_be_worse_and_a_restart_forgets_nothing(tmp_path: Path):
    state = tmp_path / "state"
    first = await run(state, 150, 0.5)
    before = first.view().uplift
    again = await run(state, 151, 0.5)

    assert before
    assert again.first.uplift == before
    assert first.first.uplift
    assert first.first.uplift.control.num_settled == 0
    assert before.control.num_trained > before.writer.num_trained
    assert before.entered
    assert before.entered.finding is Finding.WORSE
    with History(state) as history:
        log = list(history.placements())
        assert history.comparison() == reduce(Comparison.after, log, Comparison(control_ratio=0.5, since=0))
    assert verify(state).faults == ()


async def test_another_share_begins_anew_and_none_keeps_the_last(tmp_path: Path):
    state = tmp_path / "state"
    first = await run(state, 20, 0.5)
    other = await run(state, 40, 0.25)
    none = await run(state, 50, 0.0)

    assert other.first.uplift
    assert other.first.uplift.since == first.view().num_settled
    assert other.first.uplift.control.num_settled == 0
    assert none.view().uplift == none.first.uplift
    assert none.first.uplift
    assert none.first.uplift.until == other.view().num_settled
    assert none.first.uplift.control == other.view().uplift.control
    assert verify(state).faults == ()


async def test_search_that_is_all_by_rule_has_no_control_arm(tmp_path: Path):
    looker = await run(tmp_path / "state", 10, 0.5, variant="random-search", population_size=2)

    assert looker.view().uplift is None


async def test_commands_show_the_uplift(tmp_path: Path):
    state = tmp_path / "state"
    await run(state, 60, 0.5)

    shown = command("status", "--state", state).stdout
    facts = json.loads(command("status", "--state", state, "--json").stdout)
    drawn = command("plot", "--state", state, "--out", tmp_path / "pictures")

    assert "control arm" in shown
    assert "50% of the jobs after candidate 0" in shown
    assert facts["uplift"]["control_ratio"] == 0.5
    assert drawn.exit_code == 0, drawn.output
    assert (tmp_path / "pictures" / "uplift.png").exists()


# --- in a picture --------------------------------------------------------------------------------


def test_bands_end_with_what_is_known_now_and_begin_when_enough_is():
    log = list(arms(300))
    now = reduce(Comparison.after, log[100:], replace(FEW, since=100))

    entered, objective = bands(now, log)

    known = uplift(now).entered
    assert known
    assert entered.points[-1] == (300, known.mean, known.low, known.high)
    assert entered.points[0][0] == 159  # 20 of the control arm
    assert objective.points == []  # it never trains


def test_bands_of_a_long_search_are_of_a_bounded_number_of_moments():
    log = list(arms(3000))
    now = reduce(Comparison.after, log, replace(FEW, since=0))

    entered, _ = bands(now, log)

    assert 150 < len(entered.points) <= 201
