"""The table of NAS-Bench-201: the results of its 15,625 cells, as one compact CSV file."""

import csv
import gzip
import io
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from llmatic_daemon.domain.errors import ConfigurationError
from llmatic_daemon.domain.nasbench_cells import NUM_CELLS, Cell, CellError, every_cell

#: Prefix of a data set's columns, and its classes; image sides are the benchmark's.
DATA_SETS = {"cifar10": ("c10", 10, 32), "cifar100": ("c100", 100, 32), "imagenet16-120": ("in16", 120, 16)}
#: Fields of a row, and the names of their columns after the prefix.
COLUMNS = {
    "num_parameters": "params",
    "flops": "flops",
    "valid_200": "valid_200",
    "test_200": "test_200",
    "valid_12": "valid_12",
    "test_12": "test_12",
    "train_s": "train_s_200",
}
#: Fields that are integers, and fields that are accuracies in percent.
_WHOLE = ("num_parameters", "flops")
_ACCURACIES = ("valid_200", "test_200", "valid_12", "test_12")


@dataclass(frozen=True, kw_only=True, slots=True)
class TableRow:
    """The results of one cell on one data set."""

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

    def __post_init__(self) -> None:
        """Reject values that no training can reach."""
        for name in _ACCURACIES:
            if not 0 <= getattr(self, name) <= 100:
                raise ValueError(f"{name} must be 0 to 100 %, got {getattr(self, name)}")
        if self.flops <= 0:
            raise ValueError(f"flops must be above 0, got {self.flops}")
        if self.num_parameters < 0:
            raise ValueError(f"params must not be negative, got {self.num_parameters}")
        if not 0 <= self.train_s < math.inf:
            raise ValueError(f"train_s_200 must be seconds, got {self.train_s}")


class Table(dict[str, TableRow]):
    """The results of all cells on one data set, by the texts of the cells."""

    def __init__(self, data_set: str, rows: Mapping[str, TableRow]) -> None:
        super().__init__(rows)
        self.data_set = data_set

    @classmethod
    def read(cls, file: Path, data_set: str) -> "Table":
        """Read the compact CSV, compressed by gzip or not.

        Args:
            file: CSV with a column `arch` and for each data set `PREFIX_params`, `PREFIX_flops`,
                `PREFIX_valid_200`, `PREFIX_test_200`, `PREFIX_valid_12`, `PREFIX_test_12` and
                `PREFIX_train_s_200`; other columns are ignored.
            data_set: One of `DATA_SETS`.

        Raises:
            ConfigurationError: the file or the data set does not exist; a column, a cell or a number is
                missing; a cell occurs twice; or a number is out of range.
        """
        if data_set not in DATA_SETS:
            raise ConfigurationError(
                f"the benchmark's data set must be one of {', '.join(DATA_SETS)}, got {data_set!r}"
            )
        return cls(data_set, dict(_rows(_reader(file), file, data_set)))


def data_sets_of(file: Path) -> tuple[str, ...]:
    """Return the data sets whose columns a compact CSV contains.

    Raises:
        ConfigurationError: the file cannot be read, or no data set is complete.
    """
    header = set(_reader(file).fieldnames or ())
    found = tuple(name for name in DATA_SETS if header.issuperset(_names(name).values()))
    if not found:
        raise ConfigurationError(
            f"{str(file)!r} must have the columns of one of {', '.join(DATA_SETS)} (for cifar10: "
            f"{', '.join(_names('cifar10').values())}), found none of them complete"
        )
    return found


def written(tables: Sequence[Table]) -> str:
    """Return the tables of several data sets as one compact CSV, in the order of `every_cell`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["arch", *(name for table in tables for name in _names(table.data_set).values())])
    for cell in map(str, every_cell()):
        writer.writerow([cell, *(value for table in tables for value in astuple(table[cell]))])
    return text.getvalue()


def _names(data_set: str) -> dict[str, str]:
    """Map the fields of a row to a data set's columns."""
    return {field: f"{DATA_SETS[data_set][0]}_{column}" for field, column in COLUMNS.items()}


def _reader(file: Path) -> "csv.DictReader[str]":
    try:
        data = file.read_bytes()
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text))
        _ = reader.fieldnames  # reads the first line
    except (OSError, EOFError, ValueError, zlib.error, csv.Error) as error:
        raise ConfigurationError(f"{str(file)!r} must be a table of cells: {error}") from error
    return reader


def _rows(reader: "csv.DictReader[str]", file: Path, data_set: str) -> Iterable[tuple[str, TableRow]]:
    names = _names(data_set)
    seen: set[str] = set()
    try:
        missing = {"arch", *names.values()} - set(reader.fieldnames or ())
        if missing:
            raise ConfigurationError(
                f"{str(file)!r} must have the columns of {data_set}, lacks {', '.join(sorted(missing))}"
            )
        for row in reader:
            cell = str(Cell.parse(row["arch"] or ""))
            if cell in seen:
                raise CellError(f"{cell} must occur once, found it again")
            seen.add(cell)
            yield cell, _row(row, names)
    except (ValueError, csv.Error) as error:
        raise ConfigurationError(f"{str(file)!r}, line {reader.line_num}: {error}") from error
    if len(seen) != NUM_CELLS:
        raise ConfigurationError(f"{str(file)!r} must have all {NUM_CELLS} cells, has {len(seen)} of them")


def _row(row: Mapping[str, str | None], names: Mapping[str, str]) -> TableRow:
    """Parse a row's numbers.

    Raises:
        ValueError: a number is missing, not valid, or out of range.
    """
    numbers: dict[str, Any] = {}
    for field, column in names.items():
        try:
            numbers[field] = (int if field in _WHOLE else float)(row[column] or "")
        except ValueError as error:
            kind = "a whole number" if field in _WHOLE else "a number"
            raise ValueError(f"{column} must be {kind}, got {row[column]!r}") from error
    return TableRow(**numbers)
