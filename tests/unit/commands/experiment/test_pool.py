"""Runs in processes: each ends for itself, and all of them with the one who started them."""

import multiprocessing
from contextlib import closing
from pathlib import Path

from llmatic_daemon.adapters.storage.experiment_store import Failed, Finished
from llmatic_daemon.commands.experiment.plan import PlannedRun, plan
from llmatic_daemon.commands.experiment.pool import carry_out, perform
from tests.support import experiment
from tests.support.experiment import TEXT


def jobs(file: Path, seeds: int) -> tuple[PlannedRun, ...]:
    file.write_text(TEXT.replace("seeds = 2", f"seeds = {seeds}").split("[variants.uniform]")[0])
    return plan(str(file)).jobs


def test_run_that_fails_takes_no_other_with_it(file: Path) -> None:
    ended = list(carry_out(jobs(file, 6), 2, experiment.failing_run))

    failed = {each.run.seed: each.reason for each in ended if isinstance(each, Failed)}
    done = sorted(each.run.seed for each in ended if isinstance(each, Finished))
    assert failed == {1: "there is no table", 2: "KeyError: 'a bug'", 3: "its process died"}
    assert done == [0, 4, 5]


def test_run_gives_the_same_in_a_process_of_its_own_as_here_and_imports_no_torch(file: Path) -> None:
    (job,) = jobs(file, 1)

    (there,) = carry_out([job], 1, experiment.what_is_loaded)
    here = perform(job)

    assert isinstance(there, Finished)
    assert there.reason == "", "it names what is loaded"
    assert (there.cost, there.num_queries) == (25, 25)
    assert there.improvements == here.improvements
    assert there.windows == here.windows
    assert there.elites == here.elites
    assert {elite.archive for elite in here.elites} == {"network", "prompt"}


def test_processes_end_when_nobody_wants_more(file: Path) -> None:
    with closing(carry_out(jobs(file, 3), 2, experiment.for_ever)) as ended:
        first = next(ended)

    assert first.run.seed == 0
    assert not [child for child in multiprocessing.active_children() if child.is_alive()]
