"""The true daemon on NAS-Bench-201: a search that is repeated exactly, and that finds good cells."""

import asyncio
import re
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner

from llmatic_daemon import config
from llmatic_daemon.adapters.nasbench.table import written
from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.bootstrap import build
from llmatic_daemon.cli import main
from llmatic_daemon.commands import doctor
from llmatic_daemon.commands.doctor import CheckResult
from llmatic_daemon.commands.verify import verify
from llmatic_daemon.daemon import main as daemon
from llmatic_daemon.domain import Outcome
from llmatic_daemon.domain.errors import ConfigurationError
from llmatic_daemon.domain.nasbench_cells import every_cell
from tests.support.fake_tgi import fake_tgi
from tests.support.fake_tgi_rules import GenerateRequest
from tests.support.llm import forget_environment
from tests.support.nasbench_table import FILE, TABLE, needs_the_table


async def not_probed(settings: object) -> tuple[CheckResult, str]:
    return CheckResult.OK, "seventeen probes, which the test of the doctor waits for"


def search(
    folder: Path, table: Path, sections: dict[str, Any] | None = None, **data: str
) -> list[tuple[str, float, float]]:
    """Search until 150 cells are evaluated; source, objective and test accuracy of each elite."""
    others = sections or {}
    settings = config.load(
        preset="nasbench201",
        environment={},
        overrides={
            "state_dir": str(folder),
            "data": {"folder": str(table), **data},
            "budget": {"max_evaluations": 150},
            **others,
            "search": {"seed": 3, **others.get("search", {})},
        },
    )
    asyncio.run(daemon.run(settings, build.build_adapters(settings)))
    assert verify(folder).faults == ()
    with History(folder) as history:
        return [(history.source(e.source_digest), e.objective, e.test_accuracy) for e in history.elites()]


@needs_the_table
def test_search_is_repeated_exactly_and_finds_good_cells(tmp_path: Path) -> None:
    first, second = (search(tmp_path / name, FILE) for name in ("first", "second"))

    assert first == second
    assert len(first) >= 15  # a map, not a point
    assert first[0][1] > 0.91  # a random cell has 0.84; the best of all 0.916


@needs_the_table
def test_another_data_set_is_another_column(tmp_path: Path) -> None:
    best = search(tmp_path / "state", FILE, name="nasbench201-cifar100")[0]

    assert 0.70 < best[1] < 0.74


@needs_the_table
def test_plain_prompting_with_the_history_is_replayed_exactly(tmp_path: Path) -> None:
    recording = str(tmp_path / "completions.jsonl")
    facts = {"search": {"variant": "genius"}, "budget": {"max_evaluations": 40}}

    written = search(tmp_path / "state", FILE, {**facts, "writer": {"record": recording}})
    replay = {"kind": "replay", "replay": recording}
    replayed = search(tmp_path / "again", FILE, {**facts, "writer": replay})

    assert written == replayed
    with History(tmp_path / "again") as history:
        first, *later = history.page(0, 1000)
    assert {placement.prompt for placement in later} == {"variant:history"}
    assert first.parents == ()
    assert len(later[-1].parents) == 10


@needs_the_table
def test_commands_know_that_candidates_are_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_sandbox", not_probed)  # no cell is ever run in one
    state, cell = tmp_path / "state", r"\|none~0\||\|nor_conv|\|skip|\|avg"
    best = search(state, FILE, {"budget": {"max_evaluations": 15}})[0][0]
    file = tmp_path / "llmatic.toml"
    file.write_text(f'preset = "nasbench201"\n[data]\nfolder = "{FILE}"\n')

    def typed(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, list(words), env={"LLMATIC_STATE_DIR": str(state)})
        return done.exit_code, " ".join(done.output.split())

    status, shown = typed("show", "1")
    assert (status, "nn.Module" in shown, "diff to the initial network" in shown) == (0, False, True)
    status, tried = typed("prompts", "try", "improve", "--config", str(file))
    assert (status, "rejected" in tried, bool(re.search(cell, tried))) == (0, False, True)
    status, examined = typed("doctor", "--config", str(file))
    assert (status, "10 classes, loaded; a table" in examined) == (0, True), examined
    assert "the initial network lifts" in examined
    status, exported = typed("export", str(tmp_path / "out"))
    assert status != 0
    assert "networks of a benchmark cannot be exported" in exported
    status, source = typed("nasbench", "source", best)
    assert (status, "class Network(nn.Module)" in source) == (0, True)


@needs_the_table
def test_second_training_of_a_cell_is_the_table_again(tmp_path: Path) -> None:
    facts = {"audit": {"share": 1.0}, "fidelity": {"rung_ratio": 0.06}}
    search(tmp_path / "state", FILE, {**facts, "budget": {"max_evaluations": 20}})

    with History(tmp_path / "state") as history:
        status = history.status()
    assert status.num_audits > 5
    assert status.num_unstable == 0


async def test_llm_that_is_held_to_cells_writes_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server does as text-generation-inference does: what it writes matches what it was sent."""
    forget_environment(monkeypatch)
    table = tmp_path / "cells.csv"
    table.write_text(written([TABLE]))
    cells = list(map(str, every_cell()))

    def held(request: GenerateRequest) -> str:
        assert request.grammar is not None
        text = Random(request.seed).choice(cells)
        assert re.fullmatch(request.grammar["value"], text)
        return text

    async with fake_tgi(answer=held, disable_grammar_support=False) as tgi:
        settings = config.load(
            preset="nasbench201",
            environment={},
            overrides={
                "state_dir": str(tmp_path / "state"),
                "data": {"folder": str(table)},
                "budget": {"max_evaluations": 20},
                "writer": {"kind": "tgi", "url": tgi.url, "grammar": "cells"},
            },
        )
        await daemon.run(settings, build.build_adapters(settings))

    with History(tmp_path / "state") as history:
        status = history.status()
    assert len(tgi.asked) >= 20
    assert status.num_evaluations == 20
    assert Outcome.NOT_CODE not in {outcome for outcome, number in status.outcomes if number}


def test_table_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.csv' must be a table of cells"):
        search(tmp_path / "state", tmp_path / "nowhere.csv")

    assert not (tmp_path / "state").exists()
