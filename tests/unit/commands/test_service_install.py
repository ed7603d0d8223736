"""The units of `systemd/`: what they promise, and that `service install` puts them in place."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from llmatic_daemon.cli import main
from llmatic_daemon.commands.service_install import install_for_system, install_for_user
from llmatic_daemon.config.credentials import API_CREDENTIAL, CREDENTIAL
from llmatic_daemon.config.loading import load
from llmatic_daemon.domain.errors import ConfigurationError, StateLocked, UserError
from tests.support.paths import ROOT

UNITS = ROOT / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
PROGRAM, PYTHON = Path("/srv/venv/bin/llmatic-daemon"), Path("/usr")

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


def unit(name: str) -> str:
    return (UNITS / name).read_text("utf-8")


def settings_of(text: str) -> list[tuple[str, str]]:
    lines = [line for line in text.splitlines() if "=" in line and not line.startswith("#")]
    return [(line.split("=", 1)[0], line.split("=", 1)[1]) for line in lines]


# --- the units -----------------------------------------------------------------------------------


@needs_systemd
@pytest.mark.parametrize("name", SERVICES)
def test_exposure_is_at_most_2_6(name: str) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=26", UNITS / name]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout.splitlines()[-1]


def test_template_is_the_unit_but_for_names() -> None:
    of_one, of_many = unit("llmatic-daemon.service"), unit("llmatic-daemon@.service")

    assert "%i" not in of_one
    nameless = of_many.replace("/%i.toml", "/llmatic.toml").replace("-%i", "").replace(" (%i)", "")
    assert settings_of(nameless) == settings_of(of_one)


def test_backup_of_a_named_search_is_the_backup_but_for_names() -> None:
    for kind in ("service", "timer"):
        of_one = unit(f"llmatic-daemon-backup.{kind}")
        of_many = unit(f"llmatic-daemon-backup@.{kind}")
        nameless = of_many.replace("backups/llmatic/%i", "backups/llmatic").replace("-%i", "")
        assert settings_of(nameless.replace(" (%i)", "")) == settings_of(of_one)


def test_user_unit_restarts_and_stops_as_the_system_unit_does() -> None:
    of_machine = settings_of(unit("llmatic-daemon.service"))
    kinds = ("Type", "Watchdog", "Restart", "Start", "Timeout", "Kill", "SystemCall", "Notify")

    for name, value in settings_of(unit("user/llmatic-daemon@.service")):
        assert not name.startswith(kinds) or (name, value) in of_machine


@pytest.mark.parametrize("name", ["llmatic-daemon.service", "user/llmatic-daemon@.service"])
def test_what_a_person_must_change_first_is_never_tried_again(name: str) -> None:
    codes = f"{StateLocked.exit_code} {ConfigurationError.exit_code}"

    assert ("RestartPreventExitStatus", codes) in settings_of(unit(name))


def test_stop_is_given_more_time_than_a_drain_takes() -> None:
    (time_s,) = re.findall(r"TimeoutStopSec=(\d+)s", unit("llmatic-daemon.service"))

    assert int(time_s) > load(environment={}).engine.drain_s


def test_credential_has_the_name_that_is_looked_for() -> None:
    for name in (CREDENTIAL, API_CREDENTIAL):
        assert f"LoadCredential={name}:" in unit("llmatic-daemon.service")


# --- install -------------------------------------------------------------------------------------


def test_system_service_is_put_in_place(tmp_path: Path) -> None:
    installed = install_for_system(None, PROGRAM, PYTHON, force=False, root=tmp_path)

    written = {str(file.relative_to(tmp_path)) for file in installed.files}
    assert written >= {
        "etc/systemd/system/llmatic-daemon.service",
        "etc/systemd/system/llmatic-daemon-backup.service",
        "etc/systemd/system/llmatic-daemon-backup.timer",
        "etc/sysusers.d/llmatic.conf",
        "etc/tmpfiles.d/llmatic.conf",
        "etc/llmatic/llmatic.toml",
        "etc/llmatic/prompts/widen.md",
    }
    text = (tmp_path / "etc/systemd/system/llmatic-daemon.service").read_text()
    assert f"ExecStart={PROGRAM} run --config /etc/llmatic/llmatic.toml" in text
    assert "/opt/llmatic-daemon/" not in text
    assert installed.commands[-1] == "systemctl enable --now llmatic-daemon.service"


def test_second_named_search_leaves_the_template_and_the_first_alone(tmp_path: Path) -> None:
    install_for_system("one", PROGRAM, PYTHON, force=False, root=tmp_path)
    (tmp_path / "etc/llmatic/one.toml").write_text("# mine\n")

    installed = install_for_system("two", PROGRAM, PYTHON, force=False, root=tmp_path)

    written = {str(file.relative_to(tmp_path)) for file in installed.files}
    assert "etc/llmatic/two.toml" in written
    for kind in ("service", "timer"):
        assert (tmp_path / f"etc/systemd/system/llmatic-daemon-backup@.{kind}").exists()
    assert "etc/llmatic/two.prompts/widen.md" in written
    assert (tmp_path / "etc/llmatic/one.toml").read_text() == "# mine\n"
    assert installed.commands[-1] == "systemctl enable --now llmatic-daemon@two.service"
    configured = load(tmp_path / "etc/llmatic/two.toml", environment={})
    assert configured.prompts.folder == str(tmp_path / "etc/llmatic/two.prompts")


def test_changed_unit_is_overwritten_by_force_alone_and_settings_never(tmp_path: Path) -> None:
    installed = install_for_system(None, PROGRAM, PYTHON, force=False, root=tmp_path)
    unit = installed.files[0]
    for file in (unit, installed.settings):
        file.write_text("# mine\n")

    with pytest.raises(UserError, match="exists already; --force overwrites it"):
        install_for_system(None, PROGRAM, PYTHON, force=False, root=tmp_path)
    assert unit.read_text() == "# mine\n"

    again = install_for_system(None, PROGRAM, PYTHON, force=True, root=tmp_path)
    assert "[Service]" in unit.read_text()
    assert again.files == (unit,)
    assert installed.settings.read_text() == "# mine\n"


def test_user_service_is_put_in_place(tmp_path: Path) -> None:
    installed = install_for_user(None, PROGRAM, force=False, home=tmp_path)

    text = (tmp_path / ".config/systemd/user/llmatic-daemon@.service").read_text()
    assert f"ExecStart={PROGRAM} run" in text
    assert (tmp_path / ".config/llmatic/llmatic.toml").exists()
    assert installed.commands[-1] == ("systemctl --user enable --now llmatic-daemon@llmatic.service")


@pytest.mark.parametrize(
    ("program", "python"),
    [("/home/ada/venv/bin/llmatic-daemon", "/usr"), ("/opt/v/bin/llmatic-daemon", "/root/.pyenv")],
)
def test_program_that_the_service_cannot_see_is_refused(tmp_path: Path, program: str, python: str) -> None:
    with pytest.raises(UserError, match=r"expected a program that the service can read, got '/(home|root)"):
        install_for_system(None, Path(program), Path(python), force=False, root=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "../x", "a b", "-x", "x@y"])
def test_name_that_is_no_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="--name: expected letters"):
        install_for_system(name, PROGRAM, PYTHON, force=False, root=tmp_path)


def test_command_prints_files_and_the_two_next_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    said = CliRunner().invoke(main, ["service", "install", "--user", "--name", "cifar"])

    assert said.exit_code == 0, said.output
    assert said.output.splitlines()[-2:] == [
        "systemctl --user daemon-reload",
        "systemctl --user enable --now llmatic-daemon@cifar.service",
    ]
    assert str(tmp_path / ".config/llmatic/cifar.toml") in said.output


def test_command_wants_to_know_for_whom() -> None:
    said = CliRunner().invoke(main, ["service", "install"])

    assert said.exit_code == 2
    assert "expected --system or --user" in said.output
