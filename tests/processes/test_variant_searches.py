"""The true daemon on each variant: what is stored is what the log gives, also after a restart."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from llmatic_daemon import config
from llmatic_daemon.adapters.plots import search_plots
from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.commands import plot
from llmatic_daemon.commands.verify import verify
from llmatic_daemon.daemon import main as daemon
from llmatic_daemon.domain.errors import ConfigurationError
from llmatic_daemon.search.variants import STRATEGIES
from tests.support.fake_daemon import fake_adapters


def search(state: Path, variant: str, num_evaluations: int, **sections: Any) -> None:
    """Let the true daemon with fake adapters search."""
    overrides = {
        "state_dir": str(state),
        "search": {"variant": variant, "population_size": 20},
        "budget": {"max_evaluations": num_evaluations},
        "engine": {"slots": 2},
        **sections,
    }
    settings = config.load(preset="demo", overrides=overrides, environment={})
    asyncio.run(daemon.run(settings, fake_adapters()))


@pytest.mark.parametrize("variant", STRATEGIES)
def test_variant_is_searched_stopped_and_gone_on_with(tmp_path: Path, variant: str) -> None:
    state = tmp_path / "state"
    search(state, variant, 30)
    search(state, variant, 45)

    assert verify(state).faults == ()
    with History(state) as history:
        status, elites = history.status(), history.elites()
    assert status.num_evaluations == 45
    assert status.best_objective is not None
    assert elites
    assert all(elite.objective <= status.best_objective for elite in elites)


@pytest.mark.parametrize(
    ("variant", "num_maps"), [("llmatic", 2), ("network-archive", 1), ("local-search", 0)]
)
def test_picture_shows_the_archives_that_there_are(
    tmp_path: Path, variant: str, num_maps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    search(tmp_path / "state", variant, 15)
    drawn = []
    draw_maps = search_plots.draw_maps
    monkeypatch.setattr(search_plots, "draw_maps", lambda maps: drawn.append(maps) or draw_maps(maps))

    files = plot.draw(tmp_path / "state", tmp_path / "pictures", ["png"])

    assert all(file.stat().st_size > 0 for file in files)
    assert sum(map(len, drawn)) == num_maps


def test_state_of_one_variant_is_not_gone_on_with_by_another(tmp_path: Path) -> None:
    search(tmp_path / "state", "local-search", 5)

    with pytest.raises(ConfigurationError, match=r"search.variant is 'genius', was 'local-search'"):
        search(tmp_path / "state", "genius", 10)


@pytest.mark.parametrize(
    ("sections", "why"),
    [
        ({"archives": {"network_cells": 19}}, "population_size must be at most archives.network"),
        ({"audit": {"share": 0.5}}, "audit.ratio must be 0 with search.variant = 'genius'"),
    ],
)
def test_variant_that_cannot_be_had_is_refused(tmp_path: Path, sections: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        search(tmp_path / "state", "genius", 10, **sections)

    assert not (tmp_path / "state").exists()
