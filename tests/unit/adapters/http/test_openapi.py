"""The API against its own document: schemathesis asks what the document allows, and more."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error

from tests.support.web import Searched, asked, table


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A listener in a thread of its own: schemathesis asks without a loop."""
    ready, done, found = threading.Event(), threading.Event(), list[str]()

    async def serve() -> None:
        searched = Searched(tmp_path_factory.mktemp("state"))
        await searched.go_on(30)
        async with asked(searched.folder) as harness:
            found.append(f"http://127.0.0.1:{harness.port}")
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(60)
    yield found[0]
    done.set()
    thread.join()


def paths() -> list[str]:
    found = [route.path for route in table(Path("nowhere")) if not route.path.endswith("events")]
    return sorted(path for path in found if not path.endswith("openapi.json"))


@pytest.mark.parametrize("path", paths())
def test_route_answers_as_its_document_says(address: str, path: str) -> None:
    document = schemathesis.openapi.from_url(f"{address}/api/v1/openapi.json")
    operation = document[path]["GET"]

    @hypothesis.settings(
        max_examples=25,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy())
    def ask(case: schemathesis.Case) -> None:
        case.call_and_validate(base_url=address, allow_redirects=False)

    ask()


@pytest.mark.parametrize("path", paths())
def test_route_refuses_what_its_document_does_not_allow(address: str, path: str) -> None:
    document = schemathesis.openapi.from_url(f"{address}/api/v1/openapi.json")
    operation = document[path]["GET"]
    if not operation.query and not operation.path_parameters:
        pytest.skip("it takes nothing that could be wrong")
    mode = schemathesis.GenerationMode.NEGATIVE

    @hypothesis.settings(
        max_examples=25,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case) -> None:
        response = case.call(base_url=address, allow_redirects=False)
        case.validate_response(response, checks=[not_a_server_error])
        assert response.status_code in (200, 308, 400, 404, 405), json.dumps(case.query)

    ask()
