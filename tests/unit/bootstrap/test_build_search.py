"""A search as settings describe it: identity, measures and bounds."""

from pathlib import Path
from typing import Any

import pytest

from llmatic_daemon.bootstrap.build_search import identity, rules, spaces
from llmatic_daemon.config.loading import load
from llmatic_daemon.config.settings import Settings
from llmatic_daemon.domain import Measures
from llmatic_daemon.domain.errors import ConfigurationError
from llmatic_daemon.search.archive.measures import FLOPS, MEASURES, WIDTH_TO_DEPTH
from tests.support.fakes import TASK

NETWORK = Measures(num_parameters=5000, flops=170_000, width=48, depth=6)
#: As 0.5.0 stores it for its default settings.
OF_0_5_0 = {
    "archives.flops_high": "1000000000.0",
    "archives.flops_low": "100000.0",
    "archives.flops_scale": "log",
    "archives.network_cells": "100",
    "archives.num_samples": "25000",
    "archives.prompt_cells": "100",
    "archives.prompt_slots": "16",
    "archives.ratio_high": "512.0",
    "archives.ratio_low": "0.5",
    "archives.ratio_scale": "log",
    "data.fitness_split": "validation",
    "search.seed": "1",
    "task": '{"name": "fake", "input_shape": [3, 32, 32], "num_classes": 10, "num_train": 900, '
    '"num_validation": 100, "num_test": 100}',
}


def settings(**archives: Any) -> Settings:
    return load(environment={}, overrides={"archives": archives})


def test_identity_is_that_of_0_5_0():
    assert dict(identity(settings(), TASK).fields) == OF_0_5_0


def test_identity_names_other_axes_with_their_bounds():
    other = settings(axes=["depth", "flops"], bounds={"depth": {"high": 32.0, "scale": "linear"}})

    more = dict(identity(other, TASK).fields).items() - OF_0_5_0.items()

    assert dict(more) == {
        "archives.axes.0": "depth from 1.0 to 32.0, linear",
        "archives.axes.1": "flops from 100000.0 to 1000000000.0, log",
    }


def test_default_axes_are_the_papers_measures():
    space, _ = spaces(settings().archives)

    assert space.measured(NETWORK) == (8.0, 170_000.0)
    assert (space.first, space.second) == (WIDTH_TO_DEPTH, FLOPS)


@pytest.mark.parametrize(
    ("name", "value"),
    [("width_to_depth", 8.0), ("flops", 170_000.0), ("parameters", 5000.0), ("width", 48.0), ("depth", 6.0)],
)
def test_each_measure_can_be_an_axis(name: str, value: float):
    other = "flops" if name != "flops" else "depth"

    space, _ = spaces(settings(axes=[other, name]).archives)

    assert space.measured(NETWORK)[1] == value
    assert 0 < space.second.position(value) < 1


def test_every_measure_is_tried_above():
    assert set(MEASURES) == {"width_to_depth", "flops", "parameters", "width", "depth"}


@pytest.mark.parametrize(
    ("archives", "says"),
    [
        ({"axes": ["flops", "flops"]}, "archives.axes must be two different measures, got 'flops' twice"),
        ({"axes": ["flops"]}, "archives.axes must have more values"),
        ({"axes": ["flops", "depht"]}, "archives.axes must be .*got 'depht'; did you mean 'depth'"),
        (
            {"bounds": {"flops": {"low": 1.0}}},
            "archives.bounds.flops must be left out; set archives.flops_low",
        ),
        ({"bounds": {"depth": {"low": 1.0}}}, "archives.bounds.depth must be of one of the axes"),
        (
            {"axes": ["flops", "depth"], "bounds": {"depth": {"lo": 1}}},
            "unknown setting 'archives.bounds.depth.lo'",
        ),
        (
            {"axes": ["flops", "depth"], "bounds": {"depth": {"low": "x"}}},
            "archives.bounds.depth.low must be a number, got 'x'",
        ),
        ({"axes": ["flops", "depth"], "bounds": {"depth": 5}}, "archives.bounds.depth must be a section"),
    ],
)
def test_odd_axes_are_one_line(archives: dict[str, Any], says: str):
    with pytest.raises(ConfigurationError, match=f"^command line: {says}"):
        settings(**archives)


@pytest.mark.parametrize(
    ("bounds", "says"),
    [({"low": 70.0}, "low must be below high"), ({"low": 0.0}, "low must be above 0 on a log scale")],
)
def test_bounds_that_do_not_fit_a_measure_are_named(bounds: dict[str, float], says: str):
    made = settings(axes=["flops", "depth"], bounds={"depth": bounds})

    with pytest.raises(ConfigurationError, match=rf"archives\.bounds\.depth must span something: .*{says}"):
        spaces(made.archives)


def test_bound_of_a_measure_may_come_from_the_environment():
    made = load(
        environment={
            "LLMATIC_ARCHIVES__AXES": '["flops", "depth"]',
            "LLMATIC_ARCHIVES__BOUNDS__DEPTH__HIGH": "9",
        }
    )

    assert spaces(made.archives)[0].second.high == 9.0


def test_search_without_an_llm_has_no_control_arm():
    with_llm = load(environment={}, overrides={"writer": {"kind": "tgi"}})

    assert rules(with_llm) == with_llm.search
    assert rules(with_llm).control_ratio == 0.1
    assert rules(settings()).control_ratio == 0.0


def test_saved_settings_keep_axes_and_bounds(tmp_path: Path):
    made = settings(axes=["flops", "depth"], bounds={"depth": {"high": 9.0}})

    assert Settings.model_validate(made.model_dump(mode="json")) == made
