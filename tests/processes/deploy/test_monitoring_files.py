"""Alerts, runbooks, dashboards and provisioning fit together and name only what is exported."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmatic_daemon.adapters.metrics.catalog import TABLE
from tests.support.deploy_files import (
    DASHBOARDS,
    DEPLOY,
    RULES,
    Expression,
    alert_expressions,
    dashboard_expressions,
    dashboards,
    hastened,
    panels,
    rules,
)

EXPORTED = {name for metric in TABLE for name in metric.series}
#: What the client of Prometheus, Prometheus itself and text-generation-inference add.
ADDED = {
    "up",
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "python_gc_collections_total",
    "tgi_queue_size",
}
HERE = Path(__file__).parent
ALERT_TESTS = HERE / "alerts_test.yml"
EXPRESSIONS = [*alert_expressions(), *dashboard_expressions()]

needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is missing: apt-get install prometheus"
)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_alert_says_what_it_is_and_where_to_read_on(rule: dict[str, Any]):
    file, anchor = rule["annotations"]["runbook"].split("#")
    runbook = (DEPLOY.parent / file).read_text("utf-8")
    (section,) = re.findall(rf"^## {rule['alert']}\n(.*?)(?=^## |\Z)", runbook, re.M | re.S)

    assert anchor == rule["alert"].lower()
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["description"]
    for part in ("**Meaning:**", "**Impact:**", "**Diagnosis:**", "```sh\n", "**Mitigation:**"):
        assert part in section


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_alert_is_tested_to_fire_and_to_keep_still(rule: dict[str, Any]):
    names = {test["name"] for test in yaml.safe_load(ALERT_TESTS.read_text("utf-8"))["tests"]}

    assert {f"{rule['alert']} fires", f"{rule['alert']} keeps still"} <= names


def test_runbook_names_no_alert_that_is_gone():
    titles = re.findall(r"^## (\w+)$", (DEPLOY / "runbooks.md").read_text("utf-8"), re.M)

    assert sorted(titles) == sorted(rule["alert"] for rule in rules())


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=lambda expression: expression.where)
def test_expression_names_only_what_is_exported(expression: Expression):
    assert expression.names
    assert expression.names <= EXPORTED | ADDED


def test_name_that_is_not_exported_would_be_found():
    assert not Expression("", 'rate(llmatic_no_such_total{a="llmatic_ready"}[1m])').names <= EXPORTED


def test_every_metric_is_shown_or_watched():
    shown = {name for expression in EXPRESSIONS for name in expression.names}

    unseen = [metric.name for metric in TABLE if not shown & set(metric.series)]

    assert unseen == []


@needs_promtool
def test_alerts_pass_their_unit_tests():
    run = subprocess.run(
        ["promtool", "test", "rules", ALERT_TESTS.name], cwd=HERE, capture_output=True, text=True
    )

    assert run.returncode == 0, run.stdout + run.stderr


@needs_promtool
def test_rules_and_configuration_pass_promtool(tmp_path: Path):
    quick = tmp_path / "hastened.yml"
    quick.write_text(hastened())
    for arguments in (
        ["check", "rules", "--lint=all", "--lint-fatal", str(RULES), str(quick)],
        ["check", "config", str(DEPLOY / "prometheus" / "prometheus.yml")],
    ):
        run = subprocess.run(["promtool", *arguments], capture_output=True, text=True)
        assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.skipif(not shutil.which("amtool"), reason="apt-get install prometheus-alertmanager")
def test_alertmanager_configuration_passes_amtool():
    file = DEPLOY / "alertmanager" / "alertmanager.yml"
    run = subprocess.run(["amtool", "check-config", str(file)], capture_output=True, text=True)

    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboard_goes_through_grafanas_own_types_without_loss(path: Path):
    types = pytest.importorskip("grafana_foundation_sdk.models.dashboard")
    encoder = pytest.importorskip("grafana_foundation_sdk.cog.encoder").JSONEncoder
    shipped = json.loads(path.read_text("utf-8"))

    back = json.loads(json.dumps(types.Dashboard.from_json(shipped), cls=encoder))

    assert back == shipped


@pytest.mark.parametrize("name", dashboards())
def test_dashboard_is_fit_to_be_provisioned(name: str):
    dashboard = dashboards()[name]
    shown = panels(dashboard)
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    text = json.dumps(dashboard)

    assert dashboard["uid"] == f"llmatic-{name}"
    assert "datasource" in variables
    assert set(re.findall(r"\$\{?([a-z]\w*)", text)) <= variables
    assert [a["name"] for a in dashboard["annotations"]["list"]] == ["Prompt edits"]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    for panel in shown:
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["targets"]
    assert not re.search(r"(rate|increase)\([^\[]+\[\d", text), "windows must follow the dashboard"


@pytest.mark.parametrize("name", dashboards())
def test_panels_do_not_overlap(name: str):
    taken = set[tuple[int, int]]()
    for panel in dashboards()[name]["panels"]:
        at = panel["gridPos"]
        area = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not taken & area, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= area


def test_provisioning_of_grafana_finds_what_compose_mounts():
    provisioning = DEPLOY / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "llmatic.yml").read_text())["providers"]
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))["services"]
    mounts = [volume.split(":")[:2] for volume in compose["grafana"]["volumes"]]

    assert provider["allowUiUpdates"] is False
    assert ["./grafana/dashboards", provider["options"]["path"]] in mounts
    assert ["./grafana/provisioning", "/etc/grafana/provisioning"] in mounts
