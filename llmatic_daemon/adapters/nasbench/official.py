"""The official files of NATS-Bench (topology), read by the authors' package, `nats_bench`.

The files are pickles: reading one runs whatever its author put into it. So nothing but the command
`nasbench convert` comes here, and nothing here is imported by a search.

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
#: What our data sets are called there: trained without, and with the images that select, where these differ.
#: CIFAR-10 is tested after a training on all its images, as the benchmark's papers do.
_THEIR_NAMES = {
    "cifar10": ("cifar10-valid", "cifar10"),
    "cifar100": ("cifar100", "cifar100"),
    "imagenet16-120": ("ImageNet16-120", "ImageNet16-120"),
}


class Benchmark(Protocol):
    """What we ask of nats_bench's `NATStopology`; a mean over seeds where `is_random` is False."""

    #: Cells as texts; their positions are their numbers.
    meta_archs: Sequence[str]
    #: What has been read, by number.
    arch2infos_dict: MutableMapping[int, Any]

    def get_more_info(
        self, index: int, dataset: str, iepoch: None = None, hp: str = "12", is_random: bool = True
    ) -> Mapping[str, Any]:
        """Say accuracies in percent and times in seconds after the last of `hp` epochs."""
        ...

    def get_cost_info(self, index: int, dataset: str, hp: str = "12") -> Mapping[str, Any]:
        """Say parameters and FLOPs in millions."""
        ...


@dataclass(frozen=True, slots=True)
class Read:
    """What the official files hold."""

    tables: tuple[Table, ...]
    #: Cells that are stored with the parameters or FLOPs of another one; the tables have their own.
    num_resized: int


def is_official(source: Path) -> bool:
    """Tell the official folder or file from a table of ours."""
    return source.is_dir() or source.name.endswith((".pbz2", ".pickle", ".pth"))


def read(source: Path, watch: Callable[[int], None]) -> Read:
    """Read all cells on all data sets.

    Args:
        source: The folder `NATS-tss-v1_0-3ffb9-simple` or the file `NATS-tss-v1_0-3ffb9.pickle.pbz2`.
        watch: Told of the number of cells that have been read.

    Raises:
        ConfigurationError: the package is missing or too old; it is no such folder or file, is not
            whole, or holds something else.
    """
    _check_names(source)
    package = _package()
    with _told(source, "its index"):
        benchmark: Benchmark = package.create(str(source), "tss", fast_mode=source.is_dir(), verbose=False)
        cells = _cells(benchmark.meta_archs)
    return _read(benchmark, cells, source, watch)


def _check_names(source: Path) -> None:
    """Refuse what is no benchmark before anything in it is run."""
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
        import nats_bench  # asked for in this one command
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
            with _told(source, f"cell {index} on {name}"):
                size = size_of(cell, name)
                rows[name][str(cell)] = _row(benchmark, index, name, size)
                if _stored_size(benchmark, index, name) != size:
                    resized.add(cell)
        benchmark.arch2infos_dict.pop(index, None)  # else all of them end up in memory
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
def _told(source: Path, what: str) -> Iterator[None]:
    """Say in one line what could not be read; a pickle that is cut or foreign may raise anything."""
    try:
        yield
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        raise ConfigurationError(
            f"{str(source)!r} must hold the topology results of NATS-Bench ({NAME}), whole; "
            f"{what} cannot be read: {type(error).__name__}: {said}"
        ) from error
