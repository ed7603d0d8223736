"""What a person types, and what they get; the search behind it has fake adapters."""

import asyncio
import contextlib
import json
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from llmatic_daemon import config
from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.adapters.storage.state_folder import StateFolder
from llmatic_daemon.bootstrap import build
from llmatic_daemon.cli import demo as output_of_demo
from llmatic_daemon.cli import main
from llmatic_daemon.cli.reference import named_commands
from llmatic_daemon.commands import demo as demonstration
from llmatic_daemon.commands.verify import verify
from llmatic_daemon.daemon import main as daemon
from llmatic_daemon.domain.errors import ConfigurationError
from tests.support.fake_daemon import fake_adapters


def type_in(*words: str, **environment: str) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], env=environment)


def search(state: Path, num_evaluations: int) -> None:
    overrides = {"state_dir": str(state), "budget": {"max_evaluations": num_evaluations}}
    settings = config.load(preset="demo", overrides=overrides, environment={})
    asyncio.run(daemon.run(settings, fake_adapters()))


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("search") / "state"
    search(folder, 30)
    return folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in an empty folder, and leave logging as it was."""
    monkeypatch.chdir(tmp_path)
    handlers = logging.getLogger().handlers[:]
    yield
    logging.getLogger().handlers[:] = handlers


def best(state: Path) -> int:
    return int(json.loads(type_in("elites", "--json", "--state", str(state)).output)[0]["job"])


def test_status_counts_what_is_settled(state: Path) -> None:
    found = json.loads(type_in("status", "--json", "--state", str(state)).output)

    assert found["num_evaluations"] == 30
    assert found["num_settled"] >= 30
    assert found["holder"] is None


def test_state_folder_may_be_named_by_the_environment(state: Path) -> None:
    result = type_in("status", LLMATIC_STATE_DIR=str(state))

    assert result.exit_code == 0
    assert "30 of" in result.output


def reading_commands() -> list[tuple[str, ...]]:
    """List the calls of every command that reads a search, its state folder aside."""
    called = {
        "show": ("1",),
        "backup": ("backups",),
        "restore": ("backups",),
        "export": ("networks",),
        "slots": ("2",),
        "prompts history": ("widen",),
        "prompts rollback": ("widen", "1"),
        "prompts try": ("widen",),
        "prompts check": ("prompts",),
    }
    return [
        (*name.split(), *called.get(name, ()))
        for name, command in named_commands(main)
        if {"--state", "--config"} & {option for each in command.params for option in each.opts}
        and name not in ("run", "demo", "doctor", "lift", "sandbox test", "restore", "prompts check")
    ]


@pytest.mark.parametrize("words", reading_commands(), ids=" ".join)
def test_command_that_reads_a_search_finds_it_by_its_configuration(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it would do there is left out: a folder without a search is named in its message."""
    folder, other = tmp_path / "by-file", tmp_path / "by-option"
    (tmp_path / "mine.toml").write_text(f'state_dir = "{folder}"\n')

    by_file = type_in(*words, "--config", "mine.toml")
    by_option = type_in(*words, "--config", "mine.toml", "--state", str(other))

    assert by_file.exit_code == by_option.exit_code != 2
    assert str(folder) in by_file.output
    assert str(other) in by_option.output
    assert str(folder) not in by_option.output


def test_commands_that_read_a_search_are_all_found() -> None:
    expected = "backup drain elites export gc pause plot prompts reload resume show slots status verify"

    assert {words[0] for words in reading_commands()} == set(expected.split())


def test_configuration_before_a_subcommand_counts(state: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(f'state_dir = "{state}"\n')

    result = type_in("prompts", "--config", "mine.toml", "history", "widen")

    assert result.exit_code == 0, result.output
    assert "version 1" in result.output


def test_json_of_a_candidate_has_deprecated_names_too(state: Path) -> None:
    shown = json.loads(type_in("show", str(best(state)), "--json", "--state", str(state)).output)

    assert shown["placement"]["stand_in"] == shown["placement"]["fallback"]
    assert shown["placement"]["report"]["place"] == shown["placement"]["report"]["device"] != ""


def test_elites_are_listed_best_first(state: Path) -> None:
    found = json.loads(type_in("elites", "--json", "--state", str(state)).output)

    objectives = [elite["objective"] for elite in found]
    assert objectives == sorted(objectives, reverse=True)


def test_show_tells_source_lineage_and_diff(state: Path) -> None:
    output = type_in("show", str(best(state)), "--state", str(state)).output

    assert "class Net(nn.Module)" in output
    assert "lineage:" in output
    assert "initial network" in output
    assert "diff to" in output


def test_show_of_an_unknown_candidate_names_the_way_out(state: Path) -> None:
    result = type_in("show", "99999", "--state", str(state))

    assert result.exit_code == 1
    assert "llmatic-daemon elites" in result.stderr


def test_verify_agrees_with_an_honest_search(state: Path) -> None:
    result = type_in("verify", "--state", str(state))

    assert result.exit_code == 0
    assert "agrees with" in result.output


def test_verify_finds_an_elite_that_the_log_does_not_give(tmp_path: Path) -> None:
    search(tmp_path / "state", 5)
    with contextlib.closing(sqlite3.connect(tmp_path / "state" / "llmatic.db")) as database:
        database.execute(
            "UPDATE network_elites SET objective = 1.0 WHERE rowid = (SELECT min(rowid) FROM network_elites)"
        )
        database.commit()

    result = type_in("verify", "--state", str(tmp_path / "state"))

    assert result.exit_code == 1
    assert "differs: network archive, cell" in result.output


def test_plot_draws_both_archives(state: Path, tmp_path: Path) -> None:
    result = type_in("plot", "--state", str(state), "--out", str(tmp_path), "--format", "svg")

    assert result.exit_code == 0
    assert {file.name for file in tmp_path.glob("*.svg")} == {"archives.svg", "course.svg"}
    assert (tmp_path / "archives.svg").read_text().count("<path") > 200  # cells of both


@pytest.mark.parametrize("command", ["status", "elites", "verify", "plot"])
def test_missing_state_folder_is_one_line_with_a_way_out(command: str) -> None:
    result = type_in(command, "--state", "nowhere")

    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "llmatic-daemon demo" in result.stderr


def test_unknown_setting_names_the_nearest_and_exits_78() -> None:
    Path("llmatic.toml").write_text("[search]\nwindow_siz = 3\n")

    result = type_in("run")

    assert result.exit_code == 78
    assert "did you mean 'search.window_size'?" in result.stderr


def test_unreadable_configuration_exits_78() -> None:
    Path("llmatic.toml").write_text("[search\n")

    result = type_in("run")

    assert result.exit_code == 78
    assert result.stderr.startswith("llmatic-daemon: llmatic.toml must be TOML")


def test_empty_prompt_folder_exits_78_and_leaves_no_result(tmp_path: Path) -> None:
    Path("empty").mkdir()

    result = type_in("demo", "--state", "state", LLMATIC_PROMPTS__FOLDER="empty")

    assert result.exit_code == 78
    assert "at least one mutation prompt" in result.stderr
    assert not Path("state").exists()


def test_locked_state_folder_exits_75_and_names_the_first(tmp_path: Path) -> None:
    search(tmp_path / "state", 1)  # whose data set need not be loaded before it is opened
    first = StateFolder.claim(tmp_path / "state")

    result = type_in("demo", "--state", str(tmp_path / "state"))

    first.release()
    assert result.exit_code == 75
    assert "process" in result.stderr


def test_second_demo_goes_on_for_as_many_evaluations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "build_adapters", lambda settings: fake_adapters())
    monkeypatch.setattr(output_of_demo, "draw", lambda *_: ())

    for num_evaluations in (3, 6):
        result = type_in("demo", "--state", str(tmp_path / "state"), LLMATIC_BUDGET__MAX_EVALUATIONS="3")
        assert result.exit_code == 0, result.output
        assert verify(tmp_path / "state").num_evaluations == num_evaluations


def test_fresh_demo_deletes_a_demo_and_no_file_of_yours(tmp_path: Path) -> None:
    search(tmp_path / "state", 3)
    (tmp_path / "state" / "notes.txt").write_text("mine")

    demonstration.delete(tmp_path / "state")

    assert [file.name for file in (tmp_path / "state").iterdir()] == ["notes.txt"]


def test_fresh_demo_deletes_no_search_that_is_no_demo(tmp_path: Path) -> None:
    search(tmp_path / "state", 3)
    file = tmp_path / "state" / "settings.json"
    file.write_text(file.read_text().replace('"digits"', '"cifar10"'))

    result = type_in("demo", "--fresh", "--state", str(tmp_path / "state"))

    assert result.exit_code == 1
    assert (tmp_path / "state" / "llmatic.db").exists()


def test_state_folder_under_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigurationError, match="must be a folder that we can write"):
        search(tmp_path / "file" / "state", 1)


def test_settings_of_another_version_are_one_line(tmp_path: Path) -> None:
    search(tmp_path / "state", 3)
    file = tmp_path / "state" / "settings.json"
    file.write_text(file.read_text().replace('"duplicates"', '"twins"'))

    result = type_in("verify", "--state", str(tmp_path / "state"))

    assert result.exit_code == 78
    assert len(result.stderr.splitlines()) == 1


def test_pictures_that_cannot_be_written_are_one_line(state: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    result = type_in("plot", "--state", str(state), "--out", str(tmp_path / "file" / "plots"))

    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1


def test_refused_search_uses_up_no_slot_of_a_prompt(tmp_path: Path) -> None:
    search(tmp_path / "state", 3)
    Path("prompts").mkdir()
    Path("prompts/mine.md").write_text("Write a better class.")
    Path("prompts/crossover.md").write_text('+++\nkind = "crossover"\n+++\nJoin them.')
    overrides = {
        "state_dir": str(tmp_path / "state"),
        "search": {"seed": 5},
        "prompts": {"folder": "prompts"},
    }
    settings = config.load(preset="demo", overrides=overrides, environment={})

    with pytest.raises(ConfigurationError, match=r"search\.seed is '5', was '1'"):
        asyncio.run(daemon.run(settings, fake_adapters()))

    with History(tmp_path / "state") as history:
        assert "mine" not in {credit.prompt for credit in history.prompt_credit()}


def test_fresh_demo_deletes_no_folder_that_is_not_a_search(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("mine")

    result = type_in("demo", "--fresh", "--state", str(tmp_path / "precious"))

    assert result.exit_code == 1
    assert (tmp_path / "precious" / "file").read_text() == "mine"


def test_init_writes_a_configuration_that_loads_and_prompts_that_count(tmp_path: Path) -> None:
    result = type_in("init", "search")

    assert result.exit_code == 0
    loaded = config.load(Path("search/llmatic.toml"), environment={})
    assert Path(loaded.prompts.folder) == Path("search/prompts")
    assert len(list(Path("search/prompts").glob("*.md"))) == 17


def test_init_overwrites_nothing_without_force() -> None:
    type_in("init", ".")
    Path("llmatic.toml").write_text("mine")

    refused = type_in("init", ".")

    assert refused.exit_code == 1
    assert Path("llmatic.toml").read_text() == "mine"
    assert type_in("init", ".", "--force").exit_code == 0


@pytest.mark.parametrize("preset", config.PRESETS)
def test_init_writes_each_preset(preset: str) -> None:
    type_in("init", ".", "--preset", preset)

    assert config.load(Path("llmatic.toml"), environment={}).prompts.folder == "prompts"


def test_init_for_the_benchmark_writes_prompts_for_cells() -> None:
    type_in("init", ".", "--preset", "nasbench201")

    prompts = {each.name: each.read_text() for each in Path("prompts").glob("*.md")}

    assert "change-one.md" in prompts
    assert "add-dense.md" not in prompts


def test_lift_of_prose_is_a_rejection_with_its_cause() -> None:
    Path("prose.py").write_text("Here is your network:\n")

    result = type_in("lift", "prose.py", "--json")

    assert result.exit_code == 1
    assert json.loads(result.output)["cause"] == "not_code"


def test_lift_of_a_network_shows_its_measures() -> None:
    Path("net.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Sequential, nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(64, 10))\n"
    )

    result = type_in("lift", "net.py", "--shape", "1x8x8", "--json")

    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found["measures"] == {"num_parameters": 650, "flops": 640, "width": 10, "depth": 1}


def test_lift_with_a_wrong_shape_says_what_a_shape_is() -> None:
    Path("net.py").write_text("pass")

    result = type_in("lift", "net.py", "--shape", "3,32,32")

    assert result.exit_code == 1
    assert "such as 3x32x32" in result.stderr


@pytest.mark.parametrize("name", sorted(main.commands))
def test_help_of_each_command_shows_an_example(name: str) -> None:
    assert "Example:" in type_in(name, "--help").output
