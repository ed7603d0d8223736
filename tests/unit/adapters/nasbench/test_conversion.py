"""The benchmark's table made from its official files, by a fake of their package and by the true one."""

import gzip
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from llmatic_daemon.adapters.nasbench import official
from llmatic_daemon.adapters.nasbench.conversion import Converted, convert
from llmatic_daemon.adapters.nasbench.skeleton import size_of
from llmatic_daemon.adapters.nasbench.table import DATA_SETS, Table, written
from llmatic_daemon.cli import main
from llmatic_daemon.domain.errors import ConfigurationError, UserError
from llmatic_daemon.domain.nasbench_cells import Cell
from llmatic_daemon.search.candidates.cells import INITIAL_CELL
from tests.support.nasbench_table import TABLE
from tests.support.nats_bench_files import (
    CELLS,
    SPLITS,
    FakeBenchmark,
    accuracy,
    fake_package,
    train_s,
    write_file,
    write_folder,
)

LARGEST = str(Cell(("nor_conv_3x3",) * 6))
FEW = (CELLS[0], CELLS[7_000], CELLS[15_624])


def unwatched(_: int) -> None:
    pass


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make what looks like the official folder; the fake package does not read it."""
    made = tmp_path / f"{official.NAME}-simple"
    made.mkdir()
    (made / "meta.pickle.pbz2").touch()
    return made


def install(monkeypatch: pytest.MonkeyPatch, package: Any) -> None:
    monkeypatch.setitem(sys.modules, "nats_bench", package)


# --- the contract --------------------------------------------------------------------------------


@pytest.fixture(params=["fake", "file", "folder"])
def official_api(request: pytest.FixtureRequest, tmp_path: Path) -> official.Benchmark:
    """Open three cells: the fake, and the true package on files that it has written itself."""
    if request.param == "fake":
        return FakeBenchmark(FEW)
    package = pytest.importorskip("nats_bench", reason="the extra 'nasbench' is not installed")
    source = tmp_path / f"{official.NAME}.pickle.pbz2"
    (write_file if request.param == "file" else write_folder)(source, FEW)
    opened: official.Benchmark = package.create(
        str(source), "tss", fast_mode=request.param == "folder", verbose=False
    )
    return opened


def mean(index: int, data_set: str, split: str, epochs: str) -> Any:
    reached = [accuracy(index, data_set, split, epochs, seed) for seed in (777, 888)]
    return pytest.approx(sum(reached) / 2)


@pytest.mark.parametrize("epochs", ["12", "200"])
def test_benchmark_tells_means_over_seeds_after_the_last_epoch(official_api, epochs):
    for index in range(3):
        for data_set, (_, splits) in SPLITS.items():
            found = official_api.get_more_info(index, data_set, hp=epochs, is_random=False)
            tests = "x-test" if "x-test" in splits else "ori-test"
            assert found["test-accuracy"] == mean(index, data_set, tests, epochs)
            if "x-valid" in splits:
                assert found["valid-accuracy"] == mean(index, data_set, "x-valid", epochs)
            assert found["train-all-time"] == pytest.approx(train_s(index, data_set, epochs))


def test_benchmark_tells_sizes_in_millions(official_api):
    for index, cell in enumerate(official_api.meta_archs):
        for data_set, (ours, _) in SPLITS.items():
            found, size = (
                official_api.get_cost_info(index, data_set, hp="200"),
                size_of(Cell.parse(cell), ours),
            )
            assert round(found["params"] * 1e6) == size.num_parameters
            assert round(found["flops"] * 1e6) == size.flops


def test_benchmark_loads_again_what_was_let_go(official_api):
    before = official_api.get_more_info(1, "cifar100", hp="200", is_random=False)
    official_api.arch2infos_dict.pop(1, None)

    assert 1 not in official_api.arch2infos_dict
    assert official_api.get_more_info(2, "cifar100", hp="200", is_random=False) != before
    assert 2 in official_api.arch2infos_dict


def test_benchmark_knows_no_other_data_set(official_api):
    with pytest.raises(KeyError):
        official_api.get_more_info(0, "cifar11", hp="200", is_random=False)


# --- official files ------------------------------------------------------------------------------


def test_official_folder_becomes_a_table_of_all_data_sets(tmp_path, folder, monkeypatch):
    fake, seen = FakeBenchmark(), list[int]()
    install(monkeypatch, fake_package(fake))

    done = convert(folder, tmp_path / "cells.csv.gz", watch=seen.append)

    assert done == Converted(data_sets=tuple(DATA_SETS), num_resized=0)
    assert seen == list(range(1, 15_626))
    assert fake.most_loaded == 1
    assert list(tmp_path.iterdir()).count(tmp_path / "cells.csv.gz") == 1
    index = CELLS.index(INITIAL_CELL)
    for ours, selects, tests, split in (
        ("cifar10", "cifar10-valid", "cifar10", "ori-test"),
        ("cifar100", "cifar100", "cifar100", "x-test"),
        ("imagenet16-120", "ImageNet16-120", "ImageNet16-120", "x-test"),
    ):
        row = Table.read(tmp_path / "cells.csv.gz", ours)[INITIAL_CELL]
        assert row.valid_200 == mean(index, selects, "x-valid", "200")
        assert row.test_200 == mean(index, tests, split, "200")
        assert row.valid_12 == mean(index, selects, "x-valid", "12")
        assert row.test_12 == mean(index, tests, split, "12")
        assert row.train_s == pytest.approx(train_s(index, selects, "200"))
        assert (row.num_parameters, row.flops) == (
            size_of(Cell.parse(INITIAL_CELL), ours).num_parameters,
            size_of(Cell.parse(INITIAL_CELL), ours).flops,
        )


def test_size_of_another_cell_is_corrected_and_counted(tmp_path, folder, monkeypatch):
    def twin(cell: str) -> str:
        return CELLS[0] if cell in (INITIAL_CELL, LARGEST) else cell

    install(monkeypatch, fake_package(FakeBenchmark(sized_as=twin)))

    done = convert(folder, tmp_path / "cells.csv", watch=unwatched)

    assert done.num_resized == 2
    row = Table.read(tmp_path / "cells.csv", "cifar10")[INITIAL_CELL]
    assert row.num_parameters == size_of(Cell.parse(INITIAL_CELL), "cifar10").num_parameters


def _without(key: str):
    def tamper(index: int, data_set: str, epochs: str, found: dict[str, Any]) -> None:
        if index == 2:
            found.pop(key, None)

    return tamper


def _above_100(index: int, data_set: str, epochs: str, found: dict[str, Any]) -> None:
    if index == 2:
        found["test-accuracy"] = 100.5


def _no_times(index: int, data_set: str, epochs: str, found: dict[str, Any]) -> None:
    found["train-all-time"] = None


@pytest.mark.parametrize(
    ("tamper", "why"),
    [
        (_without("valid-accuracy"), "cell 2 on cifar10 cannot be read: KeyError: 'valid-accuracy'"),
        (_above_100, "cell 2 on cifar10 cannot be read: ValueError: test_200 must be 0 to 100 %, got 100.5"),
        (_no_times, "cell 0 on cifar10 cannot be read: TypeError"),
    ],
)
def test_figures_that_lack_or_cannot_be_are_one_clear_line(tmp_path, folder, monkeypatch, tamper, why):
    fake = FakeBenchmark()
    fake.tamper = tamper
    install(monkeypatch, fake_package(fake))

    with pytest.raises(ConfigurationError, match=why) as raised:
        convert(folder, tmp_path / "cells.csv", watch=unwatched)

    assert "\n" not in str(raised.value)
    assert sorted(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        (CELLS[:-1], "each of the 15625 cells once, lists 15624 with 15624 different ones"),
        ((*CELLS[:-1], CELLS[0]), "lists 15625 with 15624 different ones"),
        (("64:64:64:64:64",), "its index cannot be read: CellError: a cell must look like"),
    ],
    ids=["missing", "twice", "sizes"],
)
def test_other_cells_than_the_benchmarks_are_refused(tmp_path, folder, monkeypatch, cells, why):
    install(monkeypatch, fake_package(FakeBenchmark(cells)))

    with pytest.raises(ConfigurationError, match=why):
        convert(folder, tmp_path / "cells.csv", watch=unwatched)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: None, "found nothing there"),
        (lambda path: path.mkdir(), "found a folder without meta.pickle.pbz2"),
        (lambda path: path.touch(), r"a file of the older NAS-Bench-201 \(\.pth\) is not read"),
    ],
    ids=["nothing", "folder", "old"],
)
def test_what_is_no_benchmark_is_refused_before_anything_is_run(tmp_path, monkeypatch, make, why):
    install(monkeypatch, None)  # who imports it meets an ImportError
    source = tmp_path / "NAS-Bench-201-v1_1-096897.pth"
    make(source)

    with pytest.raises(ConfigurationError, match=why):
        convert(source, tmp_path / "cells.csv", watch=unwatched)


@pytest.mark.parametrize("version", ["v1.5", "v1.5.1", "unknown"])
def test_package_that_averages_sizes_is_too_old(tmp_path, folder, monkeypatch, version):
    install(monkeypatch, fake_package(FakeBenchmark(), version))

    with pytest.raises(ConfigurationError, match=f"1.6 or later, found {version}"):
        convert(folder, tmp_path / "cells.csv", watch=unwatched)


def test_package_that_is_missing_is_told_with_the_way_out(tmp_path, folder, monkeypatch):
    install(monkeypatch, None)

    with pytest.raises(ConfigurationError, match=r"pip install 'llmatic-daemon\[nasbench\]'"):
        convert(folder, tmp_path / "cells.csv", watch=unwatched)


@pytest.mark.parametrize("size", [0, 10, 200])
def test_true_file_that_is_cut_is_one_clear_line(tmp_path, size):
    pytest.importorskip("nats_bench", reason="the extra 'nasbench' is not installed")
    file = tmp_path / f"{official.NAME}.pickle.pbz2"
    write_file(file, FEW)
    file.write_bytes(file.read_bytes()[:size])

    with pytest.raises(ConfigurationError, match="its index cannot be read: ") as raised:
        convert(file, tmp_path / "cells.csv", watch=unwatched)

    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == [file]


def test_true_folder_that_lacks_cells_names_the_first_one(tmp_path):
    pytest.importorskip("nats_bench", reason="the extra 'nasbench' is not installed")
    from nats_bench import pickle_save

    folder = tmp_path / "simple"
    write_folder(folder, FEW[:1])
    pickle_save({"meta_archs": list(CELLS)}, folder / "meta.pickle.pbz2", ext="")

    with pytest.raises(ConfigurationError, match="cell 1 on cifar10 cannot be read: Assert"):
        convert(folder, tmp_path / "cells.csv", watch=unwatched)


# --- a compact CSV, and the target ---------------------------------------------------------------


@pytest.fixture(scope="module")
def compact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("made") / "cells.csv"
    file.write_text(written([TABLE]))
    return file


@pytest.mark.parametrize("name", ["cells.csv", "cells.csv.gz"])
def test_compact_table_is_written_in_the_same_bytes_whatever_its_order(tmp_path, compact, name):
    head, *lines = compact.read_text().splitlines()
    shuffled = tmp_path / "shuffled.csv"
    shuffled.write_text("\n".join([f"note,{head}", *(f"x,{line}" for line in reversed(lines))]))

    done = convert(shuffled, tmp_path / name, watch=unwatched)

    assert done == Converted(data_sets=("cifar10",), num_resized=0)
    content = (tmp_path / name).read_bytes()
    assert (gzip.decompress(content) if name.endswith("gz") else content) == compact.read_bytes()


def test_table_without_the_columns_of_any_data_set_is_refused(tmp_path):
    (tmp_path / "cells.csv").write_text("arch,c10_valid_200\n")

    with pytest.raises(
        ConfigurationError, match=r"columns of one of cifar10, .* found none of them complete"
    ):
        convert(tmp_path / "cells.csv", tmp_path / "out.csv", watch=unwatched)


def test_target_is_replaced_only_when_asked_for(tmp_path, compact):
    target = tmp_path / "cells.csv"
    target.write_text("mine")

    with pytest.raises(UserError, match="must not exist yet; --force overwrites it"):
        convert(compact, target, watch=unwatched)
    assert target.read_text() == "mine"

    convert(compact, target, force=True, watch=unwatched)
    assert target.read_text() == compact.read_text()


def test_target_without_its_folder_is_rejected(tmp_path, compact):
    with pytest.raises(UserError, match=r"must lie in an existing folder; make .*no first"):
        convert(compact, tmp_path / "no" / "cells.csv", watch=unwatched)


def test_full_disk_leaves_the_old_table_whole(tmp_path, compact, monkeypatch):
    target = tmp_path / "cells.csv"
    target.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"cells\.csv must be writable, got: No space left"):
        convert(compact, target, force=True, watch=unwatched)

    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


# --- what a person types -------------------------------------------------------------------------


def type_in(*words: str) -> Result:
    return CliRunner().invoke(main, ["nasbench", *map(str, words)])


def test_convert_says_what_it_has_written(tmp_path, compact):
    done = type_in("convert", str(compact), str(tmp_path / "cells.csv.gz"))

    assert done.exit_code == 0
    assert done.output.endswith("cells.csv.gz: 15625 cells on cifar10\n")


def test_convert_of_what_is_none_ends_with_one_line(tmp_path):
    done = type_in("convert", str(tmp_path), str(tmp_path / "cells.csv"))

    assert done.exit_code == 78
    assert "found a folder without meta.pickle.pbz2" in done.output
    assert done.output.count("\n") == 1


def test_help_says_that_pickles_run_what_is_in_them():
    assert "runs any code in them" in type_in("convert", "--help").output


def test_source_prints_the_network_of_the_data_set():
    printed = type_in("source", INITIAL_CELL, "--data-set", "imagenet16-120").output

    assert printed.startswith(f'"""{INITIAL_CELL}\n')
    assert "nn.Linear(64, 120)" in printed


def test_source_of_what_is_no_cell_is_one_line():
    done = type_in("source", "|conv~0|")

    assert done.exit_code == 1
    assert "a cell must look like |op~0|" in done.output
