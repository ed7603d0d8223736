"""Settings: presets, layers, and one line for each mistake."""

import tomllib
from dataclasses import FrozenInstanceError
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from llmatic_daemon.bootstrap.saved_settings import fingerprint
from llmatic_daemon.config.loading import PRESETS, load, preset_text
from llmatic_daemon.config.settings import Settings, WriterSettings
from llmatic_daemon.domain.errors import ConfigurationError
from tests.support.fakes import rules


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
    assert settings.search == rules(seed=settings.search.seed)
    assert settings.archives.model_dump() == {
        "network_cells": 100,
        "prompt_cells": 100,
        "num_samples": 25_000,
        "width_to_depth_low": 0.0,
        "width_to_depth_high": 200.0,
        "width_to_depth_scale": "linear",
        "flops_low": 200e6,
        "flops_high": 5e9,
        "flops_scale": "linear",
        "axes": ("width_to_depth", "flops"),
        "bounds": {},
        "prompt_axis_size": 16,
    }
    assert settings.training.recipe == "paper"
    assert (settings.training.epochs, settings.training.batch_size) == (0, 0)  # the recipe's


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
    assert search.temperature_jitter == 0.1


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
            "LLMATIC_TRAINING__DEVICES": '["cuda:0", "cuda:1"]',
            "LLMATIC_DATA__DOWNLOAD": "true",
            "LLMATIC_BUDGET__MAX_HOURS": "1.5",
            "LLMATIC_FAILPOINT": "commit:1",
            "HOME": "/root",
        }
    )

    assert settings.state_dir == Path("/some where/else")
    assert settings.training.devices == ("cuda:0", "cuda:1")
    assert settings.data.download is True
    assert settings.budget.max_hours == 1.5


def test_environment_may_name_a_folder_like_a_number():
    environment = {"LLMATIC_STATE_DIR": "2024", "LLMATIC_PROMPTS__FOLDER": "1e3"}

    settings = load(environment=environment)

    assert settings.state_dir == Path("2024")
    assert settings.prompts.folder == "1e3"


def test_settings_are_frozen():
    settings = load(environment={})

    with pytest.raises(FrozenInstanceError):
        settings.search.seed = 2  # type: ignore[misc]


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "[search]\nnum_intial = 5",
            "unknown setting 'search.num_intial'; did you mean 'search.num_initial'?",
        ),
        ("[serch]\nseed = 5", "unknown setting 'serch.seed'; did you mean 'search.seed'?"),
        ("[serch]", "unknown setting 'serch'; did you mean 'search'?"),
        ("seed = 5", "unknown setting 'seed'"),
        ("[search.deeper]\nseed = 5", "unknown setting 'search.deeper.seed'"),
        ("search = 5", "search must be a section of settings, got 5"),
        ("[search]\nseed = -1", "search.seed must be above or equal to 0, got -1"),
        ("[search]\nseed = 1.5", "search.seed must be an integer, got 1.5"),
        ('[search]\nseed = "x"', "search.seed must be an integer, got 'x'"),
        (
            "[search]\ntemperature_jitter = 1.5",
            "search.temperature_jitter must be less than or equal to 1, got 1.5",
        ),
        ("[search]\ntemperature_jitter = nan", "search.temperature_jitter must be a finite number, got nan"),
        ("[search]\ntrain_initial = 7", "search.train_initial must be"),
        ("[search]\nmin_neighbours = 4", "min_neighbours must be at most max_neighbours"),
        ("[archives]\nflops_low = 1e10", "flops_low must be below flops_high"),
        ("[archives]\nflops_low = 0", "flops_low must be above 0 on a log scale"),
        ("[training]\ntimeout_s = 0", "training.timeout_s must be above 0, got 0"),
        ("[training]\ndevices = []", "devices must name at least one device"),
        ('[training]\ndevices = ["gpu"]', "training.devices must be 'cpu', 'cuda' or 'cuda:N', got 'gpu'"),
        ('[training]\ndevices = "cpu"', "training.devices must be a list, got 'cpu'"),
        ('[data]\nname = "cifar-10"', "did you mean 'cifar10'?"),
        (
            'preset = "papr"',
            "preset must be one of default, paper, demo, nasbench201, nasbench201-imagenet16-120, got 'papr'; did you mean 'paper'?",
        ),
        (
            "preset = 3",
            "preset must be one of default, paper, demo, nasbench201, nasbench201-imagenet16-120, got 3",
        ),
        ("seed = ", "must be TOML"),
    ],
)
def test_bad_file_gives_one_line(tmp_path: Path, text: str, says: str):
    assert says in fault(written(tmp_path, text))


def test_fault_names_the_file_it_is_in(tmp_path: Path):
    file = written(tmp_path, "[search]\nseed = -1")

    assert fault(file).startswith(f"{file}: search.seed")


def test_each_fault_is_told():
    text = fault(LLMATIC_SEARCH__SEED="-1", LLMATIC_SEARCH__TEMPERATURE_JITTER="2")

    assert "search.seed must" in text
    assert "; environment: search.temperature_jitter must" in text


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


# --- writers -------------------------------------------------------------------------------------


def writer(folder: Path, text: str) -> WriterSettings:
    return load(written(folder, text), environment={}).writer


def test_writer_without_a_server_asks_none():
    assert load(environment={}).writer.servers == {}


@pytest.mark.parametrize("name", ["tgi", "openai"])
def test_writer_is_its_own_only_endpoint(tmp_path: Path, name: str):
    settings = writer(tmp_path, f'[writer]\nkind = "{name}"\nurl = "http://gpu:8000"\n')

    assert list(settings.servers) == [name]
    assert settings.servers[name].url == "http://gpu:8000"


def test_endpoints_take_over_what_they_do_not_set(tmp_path: Path):
    settings = writer(
        tmp_path,
        """
        [writer]
        kind = "tgi"
        max_new_tokens = 500
        timeout_s = 30.0
        extra_body = { top_k = 5 }
        [writer.endpoints.big]
        url = "http://big"
        weight = 2.0
        [writer.endpoints.small]
        kind = "openai"
        url = "http://small"
        timeout_s = 10.0
        extra_body = { top_k = 9 }
        """,
    )

    big, small = settings.servers["big"], settings.servers["small"]
    assert list(settings.servers) == ["big", "small"]
    assert (big.kind, big.weight, big.timeout_s, big.max_new_tokens) == ("tgi", 2.0, 30.0, 500)
    assert (small.kind, small.weight, small.timeout_s) == ("openai", 1.0, 10.0)
    assert (small.max_new_tokens, small.top_p) == (500, 0.95)
    assert (big.extra_body, small.extra_body) == ({"top_k": 5}, {"top_k": 9})


CELLS = 'data.name = "nasbench201-cifar10"\n'


def test_grammar_is_taken_over_by_endpoints(tmp_path: Path):
    text = '''[writer]\nkind = "tgi"\ngrammar = "cells"
        [writer.endpoints.big]\nurl = "http://big"
        [writer.endpoints.free]\ngrammar = "none"'''

    servers = load(written(tmp_path, CELLS + text), environment={}).writer.servers

    assert [each.grammar for each in servers.values()] == ["cells", "none"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            '[writer]\nkind = "tgi"\ngrammar = "cells"',
            "llmatic.toml: writer.grammar must be \"none\" unless data.name is one of nasbench201-*, got 'cifar10'",
        ),
        (
            f'{CELLS}[writer]\nkind = "openai"\ngrammar = "cells"',
            'writer.grammar must be "none" unless kind is "tgi"',
        ),
        (f'{CELLS}[writer]\ngrammar = "cells"', 'writer.grammar must be "none" unless kind is "tgi"'),
        (
            f'{CELLS}[writer]\nkind = "tgi"\ngrammar = "cells"\n[writer.endpoints.big]\nkind = "openai"',
            'writer.endpoints.big.grammar must be "none" unless kind is "tgi"',
        ),
        (
            '[writer]\ngrammar = "cell"',
            "writer.grammar must be 'none' or 'cells', got 'cell'; did you mean 'cells'?",
        ),
    ],
)
def test_grammar_that_nobody_could_hold_to_is_refused(tmp_path: Path, text: str, says: str):
    assert says in fault(written(tmp_path, text))


def test_endpoint_may_come_from_the_environment(tmp_path: Path):
    file = written(tmp_path, '[writer.endpoints.big]\nkind = "tgi"\nurl = "http://big"\n')
    environment = {"LLMATIC_WRITER__ENDPOINTS__BIG__WEIGHT": "3", "LLMATIC_WRITER__TOP_P": "0.5"}

    big = load(file, environment=environment).writer.servers["big"]

    assert (big.url, big.weight, big.top_p) == ("http://big", 3.0, 0.5)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("max_new_token = 5", "'writer.endpoints.big.max_new_token'; did you mean 'max_new_tokens'?"),
        ("knid = 5", "'writer.endpoints.big.knid'; did you mean 'kind'?"),
        ("breaker_pause_s = 5", "unknown setting 'writer.endpoints.big.breaker_pause_s'"),
        ("deep = {x = 1}", "unknown setting 'writer.endpoints.big.deep.x'"),
        ('kind = "offline"', "writer.endpoints.big.kind must be 'tgi' or 'openai'"),
        ('kind = "replay"', "writer.endpoints.big.kind must be 'tgi' or 'openai'"),
        ('kind = "tgi"\ntop_p = 2', "writer.endpoints.big.top_p must be less than or equal to 1, got 2"),
        ('kind = "tgi"\nweight = 0', "writer.endpoints.big.weight must be above 0, got 0"),
    ],
)
def test_fault_within_an_endpoint_is_named(tmp_path: Path, text: str, says: str):
    assert says in fault(written(tmp_path, f"[writer.endpoints.big]\n{text}\n"))


@pytest.mark.parametrize("name", ["Big", "-big", "a b", "x" * 33])
def test_odd_name_of_an_endpoint_is_refused(tmp_path: Path, name: str):
    text = fault(written(tmp_path, f'[writer.endpoints."{name}"]\nkind = "tgi"\n'))

    assert "must be a name of small letters, digits, - and _, at most 32" in text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('kind = "replay"', 'writer.replay must name a recording when kind is "replay"'),
        ('kind = "tgy"', "did you mean 'tgi'?"),
        ('url = "ftp://host"', "writer.url must be http:// or https://, a host"),
        ('url = "host:8080"', "got 'host:8080'"),
        ('style = "poem"', "writer.style must be 'completion' or 'chat', got 'poem'"),
        ('on_outage = "weep"', "writer.on_outage must be 'fallback' or 'wait', got 'weep'"),
        ("extra_body = 5", "writer.extra_body must be"),
        ("endpoints = 5", "writer.endpoints must be"),
        ("endpoints = {big = 5}", "writer.endpoints.big must be a section of settings, got 5"),
        ("max_tries = 0", "writer.max_tries must be above or equal to 1, got 0"),
    ],
)
def test_fault_of_the_writer_is_named(tmp_path: Path, text: str, says: str):
    assert says in fault(written(tmp_path, f"[writer]\n{text}\n"))


@pytest.mark.parametrize("place", ["writer", "writer.endpoints.big"])
@pytest.mark.parametrize(
    "url", ["http://me:hushhush@host", "https://hushhush@host", "http://host/?key=hushhush"]
)
def test_url_with_a_password_is_refused_without_showing_it(tmp_path: Path, place: str, url: str):
    """The message goes to the journal, which others read."""
    text = fault(written(tmp_path, f'[{place}]\nkind = "tgi"\nurl = "{url}"\n'))

    assert f"{place}.url must be http:// or https://, a host, and no password" in text
    assert "token_file" in text
    assert "hushhush" not in text


def test_url_with_a_password_in_the_environment_is_not_shown_either():
    text = fault(LLMATIC_WRITER__URL="http://me:hushhush@host")

    assert text.startswith("environment: writer.url must be")
    assert "hushhush" not in text


@pytest.mark.parametrize("url", ["http://host:80/", "http://host:80//", "http://host:80"])
def test_slash_at_the_end_of_a_url_makes_no_difference(tmp_path: Path, url: str):
    assert writer(tmp_path, f'[writer]\nurl = "{url}"\n').url == "http://host:80"


def test_url_may_have_a_path(tmp_path: Path):
    assert writer(tmp_path, '[writer]\nurl = "http://host/llm/"\n').url == "http://host/llm"


def test_token_of_the_environment_is_no_setting():
    settings = load(environment={"LLMATIC_LLM_TOKEN": "hushhush"})

    assert settings == load(environment={})
    assert "hushhush" not in repr(settings) + settings.model_dump_json()


def test_token_in_a_file_of_settings_is_refused(tmp_path: Path):
    text = fault(written(tmp_path, '[writer]\ntoken = "hushhush"\n'))

    assert "unknown setting 'writer.token'; did you mean 'writer.token_file'?" in text
    assert "hushhush" not in text


def test_files_of_the_writer_lie_beside_the_file_of_settings(tmp_path: Path):
    settings = writer(
        tmp_path,
        """
        [writer]
        kind = "tgi"
        record = "records/one.jsonl"
        replay = "/elsewhere/two.jsonl"
        [writer.endpoints.big]
        token_file = "../other-key"
        [writer.endpoints.small]
        url = "http://small"
        """,
    )

    assert settings.record == str(tmp_path / "records/one.jsonl")
    assert settings.replay == "/elsewhere/two.jsonl"
    assert settings.servers["big"].token_file == str(tmp_path / "../other-key")
    assert settings.servers["small"].token_file == ""


def test_key_of_one_endpoint_is_never_another_ones(tmp_path: Path):
    text = '[writer]\nkind = "openai"\ntoken_file = "key"\n[writer.endpoints.other]\nkind = "tgi"\n'

    assert "token_file must stand in the table of the endpoint" in fault(written(tmp_path, text))


def test_request_is_tried_until_its_endpoint_is_seen_to_be_out(tmp_path: Path):
    text = "[writer]\nmax_tries = 4\nbreaker_failures = 5\n"

    assert "max_tries must be at least breaker_failures" in fault(written(tmp_path, text))


def test_file_of_the_environment_is_where_it_says():
    settings = load(environment={"LLMATIC_WRITER__TOKEN_FILE": "key"})

    assert settings.writer.token_file == "key"


def test_extra_body_is_free(tmp_path: Path):
    text = "[writer.extra_body]\ntop_k = 5\nguided = {regex = 'a+', deep = {x = [1, 'y']}}\n"

    extra = writer(tmp_path, text).extra_body

    assert extra == {"top_k": 5, "guided": {"regex": "a+", "deep": {"x": [1, "y"]}}}


def test_extra_body_may_come_from_the_environment():
    for name, value in (("EXTRA_BODY", "{top_k = 5}"), ("EXTRA_BODY__TOP_K", "5")):
        settings = load(environment={f"LLMATIC_WRITER__{name}": value})
        assert settings.writer.extra_body == {"top_k": 5}


def test_fingerprint_follows_what_the_settings_say():
    other = load(preset="demo", environment={"LLMATIC_ENGINE__SLOTS": "7"})

    assert fingerprint(load(preset="demo", environment={})) == fingerprint(
        load(preset="demo", environment={})
    )
    assert fingerprint(other) != fingerprint(load(preset="demo", environment={}))
    assert len(fingerprint(other)) == 12
