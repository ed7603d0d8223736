"""The table of NAS-Bench-201: what each of its 15,625 cells has reached, as one compact CSV file."""

import csv
import gzip
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from llmatic_daemon.cells import NUM_CELLS, Cell, CellError
from llmatic_daemon.errors import ConfigurationError

#: Prefix of a data set's columns, and its classes; image sides are the benchmark's.
DATA_SETS = {
    "cifar10": ("c10", 10, 32),
    "cifar100": ("c100", 100, 32),
    "imagenet16-120": ("in16", 120, 16),
}
_COLUMNS = {
    "num_parameters": "params",
    "flops": "flops",
    "valid_200": "valid_200",
    "test_200": "test_200",
    "valid_12": "valid_12",
    "test_12": "test_12",
    "train_s": "train_s_200",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One cell on one data set."""

    num_parameters: int
    #: Multiply-adds of one forward pass of one image.
    flops: int
    #: Accuracies in percent after 200 epochs, means over the training seeds; and after 12 epochs.
    valid_200: float
    test_200: float
    valid_12: float
    test_12: float
    #: Seconds of training for 200 epochs on the benchmark's GPU.
    train_s: float


class Table(Mapping[str, Row]):
    """All cells of one data set, by their texts."""

    def __init__(self, data_set: str, rows: Mapping[str, Row]) -> None:
        self.data_set = data_set
        self._rows = rows

    @classmethod
    def read(cls, file: Path, data_set: str) -> "Table":
        """Read the compact CSV, packed by gzip or not.

        Args:
            file: With a column `arch` and for each data set `PREFIX_params`, `PREFIX_flops`,
                `PREFIX_valid_200`, `PREFIX_test_200`, `PREFIX_valid_12`, `PREFIX_test_12` and
                `PREFIX_train_s_200`; other columns are not read.
            data_set: One of `DATA_SETS`.

        Raises:
            ConfigurationError: no such file or data set; a column, a cell or a number is missing.
        """
        if data_set not in DATA_SETS:
            raise ConfigurationError(
                f"the benchmark's data set must be one of {', '.join(DATA_SETS)}, got {data_set!r}"
            )
        try:
            data = file.read_bytes()
            text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
        except (OSError, EOFError, ValueError) as error:
            raise ConfigurationError(f"{str(file)!r} must be a table of cells: {error}") from error
        return cls(data_set, dict(_rows(csv.DictReader(io.StringIO(text)), file, data_set)))

    def __getitem__(self, cell: str) -> Row:
        """Look a cell up."""
        return self._rows[cell]

    def __iter__(self) -> Iterator[str]:
        """List the texts of all cells."""
        return iter(self._rows)

    def __len__(self) -> int:
        """Count the cells."""
        return len(self._rows)


def _rows(reader: "csv.DictReader[str]", file: Path, data_set: str) -> Iterable[tuple[str, Row]]:
    prefix = DATA_SETS[data_set][0]
    names = {field: f"{prefix}_{column}" for field, column in _COLUMNS.items()}
    missing = {"arch", *names.values()} - set(reader.fieldnames or ())
    if missing:
        raise ConfigurationError(
            f"{str(file)!r} must have the columns of {data_set}, lacks {', '.join(sorted(missing))}"
        )
    seen = set()
    for line, row in enumerate(reader, 2):
        try:
            cell = str(Cell.parse(row["arch"]))
            found = Row(
                num_parameters=int(row[names["num_parameters"]]),
                flops=int(row[names["flops"]]),
                **{f: float(row[names[f]]) for f in list(_COLUMNS)[2:]},
            )
        except (CellError, TypeError, ValueError) as error:
            raise ConfigurationError(f"{str(file)!r}, line {line}: {error}") from error
        seen.add(cell)
        yield cell, found
    if len(seen) != NUM_CELLS:
        raise ConfigurationError(
            f"{str(file)!r} must have all {NUM_CELLS} cells, has {len(seen)} of them"
        )
