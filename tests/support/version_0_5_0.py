"""The version 0.5.0 itself: built from the history of this repository as a wheel, installed, and run."""

import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.support.paths import ROOT

#: The last commit of 0.5.0.
COMMIT = "b17b181c1315ff7b1b0e6772c60cf5128a00c6ff"
_PROGRAM = "from llmatic_daemon.cli import start; start()"


@dataclass(frozen=True)
class Installed:
    """A version of the package in a folder of its own."""

    folder: Path

    def run(self, *words: str, cwd: Path, environment: dict[str, str] | None = None) -> str:
        """Run its command line to the end; returns what it printed, and what it logged after it.

        Raises:
            AssertionError: it did not exit with 0.
        """
        clean = {name: value for name, value in os.environ.items() if not name.startswith("LLMATIC_")}
        done = subprocess.run(
            [sys.executable, "-P", "-c", _PROGRAM, *words],
            cwd=cwd,
            env={**clean, "PYTHONPATH": str(self.folder), **(environment or {})},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr


def this_version() -> Installed:
    """Return the version of this checkout."""
    return Installed(ROOT)


@cache
def _is_in_the_history() -> bool:
    asked = ["git", "-C", str(ROOT), "cat-file", "-e", f"{COMMIT}^{{commit}}"]
    return subprocess.run(asked, capture_output=True).returncode == 0


needs_the_history = pytest.mark.skipif(
    not _is_in_the_history(), reason="this checkout has no git history that reaches back to 0.5.0"
)


def install(folder: Path) -> Installed:
    """Build the wheel of 0.5.0 out of the history and install it, without its dependencies."""
    source, wheels, target = folder / "source", folder / "wheels", folder / "installed"
    source.mkdir(parents=True)
    archive = folder / "source.tar"
    git = ["git", "-C", str(ROOT), "archive", "--output", str(archive), COMMIT]
    subprocess.run(git, check=True, capture_output=True)
    subprocess.run(["tar", "-xf", str(archive), "-C", str(source)], check=True)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(source)], check=True)
    (wheel,) = wheels.glob("llmatic_daemon-0.5.0-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(target), str(wheel)], check=True)
    return Installed(target)
