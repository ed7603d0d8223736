"""What is in `deploy/` fits together: the settings exist, and each service can be watched."""

import re
from typing import Any

import pytest
import yaml

from llmatic_daemon import config
from tests.support.paths import ROOT

DEPLOY = ROOT / "deploy"


@pytest.fixture
def services() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))["services"])


WITH_GPU = ("tgi", "daemon")
WATCHING = ("prometheus", "alertmanager", "grafana")


def test_every_service_has_a_health_check_and_comes_back(services: dict[str, Any]):
    assert set(services) == {*WITH_GPU, *WATCHING}
    for name, service in services.items():
        assert service["restart"] in ("unless-stopped", "on-failure:5")
        if name != "daemon":  # its image has one
            assert service["healthcheck"]["test"][0] == "CMD"


def test_every_service_that_computes_reserves_a_gpu(services: dict[str, Any]):
    for name in WITH_GPU:
        (device,) = services[name]["deploy"]["resources"]["reservations"]["devices"]
        assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])


def test_image_is_built_in_stages_without_root_and_can_be_asked_for_its_health():
    dockerfile = (DEPLOY / "Dockerfile").read_text("utf-8")
    port = config.load(DEPLOY / "llmatic.toml", environment={}).metrics.port

    assert dockerfile.count("\nFROM ") == 2
    assert "USER llmatic" in dockerfile.split("FROM ")[-1]
    assert f"http://127.0.0.1:{port}/-/healthy" in dockerfile.split("HEALTHCHECK")[1]


def test_prometheus_finds_daemon_llm_rules_and_alertmanager(services: dict[str, Any]):
    told = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text("utf-8"))
    port = config.load(DEPLOY / "llmatic.toml", environment={}).metrics.port
    jobs = {job["job_name"]: job["static_configs"][0]["targets"] for job in told["scrape_configs"]}
    (alertmanager,) = told["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]

    assert services["daemon"]["network_mode"] == "service:prometheus"
    assert jobs == {"llmatic-daemon": [f"127.0.0.1:{port}"], "tgi": ["tgi:80"]}
    assert alertmanager.split(":")[0] in services
    assert all((DEPLOY / "prometheus" / name).exists() for name in told["rule_files"])


def test_grafana_reads_from_the_prometheus_of_compose(services: dict[str, Any]):
    file = DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yml"
    (source,) = yaml.safe_load(file.read_text("utf-8"))["datasources"]

    assert source["url"] == "http://prometheus:9090"
    assert source["type"] == "prometheus"


def test_what_is_published_is_published_on_this_machine_alone(services: dict[str, Any]):
    ports = [port for service in services.values() for port in service.get("ports", [])]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_what_is_mounted_is_there_and_volumes_are_declared(services: dict[str, Any]):
    declared = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))["volumes"]
    made_by_the_user = {"./prompts", "${DATA_FOLDER"}
    for service in services.values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("./") and source not in made_by_the_user:
                assert (DEPLOY / source).exists(), source
            elif not source.startswith((".", "$")):
                assert source in declared


def test_settings_of_the_daemon_are_good_ones(services: dict[str, Any]):
    environment = services["daemon"]["environment"]

    settings = config.load(DEPLOY / "llmatic.toml", environment=environment)

    assert settings.writer.url == "http://tgi:80"
    assert settings.engine.slots > len(settings.training.devices)


def test_drain_ends_before_the_container_is_killed(services: dict[str, Any]):
    settings = config.load(DEPLOY / "llmatic.toml", environment={})

    assert int(services["daemon"]["stop_grace_period"].rstrip("s")) > settings.engine.drain_s


def test_limits_of_the_llm_leave_room_for_an_answer(services: dict[str, Any]):
    limits = dict(re.findall(r"--(max-[a-z-]+) (\d+)", services["tgi"]["command"]))
    settings = config.load(DEPLOY / "llmatic.toml", environment={})

    room = int(limits["max-total-tokens"]) - int(limits["max-input-tokens"])
    assert settings.writer.max_new_tokens == room
    assert settings.writer.max_concurrency == int(limits["max-concurrent-requests"])


def test_paths_that_compose_mounts_are_there(services: dict[str, Any]):
    dockerfile = (DEPLOY / "Dockerfile").read_text("utf-8")

    assert services["daemon"]["build"] == {"context": "..", "dockerfile": "deploy/Dockerfile"}
    for copied in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE):
        assert all((ROOT / name).exists() for name in copied.split())
    assert "USER llmatic" in dockerfile
