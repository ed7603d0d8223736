from pathlib import Path

import pytest

from tests.support import nasbench_table
from tests.support.experiment import TEXT


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nasbench_table.write(tmp_path_factory.mktemp("table") / "cells.csv")


@pytest.fixture
def file(tmp_path: Path, table: Path) -> Path:
    """A small experiment beside its table."""
    (tmp_path / "cells.csv").symlink_to(table)
    written = tmp_path / "small.toml"
    written.write_text(TEXT)
    return written
