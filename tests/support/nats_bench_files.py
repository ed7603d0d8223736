"""The official files of NATS-Bench made up: as a fake of the package's API, and as true files of the package.

Both hold the same figures, so that one contract can be asked of either. What is imitated was read in
nats_bench 1.8: `NATStopology.get_more_info` and `get_cost_info`, `ArchResults.get_metrics` and
`get_compute_costs`. Not imitated: losses, single epochs before the last, latencies, weights.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from llmatic_daemon.adapters.nasbench.skeleton import size_of
from llmatic_daemon.domain.nasbench_cells import Cell, every_cell

SEEDS = (777, 888)
#: Our name of each of theirs, and the splits that are measured after a training on it.
SPLITS = {
    "cifar10-valid": ("cifar10", ("x-valid", "ori-test")),
    "cifar10": ("cifar10", ("ori-test",)),
    "cifar100": ("cifar100", ("x-valid", "x-test", "ori-test")),
    "ImageNet16-120": ("imagenet16-120", ("x-valid", "x-test", "ori-test")),
}
CELLS = tuple(str(cell) for cell in every_cell())


def accuracy(index: int, data_set: str, split: str, epochs: str, seed: int) -> float:
    """Make a figure up that tells all of its arguments apart, in percent."""
    place = list(SPLITS).index(data_set) * 4 + SPLITS[data_set][1].index(split)
    return (index % 1000) / 100 + place * 2 + int(epochs) / 10 + seed / 1000


def train_s(index: int, data_set: str, epochs: str) -> float:
    return (index + 1) * int(epochs) / 100 + list(SPLITS).index(data_set)


class FakeBenchmark:
    """`NATStopology` in the fast mode: what is asked for is loaded first, and may fail to be."""

    def __init__(
        self, cells: Sequence[str] = CELLS, sized_as: Callable[[str], str] = lambda cell: cell
    ) -> None:
        self.meta_archs = list(cells)
        self.arch2infos_dict: dict[int, Any] = {}
        self.most_loaded = 0
        #: Changes what `get_more_info` answers.
        self.tamper: Callable[[int, str, str, dict[str, Any]], None] = lambda *_: None
        self._sized_as = sized_as

    def get_more_info(
        self, index: int, dataset: str, iepoch: None = None, hp: str = "12", is_random: bool = True
    ) -> dict[str, Any]:
        assert is_random is False
        assert iepoch is None
        assert hp in ("12", "200")
        self._load(index)
        splits = SPLITS[dataset][1]
        found = {"train-all-time": train_s(index, dataset, hp)}
        names = {"x-valid": "valid", "x-test": "test", "ori-test": "valtest"}
        if "x-test" not in splits:
            names["ori-test"] = "test"
        for split in splits:
            reached = [accuracy(index, dataset, split, hp, seed) for seed in SEEDS]
            found[f"{names[split]}-accuracy"] = sum(reached) / len(reached)
        self.tamper(index, dataset, hp, found)
        return found

    def get_cost_info(self, index: int, dataset: str, hp: str = "12") -> dict[str, Any]:
        self._load(index)
        name = self._sized_as(self.meta_archs[index])
        size = size_of(Cell.parse(name), SPLITS[dataset][0])
        return {"flops": size.flops / 1e6, "params": size.num_parameters / 1e6}

    def _load(self, index: int) -> None:
        self.arch2infos_dict[index] = "loaded"
        self.most_loaded = max(self.most_loaded, len(self.arch2infos_dict))


def fake_package(benchmark: FakeBenchmark | Exception, version: str = "v1.8") -> SimpleNamespace:
    """Make a module `nats_bench` that opens a made-up benchmark, or fails to."""

    def create(source: str, space: str, *, fast_mode: bool, verbose: bool) -> FakeBenchmark:
        assert isinstance(source, str)
        assert space == "tss"
        assert fast_mode == Path(source).is_dir()
        assert not verbose
        if isinstance(benchmark, Exception):
            raise benchmark
        return benchmark

    return SimpleNamespace(create=create, version=lambda: version)


def write_file(file: Path, cells: Sequence[str]) -> None:
    """Write what the fake holds as one true file, by the package itself."""
    from nats_bench import pickle_save

    whole = {
        "meta_archs": list(cells),
        "arch2infos": {index: _results(index, cell) for index, cell in enumerate(cells)},
        "evaluated_indexes": set(range(len(cells))),
    }
    pickle_save(whole, file, ext="")


def write_folder(folder: Path, cells: Sequence[str]) -> None:
    """Write it as a true folder, a file for each cell."""
    from nats_bench import pickle_save

    folder.mkdir()
    pickle_save({"meta_archs": list(cells)}, folder / "meta.pickle.pbz2", ext="")
    for index, cell in enumerate(cells):
        pickle_save(_results(index, cell), folder / f"{index:06d}.pickle.pbz2", ext="")


def _results(index: int, cell: str) -> dict[str, Any]:
    from nats_bench import ArchResults

    found = {}
    for epochs in ("12", "200"):
        results = ArchResults(index, cell)
        for data_set in SPLITS:
            for seed in SEEDS:
                results.update(data_set, seed, _trial(index, cell, data_set, epochs, seed))
        found[epochs] = results.state_dict()
    return found


def _trial(index: int, cell: str, data_set: str, epochs: str, seed: int) -> Any:
    """Write one training; only its last epoch says anything."""
    from nats_bench import ResultsCount

    ours, splits = SPLITS[data_set]
    size, last = size_of(Cell.parse(cell), ours), int(epochs) - 1
    nothing = dict.fromkeys(range(last + 1), 0.0)
    trial = ResultsCount(
        data_set,
        None,
        nothing,
        nothing,
        size.num_parameters / 1e6,
        size.flops / 1e6,
        {"arch_str": cell},
        seed,
        last + 1,
        None,
    )
    times = dict.fromkeys(range(last + 1), train_s(index, data_set, epochs) / (last + 1))
    trial.update_train_info(nothing, nothing, nothing, times)
    every = {f"{split}@{epoch}": 0.0 for split in splits for epoch in range(last + 1)}
    reached = {f"{split}@{last}": accuracy(index, data_set, split, epochs, seed) for split in splits}
    trial.update_eval(every | reached, dict(every), dict(every))
    return trial
