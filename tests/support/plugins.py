"""Packages that extend the daemon, really built and installed into folders of their own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.paths import ROOT

SAMPLE = Path(__file__).parent / "sample_plugin"
_PROGRAM = "from llmatic_daemon.cli import start; start()"
_PROJECT = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"
[project]
name = "{name}"
version = "0.1"
[project.entry-points."llmatic_daemon.{group}"]
{offered} = "{module}:thing"
[tool.setuptools]
py-modules = ["{module}"]
"""


def install(source: Path, folder: Path) -> Path:
    """Install a copy of a package by pip; returns the folder that goes into the path of a process."""
    copy = shutil.copytree(source, folder / "source")
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--no-index"]
    target = folder / "installed"
    subprocess.run([sys.executable, "-m", "pip", "install", *options, "--target", target, copy], check=True)
    return target


def small(folder: Path, name: str, group: str, offered: str, code: str) -> Path:
    """Install a package of one module that offers one thing."""
    source, module = folder / name / "written", name.replace("-", "_")
    source.mkdir(parents=True)
    text = _PROJECT.format(name=name, group=group, offered=offered, module=module)
    (source / "pyproject.toml").write_text(text)
    (source / f"{module}.py").write_text(code)
    return install(source, folder / name)


def run(*words: str, cwd: Path, plugins: tuple[Path, ...], status: int = 0) -> str:
    """Run the command line to its end with some packages installed; returns all that it printed.

    Raises:
        AssertionError: it ended with another exit status.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LLMATIC_")}
    path = os.pathsep.join(map(str, (ROOT, *plugins)))
    done = subprocess.run(
        [sys.executable, "-P", "-c", _PROGRAM, *words],
        cwd=cwd,
        env={**clean, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == status, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr
