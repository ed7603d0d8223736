"""The files of an experiment: tables as CSV and Markdown, and the figures."""

from collections.abc import Sequence, Set
from pathlib import Path

from llmatic_daemon.adapters.nasbench.table import Table
from llmatic_daemon.adapters.storage.experiment_store import Finished
from llmatic_daemon.bootstrap import build
from llmatic_daemon.commands.experiment import figures, tables
from llmatic_daemon.commands.experiment.plan import Plan


def write(plan: Plan, runs: Sequence[Finished], folder: Path) -> list[Path]:
    """Write tables and figures of the runs of a plan; ignore other runs of the database.

    Returns:
        The files, in the order of writing.
    """
    wanted = {job.run: job.fingerprint for job in plan.jobs}
    mine = [run for run in runs if wanted.get(run.run) == run.fingerprint]
    benchmarks = _benchmarks(plan, {run.run.data_set for run in mine})
    accuracies = {
        name: sorted(row.test_200 / 100 for row in table.values()) for name, table in benchmarks.items()
    }
    rows, passing = tables.reached(plan, mine, accuracies), tables.passed(plan, mine)
    files = [folder / name for name in ("results.csv", "passing.csv", "results.md")]
    tables.write_csv(files[0], rows)
    tables.write_csv(files[1], passing)
    files[2].write_text(tables.markdown(plan.name, rows, passing), "utf-8")
    return [*files, *figures.draw(plan, mine, benchmarks, folder)]


def _benchmarks(plan: Plan, found: Set[str]) -> dict[str, Table]:
    """Read the tables of data sets with a finished run; the table of another one may be invalid."""
    settings = [
        plan.job(plan.variants[0], data_set).settings for data_set in plan.data_sets if data_set in found
    ]
    return {each.data.name: build.table(each) for each in settings if each.is_benchmark}
