"""The service under a real systemd: one story, from `service install` to the last stop.

Limits on memory and tasks are not enforced in such a tree, and it has no GPU.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.systemd_machine import PROGRAM, Machine, why_not

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(400),
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
]

UNIT = "llmatic-daemon.service"
STATE = "/var/lib/llmatic"
TOKEN = "hf_a_key_that_nobody_may_read"
CONFIGURATION = """\
preset = "demo"
[prompts]
folder = "prompts"
[budget]
max_evaluations = 0
[engine]
drain_s = 30.0
"""
#: So that nobody waits long for what takes a minute elsewhere.
IMPATIENCE = "[Service]\nWatchdogSec=4s\nRestartSec=100ms\n"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine whose service has been installed and started, as a person would."""
    folder = tmp_path_factory.mktemp("machine")
    made = Machine(folder)
    try:
        made.build(folder)
        made.boot()
        install(made)
        made.run("systemctl", "enable", "--now", UNIT)
        yield made
    finally:
        made.end()


def install(machine: Machine) -> None:
    said = machine.run(PROGRAM, "service", "install", "--system").stdout.splitlines()
    machine.write("/etc/llmatic/llmatic.toml", CONFIGURATION)
    machine.write(f"/etc/systemd/system/{UNIT}.d/impatience.conf", IMPATIENCE)
    machine.write("/etc/credstore/llmatic.llm-token", f"{TOKEN}\n")
    machine.run("sh", "-c", said[-2])


def status(machine: Machine) -> dict[str, Any]:
    found = json.loads(machine.run(PROGRAM, "status", "--json", "--state", STATE).stdout)
    assert isinstance(found, dict)
    return found


def settles_more(machine: Machine) -> None:
    """Wait until the search has got further than it was."""
    before = status(machine)["num_settled"]
    machine.until(lambda: status(machine)["num_settled"] > before, "candidates must be settled")


def verified(machine: Machine) -> str:
    return machine.run(PROGRAM, "verify", "--state", STATE).stdout


def main_pid(machine: Machine) -> int:
    return int(machine.property_of(UNIT, "MainPID"))


def restarts_after(machine: Machine, signal: str) -> None:
    """Send a signal to the daemon alone, and wait until systemd has started another one."""
    before = main_pid(machine)
    machine.run("kill", f"-{signal}", str(before))
    machine.until(
        lambda: main_pid(machine) not in (0, before) and machine.property_of(UNIT, "SubState") == "running",
        "the service must be restarted",
    )


def test_start_is_over_when_the_daemon_is_ready(machine: Machine) -> None:
    assert machine.property_of(UNIT, "ActiveState") == "active"
    (ready,) = machine.journal(f"--unit={UNIT}", "LLMATIC_ACTION=ready")
    assert ready["MESSAGE"].startswith("ready: 3 slots, 2 device workers")


def test_status_shows_how_the_search_stands(machine: Machine) -> None:
    assert "slots busy" in machine.property_of(UNIT, "StatusText")


def test_search_settles_evaluations_and_tells_each_life_in_a_line(machine: Machine) -> None:
    machine.until(lambda: status(machine)["num_evaluations"] >= 2, "there must be evaluations", 120)

    placed = machine.journal(f"--unit={UNIT}", "LLMATIC_ACTION=placed")

    assert [int(line["LLMATIC_JOB"]) for line in placed if line["MESSAGE"].startswith("candidate")]
    assert all("LLMATIC_SLOT" in line for line in placed)


def test_lifter_has_its_sandbox_inside_the_unit(machine: Machine) -> None:
    lacking = machine.journal(f"--unit={UNIT}", "LLMATIC_ACTION=sandbox")

    layers = lacking[0]["MESSAGE"] if lacking else ""
    assert "user: only root may switch users" in layers
    for layer in ("bubblewrap", "landlock", "seccomp", "rlimits"):
        assert f"{layer}:" not in layers


def test_key_reaches_the_service_and_no_log(machine: Machine) -> None:
    folder = f"/run/credentials/{UNIT}"

    assert TOKEN in machine.run("cat", f"{folder}/llm-token").stdout
    assert TOKEN not in machine.run("journalctl", "--no-pager", "--output=export").stdout


def test_edit_of_a_prompt_is_taken(machine: Machine) -> None:
    machine.write("/etc/llmatic/prompts/widen.md", "Write a network that is wider than the one above.\n")

    machine.until(
        lambda: len(machine.journal(f"--unit={UNIT}", "LLMATIC_ACTION=adopted")) == 2,
        "the edit must be taken",
    )


def test_good_reload_succeeds(machine: Machine) -> None:
    machine.run("systemctl", "reload", UNIT)

    assert machine.property_of(UNIT, "ActiveState") == "active"


def test_bad_reload_fails_and_says_why_and_ends_nothing(machine: Machine) -> None:
    before = main_pid(machine)
    good = (machine.tree / "etc/llmatic/prompts/shrink.md").read_text()
    machine.write("/etc/llmatic/prompts/shrink.md", "+++\nweight = 'heavy'\n+++\nShrink it.\n")

    done = machine.run("systemctl", "reload", UNIT, check=False)

    assert done.returncode != 0
    assert any("shrink.md" in line["MESSAGE"] for line in machine.journal(f"--unit={UNIT}"))
    assert machine.property_of(UNIT, "ActiveState") == "active"
    assert main_pid(machine) == before
    machine.write("/etc/llmatic/prompts/shrink.md", good)
    machine.run("systemctl", "reload", UNIT)


def test_watchdog_restarts_a_daemon_that_stands_still(machine: Machine) -> None:
    restarts_after(machine, "STOP")

    lines = machine.journal(f"UNIT={UNIT}")
    assert any("Watchdog timeout" in line["MESSAGE"] for line in lines)
    settles_more(machine)


def test_killed_daemon_comes_back_with_all_that_it_had(machine: Machine) -> None:
    before = status(machine)["num_settled"]

    restarts_after(machine, "KILL")

    settles_more(machine)
    assert status(machine)["num_settled"] > before
    assert "agrees with the stored one" in verified(machine)


def test_backup_is_made_beside_the_search(machine: Machine) -> None:
    if machine.run(PROGRAM, "backup", "--help", check=False).returncode != 0:
        pytest.skip("this version has no command backup")

    machine.run("systemctl", "start", "llmatic-daemon-backup.service")

    assert machine.run("ls", "/var/backups/llmatic").stdout.split()
    machine.run("systemctl", "enable", "--now", "llmatic-daemon-backup.timer")
    assert machine.property_of("llmatic-daemon-backup.timer", "ActiveState") == "active"


def test_stop_drains_and_leaves_no_process(machine: Machine) -> None:
    machine.run("systemctl", "stop", UNIT)

    assert machine.property_of(UNIT, "Result") == "success"
    assert machine.run("pgrep", "-u", "llmatic", check=False).stdout == ""
    said = [line["MESSAGE"] for line in machine.journal(f"--unit={UNIT}")]
    assert "SIGTERM: draining" in said
    assert "the search ends: stopped by SIGTERM" in said
    assert "agrees with the stored one" in verified(machine)


def test_wrong_setting_is_never_tried_again(machine: Machine) -> None:
    machine.run(PROGRAM, "service", "install", "--system", "--name", "second")
    machine.write("/etc/llmatic/second.toml", "[engine]\nslots = -1\n")
    machine.run("systemctl", "daemon-reload")

    machine.run("systemctl", "start", "llmatic-daemon@second.service", check=False)

    unit = "llmatic-daemon@second.service"
    assert machine.property_of(unit, "ExecMainStatus") == "78"
    assert machine.property_of(unit, "NRestarts") == "0"
    assert machine.property_of(unit, "ActiveState") == "failed"
    said = [line["MESSAGE"] for line in machine.journal(f"--unit={unit}")]
    assert any("engine.slots" in line for line in said)


def test_settings_of_a_person_stay_when_units_are_installed_anew(machine: Machine) -> None:
    said = machine.run(PROGRAM, "service", "install", "--system", "--force").stdout

    assert (machine.tree / "etc/llmatic/llmatic.toml").read_text() == CONFIGURATION
    assert said.splitlines()[0].startswith("next: ")


@pytest.mark.parametrize("unit", [UNIT, "llmatic-daemon@second.service", "llmatic-daemon-backup.timer"])
def test_units_are_as_systemd_wants_them(machine: Machine, unit: str) -> None:
    done = machine.run("systemd-analyze", "verify", "--man=no", unit)

    assert done.stderr == ""
