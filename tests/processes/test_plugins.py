"""Extensions by other packages: built, installed, and used by the command line; broken ones are named."""

import json
import shutil
from pathlib import Path

import pytest

from llmatic_daemon.adapters.storage.history import History
from tests.support import plugins
from tests.support.samples import first_of

pytestmark = pytest.mark.timeout(300)

SETTINGS = """
preset = "demo"
state_dir = "state"
[data]
name = "stripes"
[writer]
kind = "canned"
url = "http://nowhere"
model = "a-model"
[archives]
axes = ["parameters_per_layer", "parameters"]
bounds.parameters_per_layer = {low = 20.0, high = 5000.0}
[search]
num_initial = 3
control_ratio = 0.0
[training]
devices = ["cpu"]
epochs = 2
[engine]
slots = 2
[budget]
max_evaluations = 12
"""


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plugins.install(plugins.SAMPLE, tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="module")
def searched(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the search of the settings to its end, with the sample alone."""
    folder = tmp_path_factory.mktemp("searched")
    (folder / "llmatic.toml").write_text(SETTINGS)
    plugins.run("run", cwd=folder, plugins=(sample,))
    return folder


@pytest.fixture
def after(searched: Path, tmp_path: Path) -> Path:
    """Copy that search."""
    return Path(shutil.copytree(searched, tmp_path / "after"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "llmatic.toml").write_text(SETTINGS)
    return tmp_path


def set_to(folder: Path, old: str, new: str) -> None:
    file = folder / "llmatic.toml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def test_search_on_a_data_set_a_writer_and_a_measure_of_a_plugin(sample: Path, after: Path) -> None:
    with History(after / "state") as history:
        placements, identity = history.page(0, 1000), dict(history.identity().fields)
    trained = [each for each in placements if each.report is not None]
    assert len(trained) == 12
    assert {(each.writer, each.model) for each in placements} == {("canned", "a-model at http://nowhere")}
    assert max(each.report.objective for each in trained if each.report) > 0.9
    assert len({each.cell for each in trained}) > 3
    assert json.loads(identity["task"])["name"] == "stripes"
    assert identity["archives.axes.0"] == "parameters_per_layer from 20.0 to 5000.0, log"
    assert identity["archives.axes.1"] == "parameters from 1000.0 to 100000000.0, log"
    # Each is imported where it is used; the lifter imports none.
    imports = set((sample / "imports.log").read_text().splitlines())
    assert imports == {"data_set trainer", "writer run", "measure run"}

    plugins.run("verify", "--state", "state", cwd=after, plugins=(sample,))
    plugins.run("plot", "--state", "state", "--format", "svg", cwd=after, plugins=(sample,))
    assert "parameters per layer (log)" in "".join(p.read_text() for p in after.rglob("archives.svg"))


@pytest.mark.exhaustive
def test_search_with_another_axis_is_another_search(sample: Path, after: Path) -> None:
    set_to(after, 'axes = ["parameters_per_layer", "parameters"]', 'axes = ["parameters_per_layer", "width"]')

    said = plugins.run("run", cwd=after, plugins=(sample,), status=78)

    assert "archives.axes.1 is 'width from 1.0 to 4096.0, log', was 'parameters from" in said


def test_name_without_its_package_is_unknown(folder: Path) -> None:
    said = plugins.run("run", cwd=folder, plugins=(), status=78)

    assert "llmatic.toml: data.name must be 'digits', 'cifar10'" in said
    assert "llmatic.toml: writer.kind must be 'offline', 'replay', 'tgi' or 'openai', got 'canned'" in said
    assert "llmatic.toml: archives.axes must be 'width_to_depth', 'flops'" in said


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("group", "offered", "setting"),
    [
        ("data_sets", "stripes", "data.name"),
        ("writers", "canned", "writer.kind"),
        ("measures", "parameters_per_layer", "archives.axes"),
    ],
)
def test_two_packages_with_one_name_are_both_named(
    sample: Path, folder: Path, tmp_path: Path, group: str, offered: str, setting: str
) -> None:
    other = plugins.small(tmp_path, "other-package", group, offered, "thing = print\n")

    said = plugins.run("run", cwd=folder, plugins=(sample, other), status=78)

    assert f"{setting} must name what one package offers" in said
    assert "llmatic-sample 1.2" in said
    assert "other-package 0.1" in said
    assert "Traceback" not in said


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("group", "offered", "old"),
    [
        ("data_sets", "digits", 'name = "stripes"'),
        ("writers", "tgi", 'kind = "canned"'),
        ("measures", "flops", '"parameters"]'),
    ],
)
def test_package_that_takes_one_of_our_names_is_named(
    sample: Path, folder: Path, tmp_path: Path, group: str, offered: str, old: str
) -> None:
    other = plugins.small(tmp_path, "other-package", group, offered, "thing = print\n")
    set_to(folder, old, old.replace(old.split('"')[1], offered))

    said = plugins.run("run", cwd=folder, plugins=(sample, other), status=78)

    assert f"{offered!r} is offered by llmatic-daemon and other-package 0.1; uninstall all but one" in said
    assert "Traceback" not in said


@pytest.mark.exhaustive
def test_package_that_is_not_used_disturbs_nothing(sample: Path, folder: Path, tmp_path: Path) -> None:
    taken = plugins.small(tmp_path, "taking-package", "measures", "flops", "thing = print\n")
    broken = plugins.small(tmp_path, "broken-package", "writers", "broken", "raise RuntimeError")
    set_to(folder, "max_evaluations = 12", "max_evaluations = 1")

    plugins.run("run", cwd=folder, plugins=(sample, taken, broken))


@pytest.mark.parametrize(
    ("group", "old", "code", "why"),
    first_of(
        ("measures", "parameters_per_layer", "import nowhere_to_be_found", "cannot be imported: ModuleNotF"),
        ("measures", "parameters_per_layer", "raise SystemExit(3)", "cannot be imported: SystemExit: 3"),
        ("measures", "parameters_per_layer", "thing = 5", "is not a Measure"),
        (
            "writers",
            "canned",
            "raise RuntimeError('not\\nhere')",
            "cannot be imported: RuntimeError: not here",
        ),
        ("data_sets", "stripes", "import nowhere_to_be_found", "cannot be imported: ModuleNotFoundError"),
    ),
)
def test_package_that_fails_is_named(
    sample: Path, folder: Path, tmp_path: Path, group: str, old: str, code: str, why: str
) -> None:
    broken = plugins.small(tmp_path, "broken-package", group, "broken", code)
    set_to(folder, old, "broken")

    said = plugins.run("run", cwd=folder, plugins=(sample, broken), status=78)

    assert f"broken-package 0.1, whose broken_package:thing {why}" in said
    assert "Traceback" not in said


@pytest.mark.exhaustive
def test_verify_of_a_search_without_its_package_says_what_is_missing(after: Path) -> None:
    said = plugins.run("verify", "--state", "state", cwd=after, plugins=(), status=78)

    assert "must hold this version's settings" in said
