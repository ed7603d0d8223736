"""Tables of all 15,625 cells: made-up figures (the more 3 x 3 convolutions, the better), and the real file."""

from functools import cache
from pathlib import Path

import pytest

from llmatic_daemon.adapters.nasbench.table import Table, TableRow
from llmatic_daemon.domain.nasbench_cells import Cell, every_cell
from tests.support.paths import ROOT

_FIGURES = ("params", "flops", "valid_200", "test_200", "valid_12", "test_12", "train_s_200")
PREFIXES = ("c10", "c100")


def write(file: Path) -> Path:
    """Write the table to a file."""
    file.write_text(_text())
    return file


@cache
def _text() -> str:
    head = ["arch", *(f"{prefix}_{name}" for prefix in PREFIXES for name in _FIGURES)]
    return "\n".join([",".join(head), *map(_row, every_cell())])


def _row(cell: Cell) -> str:
    count = cell.operations.count
    gain = 4 * count("nor_conv_3x3") + 2 * count("nor_conv_1x1") + count("skip_connect")
    # Cells of the same operations differ by where they stand.
    gain += sum(n * len(operation) % 7 for n, operation in enumerate(cell.operations)) / 10
    figures = [str(cell)]
    for valid in (60 + gain, 40 + gain):
        flops = 7_783_050 + 35_390_415 * count("nor_conv_3x3") + 3_932_268 * count("nor_conv_1x1")
        numbers = (flops // 100, flops, valid, valid + 0.5, valid - 20, valid - 19.5, 1000 + flops / 1e5)
        figures += [f"{number:.4f}" if isinstance(number, float) else f"{number}" for number in numbers]
    return ",".join(figures)


FILE = ROOT.parent / "shared" / "data" / "nasbench201" / "cells.csv.gz"


needs_the_table = pytest.mark.skipif(not FILE.exists(), reason="the benchmark's table is not here")


def made_up() -> dict[str, TableRow]:
    return {
        str(cell): TableRow(
            num_parameters=n,
            flops=n + 1,
            valid_200=n / 200,
            test_200=n / 201,
            valid_12=1.0,
            test_12=1.0,
            train_s=10.0,
        )
        for n, cell in enumerate(every_cell())
    }


TABLE = Table("cifar10", made_up())
