"""The commands about prompts and the doctor, on a search with fake adapters."""

import asyncio
import contextlib
import json
import logging
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from llmatic_daemon import config
from llmatic_daemon.adapters.prompts.prompt_files import default_folder
from llmatic_daemon.bootstrap import build
from llmatic_daemon.cli import main
from llmatic_daemon.commands import doctor, sandbox_test
from llmatic_daemon.commands.doctor import Check, CheckResult, examine
from llmatic_daemon.commands.sandbox_test import Probe, probes
from llmatic_daemon.commands.verify import verify
from llmatic_daemon.daemon import main as daemon
from llmatic_daemon.domain import Outcome
from tests.support.fake_daemon import fake_adapters
from tests.support.fake_tgi import FaultPlan, fake_tgi
from tests.support.llm import forget_environment
from tests.support.samples import sampled

#: As `README` says: a text of one's own in the place of one that is shipped.
EDITED = "Write a class that inherits from nn.Module and makes the network above wider at its end."

#: Of a command; the true one takes seconds to start, and `lift` starts it by default.
LIFTERS = sampled(["fake lifter", "true lifter"], ["fake lifter"])


def use(lifter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if lifter == "fake lifter":
        monkeypatch.setattr(build, "lifter", lambda settings: fake_adapters().lifter)


def probes_that_end(memory_bytes: int) -> tuple[Probe, ...]:
    """Return those that take no time; the test of `sandbox test` waits for all of them."""
    return tuple(probe for probe in probes(memory_bytes) if probe.outcome is not Outcome.TIMEOUT)


def type_in(*words: str | Path, **environment: str) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], env=environment)


def search(state: Path, prompts: Path, num_evaluations: int) -> None:
    overrides = {
        "state_dir": str(state),
        "prompts": {"folder": str(prompts)},
        "budget": {"max_evaluations": num_evaluations},
    }
    settings = config.load(preset="demo", overrides=overrides, environment={})
    asyncio.run(daemon.run(settings, fake_adapters()))


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Search twice, with another text for one prompt the second time."""
    folder = tmp_path_factory.mktemp("searched")
    prompts = Path(shutil.copytree(default_folder(), folder / "prompts"))
    search(folder / "state", prompts, 30)
    (prompts / "widen.md").write_text(EDITED)
    search(folder / "state", prompts, 60)
    return folder


@pytest.fixture
def prompts(tmp_path: Path, searched: Path) -> Path:
    return Path(shutil.copytree(searched / "prompts", tmp_path / "prompts"))


@pytest.fixture
def state(tmp_path: Path, searched: Path, prompts: Path) -> Path:
    """Copy the search, with prompts of its own."""
    folder = Path(shutil.copytree(searched / "state", tmp_path / "state"))
    kept = (folder / "settings.json").read_text()
    (folder / "settings.json").write_text(kept.replace(str(searched), str(tmp_path)))
    return folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in an empty folder, and leave logging as it was."""
    monkeypatch.chdir(tmp_path)
    forget_environment(monkeypatch)
    handlers = logging.getLogger().handlers[:]
    yield
    logging.getLogger().handlers[:] = handlers


# --- what they were ------------------------------------------------------------------------------


def test_prompts_in_use_are_listed_with_their_credit(state: Path):
    found = json.loads(type_in("prompts", "--json", "--state", state).output)

    assert len(found) == 17
    assert {(each["prompt"], each["version"]) for each in found} >= {("widen", 2), ("shrink", 1)}
    assert sum(each["num_used"] for each in found) > 30
    table = type_in("prompts", "--state", state).output
    assert all(name in table for name in ("selected", "entered", "success", "curiosity", "score"))


def test_all_prompts_include_older_versions(state: Path):
    found = json.loads(type_in("prompts", "--all", "--json", "--state", state).output)

    assert [(e["version"], e["in_use"]) for e in found if e["prompt"] == "widen"] == [(1, False), (2, True)]


def test_history_shows_what_was_changed(state: Path):
    output = type_in("prompts", "history", "widen", "--state", state).output

    assert "version 1, mutation, since 20" in output
    assert "--- version 1" in output
    assert "+Write a class" in output


def test_history_of_an_unknown_prompt_names_those_that_are_known(state: Path):
    result = type_in("prompts", "history", "wyden", "--state", state)

    assert result.exit_code == 1
    assert "widen" in result.stderr


def test_state_may_stand_before_the_second_word(state: Path):
    result = type_in("prompts", "--state", state, "history", "widen", "--json")

    assert len(json.loads(result.output)["versions"]) == 2


def test_candidates_record_the_version_that_made_them(state: Path):
    with contextlib.closing(sqlite3.connect(state / "llmatic.db")) as database:
        made = database.execute(
            "SELECT DISTINCT prompt_version FROM placements WHERE prompt = 'widen' ORDER BY 1"
        ).fetchall()
    database.close()

    assert made == [(1,), (2,)]
    assert verify(state).faults == ()


# --- what they could be --------------------------------------------------------------------------


def test_check_counts_a_good_folder(prompts: Path):
    result = type_in("prompts", "check", prompts)

    assert result.exit_code == 0
    assert "16 prompts for mutation (of 16 slots) and 'crossover'" in result.output


def test_check_says_which_file_which_line_and_why(prompts: Path):
    (prompts / "widen.md").write_text("Widen\n{sorce}")

    result = type_in("prompts", "check", prompts)

    assert result.exit_code == 78
    assert "widen.md, line 2: unknown placeholder {sorce}; did you mean {source}?" in result.stderr


def test_check_counts_the_slots(prompts: Path):
    (prompts / "one-more.md").write_text("Do one more thing.")

    result = type_in("prompts", "check", prompts)

    assert result.exit_code == 78
    assert "at most 16 mutation prompts" in result.stderr


def test_rollback_writes_the_older_text_for_the_next_start(state: Path, prompts: Path):
    shipped = (default_folder() / "widen.md").read_text()

    result = type_in("prompts", "rollback", "widen", "1", "--state", state)

    assert result.exit_code == 0
    assert "no daemon is running" in result.output
    assert (prompts / "widen.md").read_text() == shipped
    assert not list(prompts.glob(".*"))


def test_rollback_keeps_kind_and_weight(state: Path, prompts: Path):
    (prompts / "crossover.md").write_text('+++\nkind = "crossover"\nweight = 2.0\n+++\nJoin them.')
    search(state, prompts, 62)

    type_in("prompts", "rollback", "crossover", "1", "--state", state)

    head = (prompts / "crossover.md").read_text().split("\n")[:4]
    assert head == ["+++", 'kind = "crossover"', "weight = 2.0", "+++"]


def test_rollback_to_a_version_that_never_was_is_refused(state: Path):
    result = type_in("prompts", "rollback", "widen", "7", "--state", state)

    assert result.exit_code == 1
    assert "from 1 to 2, got 7" in result.stderr


def test_shipped_prompts_are_never_written(tmp_path: Path):
    before = (default_folder() / "widen.md").read_bytes()
    search(tmp_path / "state", default_folder(), 5)

    result = type_in("prompts", "rollback", "widen", "1", "--state", tmp_path / "state")

    assert result.exit_code == 1
    assert "llmatic-daemon init" in result.stderr
    assert (default_folder() / "widen.md").read_bytes() == before


def test_reload_without_a_daemon_says_so(state: Path):
    result = type_in("prompts", "reload", "--state", state)

    assert result.exit_code == 1
    assert "expected a daemon that listens on" in result.stderr


@pytest.mark.parametrize("lifter", LIFTERS)
def test_try_shows_diff_and_verdict_and_stores_nothing(
    state: Path, monkeypatch: pytest.MonkeyPatch, lifter: str
):
    use(lifter, monkeypatch)
    before = type_in("status", "--json", "--state", state).output

    result = type_in("prompts", "try", "widen", "--state", state, "--seed", "3")

    assert EDITED.split(" and ")[0] in result.output
    assert "written by rewriter" in result.output
    assert "lifts, in" in result.output
    assert result.exit_code == 0
    assert type_in("status", "--json", "--state", state).output == before


def test_try_finds_the_search_of_a_configuration(
    state: Path, prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    use("fake lifter", monkeypatch)
    file = tmp_path / "mine.toml"
    file.write_text('preset = "demo"\nstate_dir = "state"\n[prompts]\nfolder = "prompts"\n')

    result = type_in("prompts", "try", "widen", "--config", file, "--seed", "3")

    assert result.exit_code == 0, result.output + result.stderr


@pytest.mark.timeout(60)
def test_try_waits_for_no_llm_even_if_the_search_would(state: Path, prompts: Path, tmp_path: Path):
    file = tmp_path / "mine.toml"
    writer = '[writer]\nkind = "tgi"\nurl = "http://127.0.0.1:9"\non_outage = "wait"\n'
    file.write_text(f'preset = "demo"\nstate_dir = "state"\n[prompts]\nfolder = "prompts"\n{writer}')

    result = type_in("prompts", "try", "widen", "--config", file, "--seed", "3")

    assert "written by the fallback" in result.output, result.output + result.stderr


# --- a folder that went bad ----------------------------------------------------------------------


def test_restart_with_a_bad_folder_goes_on_with_the_last_good_prompts(state: Path, prompts: Path):
    (prompts / "widen.md").write_bytes(b"Widen \xff")

    search(state, prompts, 70)

    found = json.loads(type_in("status", "--json", "--state", state).output)
    assert found["num_evaluations"] == 70
    assert found["prompts"]["edition"] == 2
    assert "must be UTF-8, found byte 0xff" in found["prompts"]["refused"]
    assert "prompts rejected" in type_in("status", "--state", state).output


def test_first_start_with_a_bad_folder_writes_nothing(tmp_path: Path, prompts: Path):
    (prompts / "crossover.md").unlink()
    search_file = tmp_path / "llmatic.toml"
    search_file.write_text('preset = "demo"\n[prompts]\nfolder = "prompts"\n')

    result = type_in("run", "--config", search_file, "--state", tmp_path / "fresh")

    assert result.exit_code == 78
    assert "exactly one prompt" in result.stderr
    assert not (tmp_path / "fresh").exists()


# --- doctor --------------------------------------------------------------------------------------


async def examined(folder: Path, **overrides: object) -> dict[str, Check]:
    """Run all checks, with one trainer: each takes seconds to start."""
    changes = {"state_dir": str(folder / "state"), "training": {"devices": ["cpu"]}, **overrides}
    settings = config.load(preset="demo", overrides=changes, environment={})
    return {check.name: check async for check in examine(settings)}


@pytest.mark.parametrize("lifter", LIFTERS)
def test_doctor_finds_a_new_search_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lifter: str):
    use(lifter, monkeypatch)
    monkeypatch.setattr(sandbox_test, "probes", probes_that_end)

    checks = asyncio.run(examined(tmp_path))

    assert [c for c in checks.values() if c.verdict is CheckResult.FAILED] == []
    assert checks["state folder"].detail.endswith(": new")
    assert "digits: 1150 + 288 + 359 images of 1x8x8, 10 classes" in checks["data and devices"].detail
    assert "lifts in" in checks["lifter"].detail
    lacks = re.findall(r"(bubblewrap|seccomp) \(", checks["sandbox"].detail)
    assert checks["sandbox"].verdict is (CheckResult.WARNING if lacks else CheckResult.OK)
    assert "cells are right" in checks["kernels"].detail
    assert not (tmp_path / "state").exists()


def test_doctor_times_each_endpoint_and_names_all_that_must_be_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def unasked(settings: object) -> tuple[CheckResult, str]:
        return CheckResult.OK, "probes and kernels, which the test above waits for"

    monkeypatch.setattr(doctor, "_sandbox", unasked)
    use("fake lifter", monkeypatch)
    monkeypatch.setattr(doctor, "_kernels", unasked)
    (tmp_path / "prompts").mkdir()
    overrides = {
        "prompts": {"folder": str(tmp_path / "prompts")},
        "data": {"name": "cifar10", "folder": str(tmp_path / "nowhere")},
    }

    async def checks() -> dict[str, Check]:
        async with fake_tgi() as good, fake_tgi(faults=FaultPlan("generation")) as bad:
            urls = {"good": good.url, "bad": bad.url, "gone": "http://127.0.0.1:9"}
            endpoints = {name: {"kind": "tgi", "url": url} for name, url in urls.items()}
            return await examined(tmp_path, **overrides, writer={"endpoints": endpoints})

    found = asyncio.run(checks())

    failed = {name for name, check in found.items() if check.verdict is CheckResult.FAILED}
    assert failed == {"prompts", "data and devices", "endpoint bad", "endpoint gone"}
    assert all("\n" not in check.detail for check in found.values())
    assert "1698 tokens in" in found["endpoint good"].detail
    assert "one completion of" in found["endpoint good"].detail
    assert "CUDA out of memory" in found["endpoint bad"].detail
    assert "http://127.0.0.1:9" in found["endpoint gone"].detail


def test_state_folder_keeps_absolute_paths(tmp_path: Path, prompts: Path):
    settings = config.load(
        preset="demo",
        environment={},
        overrides={
            "state_dir": "here",
            "prompts": {"folder": os.path.relpath(prompts)},
            "budget": {"max_evaluations": 2},
        },
    )
    asyncio.run(daemon.run(settings, fake_adapters()))

    kept = json.loads((tmp_path / "here" / "settings.json").read_text())

    assert kept["prompts"]["folder"] == str(prompts)
