"""The commands of a person, typed at a real daemon: pause over a restart, slots, reload, drain."""

import json
import signal
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from click.testing import CliRunner, Result

from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.adapters.storage.notes import pause_note
from llmatic_daemon.adapters.storage.state_folder import CONTROL_SOCKET
from llmatic_daemon.cli import main
from llmatic_daemon.commands.verify import verify
from tests.support.daemon import RunningDaemon, folder, running_daemon, wait_until
from tests.support.web import free_port

__all__ = ["folder"]

pytestmark = pytest.mark.timeout(180)


def type_in(state: Path, *words: object) -> Result:
    result = CliRunner().invoke(main, [*map(str, words), "--state", str(state)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def said(state: Path, *words: object) -> str:
    result = type_in(state, *words)
    assert result.exit_code == 0, result.stderr
    assert result.output.count("\n") == 1
    return result.output.strip()


def status(state: Path) -> dict[str, Any]:
    return dict(json.loads(type_in(state, "status", "--json").output))


def settled(state: Path) -> int:
    with History(state) as history:
        return history.status().num_settled


def running_jobs(state: Path) -> int:
    return len(status(state)["running"])


def test_commands_do_what_they_say(tmp_path: Path, folder: Path) -> None:
    state = tmp_path / "state"
    with running_daemon(state, folder, "--slots", "1") as running:
        running.ask("status")
        assert said(state, "slots", 3) == "3 slots, previously 1"
        assert running.wait_for("resized")["num_slots"] == 3
        assert json.loads(type_in(state, "slots", 2, "--json").output) == {"before": 3, "slots": 2}

        assert said(state, "pause").startswith("the search is paused: running jobs")
        assert said(state, "pause").startswith("the search is paused already")
        wait_until(lambda: running_jobs(state) == 0)
        before = settled(state)
        assert "resume" in type_in(state, "status").output
        assert settled(state) == before

        assert said(state, "resume") == "the search continues"
        wait_until(lambda: settled(state) > before)
        assert said(state, "drain").startswith("no new job starts")
        assert running.wait_for("end")["why"] == "drained as asked"
        assert running.process.wait(30) == 0

    log = "".join(running.log)
    assert "Traceback" not in log
    assert "never awaited" not in log
    assert verify(state).faults == ()


def test_pause_lasts_over_a_kill_and_a_restart(tmp_path: Path, folder: Path) -> None:
    state = tmp_path / "state"
    first = RunningDaemon(state, folder)
    first.wait_for("ready", 60.0)
    first.ask("pause")
    wait_until(lambda: running_jobs(state) == 0)
    first.process.send_signal(signal.SIGKILL)
    first.close()
    (state / CONTROL_SOCKET).unlink()  # so that whoever asks waits for the next one
    since, before = pause_note.read(state), settled(state)

    with running_daemon(state, folder) as second:
        assert second.ask("status")["is_paused"]
        assert status(state)["paused_since"] == since
        assert settled(state) == before

        second.ask("resume")
        wait_until(lambda: settled(state) > before)

    assert status(state)["paused_since"] is None


def test_reload_by_command_and_by_signal(tmp_path: Path, folder: Path) -> None:
    state, file = tmp_path / "state", tmp_path / "llmatic.toml"
    file.write_text("[engine]\nslots = 1\n")
    with running_daemon(state, folder, "--config", str(file)) as running:
        running.ask("status")
        file.write_text("[engine]\nslots = 3\nretry_s = 7.0\n")
        assert said(state, "reload") == (
            "changed: engine.slots; prompts unchanged; after a restart: engine.retry_s"
        )
        assert running.wait_for("resized")["num_slots"] == 3

        file.write_text("[engine]\nslots = 5\nslotz = 7.0\n")
        refused = type_in(state, "reload")
        assert (refused.exit_code, refused.output) == (1, refused.stderr)
        assert "unknown setting 'engine.slotz'; did you mean 'engine.slots'?" in refused.stderr
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: any("SIGHUP: no setting is changed" in line for line in running.log))
        assert running.ask("status")["num_slots"] == 3

        file.write_text("[engine]\nslots = 2\n")
        running.process.send_signal(signal.SIGHUP)
        assert running.wait_for("resized")["num_slots"] == 2


def test_wrong_token_over_tcp_is_told_by_metrics_and_log(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "token").write_text("5e7c0de5e7c0de5e7c0de\n")
    port, metrics_port, file = free_port(), free_port(), tmp_path / "llmatic.toml"
    file.write_text(f'[control]\nport = {port}\ntoken_file = "token"\n')
    options = ("--config", str(file), "--metrics-port", str(metrics_port))
    with running_daemon(tmp_path / "state", folder, *options) as running:
        running.ask("status")
        wrong = Request(f"http://127.0.0.1:{port}/pause", headers=bearing("guess"), method="POST")
        with pytest.raises(HTTPError, match="401"):
            urlopen(wrong)
        with urlopen(f"http://127.0.0.1:{metrics_port}/metrics") as answer:
            exposed = answer.read().decode()

    assert "llmatic_auth_failures_total 1.0\n" in exposed
    assert "denied: POST /pause: expected the API token" in "".join(running.log)


def bearing(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_command_without_a_daemon_is_one_line(tmp_path: Path) -> None:
    for words in (["pause"], ["resume"], ["drain"], ["reload"], ["slots", 2]):
        result = type_in(tmp_path, *words)

        assert result.exit_code == 1
        assert "expected a daemon that listens on" in result.stderr
        assert result.stderr.count("\n") == 1
