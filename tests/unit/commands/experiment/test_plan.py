"""The file of an experiment: strict, and each run has the settings that it says."""

from pathlib import Path

import pytest

from llmatic_daemon.commands.experiment.plan import PRESETS, plan, preset_text
from llmatic_daemon.domain.errors import ConfigurationError
from tests.support.experiment import TEXT
from tests.support.paths import TESTS


def changed(file: Path, old: str, new: str) -> str:
    assert old in TEXT
    file.write_text(TEXT.replace(old, new))
    return str(file)


def test_every_variant_runs_on_every_data_set_by_every_seed(file: Path) -> None:
    what = changed(file, '["nasbench201-cifar10"]', '["nasbench201-cifar10", "nasbench201-cifar100"]')

    made = plan(what)

    runs = {(job.run.variant, job.run.data_set, job.run.seed) for job in made.jobs}
    assert len(runs) == len(made.jobs) == 8
    assert all(job.settings.search.seed == job.run.seed for job in made.jobs)
    assert all(job.settings.data.name == job.run.data_set for job in made.jobs)
    assert all(job.settings.data.folder == file.parent / "cells.csv" for job in made.jobs)
    assert made.name == "small"


def test_later_layers_win(file: Path) -> None:
    """Default, benchmark, the presets' numbers of the search, the file's settings, the variant's."""
    shared = "[settings]\nsearch.temperature_jitter = 0.3\nsearch.tournament_size = 7\n[variants.plain]\n"
    what = changed(file, "[variants.plain]\n", f'{shared}preset = "paper"\nsearch.temperature_jitter = 0.2\n')

    plain, uniform = (plan(what).job(name, "nasbench201-cifar10").settings for name in ("plain", "uniform"))

    assert plain.search.duplicates == "train"  # of the variant's preset
    assert plain.archives.flops_scale == "log"  # not of that preset: its bounds are about images
    assert plain.archives.flops_low == 7_783_050
    assert (plain.search.tournament_size, plain.search.temperature_jitter) == (7, 0.2)
    assert (uniform.search.tournament_size, uniform.search.temperature_jitter) == (1, 0.3)
    assert uniform.search.duplicates == "skip"


def test_data_set_has_the_bounds_of_its_images(file: Path) -> None:
    what = changed(file, '["nasbench201-cifar10"]', '["nasbench201-imagenet16-120"]')

    assert plan(what).jobs[0].settings.archives.flops_low == 1_953_400


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seeds = 2", "seed = 2", "unknown entry 'seed'; did you mean 'seeds'"),
        ("seeds = 2", "seeds = 0", "seeds must be above or equal to 1, got 0"),
        ("seeds = 2", 'seeds = "many"', "seeds must be an integer, got 'many'"),
        ("budgets = [10, 25]", "budgets = []", "budgets must not be empty"),
        ("budgets = [10, 25]", "", "budgets must be there"),
        ("[variants.plain]", '[variants."a/b"]', "name of letters.*got 'a/b'"),
        ("search.tournament_size", "search.tournment_size", "did you mean 'search.tournament_size'"),
        ("search.tournament_size = 1", "search.seed = 1", "search.seed: remove it.* by seeds"),
        ("search.tournament_size = 1", 'preset = "papr"', "uniform: preset must be.*mean 'paper'"),
        (
            "search.tournament_size = 1",
            "search.temperature_jitter = 7",
            "variants.uniform: search.temperature_jitter",
        ),
        ("nasbench201-cifar10", "nasbench201-cifar11", "data.name must be .*mean 'nasbench201"),
        ('table = "cells.csv"', "", "expected the benchmark.s table.*--table"),
        (
            'table = "cells.csv"',
            'table = "no.csv"',
            "expected a readable table of the benchmark, got '.*no.csv'",
        ),
        ("seeds = 2", "seeds =", "must be TOML"),
    ],
)
def test_mistake_is_one_line_that_names_the_file(file: Path, old: str, new: str, said: str) -> None:
    what = changed(file, old, new)

    with pytest.raises(ConfigurationError, match=said) as caught:
        plan(what)

    assert "\n" not in str(caught.value)
    assert "small.toml" in str(caught.value) or "no.csv" in str(caught.value)


def test_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="expected a readable TOML file or one of quick"):
        plan(str(tmp_path / "none.toml"))


def test_fingerprint_tells_of_settings_prompts_and_table_and_not_of_where_they_lie(
    file: Path, tmp_path: Path
) -> None:
    first = plan(str(file)).jobs[0].fingerprint
    elsewhere = tmp_path / "other" / "moved.toml"
    elsewhere.parent.mkdir()
    elsewhere.write_text(TEXT)
    copy = elsewhere.parent / "cells.csv"
    copy.write_bytes((tmp_path / "cells.csv").read_bytes())

    moved = plan(str(elsewhere)).jobs[0].fingerprint
    copy.write_bytes(copy.read_bytes() + b"\n")
    other_table = plan(str(elsewhere)).jobs[0].fingerprint
    file.write_text(TEXT.replace("budgets = [10, 25]", "budgets = [10, 26]"))

    assert moved == first
    assert other_table != first
    assert plan(str(file)).jobs[0].fingerprint != first


def test_more_seeds_or_variants_leave_the_others_as_they_were(file: Path) -> None:
    before = {job.run: job.fingerprint for job in plan(str(file)).jobs}

    what = changed(file, "seeds = 2", "seeds = 3")
    file.write_text(file.read_text() + "[variants.more]\nsearch.temperature_jitter = 0.0\n")

    after = {job.run: job.fingerprint for job in plan(what).jobs}
    assert before.items() <= after.items()
    assert len(after) == 9


@pytest.mark.parametrize("name", PRESETS)
def test_experiment_that_comes_with_us_is_a_good_one(name: str, table: Path) -> None:
    made = plan(name, table=table)

    assert made.jobs
    assert made.name == name
    assert preset_text(name).startswith("#")


@pytest.mark.parametrize("name", ["costs", "looks", "paper", "variants"])
def test_experiments_behind_the_results_can_be_run(name: str, table: Path) -> None:
    file = TESTS / "benchmarks" / "experiments" / f"{name}.toml"

    made = plan(str(file), table=table)

    assert {job.settings.data.folder for job in made.jobs} == {table}
