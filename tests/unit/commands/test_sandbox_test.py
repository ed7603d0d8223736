"""The built-in probes: they hold here, and each of them tells when its layer is gone."""

from pathlib import Path

import pytest

from llmatic_daemon.bootstrap import build_processes
from llmatic_daemon.commands import sandbox_test
from llmatic_daemon.commands.sandbox_test import ProbeResult, ProbeRow
from llmatic_daemon.config.loading import load
from llmatic_daemon.config.settings import Settings
from llmatic_daemon.domain.sandbox import Layer, Sandbox


def settings(tmp_path: Path) -> Settings:
    return load(environment={"LLMATIC_STATE_DIR": str(tmp_path)})


async def rows(tmp_path: Path, *only: Layer) -> list[ProbeRow]:
    return [row async for row in sandbox_test.try_out(settings(tmp_path), only)]


@pytest.fixture(autouse=True)
def _probe_that_never_ends_ends_soon(monkeypatch):
    monkeypatch.setattr(sandbox_test, "_TIMEOUT_S", 3.0)


async def test_every_layer_of_this_machine_holds(tmp_path):
    found = await rows(tmp_path)

    assert [row for row in found if row.found is ProbeResult.BROKEN] == []
    assert {row.layer for row in found} >= {layer.value for layer in Layer}


#: Those that a probe can try: a control group is there or is not.
PROBED = [layer for layer in Layer if layer is not Layer.CGROUP]


async def test_probes_tell_when_their_layers_are_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(build_processes, "sandbox", lambda _: Sandbox(without=frozenset(PROBED)))

    broken = [row for row in await rows(tmp_path, *PROBED) if row.layer in PROBED]

    assert {row.layer for row in broken} == set(PROBED)
    assert {row.found for row in broken} == {ProbeResult.BROKEN}, broken


@pytest.mark.exhaustive
@pytest.mark.parametrize("layer", PROBED)
async def test_probe_tells_when_its_layer_alone_is_gone(layer, tmp_path, monkeypatch):
    monkeypatch.setattr(build_processes, "sandbox", lambda _: Sandbox(without=frozenset({layer})))

    broken = [row for row in await rows(tmp_path, layer) if row.layer == layer]

    assert broken
    assert {row.found for row in broken} == {ProbeResult.BROKEN}, broken
