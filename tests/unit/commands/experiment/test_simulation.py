"""A search in memory is the daemon's search, to the last bit."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from llmatic_daemon import config
from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.bootstrap import build, build_search
from llmatic_daemon.commands.experiment.simulation import cells, simulate
from llmatic_daemon.config.settings import Settings
from llmatic_daemon.daemon import main as daemon
from llmatic_daemon.domain.errors import ConfigurationError
from tests.support import nasbench_table

#: What gives a search its centroids, before the tests have them given at once.
COMPUTED = build_search._centroids


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nasbench_table.write(tmp_path_factory.mktemp("table") / "cells.csv")


def settings_for(table: Path, num: int, **search: Any) -> Settings:
    return config.load(
        preset="nasbench201",
        environment={},
        overrides={
            "data": {"folder": str(table)},
            "state_dir": str(table.parent / "state"),
            "budget": {"max_evaluations": num},
            "search": {"seed": 3, **search},
        },
    )


async def test_search_in_memory_is_the_search_of_the_daemon(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_search, "_centroids", COMPUTED)
    settings = settings_for(table, 120)

    simulated = await simulate(settings)
    await daemon.run(settings, build.build_adapters(settings))

    with History(settings.state_dir) as history:
        log = list(history.placements())
        elites = [(e.job, e.cell, history.source(e.source_digest)) for e in history.elites("flops")]
        assert history.centroids() == cells(settings)
    ours = simulated.placements
    assert [_facts(placement) for placement in ours] == [_facts(placement) for placement in log]
    found = [
        (held.elite.job, cell, simulated.sources[held.elite.source_digest])
        for cell, held in simulated.evolution.networks.items()
    ]
    assert sorted(found) == sorted(elites)


def _facts(placement: Any) -> tuple[Any, ...]:
    names = ("number", "operator", "seed", "outcome", "source_digest", "report", "cell", "offer")
    return tuple(getattr(placement, name) for name in names)


async def test_queries_are_the_trainers_own_count(table: Path) -> None:
    simulated = await simulate(settings_for(table, 30))

    assert simulated.num_queries == simulated.evolution.num_evaluations == 30
    assert simulated.end == "30 evaluations are settled"


async def test_search_that_finds_nothing_new_ends(table: Path) -> None:
    simulated = await simulate(settings_for(table, 10**6), max_idle=3)

    assert simulated.end == "the last 3 candidates were all duplicates"
    assert 3 <= len(simulated.placements) < 1000
    assert [p.cost for p in simulated.placements[-4:]].count(0.0) >= 3


def test_nothing_is_written(table: Path, tmp_path: Path) -> None:
    settings = settings_for(table, 5).model_copy(update={"state_dir": tmp_path / "state"})

    asyncio.run(simulate(settings))

    assert list(tmp_path.iterdir()) == []


async def test_table_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="must be a table of cells"):
        await simulate(settings_for(tmp_path / "nowhere.csv", 5))
