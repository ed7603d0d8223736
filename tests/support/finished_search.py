"""A finished search of the true daemon with fake adapters, and copies of it that a test may change."""

import asyncio
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from llmatic_daemon import config
from llmatic_daemon.cli import main
from llmatic_daemon.config.settings import Settings
from llmatic_daemon.daemon import main as daemon
from tests.support.fake_daemon import fake_adapters

NUM_EVALUATIONS = 40


def settings(state: Path, **more: object) -> Settings:
    overrides = {"state_dir": str(state), "engine": {"slots": 2}, "audit": {"share": 0.5}, **more}
    return config.load(preset="demo", overrides=overrides, environment={})


def search(state: Path, num_evaluations: int) -> None:
    """Search, or go on with a search, until so many networks are evaluated."""
    budget = {"max_evaluations": num_evaluations}
    asyncio.run(daemon.run(settings(state, budget=budget), fake_adapters()))


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder that nobody changes."""
    folder = tmp_path_factory.mktemp("searched") / "state"
    search(folder, NUM_EVALUATIONS)
    return folder


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search with the same settings, begun at another time."""
    folder = tmp_path_factory.mktemp("other") / "state"
    search(folder, 10)
    return folder


@pytest.fixture
def state(searched: Path, tmp_path: Path) -> Path:
    """A state folder that may be changed."""
    return Path(shutil.copytree(searched, tmp_path / "state"))


def content(folder: Path) -> list[str]:
    """List the names in a folder, but those that SQLite makes and removes while one looks."""
    names = sorted(each.name for each in folder.iterdir())
    return [name for name in names if not name.endswith(("-wal", "-shm"))]


def command(*words: object) -> Result:
    """Type a command."""
    return CliRunner().invoke(main, [str(word) for word in words])
