"""A daemon as a process of its own (`tests.support.live_daemon`), waited for and asked by tests."""

import asyncio
import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from llmatic_daemon.adapters.http.control_socket import ask
from llmatic_daemon.domain.errors import UserError
from tests.support.prompt_editor import File

#: An edit is to be in force within 1 s; another machine may be busy.
GENEROUS_S = 10.0


def write_prompts(folder: Path) -> None:
    """Make a folder of two prompts, the fewest that a search may have."""
    folder.mkdir()
    (folder / "widen.md").write_bytes(File(text="Widen it.").content)
    (folder / "join.md").write_bytes(File(kind="crossover", text="Join them.").content)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of two prompts."""
    prompts = tmp_path / "prompts"
    write_prompts(prompts)
    return prompts


class RunningDaemon:
    """A daemon with fake adapters that is a process, and what it has told."""

    def __init__(self, state: Path, folder: Path, *options: str) -> None:
        self.state = state
        command = [sys.executable, "-m", "tests.support.live_daemon", str(state), str(folder), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.told: list[dict[str, Any]] = []
        self.log: list[str] = []
        self._news: queue.Queue[dict[str, Any]] = queue.Queue()
        self._readers = [threading.Thread(target=read) for read in (self._hear, self._read_log)]
        for reader in self._readers:
            reader.start()

    def _hear(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._news.put(json.loads(line))
        self._news.put({"event": "gone"})

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        self.log.extend(self.process.stderr)

    def wait_for(self, event: str, timeout_s: float = GENEROUS_S, **facts: Any) -> dict[str, Any]:
        """Wait until something is told, from what has not been waited for yet."""
        until = time.monotonic() + timeout_s
        while True:
            news = self._news.get(timeout=max(0.0, until - time.monotonic()))
            self.told.append(news)
            if news["event"] == event and all(news.get(name) == facts[name] for name in facts):
                return news
            assert news["event"] != "gone", "".join(self.log)

    def ask(self, verb: str, **body: Any) -> dict[str, Any]:
        """Ask through the control socket; it listens a moment after the daemon is ready."""
        wait_until(self._listens)
        return dict(asyncio.run(ask(self.state, verb, body)))

    def _listens(self) -> bool:
        try:
            asyncio.run(ask(self.state, "status", {}))
        except UserError:
            return False
        return True

    def close(self) -> None:
        """Stop it, and read the rest."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        finally:
            self.process.kill()
            for reader in self._readers:
                reader.join()
            for stream in (self.process.stdout, self.process.stderr):
                assert stream is not None
                stream.close()


@contextmanager
def running_daemon(state: Path, folder: Path, *options: str) -> Iterator[RunningDaemon]:
    """Let a daemon run."""
    running = RunningDaemon(state, folder, *options)
    try:
        running.wait_for("ready", 60.0)
        yield running
    finally:
        running.close()
    assert running.process.returncode == 0, "".join(running.log)


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for what nobody tells."""
    until = time.monotonic() + 30
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)
