"""All writers keep the promises of `tests/contracts/writer_contract.py`."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmatic_daemon import config
from llmatic_daemon.adapters.llm.recording import Recorder, Replay
from llmatic_daemon.adapters.rewriter.writer import OfflineRewriter
from llmatic_daemon.bootstrap import build_writers
from llmatic_daemon.domain.ports import Writer
from tests.contracts.writer_contract import REQUESTS, WriterContract
from tests.support.codegen_server import missing_parts
from tests.support.fake_tgi import fake_tgi
from tests.support.fakes import FakeWriter
from tests.support.llm import forget_environment

NAME = "codegen-tiny"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_environment(monkeypatch)


def asking(url: str, name: str, **changes: Any) -> Any:
    """Make the writer that the settings make, which has no rewriter to hide behind."""
    settings = {
        "kind": name,
        "url": url,
        "on_outage": "wait",
        "timeout_s": 30.0,
        "retry_s": 0.001,
        "max_retry_s": 0.001,
    }
    loaded = config.load(environment={}, overrides={"writer": settings | changes})
    # Few tries, and no breaker to wait for: an odd request is to be refused.
    hasty = loaded.writer.model_copy(update={"max_tries": 2, "breaker_failures": 100})
    return build_writers.writer(loaded.model_copy(update={"writer": hasty}))


class TestOfflineRewriter(WriterContract):
    @pytest.fixture
    def writer(self) -> Writer:
        return OfflineRewriter()


class TestFakeWriter(WriterContract):
    is_deterministic = False

    @pytest.fixture
    def writer(self) -> Writer:
        return FakeWriter()


class TestRecorder(WriterContract):
    @pytest.fixture
    def writer(self, tmp_path: Path) -> Iterator[Writer]:
        recorder = Recorder(OfflineRewriter(), tmp_path / "record.jsonl")
        yield recorder
        recorder.close()


async def _record(file: Path) -> None:
    recorder = Recorder(OfflineRewriter(), file)
    for request in REQUESTS:
        await recorder.complete(request)
    recorder.close()


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("replay") / "record.jsonl"
    asyncio.run(_record(file))
    return file


class TestReplay(WriterContract):
    @pytest.fixture
    async def writer(self, recording: Path) -> AsyncIterator[Writer]:
        settings = {"writer": {"kind": "replay", "replay": str(recording)}}
        async with build_writers.writer(config.load(environment={}, overrides=settings)) as writer:
            assert isinstance(writer, Replay)
            yield writer


class TestLLMWriterOverTGI(WriterContract):
    @pytest.fixture
    async def writer(self) -> AsyncIterator[Writer]:
        async with fake_tgi() as tgi, asking(tgi.url, "tgi") as writer:
            yield writer


class TestLLMWriterOverOpenAI(WriterContract):
    @pytest.fixture
    async def writer(self) -> AsyncIterator[Writer]:
        """The fake has no list of models, as many servers: the settings name one."""
        model = "Salesforce/codegen-6B-mono"
        async with fake_tgi() as tgi, asking(tgi.url, "openai", model=model) as writer:
            yield writer


class TestLLMWriterOverChat(WriterContract):
    @pytest.fixture
    async def writer(self) -> AsyncIterator[Writer]:
        model = {"model": "Salesforce/codegen-6B-mono", "style": "chat"}
        async with fake_tgi(chat=True) as tgi, asking(tgi.url, "openai", **model) as writer:
            yield writer


class TestEnsemble(WriterContract):
    @pytest.fixture
    async def writer(self) -> AsyncIterator[Writer]:
        async with fake_tgi() as first, fake_tgi(max_input_tokens=300) as second:
            endpoints = {
                "big": {"kind": "tgi", "url": first.url},
                "small": {"kind": "openai", "url": second.url, "model": "m", "weight": 2.0},
            }
            async with asking("http://127.0.0.1:9", "tgi", endpoints=endpoints) as writer:
                yield writer


@pytest.mark.system
@pytest.mark.skipif(bool(missing_parts()), reason=missing_parts() or "nothing is missing")
class TestLLMWriterOverTransformers(WriterContract):
    #: This server draws for all requests under way from one generator.
    is_deterministic_at_once = False

    @pytest.fixture
    async def writer(self, codegen: str) -> AsyncIterator[Writer]:
        limits = {"max_new_tokens": 8, "max_input_tokens": 2040}
        async with asking(codegen, "openai", **limits) as writer:
            yield writer
