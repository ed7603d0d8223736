"""What the service manager is told, on the other end of its socket."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmatic_daemon.adapters.system.notify import ServiceManager
from tests.support.service_manager import Listener


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    made = Listener(tmp_path / "notify")
    yield made
    made.close()


@pytest.fixture
def manager(listener: Listener) -> Iterator[ServiceManager]:
    made = ServiceManager(listener.environment)
    yield made
    made.close()


def test_each_word_is_a_datagram(manager: ServiceManager, listener: Listener) -> None:
    manager.ready()
    manager.show("2 of 3 slots\nbusy")
    manager.feed()
    manager.extend(1.5)
    manager.stopping()

    assert listener.received() == [
        "READY=1",
        "STATUS=2 of 3 slots busy",
        "WATCHDOG=1",
        "EXTEND_TIMEOUT_USEC=1500000",
        "STOPPING=1",
    ]


def test_reloading_carries_the_monotonic_time_in_the_same_datagram(
    manager: ServiceManager, listener: Listener
) -> None:
    manager.ready()
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    with pytest.raises(ValueError, match="bad"), manager.reloading():
        raise ValueError("bad")

    _, reloading, ready = listener.received()

    word, clock = reloading.split("\n")
    assert word == "RELOADING=1"
    assert before <= int(clock.removeprefix("MONOTONIC_USEC="))
    assert ready == "READY=1"


def test_reload_before_the_start_is_complete_does_not_say_that_it_is(
    manager: ServiceManager, listener: Listener
) -> None:
    with manager.reloading():
        pass

    assert listener.received() == []


def test_abstract_socket_is_reached() -> None:
    name = f"llmatic-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as abstract:
        abstract.bind(f"\0{name}")
        manager = ServiceManager({"NOTIFY_SOCKET": f"@{name}"})

        manager.ready()

        assert abstract.recv(100) == b"READY=1"
        manager.close()


def test_without_a_manager_nothing_is_said() -> None:
    manager = ServiceManager({})

    manager.ready()

    assert not manager.is_there


def test_manager_that_is_gone_ends_nothing(tmp_path: Path) -> None:
    manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "nobody")})

    manager.ready()

    assert manager.is_there
    manager.close()


def test_nothing_is_said_after_the_end(manager: ServiceManager, listener: Listener) -> None:
    manager.close()

    manager.ready()

    assert listener.received() == []


@pytest.mark.parametrize(
    ("environment", "time_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_watchdog_is_ours_when_it_names_us(environment: dict[str, str], time_s: float | None) -> None:
    assert ServiceManager(environment).watchdog_s == time_s
