"""A machine with a real systemd as its first process: a Debian tree, booted by systemd-nspawn.

The tree has a Python of its own and our wheel; the packages that we need are those of the Python
that runs the tests, bound read-only. There is no network. Limits on memory are not enforced there.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.paths import ROOT

PROGRAM = "/opt/llmatic-daemon/bin/llmatic-daemon"
TOOLS = ("mmdebstrap", "systemd-nspawn", "nsenter")
_PACKAGES = "systemd,systemd-sysv,dbus,python3,procps,bubblewrap,libseccomp2"
_ENVIRONMENT = "/opt/llmatic-daemon"
#: Inside the virtual environment, so that the lifter's sandbox shows it.
_BORROWED = f"{_ENVIRONMENT}/lib/borrowed"


def why_not() -> str:
    """Say why there can be no such machine here; empty: there can."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"needs {', '.join(missing)} (Debian: mmdebstrap systemd-container)"
    if os.geteuid() != 0:
        return "needs root"
    if sys.version_info[:2] != (3, 11):
        return "needs Debian 12's Python, 3.11, to borrow packages from"
    return ""


class Machine:
    """A tree, and the systemd that runs in it."""

    def __init__(self, folder: Path) -> None:
        self.tree = folder / "tree"
        self._log = folder / "boot.log"
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def build(self, folder: Path) -> None:
        """Make the tree, and install our wheel into it."""
        _run("mmdebstrap", "--quiet", "--variant=apt", f"--include={_PACKAGES}", "bookworm", self.tree)
        _run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
        (wheel,) = folder.glob("*.whl")
        shutil.copy(wheel, self.tree / "opt")
        _run("chroot", self.tree, "python3", "-m", "venv", "--without-pip", _ENVIRONMENT)
        (self.tree / _BORROWED.lstrip("/")).mkdir()
        link = f"{_ENVIRONMENT}/lib/python3.11/site-packages/borrowed.pth"
        (self.tree / link.lstrip("/")).write_text(_BORROWED)

    def boot(self) -> None:
        """Start its systemd, and install the wheel that lies in it."""
        import torch  # where packages are, that of the system's own included

        packages = Path(torch.__file__).parents[1]
        with self._log.open("wb") as log:
            self._nspawn = subprocess.Popen(
                [
                    "systemd-nspawn",
                    "--quiet",
                    "--directory",
                    self.tree,
                    "--register=no",
                    "--keep-unit",
                    "--private-network",
                    f"--bind-ro={packages}:{_BORROWED}",
                    "--boot",
                    "--console=pipe",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "SYSTEMD_SECCOMP": "0"},
                start_new_session=True,
            )
        self.until(self._is_up, "systemd must have come up")
        wheel = next((self.tree / "opt").glob("*.whl")).name
        python = f"{_ENVIRONMENT}/bin/python"
        self.run(
            "env",
            f"PYTHONPATH={_BORROWED}",
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-index",
            "--no-cache-dir",
            "--ignore-installed",
            f"/opt/{wheel}",
        )

    def _is_up(self) -> bool:
        assert self._nspawn is not None
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text()
        if not children:
            assert self._nspawn.poll() is None, self._log.read_text()
            return False
        self._leader = int(children.split()[0])
        state = self.run("systemctl", "is-system-running", check=False)
        return state.stdout.strip() in ("running", "degraded")

    def run(self, *command: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run a command inside, as root."""
        enter = ("nsenter", "--target", str(self._leader), "--mount", "--uts", "--ipc", "--net")
        done = subprocess.run(
            [*enter, "--pid", "--cgroup", "--root", "--wd", *command],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    def write(self, path: str, text: str) -> None:
        """Write a file inside, whole or not at all."""
        file = self.tree / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(f".{file.name}.new")
        new.write_text(text)
        new.replace(file)

    def until(self, true: Callable[[], Any], what: str, patience_s: float = 60.0) -> Any:
        """Wait until something is true, and return it."""
        end = time.monotonic() + patience_s
        while not (found := true()):
            assert time.monotonic() < end, f"{what}:\n{self._last_words()}"
            time.sleep(0.1)
        return found

    def property_of(self, unit: str, name: str) -> str:
        """Return what systemd says of a unit."""
        return self.run("systemctl", "show", unit, f"--property={name}", "--value").stdout.strip()

    def journal(self, *matches: str) -> list[dict[str, Any]]:
        """Return what the journal holds, oldest first."""
        lines = self.run("journalctl", "--output=json", "--no-pager", *matches).stdout
        return [json.loads(line) for line in lines.splitlines()]

    def _last_words(self) -> str:
        if not self._leader:
            return self._log.read_text()
        return self.run("journalctl", "--no-pager", "--lines=30", check=False).stdout

    def end(self) -> None:
        """Switch it off, and forget the tree."""
        if self._nspawn is not None:
            self._nspawn.send_signal(signal.SIGTERM)
            try:
                self._nspawn.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self._nspawn.pid, signal.SIGKILL)
                self._nspawn.wait()
        shutil.rmtree(self.tree, ignore_errors=True)


def _run(*command: object) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
