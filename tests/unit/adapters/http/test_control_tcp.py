"""Control over TCP: nobody without the token, and with it what the socket does."""

import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from llmatic_daemon.adapters.http.control_tcp import routes
from llmatic_daemon.adapters.http.server import listening
from llmatic_daemon.domain.errors import ConfigurationError, StoreUnavailable, UserError
from tests.support.web import free_port

TOKEN = "5e7c0de5e7c0de5e7c0de"
GOOD = {"Authorization": f"Bearer {TOKEN}"}


class Verbs:
    """Remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, Any]] = []

    async def slots(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append(body)
        return {"before": 3, "slots": body.get("slots")}

    async def refuse(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        raise UserError("slots must be an integer from 1 to 9, got 0")

    async def fail(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        raise StoreUnavailable("the disk is full")

    @property
    def all(self) -> dict[str, Any]:
        return {"slots": self.slots, "prompts/reload": self.refuse, "reload": self.fail}


@pytest_asyncio.fixture
async def harness() -> AsyncIterator[tuple[Verbs, aiohttp.ClientSession]]:
    verbs, port = Verbs(), free_port()
    async with (
        listening(port, routes(verbs.all, ("status",)), setting="control.port", token=TOKEN),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        yield verbs, client


async def test_holder_of_the_token_does_what_the_socket_does(harness, caplog) -> None:
    verbs, client = harness
    with caplog.at_level(logging.INFO):
        async with client.post("/slots", json={"slots": 6}, headers=GOOD) as response:
            found = await response.json()

    assert (response.status, found) == (200, {"before": 3, "slots": 6})
    assert verbs.asked == [{"slots": 6}]
    assert "slots, requested with the API token: done" in caplog.text
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Cookie": f"token={TOKEN}"},
        {**GOOD, "Origin": "http://evil.example"},
        {**GOOD, "Sec-Fetch-Site": "cross-site"},
        {**GOOD, "Host": "evil.example"},
    ],
)
@pytest.mark.parametrize("verb", ["slots", "prompts/reload", "reload"])
async def test_nobody_else_is_let_in(harness, headers, verb) -> None:
    verbs, client = harness

    async with client.post(f"/{verb}", json={"slots": 6}, headers=headers) as response:
        assert response.status in (401, 403, 421)

    assert verbs.asked == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_nothing_but_post_is_known(harness, method) -> None:
    verbs, client = harness

    async with client.request(method, "/slots", headers=GOOD) as response:
        assert response.status == 405

    assert verbs.asked == []


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/slots", b"[]", 400),
        ("/slots", b"{", 400),
        ("/slots", b'{"x": "' + b"x" * (65 << 10) + b'"}', 413),
        ("/prompts/reload", b"{}", 409),
        ("/reload", b"{}", 503),
        ("/backup", b"{}", 404),
    ],
)
async def test_what_cannot_be_done_is_refused_in_one_line(harness, path, body, status) -> None:
    _, client = harness

    async with client.post(path, data=body, headers=GOOD) as response:
        found = await response.json(content_type=None)

    assert response.status == status
    assert "\n" not in (found.get("error") or found.get("detail"))


async def test_taken_port_names_the_setting(harness) -> None:
    _, client = harness
    port = client._base_url.port

    with pytest.raises(ConfigurationError, match=r"control\.port: expected a free port"):
        async with listening(port, routes({}), setting="control.port", token=TOKEN):
            pass


def test_every_route_needs_the_token() -> None:
    assert {(route.method, route.policy) for route in routes(Verbs().all)} == {("POST", "token")}
