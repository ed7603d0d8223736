"""The listener: what it answers, and whom it lets in."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from llmatic_daemon.adapters.http import event_stream
from llmatic_daemon.adapters.http.event_stream import EventStream
from llmatic_daemon.adapters.http.guard import guard
from llmatic_daemon.adapters.http.routes import Parameter, Route
from llmatic_daemon.adapters.http.server import listening, serving
from llmatic_daemon.domain import Job
from llmatic_daemon.domain.errors import ConfigurationError
from llmatic_daemon.domain.events import Placed, PromptsAdopted, PromptsRejected, SlotChanged
from tests.support.sample_placements import edition, failure
from tests.support.web import Asked, Searched, asked, free_port, raw, table

ROUTES = table(Path("nowhere"))
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
EXAMPLES = {"id": "1"}


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    """A finished search of 30 candidates."""
    made = Searched(tmp_path_factory.mktemp("state"))
    asyncio.run(made.go_on(30))
    return made


@pytest_asyncio.fixture
async def harness(searched: Searched) -> AsyncIterator[Asked]:
    async with asked(searched.folder) as made:
        yield made


# --- what it answers ------------------------------------------------------------------------------


async def test_metrics_and_health_are_served(harness: Asked) -> None:
    async with harness.client.get("/metrics") as scraped:
        text = await scraped.text()
    async with harness.client.get("/-/healthy") as healthy, harness.client.get("/-/ready") as ready:
        statuses = healthy.status, ready.status

    assert "llmatic_candidates_total" in text
    assert scraped.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert statuses == (200, 200)


async def test_daemon_that_keeps_nothing_is_healthy_and_not_ready(harness: Asked) -> None:
    harness.now[0] = replace(harness.now[0], is_ready=False)

    async with harness.client.get("/-/healthy") as healthy, harness.client.get("/-/ready") as ready:
        assert (healthy.status, ready.status) == (200, 503)


async def test_status_is_read_from_memory(harness: Asked) -> None:
    harness.listener.stream.receive(SlotChanged(slot=1, phase="train", detail="epoch 1 of 8"))

    status, found = await harness.get("/api/v1/status")

    assert status == 200
    assert isinstance(found, dict)
    assert found["search"]["num_settled"] == 30
    assert found["slots"] == [{"slot": 1, "phase": "train", "detail": "epoch 1 of 8"}]
    assert found["prompt_set"] == "5e7"


@pytest.mark.parametrize("limit", [1, 7, 30, 500])
async def test_pages_of_evaluations_give_each_candidate_once(harness: Asked, limit: int) -> None:
    numbers, cursor = [], ""
    while True:
        _, page = await harness.get(f"/api/v1/candidates?limit={limit}{cursor}")
        assert isinstance(page, dict)
        assert len(page["items"]) <= limit
        numbers += [item["number"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"

    assert numbers == list(range(30, 0, -1))


async def test_cursor_holds_while_the_search_goes_on(tmp_path: Path) -> None:
    searched = Searched(tmp_path / "state")
    await searched.go_on(10)
    async with asked(searched.folder) as harness:
        _, first = await harness.get("/api/v1/candidates?limit=4")
        await searched.go_on(3)
        _, second = await harness.get(f"/api/v1/candidates?limit=4&cursor={first['next']}")  # type: ignore[index]
        _, newest = await harness.get("/api/v1/candidates?limit=1")

    assert [item["number"] for item in first["items"]] == [10, 9, 8, 7]  # type: ignore[index]
    assert [item["number"] for item in second["items"]] == [6, 5, 4, 3]  # type: ignore[index]
    assert [item["number"] for item in newest["items"]] == [13]  # type: ignore[index]


async def test_old_path_redirects_with_its_query(harness: Asked) -> None:
    async with harness.client.get("/api/v1/evaluations?limit=2&cursor=9", allow_redirects=False) as moved:
        assert moved.status == 308
        assert moved.headers["Location"] == "/api/v1/candidates?limit=2&cursor=9"
        assert moved.headers["X-Content-Type-Options"] == "nosniff"

    _, found = await harness.get("/api/v1/evaluations?limit=2&cursor=9")

    assert [item["number"] for item in found["items"]] == [8, 7]  # type: ignore[index]


async def test_learning_curve_has_names(harness: Asked, searched: Searched) -> None:
    placement = next(p for p in searched.search.placements if p.report and p.report.curve)

    _, found = await harness.get(f"/api/v1/candidates/{placement.job.number}")
    _, document = await harness.get("/api/v1/openapi.json")

    assert placement.report is not None
    names = ("number", "train_loss", "accuracy")
    assert found["placement"]["report"]["curve"] == [  # type: ignore[index]
        dict(zip(names, epoch, strict=True)) for epoch in placement.report.curve
    ]
    assert tuple(document["components"]["schemas"]["Epoch"]["properties"]) == names  # type: ignore[index]


async def test_renamed_field_has_its_deprecated_name_too(harness: Asked, searched: Searched) -> None:
    placement = next(p for p in searched.search.placements if p.report)

    _, found = await harness.get(f"/api/v1/candidates/{placement.job.number}")
    _, document = await harness.get("/api/v1/openapi.json")

    shown = found["placement"]  # type: ignore[index]
    schemas = document["components"]["schemas"]  # type: ignore[index]
    for part, name, new, old in (
        (shown, "Placement", "fallback", "stand_in"),
        (shown, "Placement", "rung_accuracy", "look"),
        (shown, "Placement", "rung_ratio", "look_ratio"),
        (shown["report"], "Report", "device", "place"),
        (shown["report"], "Report", "rung_accuracy", "look"),
    ):
        assert part[old] == part[new]
        assert schemas[name]["properties"][old]["deprecated"] is True
        assert "deprecated" not in schemas[name]["properties"][new]
    assert schemas["CandidateSummary"]["properties"]["look"]["deprecated"] is True
    assert shown["report"]["place"] == "cpu:0"


@pytest.mark.parametrize("archive", ["network", "prompt"])
async def test_archives_are_told_by_cell(harness: Asked, archive: str) -> None:
    _, whole = await harness.get(f"/api/v1/archives/{archive}")
    _, first = await harness.get(f"/api/v1/archives/{archive}?limit=1")
    _, beyond = await harness.get(f"/api/v1/archives/{archive}?cursor=1000")

    assert isinstance(whole, dict)
    cells = [item["cell"] for item in whole["items"]]
    assert cells == sorted(set(cells))
    assert cells
    assert first["items"] == whole["items"][:1]  # type: ignore[index]
    assert first["next"] == (cells[1] if len(cells) > 1 else None)  # type: ignore[index]
    assert beyond == {"items": [], "next": None}


async def test_candidate_comes_with_its_source(harness: Asked, searched: Searched) -> None:
    placement = next(p for p in searched.search.placements if p.source_digest)

    _, found = await harness.get(f"/api/v1/candidates/{placement.job.number}")

    assert isinstance(found, dict)
    assert found["placement"]["source_digest"] == placement.source_digest
    assert found["source"]


async def test_unknown_candidate_is_a_problem_with_a_way_out(harness: Asked) -> None:
    async with harness.client.get("/api/v1/candidates/999") as response:
        found = await response.json(content_type="application/problem+json")

    assert response.status == found["status"] == 404
    assert "must be a settled one" in found["detail"]


async def test_prompts_are_told_with_their_credit(harness: Asked) -> None:
    _, found = await harness.get("/api/v1/prompts")

    assert isinstance(found, dict)
    assert {item["prompt"] for item in found["items"]} >= {"deepen", "widen"}


async def test_damaged_database_is_no_bug_of_the_daemon(tmp_path: Path) -> None:
    async with asked(tmp_path) as harness:
        (tmp_path / "llmatic.db").write_bytes(b"no database" * 1000)

        status, found = await harness.get("/api/v1/candidates")

    assert status == 503
    assert "must be" in found["detail"]  # type: ignore[index]


async def test_taken_port_names_the_setting(searched: Searched) -> None:
    async with asked(searched.folder) as harness:
        with pytest.raises(ConfigurationError, match=r"metrics\.port: expected a free port"):
            async with listening(harness.port, ROUTES, setting="metrics.port"):
                pass


# --- the document ---------------------------------------------------------------------------------


async def test_document_lists_exactly_the_routes(harness: Asked) -> None:
    _, found = await harness.get("/api/v1/openapi.json")

    assert isinstance(found, dict)
    described = {(method.upper(), path) for path, each in found["paths"].items() for method in each}
    assert described | {("GET", "/api/v1/openapi.json")} == {(r.method, r.path) for r in ROUTES}


def test_every_route_has_a_policy_and_none_but_get_goes_without_a_token() -> None:
    assert {route.policy for route in ROUTES} <= {"anyone", "token"}
    assert all(route.method == "GET" or route.policy == "token" for route in ROUTES)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
async def test_no_route_answers_a_method_that_it_does_not_name(harness: Asked, route, method) -> None:
    if method == route.method:
        return
    path = route.path.format(**EXAMPLES)

    async with harness.client.request(method, path) as response:
        assert response.status == 405


# --- whom it lets in ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:9464"}, 200),
        ({"Host": "[::1]:9464"}, 200),
        ({"Host": "LOCALHOST"}, 200),
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example:80"}, 421),
        ({"Host": "localhost.evil.example"}, 421),
        ({"Host": ""}, 421),
        ({"Host": "grafana.example"}, 421),
        ({"Host": "localhost", "Origin": "http://localhost"}, 200),
        ({"Host": "localhost", "Origin": "http://evil.example"}, 403),
        ({"Host": "localhost", "Origin": "http://localhost.evil.example"}, 403),
        ({"Host": "localhost", "Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
@pytest.mark.parametrize("path", ["/metrics", "/-/healthy", "/api/v1/status", "/nowhere"])
async def test_browsers_of_other_sites_are_refused(harness: Asked, headers, status, path) -> None:
    async with harness.client.get(path, headers=headers) as response:
        found = response.status

    expected = 404 if status == 200 and path == "/nowhere" else status
    assert found == expected
    assert harness.tally[-1][1] == expected


async def test_who_is_denied_is_logged(harness: Asked, caplog: pytest.LogCaptureFixture) -> None:
    async with harness.client.get("/metrics", headers={"Host": "evil.example"}):
        pass

    assert "denied: GET /metrics: expected a Host header" in caplog.text


async def test_two_hosts_are_none(harness: Asked) -> None:
    head = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n"

    answer = await raw(harness.port, head)

    assert answer.split(b"\r\n")[0].split()[1] in (b"400", b"421")


async def test_proxy_may_ask_by_its_name(searched: Searched) -> None:
    async with (
        asked(searched.folder, hosts=("search.example",)) as harness,
        harness.client.get("/metrics", headers={"Host": "search.example"}) as response,
    ):
        assert response.status == 200


@pytest.mark.parametrize("path", ["/metrics", "/api/v1/status", "/api/v1/candidates/77", "/nowhere"])
async def test_every_answer_tells_browsers_to_trust_nothing(harness: Asked, path: str) -> None:
    async with harness.client.get(path) as response:
        headers = response.headers

    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert not {"Set-Cookie", "Access-Control-Allow-Origin"} & set(headers)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/candidates/0",
        "/api/v1/candidates/-1",
        "/api/v1/candidates/1e3",
        "/api/v1/candidates/%C2%B2",
        "/api/v1/candidates/99999999999999999999",
        "/api/v1/candidates/1%00",
        "/api/v1/candidates/..%2f..%2fetc%2fpasswd",
        "/api/v1/candidates?limit=0",
        "/api/v1/candidates?limit=501",
        "/api/v1/candidates?limit=x",
        "/api/v1/candidates?cursor=-1",
        "/api/v1/candidates?limit=1&limit=2",
        "/api/v1/candidates?order=random",
        "/api/v1/archives/network?cursor=9223372036854775808",
        "/metrics?name=x",
    ],
)
async def test_odd_numbers_are_refused_in_one_line(harness: Asked, path: str) -> None:
    async with harness.client.get(aiohttp.client.URL(path, encoded=True)) as response:
        found = await response.json(content_type="application/problem+json")

    assert response.status in (400, 404)
    assert "\n" not in found["detail"]
    assert len(found["detail"]) < 200


@pytest.mark.parametrize("body", [b"x", b"x" * (1 << 20)])
async def test_get_with_a_body_is_refused(harness: Asked, body: bytes) -> None:
    head = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    reader, writer = await asyncio.open_connection("127.0.0.1", harness.port)
    writer.write(head + body[:100])

    assert (await reader.readline()).split()[1] == b"400"
    writer.close()


async def test_huge_head_is_refused(harness: Asked) -> None:
    head = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * (1 << 20) + b"\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", harness.port)
    writer.write(head)

    assert (await reader.readline()).split()[1] == b"400"
    writer.close()


@asynccontextmanager
async def small_server(text: str = "word", **limits: Any) -> AsyncIterator[int]:
    """Serve one text with other limits."""

    async def word(_: web.Request) -> web.Response:
        return web.Response(text=text)

    application, port = web.Application(), free_port()
    application.router.add_get("/", word)
    async with serving(application, port, setting="metrics.port", **limits):
        yield port


async def test_slow_head_is_cut_off() -> None:
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with small_server(timeout_s=0.2) as port, asyncio.timeout(10):
        silent = await raw(port)
        begun = await raw(port, request[:20])
        second = await raw(port, request, request[:9])

    assert (silent, begun) == (b"", b"")
    assert second.count(b"HTTP/1.1 ") == 1


async def test_client_that_asks_again_in_time_is_kept() -> None:
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with small_server(timeout_s=0.5) as port, asyncio.timeout(10):
        answers = await raw(port, *[request] * 5, pause_s=0.2)

    assert answers.count(b"HTTP/1.1 200") == 5


async def test_client_that_never_reads_is_cut_off() -> None:
    """Also where much of an answer lies in our buffers: nobody waits until it is taken."""
    page = "x" * (32 << 20)
    async with small_server(page, timeout_s=0.2) as port, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 10)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await asyncio.sleep(1)
        taken = 0
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(1 << 20):
                taken += len(piece)
        writer.close()

    assert 0 < taken < len(page)


async def test_one_connection_too_many_is_closed() -> None:
    async with small_server(max_connections=2) as port, asyncio.timeout(10):
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        assert await raw(port) == b""
        for _, writer in held:
            writer.close()


def test_number_is_read_as_its_schema_says() -> None:
    number = Parameter(name="n", where="query", meaning="", minimum=0, maximum=9, default=3)

    assert [number.parse(text) for text in (None, "0", "9", "007")] == [3, 0, 9, 7]
    for text in ("", " 1", "1_0", "10", "-1", "+1", "٣", "1" * 5000):
        with pytest.raises(ValueError, match="n must be a whole number from 0 to 9"):
            number.parse(text)


@asynccontextmanager
async def locked_route(token: str | None) -> AsyncIterator[int]:
    """Serve one route that only a token opens."""

    async def word(_: web.Request) -> web.Response:
        return web.Response(text="word")

    route = Route(path="/locked", summary="", handler=word, policy="token", method="POST")
    application, port = web.Application(middlewares=[guard([route], token=token)]), free_port()
    application.router.add_route(route.method, route.path, word)
    async with serving(application, port, setting="metrics.port"):
        yield port


@pytest.mark.parametrize(
    ("token", "given", "status"),
    [
        ("secret", "Bearer secret", 200),
        ("secret", "bearer  secret", 200),
        ("secret", "Bearer secre", 401),
        ("secret", "Bearer secrets", 401),
        ("secret", "Basic secret", 401),
        ("secret", "secret", 401),
        ("secret", "Bearer ", 401),
        ("secret", "Bearer \udcff", 401),
        ("secret", "", 401),
        (None, "Bearer ", 401),
        (None, "Bearer None", 401),
        ("", "Bearer ", 401),
    ],
)
async def test_token_opens_and_nothing_else_does(token, given: str, status: int) -> None:
    head = f"POST /locked HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: {given}\r\n\r\n"
    async with locked_route(token) as port, asyncio.timeout(10):
        answer = await raw(port, head.encode(errors="surrogateescape"))

    assert int(answer.split()[1]) == status


async def test_body_beyond_the_limit_is_refused_before_it_is_read() -> None:
    head = b"POST /locked HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret\r\n"
    async with locked_route("secret") as port, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head + b"Content-Length: %d\r\n\r\n" % ((64 << 10) + 1))
        line = await reader.readline()
        writer.close()

    assert line.split()[1] == b"413"


# --- what happens ---------------------------------------------------------------------------------


async def lines_until(response: aiohttp.ClientResponse, last: bytes) -> list[bytes]:
    found = []
    async with asyncio.timeout(10):
        async for line in response.content:
            found.append(line.strip())
            if line.startswith(last):
                return found
    raise AssertionError(found)


async def test_events_go_on_from_the_log_without_a_gap(harness: Asked) -> None:
    stream = harness.listener.stream
    async with harness.client.get("/api/v1/events", headers={"Last-Event-ID": "27"}) as response:
        replayed = await lines_until(response, b"id: 30")
        stream.receive(Placed(placement=failure(31, Job(number=31, attempt=1))))
        live = await lines_until(response, b"id: 31")

    ids = [line for line in (*replayed, *live) if line.startswith(b"id:")]
    assert ids == [b"id: 28", b"id: 29", b"id: 30", b"id: 31"]
    assert response.headers["Content-Type"].startswith("text/event-stream")
    assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_reader_hears_slots_and_prompts_as_they_change(harness: Asked) -> None:
    stream = harness.listener.stream
    async with harness.client.get("/api/v1/events") as response:
        await lines_until(response, b"retry:")
        stream.receive(SlotChanged(slot=0, phase="llm", detail="widen\nevent: forged"))
        stream.receive(PromptsAdopted(edition=edition(1, "deepen")))
        stream.receive(PromptsRejected(reason="widen.md, line 1: bad"))
        heard = await lines_until(response, b"event: prompts-refused")

    assert b"event: slot" in heard
    assert b"event: forged" not in heard
    slot = next(line for line in heard if line.startswith(b'data: {"slot"'))
    assert json.loads(slot[6:])["detail"] == "widen\nevent: forged"
    assert b"event: prompts" in heard
    assert b"event: prompts-rejected" in heard


@pytest.mark.parametrize("last", ["-1", "x", "1" * 50])
async def test_odd_last_event_is_refused(harness: Asked, last: str) -> None:
    async with harness.client.get("/api/v1/events", headers={"Last-Event-ID": last}) as response:
        assert response.status == 400


async def test_reader_ahead_of_the_log_misses_nothing_that_comes(harness: Asked) -> None:
    stream = harness.listener.stream
    async with harness.client.get("/api/v1/events", headers={"Last-Event-ID": "999"}) as response:
        await lines_until(response, b"retry:")
        stream.receive(Placed(placement=failure(31, Job(number=31, attempt=1))))
        heard = await lines_until(response, b"id: 31")

    assert b"id: 31" in heard


async def test_log_that_cannot_be_read_ends_the_stream_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with asked(tmp_path) as harness, asyncio.timeout(10):
        (tmp_path / "llmatic.db").write_bytes(b"no database" * 1000)
        head = b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        head += b"Last-Event-ID: 1\r\n\r\n"
        answer = await raw(harness.port, head)

    assert answer.count(b"HTTP/1.1 ") == 1
    assert "must be" in caplog.text
    assert "Traceback" not in caplog.text


async def test_slow_reader_is_dropped_and_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "MAX_LAG", 3)

    async def replay(after: int, limit: int) -> list:
        return []

    stream = EventStream(replay)
    reader = stream.read(None)
    await anext(reader)
    for number in range(10):
        stream.receive(Placed(placement=failure(number + 1, Job(number=number + 1, attempt=1))))

    heard = [event async for event in reader]

    assert len(heard) == 3
    assert stream.num_readers == 0


async def test_reader_that_falls_behind_while_it_catches_up_is_dropped_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_stream, "MAX_LAG", 3)

    async def endless(after: int, limit: int) -> list:
        return [failure(after + n, Job(number=after + n, attempt=1)) for n in range(1, limit + 1)]

    stream = EventStream(endless)
    reader = stream.read(0)
    await anext(reader)
    for _ in range(5):
        stream.receive(SlotChanged(slot=0, phase="llm"))

    heard = [event async for event in reader]

    assert len(heard) == 100 + 3


async def test_no_more_readers_than_there_may_be(harness: Asked, monkeypatch) -> None:
    monkeypatch.setattr(event_stream, "MAX_READERS", 1)
    async with harness.client.get("/api/v1/events") as first:
        assert first.status == 200
        async with harness.client.get("/api/v1/events") as second:
            assert second.status == 503


async def test_silent_search_sends_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "HEARTBEAT_S", 0.01)

    async def replay(after: int, limit: int) -> list:
        return []

    reader = EventStream(replay).read(None)
    await anext(reader)

    assert (await anext(reader)).startswith(b":")
    await reader.aclose()  # type: ignore[attr-defined]


async def test_reader_that_has_gone_is_forgotten(harness: Asked) -> None:
    stream = harness.listener.stream
    assert isinstance(stream, EventStream)
    async with harness.client.get("/api/v1/events") as response:
        await lines_until(response, b"retry:")
        assert stream.num_readers == 1
    async with asyncio.timeout(10):
        while stream.num_readers:
            stream.receive(SlotChanged(slot=0, phase="llm"))
            await asyncio.sleep(0.01)


async def test_end_of_the_daemon_ends_the_stream(searched: Searched) -> None:
    async with aiohttp.ClientSession() as client:
        async with asked(searched.folder) as harness:
            response = await client.get(f"http://127.0.0.1:{harness.port}/api/v1/events")
            await lines_until(response, b"retry:")
        async with asyncio.timeout(10):
            rest = [line async for line in response.content]

    assert all(not line.strip() for line in rest)
