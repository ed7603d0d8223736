"""Settings: presets, layers, and one line for each mistake."""

import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from llmatic_daemon.config import PRESETS, Settings, load, preset_text
from llmatic_daemon.core.rules import Rules
from llmatic_daemon.errors import ConfigurationError
from tests.fakes import rules


def fault(file: Path | None = None, **environment: str) -> str:
    with pytest.raises(ConfigurationError) as raised:
        load(file, environment=environment)
    text = str(raised.value)
    assert "\n" not in text
    assert raised.value.exit_code == 78
    return text


def written(folder: Path, text: str) -> Path:
    file = folder / "llmatic.toml"
    file.write_text(text, "utf-8")
    return file


# --- presets -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_preset_loads(name: str):
    assert isinstance(load(preset=name, environment={}), Settings)


def test_paper_preset_holds_exactly_the_papers_numbers():
    settings = load(preset="paper", environment={})

    assert settings.data.fitness_split == "test"
    assert Rules(**settings.search.model_dump()) == rules(seed=settings.search.seed)
    assert settings.archives.model_dump() == {
        "network_cells": 100,
        "prompt_cells": 100,
        "num_samples": 25_000,
        "ratio_low": 0.0,
        "ratio_high": 200.0,
        "ratio_scale": "linear",
        "flops_low": 200e6,
        "flops_high": 5e9,
        "flops_scale": "linear",
        "prompt_slots": 16,
    }
    assert settings.training.recipe == "paper"
    assert (settings.training.epochs, settings.training.batch_size) == (0, 0)  # the recipe's


def test_rules_take_all_search_settings():
    Rules(**load(environment={}).search.model_dump())


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "default"])
def test_preset_changes_only_what_differs_from_the_default(name: str):
    default, preset = (flat(tomllib.loads(preset_text(n))) for n in ("default", name))

    assert preset.keys() <= default.keys()
    same = {path for path, value in preset.items() if value == default[path]}
    assert same <= {"training.recipe"}


def test_every_default_is_explained_by_a_comment_above_it():
    lines = preset_text("default").splitlines()

    for above, line in pairwise(lines):
        if "=" in line and not line.startswith("#"):
            assert above.startswith("# "), line


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


# --- layers --------------------------------------------------------------------------------------


def test_later_layers_win(tmp_path: Path):
    file = written(tmp_path, "[search]\nseed = 2\nnum_initial = 5\nwindow_size = 7\n")
    environment = {"LLMATIC_SEARCH__SEED": "3", "LLMATIC_SEARCH__NUM_INITIAL": "6"}

    settings = load(file, environment=environment, overrides={"search": {"seed": 4}})

    search = settings.search
    assert (search.seed, search.num_initial, search.window_size) == (4, 6, 7)
    assert search.jitter == 0.1


def test_preset_may_be_named_by_argument_file_or_environment(tmp_path: Path):
    file = written(tmp_path, 'preset = "paper"\n')
    demo = {"LLMATIC_PRESET": "demo"}

    assert load(environment=demo).data.name == "digits"
    assert load(file, environment=demo).search.tournament_size == 1
    assert load(file, preset="demo", environment={}).data.name == "digits"


def test_environment_values_are_toml_or_else_text():
    settings = load(
        environment={
            "LLMATIC_STATE_DIR": "/some where/else",
            "LLMATIC_TRAINING__PLACES": '["cuda:0", "cuda:1"]',
            "LLMATIC_DATA__DOWNLOAD": "true",
            "LLMATIC_BUDGET__MAX_HOURS": "1.5",
            "LLMATIC_FAILPOINT": "commit:1",
            "HOME": "/root",
        }
    )

    assert settings.state_dir == Path("/some where/else")
    assert settings.training.places == ("cuda:0", "cuda:1")
    assert settings.data.download is True
    assert settings.budget.max_hours == 1.5


def test_environment_may_name_a_folder_like_a_number():
    environment = {"LLMATIC_STATE_DIR": "2024", "LLMATIC_PROMPTS__FOLDER": "1e3"}

    settings = load(environment=environment)

    assert settings.state_dir == Path("2024")
    assert settings.prompts.folder == "1e3"


def test_settings_are_frozen():
    settings = load(environment={})

    with pytest.raises(ValidationError):
        settings.search.seed = 2  # type: ignore[misc]


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[search]\nnum_intial = 5", "unknown setting 'search.num_intial'; did you mean 'search.num_initial'?"),
        ("[serch]\nseed = 5", "unknown setting 'serch.seed'; did you mean 'search.seed'?"),
        ("[serch]", "unknown setting 'serch'; did you mean 'search'?"),
        ("seed = 5", "unknown setting 'seed'"),
        ("[search.deeper]\nseed = 5", "unknown setting 'search.deeper.seed'"),
        ("search = 5", "search must be a section of settings, got 5"),
        ("[search]\nseed = -1", "search.seed must be above or equal to 0, got -1"),
        ("[search]\nseed = 1.5", "search.seed must be an integer, got 1.5"),
        ('[search]\nseed = "x"', "search.seed must be an integer, got 'x'"),
        ("[search]\njitter = 1.5", "search.jitter must be less than or equal to 1, got 1.5"),
        ("[search]\njitter = nan", "search.jitter must be a finite number, got nan"),
        ("[search]\ntrain_initial = 7", "search.train_initial must be"),
        ("[search]\nmin_neighbours = 4", "min_neighbours must be at most max_neighbours"),
        ("[archives]\nflops_low = 1e10", "flops_low must be below flops_high"),
        ("[archives]\nflops_low = 0", "flops_low must be above 0 on a log scale"),
        ("[training]\ntimeout_s = 0", "training.timeout_s must be above 0, got 0"),
        ("[training]\nplaces = []", "places must name at least one device"),
        ('[training]\nplaces = ["gpu"]', "training.places must be 'cpu', 'cuda' or 'cuda:N', got 'gpu'"),
        ('[training]\nplaces = "cpu"', "training.places must be a list, got 'cpu'"),
        ('[data]\nname = "cifar-10"', "did you mean 'cifar10'?"),
        ('preset = "papr"', "preset must be one of default, paper, demo, got 'papr'; did you mean 'paper'?"),
        ("preset = 3", "preset must be one of default, paper, demo, got 3"),
        ("seed = ", "must be TOML"),
    ],
)  # fmt: skip
def test_bad_file_gives_one_line(tmp_path: Path, text: str, says: str):
    assert says in fault(written(tmp_path, text))


def test_fault_names_the_file_it_is_in(tmp_path: Path):
    file = written(tmp_path, "[search]\nseed = -1")

    assert fault(file).startswith(f"{file}: search.seed")


def test_each_fault_is_told():
    text = fault(LLMATIC_SEARCH__SEED="-1", LLMATIC_SEARCH__JITTER="2")

    assert "search.seed must" in text
    assert "; environment: search.jitter must" in text


def test_missing_file_says_how_to_get_one(tmp_path: Path):
    assert "`llmatic-daemon init` writes one" in fault(tmp_path / "nowhere.toml")


def test_file_that_is_no_text_is_refused(tmp_path: Path):
    file = tmp_path / "llmatic.toml"
    file.write_bytes(b"\xff\xfe")

    assert "must be TOML" in fault(file)


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"LLMATIC_SEARCH__SED": "1"}, "unknown setting 'LLMATIC_SEARCH__SED' (search.sed)"),
        ({"LLMATIC_SEARCH": "1"}, "environment: search must be a section of settings, got 1"),
        ({"LLMATIC_SEARCH": "1", "LLMATIC_SEARCH__SEED": "2"}, "search must be a section"),
        ({"LLMATIC_PRESET": "papre"}, "did you mean 'paper'?"),
        ({"LLMATIC_DATA__NAME": "cifar"}, "environment: data.name must be"),
    ],
)
def test_bad_environment_gives_one_line(environment: dict[str, str], says: str):
    assert says in fault(**environment)
