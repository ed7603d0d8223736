"""What 0.5.0 wrote is opened, continued and verified by this version; both are run for real."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.commands.verify import verify
from llmatic_daemon.domain import Durations, Placement
from tests.support import nasbench_table
from tests.support.version_0_5_0 import Installed, install, needs_the_history, this_version

pytestmark = [pytest.mark.system, pytest.mark.timeout(600), needs_the_history]

#: Each setting that has another name now, as 0.5.0 knew it.
OLD_SETTINGS = """
state_dir = "state"

[data]
name = "nasbench201-cifar10"
folder = "cells.csv"

[search]
seed = 7
jitter = 0.12
jitter_ratio = 0.11

[archives]
flops_low = 7_783_050
flops_high = 220_125_540
ratio_low = 16.0
ratio_high = 128.0
ratio_scale = "log"
prompt_slots = 20

[fidelity]
look_ratio = 0.06

[audit]
share = 0.3

[engine]
slots = 1

[budget]
max_evaluations = 60

[metrics]
port = 0
hosts = ["proxy.example"]

[lifter]
places = 1

[training]
places = ["cpu"]

[writer]
name = "offline"
outage = "wait"
"""
RENAMED = {
    "search.jitter": "search.temperature_jitter",
    "search.jitter_ratio": "search.temperature_jitter_ratio",
    "archives.ratio_low": "archives.width_to_depth_low",
    "archives.ratio_high": "archives.width_to_depth_high",
    "archives.ratio_scale": "archives.width_to_depth_scale",
    "archives.prompt_slots": "archives.prompt_axis_size",
    "fidelity.look_ratio": "fidelity.rung_ratio",
    "audit.share": "audit.ratio",
    "metrics.hosts": "metrics.allowed_hosts",
    "lifter.places": "lifter.processes",
    "training.places": "training.devices",
    "writer.name": "writer.kind",
    "writer.outage": "writer.on_outage",
}


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return install(tmp_path_factory.mktemp("0.5.0"))


@pytest.fixture(scope="module")
def searched(old: Installed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which 0.5.0 has searched: settings, prompts, table, state, and a backup of it."""
    folder = tmp_path_factory.mktemp("searched")
    nasbench_table.write(folder / "cells.csv")
    (folder / "llmatic.toml").write_text(OLD_SETTINGS)
    old.run("run", "--config", "llmatic.toml", cwd=folder)
    old.run("backup", "--state", "state", "backups", cwd=folder)
    return folder


@pytest.fixture
def folder(searched: Path, tmp_path: Path) -> Path:
    """A copy of that folder for one test."""
    return Path(shutil.copytree(searched, tmp_path / "folder"))


new = this_version()


def lines_about(old_name: str, said: str) -> list[str]:
    return [line for line in said.splitlines() if f"'{old_name}'" in line]


def evaluations_in(state: Path) -> int:
    with History(state) as history:
        return history.status().num_evaluations


def test_state_of_0_5_0_is_continued_and_verified_and_old_names_are_warned_of_once(folder: Path) -> None:
    more = {"LLMATIC_BUDGET__MAX_EVALUATIONS": "90"}

    said = new.run("run", "--config", "llmatic.toml", cwd=folder, environment=more)

    for old_name, new_name in RENAMED.items():
        (line,) = lines_about(old_name, said)
        assert f"'{new_name}'" in line
    assert evaluations_in(folder / "state") == 90
    assert verify(folder / "state").faults == ()


def test_state_of_0_5_0_is_shown_as_it_was_by_the_commands_that_read(folder: Path) -> None:
    new.run("run", "--config", "llmatic.toml", cwd=folder)  # brings the database up to date

    for command in (["status"], ["elites"], ["show", "3"], ["prompts"], ["verify"], ["plot"]):
        new.run(*command, "--state", "state", cwd=folder)
    assert evaluations_in(folder / "state") == 60


def test_old_names_in_the_environment_are_read_and_warned_of_once(folder: Path) -> None:
    old_name = {"LLMATIC_TRAINING__PLACES": '["cpu"]', "LLMATIC_AUDIT__SHARE": "0.3"}
    (folder / "llmatic.toml").write_text(
        "\n".join(
            line for line in OLD_SETTINGS.splitlines() if line not in ('places = ["cpu"]', "share = 0.3")
        )
    )

    said = new.run("run", "--config", "llmatic.toml", cwd=folder, environment=old_name)

    assert len(lines_about("LLMATIC_TRAINING__PLACES", said)) == 1
    assert len(lines_about("LLMATIC_AUDIT__SHARE", said)) == 1


def test_backup_of_0_5_0_is_restored_verified_and_continued(folder: Path) -> None:
    shutil.rmtree(folder / "state")

    new.run("restore", "--state", "state", "backups", cwd=folder)
    new.run("verify", "--state", "state", cwd=folder)
    more = {"LLMATIC_BUDGET__MAX_EVALUATIONS": "70"}
    new.run("run", "--config", "llmatic.toml", cwd=folder, environment=more)

    assert evaluations_in(folder / "state") == 70
    assert verify(folder / "state").faults == ()


def test_prompts_and_configuration_that_0_5_0_wrote_are_used_as_they_are(
    old: Installed, folder: Path, tmp_path: Path
) -> None:
    written = tmp_path / "written"
    written.mkdir()
    old.run("init", "--preset", "nasbench201", cwd=written)
    shutil.copy(folder / "cells.csv", written / "cells.csv.gz")
    fewer = {"LLMATIC_BUDGET__MAX_EVALUATIONS": "20", "LLMATIC_STATE_DIR": "state"}

    new.run("run", "--config", "llmatic.toml", cwd=written, environment=fewer)

    assert evaluations_in(written / "state") == 20


def placements_in(state: Path) -> list[Placement]:
    """Read a log without what a clock has measured."""
    with History(state) as history:
        return [replace(each, durations=Durations(), elapsed_s=0.0) for each in history.page(0, 100_000)]


@pytest.fixture(params=["made-up table", pytest.param("real table", marks=nasbench_table.needs_the_table)])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "real table":
        return nasbench_table.FILE
    return nasbench_table.write(tmp_path / "cells.csv")


def test_search_of_500_evaluations_has_the_same_placements_as_by_0_5_0(
    old: Installed, table: Path, tmp_path: Path
) -> None:
    facts = {
        "LLMATIC_BUDGET__MAX_EVALUATIONS": "500",
        "LLMATIC_SEARCH__SEED": "3",
        "LLMATIC_METRICS__PORT": "0",
    }
    where = {"LLMATIC_DATA__FOLDER": str(table)}

    def search(version: Installed, state: str) -> None:
        words = ("run", "--preset", "nasbench201", "--state", state)
        version.run(*words, cwd=tmp_path, environment={**facts, **where})

    search(old, "by-old")
    search(new, "by-new")
    search(new, "by-old")  # brings its database up to date; its budget is used up

    before, now = (placements_in(tmp_path / state) for state in ("by-old", "by-new"))
    assert sum(each.report is not None for each in now) == 500
    assert now == before
