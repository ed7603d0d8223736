"""What `deploy/` ships for Prometheus and Grafana, taken apart for tests."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from tests.support.paths import ROOT

DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "alerts.yml"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))

_NAME = re.compile(r"\b(?:llmatic|process|python|tgi)_[a-z0-9_]+\b|\bup\b")
#: A comparison with a number, or with a multiple of something: what makes a value an alert.
_THRESHOLD = re.compile(r"\s(?:==|!=|>=|<=|>|<) (?:\d+ \* \w+|[\d.]+)")
_RANGE = re.compile(r"\[\d+[smh]\]")
_DURATION = "10s"


@dataclass(frozen=True)
class Expression:
    """One expression of PromQL, and where it stands."""

    where: str
    text: str

    @property
    def names(self) -> set[str]:
        """Name the metrics that it reads."""
        return set(_NAME.findall(re.sub(r'"[^"]*"', '""', self.text)))

    @property
    def always(self) -> str:
        """Write it so that it has a value in a search of seconds, whatever the values are."""
        text = _THRESHOLD.sub("", _RANGE.sub(f"[{_DURATION}]", self.text))
        for name in ("__rate_interval", "__interval", "__range"):
            text = text.replace(f"${name}", _DURATION)
        return re.sub(r"\$\w+", ".*", text)


def rules() -> list[dict[str, Any]]:
    """Read the alerts."""
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def hastened() -> str:
    """Write the rules so that they look back seconds instead of hours, and do not wait to be sure."""
    document = yaml.safe_load(RULES.read_text("utf-8"))
    for group in document["groups"]:
        for rule in group["rules"]:
            rule["expr"] = _RANGE.sub(f"[{_DURATION}]", rule["expr"])
            if "for" in rule:
                rule["for"] = "1s"
    return str(yaml.safe_dump(document))


def dashboards() -> dict[str, dict[str, Any]]:
    """Read the dashboards, by their file's name."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in DASHBOARDS}


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """List the panels that show something."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def alert_expressions() -> list[Expression]:
    """List the expressions of the alerts."""
    return [Expression(rule["alert"], rule["expr"]) for rule in rules()]


def dashboard_expressions() -> Iterator[Expression]:
    """List the expressions of all panels and annotations."""
    for name, dashboard in dashboards().items():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                yield Expression(f"{name}: {panel['title']}", target["expr"])
        for annotation in dashboard["annotations"]["list"]:
            yield Expression(f"{name}: {annotation['name']}", annotation["expr"])
