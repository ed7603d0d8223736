"""Debian's Prometheus and Alertmanager as processes, and what they can be asked."""

import contextlib
import json
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml

from tests.support.web import free_port

T = TypeVar("T")

PROGRAMS = ("prometheus", "prometheus-alertmanager")
#: A fault is seen, judged and passed on within seconds; another machine may be busy.
GENEROUS_S = 40.0


def fetch(url: str) -> Any:
    """Read JSON; None while nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.loads(answer.read() or "null")
    except OSError:
        return None


def eventually(what: str, rung_accuracy: Callable[[], T]) -> T:
    """Look until there is something to see."""
    until = time.monotonic() + GENEROUS_S
    while not (seen := rung_accuracy()):
        assert time.monotonic() < until, f"waited in vain: {what}"
        time.sleep(0.1)
    return seen


@contextlib.contextmanager
def running(*command: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Let a program run."""
    with (
        log.open("wb") as opened,
        subprocess.Popen(command, stdout=opened, stderr=subprocess.STDOUT) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()


class Monitoring:
    """A Prometheus that scrapes twice a second, and its Alertmanager."""

    def __init__(self, folder: Path, rules: str, targets: dict[str, str]) -> None:
        """Write their configurations.

        Args:
            folder: For their data.
            rules: Text of the file of rules.
            targets: Address to be scraped, by the job's name.
        """
        self._folder = folder
        self._ports = free_port(), free_port()
        (folder / "rules.yml").write_text(rules)
        configuration = {
            "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
            "rule_files": ["rules.yml"],
            "alerting": {"alertmanagers": [_at(f"127.0.0.1:{self._ports[1]}")]},
            "scrape_configs": [{"job_name": name, **_at(target)} for name, target in targets.items()],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
        routes = {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}
        (folder / "alertmanager.yml").write_text(yaml.safe_dump(routes))

    @contextlib.contextmanager
    def started(self) -> Iterator["Monitoring"]:
        """Run both until the end of the context."""
        prometheus, alertmanager = self._ports
        folder = self._folder
        with (
            running(
                "prometheus-alertmanager",
                f"--config.file={folder / 'alertmanager.yml'}",
                f"--storage.path={folder / 'alertmanager'}",
                f"--web.listen-address=127.0.0.1:{alertmanager}",
                "--cluster.listen-address=",
                log=folder / "alertmanager.log",
            ),
            running(
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'prometheus'}",
                f"--web.listen-address=127.0.0.1:{prometheus}",
                log=folder / "prometheus.log",
            ),
        ):
            eventually("Prometheus is ready", lambda: self.query("vector(1)"))
            yield self

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Evaluate now; the series, each with `metric` and `value`."""
        text = urllib.parse.quote(expression)
        answer = fetch(f"http://127.0.0.1:{self._ports[0]}/api/v1/query?query={text}")
        return list(answer["data"]["result"]) if answer else []

    def values(self, expression: str) -> list[float]:
        """Evaluate now; the values alone."""
        return [float(series["value"][1]) for series in self.query(expression)]

    def alerts(self) -> dict[str, dict[str, str]]:
        """Ask Alertmanager: annotations of the alerts that are active there, by their name."""
        found = fetch(f"http://127.0.0.1:{self._ports[1]}/api/v2/alerts?active=true") or []
        return {alert["labels"]["alertname"]: alert["annotations"] for alert in found}

    def wait_for_alert(self, name: str) -> dict[str, str]:
        """Wait until an alert has arrived; returns its annotations."""
        return eventually(f"{name} at Alertmanager", lambda: self.alerts().get(name))

    def wait_for_calm(self, name: str) -> None:
        """Wait until an alert has ended."""
        eventually(f"{name} has ended", lambda: name not in self.alerts())


def _at(target: str) -> dict[str, Any]:
    return {"static_configs": [{"targets": [target]}]}
