"""Reader of the official files of NATS-Bench (topology), by the authors' package `nats_bench`.

The files are pickles, and reading a pickle can run any code in it. So only the command `nasbench convert`
uses this module; a search never imports it.

Source: Dong et al. 2021 (NATS-Bench); `api_topology.py` and `api_utils.py` of nats_bench 1.8.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from llmatic_daemon.adapters.nasbench.skeleton import NetworkSize, size_of
from llmatic_daemon.adapters.nasbench.table import DATA_SETS, Table, TableRow
from llmatic_daemon.domain.errors import ConfigurationError
from llmatic_daemon.domain.nasbench_cells import NUM_CELLS, Cell

NAME = "NATS-tss-v1_0-3ffb9"
FILE_ENDING = ".pickle.pbz2"
_META = f"meta{FILE_ENDING}"
#: The first version that does not average parameters and FLOPs that differ between seeds.
_FIRST_VERSION = (1, 6)
#: Names of the data sets in the files: trained without and with the validation images, where these differ.
#: CIFAR-10 is tested after a training on all its images, as in the benchmark's papers.
_THEIR_NAMES = {
    "cifar10": ("cifar10-valid", "cifar10"),
    "cifar100": ("cifar100", "cifar100"),
    "imagenet16-120": ("ImageNet16-120", "ImageNet16-120"),
}


class Benchmark(Protocol):
    """The part of nats_bench's `NATStopology` in use; means over seeds if `is_random` is False."""

    #: Cells as texts; their positions are their numbers.
    meta_archs: Sequence[str]
    #: Loaded data, by number.
    arch2infos_dict: MutableMapping[int, Any]

    def get_more_info(
        self, index: int, dataset: str, iepoch: None = None, hp: str = "12", is_random: bool = True
    ) -> Mapping[str, Any]:
        """Return accuracies in percent and times in seconds after the last of `hp` epochs."""
        ...

    def get_cost_info(self, index: int, dataset: str, hp: str = "12") -> Mapping[str, Any]:
        """Return parameters and FLOPs in millions."""
        ...


@dataclass(frozen=True, slots=True)
class Read:
    """The content of the official files."""

    tables: tuple[Table, ...]
    #: Number of cells stored with the parameters or FLOPs of another cell; the tables hold correct ones.
    num_resized: int


def is_official(source: Path) -> bool:
    """Return whether a source is the official folder or file, and not a compact CSV."""
    return source.is_dir() or source.name.endswith((".pbz2", ".pickle", ".pth"))


def read(source: Path, watch: Callable[[int], None]) -> Read:
    """Read all cells on all data sets.

    Args:
        source: The folder `NATS-tss-v1_0-3ffb9-simple` or the file `NATS-tss-v1_0-3ffb9.pickle.pbz2`.
        watch: Called with the number of cells read so far.

    Raises:
        ConfigurationError: the package is missing or too old, or the source is not the benchmark, or not
            complete.
    """
    _check_names(source)
    package = _package()
    with _explained(source, "its index"):
        benchmark: Benchmark = package.create(str(source), "tss", fast_mode=source.is_dir(), verbose=False)
        cells = _cells(benchmark.meta_archs)
    return _read(benchmark, cells, source, watch)


def _check_names(source: Path) -> None:
    """Reject a source that is not the benchmark, before any code in it can run."""
    wanted = f"must be the folder {NAME}-simple or the file {NAME}{FILE_ENDING} of NATS-Bench"
    if not source.exists():
        raise ConfigurationError(f"{str(source)!r} {wanted}, found nothing there")
    if source.is_dir() and not (source / _META).is_file():
        raise ConfigurationError(f"{str(source)!r} {wanted}, found a folder without {_META}")
    if source.is_file() and not source.name.endswith(FILE_ENDING):
        raise ConfigurationError(
            f"{str(source)!r} {wanted}; a file of the older NAS-Bench-201 (.pth) is not read"
        )


def _package() -> Any:
    try:
        import nats_bench  # an optional dependency of this command only
    except ImportError as error:
        raise ConfigurationError(
            "the official files need the package 'nats_bench'; pip install 'llmatic-daemon[nasbench]'"
        ) from error
    version = str(nats_bench.version())
    numbers = version.removeprefix("v").split(".")
    if not all(map(str.isdecimal, numbers)) or tuple(map(int, numbers)) < _FIRST_VERSION:
        raise ConfigurationError(
            f"nats_bench must be of version 1.6 or later, found {version}; "
            "pip install -U 'llmatic-daemon[nasbench]'"
        )
    return nats_bench


def _cells(names: Sequence[str]) -> list[Cell]:
    cells = [Cell.parse(name) for name in names]
    if len(set(cells)) != len(cells) or len(cells) != NUM_CELLS:
        found = f"{len(cells)} with {len(set(cells))} different ones"
        raise ValueError(f"it must list each of the {NUM_CELLS} cells once, lists {found}")
    return cells


def _read(benchmark: Benchmark, cells: Sequence[Cell], source: Path, watch: Callable[[int], None]) -> Read:
    rows: dict[str, dict[str, TableRow]] = {name: {} for name in DATA_SETS}
    resized = set()
    for index, cell in enumerate(cells):
        for name in DATA_SETS:
            with _explained(source, f"cell {index} on {name}"):
                size = size_of(cell, name)
                rows[name][str(cell)] = _row(benchmark, index, name, size)
                if _stored_size(benchmark, index, name) != size:
                    resized.add(cell)
        benchmark.arch2infos_dict.pop(index, None)  # else all cells stay in memory
        watch(index + 1)
    return Read(tuple(Table(name, rows[name]) for name in DATA_SETS), len(resized))


def _row(benchmark: Benchmark, index: int, name: str, size: NetworkSize) -> TableRow:
    selects, tests = _THEIR_NAMES[name]
    found = {
        (epochs, which): benchmark.get_more_info(index, which, hp=epochs, is_random=False)
        for epochs in ("12", "200")
        for which in {selects, tests}
    }
    return TableRow(
        num_parameters=size.num_parameters,
        flops=size.flops,
        valid_200=float(found["200", selects]["valid-accuracy"]),
        test_200=float(found["200", tests]["test-accuracy"]),
        valid_12=float(found["12", selects]["valid-accuracy"]),
        test_12=float(found["12", tests]["test-accuracy"]),
        train_s=float(found["200", selects]["train-all-time"]),
    )


def _stored_size(benchmark: Benchmark, index: int, name: str) -> NetworkSize:
    stored = benchmark.get_cost_info(index, _THEIR_NAMES[name][0], hp="200")
    return NetworkSize(num_parameters=round(stored["params"] * 1e6), flops=round(stored["flops"] * 1e6))


@contextlib.contextmanager
def _explained(source: Path, what: str) -> Iterator[None]:
    """Name in one line what could not be read, because a damaged pickle may raise any exception."""
    try:
        yield
    except Exception as error:
        message = " ".join(str(error).split())[:300]
        raise ConfigurationError(
            f"{str(source)!r} must hold the complete topology results of NATS-Bench ({NAME}); "
            f"{what} cannot be read: {type(error).__name__}: {message}"
        ) from error
