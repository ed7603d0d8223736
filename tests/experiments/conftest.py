from pathlib import Path

import pytest

from tests import made_up_table

TEXT = """\
data_sets = ["nasbench201-cifar10"]
table = "cells.csv"
seeds = 2
processes = 1
budgets = [10, 25]
[variants.plain]
[variants.uniform]
search.tournament_size = 1
"""


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_up_table.write(tmp_path_factory.mktemp("table") / "cells.csv")


@pytest.fixture
def file(tmp_path: Path, table: Path) -> Path:
    """A small experiment beside its table."""
    (tmp_path / "cells.csv").symlink_to(table)
    written = tmp_path / "small.toml"
    written.write_text(TEXT)
    return written
