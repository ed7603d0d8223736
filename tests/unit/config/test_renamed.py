"""Old names of settings: each works wherever settings come from, and is warned of once a start."""

import logging
import tomllib
from pathlib import Path
from typing import Any

import pytest

from llmatic_daemon.bootstrap.saved_settings import read_settings
from llmatic_daemon.commands.experiment.plan import plan
from llmatic_daemon.config import renamed
from llmatic_daemon.config.loading import load, restore
from llmatic_daemon.config.renamed import OLD_NAMES, RENAMED, with_new_names
from llmatic_daemon.config.settings import Settings
from llmatic_daemon.domain.errors import ConfigurationError
from tests.support import nasbench_table

#: A value of each, as TOML, that is not the default.
VALUES = {
    "search.jitter": "0.3",
    "search.jitter_ratio": "0.4",
    "archives.ratio_low": "0.7",
    "archives.ratio_high": "100.0",
    "archives.ratio_scale": '"linear"',
    "archives.prompt_slots": "20",
    "writer.name": '"tgi"',
    "writer.outage": '"wait"',
    "lifter.places": "2",
    "training.places": '["cpu"]',
    "fidelity.look_ratio": "0.25",
    "audit.share": "0.5",
    "metrics.hosts": '["proxy.example"]',
}


@pytest.fixture(autouse=True)
def _start() -> None:
    """Begin each test as a process begins: nothing is warned of yet."""
    renamed._warn.cache_clear()


def value_of(settings: Settings, name: str) -> Any:
    section, key = name.split(".")
    return getattr(getattr(settings, section), key)


def expected(old: str) -> Any:
    value = tomllib.loads(f"value = {VALUES[old]}")["value"]
    return tuple(value) if isinstance(value, list) else value


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]


def test_every_old_name_is_tried():
    assert VALUES.keys() == RENAMED.keys()
    assert len(OLD_NAMES) == len(RENAMED)


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_old_name_in_a_file_works_and_is_warned_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, old: str, new: str
):
    file = tmp_path / "llmatic.toml"
    file.write_text(f"{old} = {VALUES[old]}\n")

    settings = load(file, environment={})
    load(file, environment={})  # a reload

    assert value_of(settings, new) == expected(old)
    assert warnings(caplog) == [f"{file}: '{old}' is now '{new}'; the old name works until 0.7"]


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_old_name_in_the_environment_works_and_is_warned_of(
    caplog: pytest.LogCaptureFixture, old: str, new: str
):
    was, now = (f"LLMATIC_{name.replace('.', '__').upper()}" for name in (old, new))

    settings = load(environment={was: VALUES[old]})

    assert value_of(settings, new) == expected(old)
    assert warnings(caplog) == [f"environment: '{was}' is now '{now}'; the old name works until 0.7"]


def test_new_names_are_not_warned_of(caplog: pytest.LogCaptureFixture):
    load(environment={"LLMATIC_TRAINING__DEVICES": '["cpu"]', "LLMATIC_WRITER__KIND": "tgi"})

    assert warnings(caplog) == []


def test_old_value_of_an_outage_is_the_fallback():
    assert load(environment={"LLMATIC_WRITER__OUTAGE": "offline"}).writer.on_outage == "fallback"


def test_old_name_in_an_endpoint_works(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    file = tmp_path / "llmatic.toml"
    file.write_text('[writer.endpoints.big]\nname = "openai"\nurl = "http://big"\n')

    assert load(file, environment={}).writer.servers["big"].kind == "openai"
    (line,) = warnings(caplog)
    assert "'writer.endpoints.big.name' is now 'writer.endpoints.big.kind'" in line


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_old_and_new_name_together_are_one_error(tmp_path: Path, old: str, new: str):
    file = tmp_path / "llmatic.toml"
    file.write_text(f"{old} = {VALUES[old]}\n{new} = {VALUES[old]}\n")

    with pytest.raises(ConfigurationError) as raised:
        load(file, environment={})

    assert str(raised.value) == (
        f"{file}: '{new}' must be set once, found it and '{old}', its old name; remove '{old}'"
    )


def test_old_name_in_one_layer_and_new_name_in_a_later_one_is_a_value_that_is_overridden(tmp_path: Path):
    file = tmp_path / "llmatic.toml"
    file.write_text("audit.share = 0.25\n")

    assert load(file, environment={"LLMATIC_AUDIT__RATIO": "0.75"}).audit.ratio == 0.75


def test_fault_of_an_old_name_says_where_it_is(tmp_path: Path):
    file = tmp_path / "llmatic.toml"
    file.write_text('[training]\nplaces = ["gpu"]\n')

    with pytest.raises(ConfigurationError, match=rf"{file}: training.devices must be .*got 'gpu'"):
        load(file, environment={})


def test_name_that_never_was_one_is_told_the_nearest(tmp_path: Path):
    file = tmp_path / "llmatic.toml"
    file.write_text("audit.shares = 0.5\n")

    with pytest.raises(ConfigurationError, match=r"unknown setting 'audit\.shares'; did you mean 'audit"):
        load(file, environment={})


def test_settings_that_an_older_version_has_saved_are_read_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    saved = Path(__file__).with_name("settings-0.5.0.json")
    (tmp_path / "settings.json").write_text(saved.read_text())

    settings = read_settings(tmp_path)

    assert {old: value_of(settings, new) for old, new in RENAMED.items()} == {
        old: expected(old) for old in RENAMED
    }
    assert settings.archives.axes == ("width_to_depth", "flops")
    assert warnings(caplog) == []


def test_old_names_in_an_experiment_work(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    nasbench_table.write(tmp_path / "cells.csv")
    file = tmp_path / "old.toml"
    file.write_text(
        'data_sets = ["nasbench201-cifar10"]\ntable = "cells.csv"\nseeds = 2\nbudgets = [10]\n'
        "settings.search.jitter = 0.3\n[variants.plain]\n[variants.bold]\nsearch.jitter_ratio = 0.9\n"
    )

    bold = plan(str(file)).job("bold", "nasbench201-cifar10").settings.search

    assert (bold.temperature_jitter, bold.temperature_jitter_ratio) == (0.3, 0.9)
    assert warnings(caplog) == [
        f"{file}: settings: 'search.jitter' is now 'search.temperature_jitter'; the old name works until 0.7",
        f"{file}: variants.bold: 'search.jitter_ratio' is now 'search.temperature_jitter_ratio'; "
        "the old name works until 0.7",
    ]


def test_values_are_left_as_they_were():
    values = {"training": {"places": ["cpu"]}, "search": 5}

    assert with_new_names(values) == {"training": {"devices": ["cpu"]}, "search": 5}
    assert values == {"training": {"places": ["cpu"]}, "search": 5}


def test_restored_settings_may_have_new_names():
    values = {"training": {"devices": ["cpu", "cuda:1"]}}

    assert restore(values, Path("settings.json")).training.devices == ("cpu", "cuda:1")
