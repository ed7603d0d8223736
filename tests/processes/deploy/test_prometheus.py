"""The real Prometheus and Alertmanager watch a real daemon: each expression, and faults that fire alerts.

One search for all tests, which follow each other: what holds while all is well comes first.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from llmatic_daemon.adapters.prompts.prompt_files import default_folder
from tests.support.daemon import RunningDaemon, running_daemon
from tests.support.deploy_files import Expression, alert_expressions, dashboard_expressions, hastened
from tests.support.monitoring import PROGRAMS, Monitoring, eventually
from tests.support.web import free_port

missing = [program for program in PROGRAMS if not shutil.which(program)]
pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(
        bool(missing), reason=f"{missing} missing: apt-get install prometheus prometheus-alertmanager"
    ),
]

#: Those that are made to fire below. Others may: a busy machine is seen by rules that wait no hours.
FAULTS = {
    "LlmaticPausedTooLong",
    "LlmaticDiskFull",
    "LlmaticLLMCircuitOpen",
    "LlmaticLLMErrors",
    "LlmaticDown",
}
#: Above what the alert calls full, so that a new one is not.
STATE_BYTES = 320 << 20


@dataclass
class Scene:
    """A daemon, its LLM, and who watches them."""

    daemon: RunningDaemon
    llm: "subprocess.Popen[str]"
    state: Path
    #: None: only root may have one.
    small_disk: Path | None
    monitoring: Monitoring


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """Mount a small file system in memory, where that is allowed."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={STATE_BYTES}", "none", str(folder)]
    done = os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0
    try:
        yield folder if done else None
    finally:
        if done:
            subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def fake_llm() -> Iterator["tuple[subprocess.Popen[str], str]"]:
    """Start a fake text-generation-inference."""
    command = [sys.executable, "-m", "tests.support.fake_tgi", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("watched")
    prompts = folder / "prompts"
    shutil.copytree(default_folder(), prompts)
    disk = folder / "disk"
    disk.mkdir()
    port = free_port()
    with ExitStack() as stack:
        mounted = stack.enter_context(small_disk(disk))
        llm, url = stack.enter_context(fake_llm())
        state = disk / "state"
        options = ("--metrics-port", str(port), "--llm", url)
        daemon = stack.enter_context(running_daemon(state, prompts, *options))
        targets = {"llmatic-daemon": f"127.0.0.1:{port}", "tgi": urllib.parse.urlsplit(url).netloc}
        monitoring = Monitoring(folder, hastened(), targets)
        stack.enter_context(monitoring.started())
        edited = prompts / "widen.md"
        edited.write_text(edited.read_text() + "\nBe bold.\n")
        daemon.wait_for("adopted", edition=2)
        eventually("60 settled", lambda: max(monitoring.values("llmatic_settled_jobs"), default=0) > 60)
        yield Scene(daemon, llm, state, mounted, monitoring)


EXPRESSIONS = [*alert_expressions(), *dashboard_expressions()]


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=lambda expression: expression.where)
def test_expression_returns_a_series(scene: Scene, expression: Expression):
    found = eventually(expression.always, lambda: scene.monitoring.query(expression.always))

    assert len(found) < 100


def test_expression_of_something_else_returns_none(scene: Scene):
    assert not scene.monitoring.query(Expression("", "rate(llmatic_ready_total[5m]) > 0").always)


def test_well_daemon_fires_none_of_the_alerts_of_faults(scene: Scene):
    eventually("the scrapes of a while", lambda: scene.monitoring.values("llmatic_ready") == [1.0])

    assert not FAULTS & scene.monitoring.alerts().keys()


def test_series_stay_few(scene: Scene):
    (count,) = scene.monitoring.values('count({job="llmatic-daemon"})')

    assert 200 < count < 600


def test_gauges_agree_with_the_counters(scene: Scene):
    """A fresh state: what was counted since the start is what the search holds."""
    expression = "sum(llmatic_candidates_total) - on () llmatic_settled_jobs"

    assert scene.monitoring.values(expression) == [0.0]


def test_edit_of_a_prompt_is_marked(scene: Scene):
    assert scene.monitoring.values('llmatic_prompt_set_loads_total{result="loaded"}') == [2.0]


def test_forgotten_pause_arrives_at_alertmanager_and_ends(scene: Scene):
    scene.daemon.ask("pause")
    annotations = scene.monitoring.wait_for_alert("LlmaticPausedTooLong")
    scene.daemon.ask("resume")

    assert re.fullmatch(r"deploy/runbooks\.md#\w+", annotations["runbook"])
    scene.monitoring.wait_for_calm("LlmaticPausedTooLong")


def test_full_disk_arrives_at_alertmanager_and_ends(scene: Scene):
    if scene.small_disk is None:
        pytest.skip("only root may mount a small file system")
    monitoring, filler = scene.monitoring, scene.small_disk / "filler"
    with filler.open("wb") as file:
        try:
            while True:
                file.write(bytes(1 << 20))
        except OSError:
            pass

    monitoring.wait_for_alert("LlmaticDiskFull")
    eventually("not ready", lambda: monitoring.values("llmatic_ready") == [0.0])
    filler.unlink()
    monitoring.wait_for_calm("LlmaticDiskFull")
    eventually("ready by itself", lambda: monitoring.values("llmatic_ready") == [1.0])


def test_llm_that_is_down_arrives_at_alertmanager(scene: Scene):
    scene.llm.kill()

    annotations = scene.monitoring.wait_for_alert("LlmaticLLMCircuitOpen")
    assert "tgi has failed repeatedly" in annotations["description"]
    scene.monitoring.wait_for_alert("LlmaticLLMErrors")


def test_daemon_that_is_gone_arrives_at_alertmanager(scene: Scene):
    scene.daemon.process.send_signal(signal.SIGTERM)
    scene.daemon.process.wait(60)  # a second SIGTERM, by whoever cleans up, would meet it half ended

    scene.monitoring.wait_for_alert("LlmaticDown")
