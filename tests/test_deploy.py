"""What is in `deploy/` fits together: the settings exist, and each service can be watched."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmatic_daemon import config

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"


@pytest.fixture
def services() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))["services"])


def test_every_service_has_a_health_check_and_comes_back(services: dict[str, Any]):
    assert set(services) == {"tgi", "daemon"}
    for service in services.values():
        assert service["healthcheck"]["test"][0] == "CMD"
        assert service["restart"] in ("unless-stopped", "on-failure")


def test_every_service_reserves_a_gpu(services: dict[str, Any]):
    for service in services.values():
        (device,) = service["deploy"]["resources"]["reservations"]["devices"]
        assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])


def test_settings_of_the_daemon_are_good_ones(services: dict[str, Any]):
    environment = services["daemon"]["environment"]

    settings = config.load(DEPLOY / "llmatic.toml", environment=environment)

    assert settings.writer.url == "http://tgi:80"
    assert settings.engine.slots > len(settings.training.places)
    assert f"127.0.0.1:{settings.metrics.port}/" in services["daemon"]["healthcheck"]["test"][-1]


def test_drain_ends_before_the_container_is_killed(services: dict[str, Any]):
    settings = config.load(DEPLOY / "llmatic.toml", environment={})

    assert int(services["daemon"]["stop_grace_period"].rstrip("s")) > settings.engine.drain_s


def test_limits_of_the_llm_leave_room_for_an_answer(services: dict[str, Any]):
    limits = dict(re.findall(r"--(max-[a-z-]+) (\d+)", services["tgi"]["command"]))
    settings = config.load(DEPLOY / "llmatic.toml", environment={})

    room = int(limits["max-total-tokens"]) - int(limits["max-input-tokens"])
    assert settings.writer.max_new_tokens == room
    assert settings.writer.max_concurrency == int(limits["max-concurrent-requests"])


def test_readme_starts_the_llm_as_compose_does(services: dict[str, Any]):
    flags = services["tgi"]["command"].split()[2:]
    readme = " ".join((ROOT / "README.md").read_text("utf-8").replace("\\\n", " ").split())

    assert " ".join(flags) in readme


def test_paths_that_compose_mounts_are_there(services: dict[str, Any]):
    dockerfile = (DEPLOY / "Dockerfile").read_text("utf-8")

    assert services["daemon"]["build"] == {"context": "..", "dockerfile": "deploy/Dockerfile"}
    for copied in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE):
        assert all((ROOT / name).exists() for name in copied.split())
    assert "USER llmatic" in dockerfile
