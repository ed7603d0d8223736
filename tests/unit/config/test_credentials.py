"""Keys: where they are found, whose they are, and where they are never seen."""

import json
import logging
import os
import re
from pathlib import Path

import pytest

from llmatic_daemon import config
from llmatic_daemon.adapters.processes import child
from llmatic_daemon.bootstrap import build_writers
from llmatic_daemon.config.credentials import api_token, token_of
from llmatic_daemon.config.settings import EndpointSettings
from llmatic_daemon.domain.errors import ConfigurationError
from tests.support.fake_tgi import fake_tgi
from tests.support.llm import forget_environment, mutation

KEY = "hf_DoNotShowThisToAnyone"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_environment(monkeypatch)


def server(token_file: Path | str = "") -> EndpointSettings:
    written = {"writer": {"name": "tgi", "token_file": str(token_file)}}
    return config.load(environment={}, overrides=written).writer


def found(endpoint: EndpointSettings, *, is_only: bool = True, **environment: str) -> str | None:
    return token_of("big", endpoint, is_only=is_only, environment=environment)


def written(folder: Path, content: bytes, name: str = "key") -> Path:
    (folder / name).write_bytes(content)
    return folder / name


# --- where it is found ---------------------------------------------------------------------------


def test_there_may_be_no_key():
    assert found(server()) is None
    assert found(server(), is_only=False) is None


def test_key_is_read_from_its_file(tmp_path: Path):
    assert found(server(written(tmp_path, f"  {KEY}\r\n\n".encode()))) == KEY


def test_key_is_read_from_the_environment():
    assert found(server(), LLMATIC_LLM_TOKEN=f"{KEY}\n") == KEY


def test_key_is_read_from_systemds_credentials(tmp_path: Path):
    written(tmp_path, KEY.encode(), "llm-token")

    assert found(server(), CREDENTIALS_DIRECTORY=str(tmp_path)) == KEY


def test_credentials_for_others_are_no_key(tmp_path: Path):
    written(tmp_path, KEY.encode(), "other")

    assert found(server(), CREDENTIALS_DIRECTORY=str(tmp_path)) is None


def test_file_named_like_the_credential_here_is_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    written(tmp_path, KEY.encode(), "llm-token")
    monkeypatch.chdir(tmp_path)

    assert found(server()) is None


def test_file_wins_over_the_environment_and_that_over_systemd(tmp_path: Path):
    written(tmp_path, b"systemd", "llm-token")
    both = {"LLMATIC_LLM_TOKEN": "environment", "CREDENTIALS_DIRECTORY": str(tmp_path)}

    assert found(server(written(tmp_path, b"file")), **both) == "file"
    assert found(server(), **both) == "environment"


@pytest.mark.parametrize("nothing", ["", " ", "\n"])
def test_empty_variable_is_no_key(nothing: str):
    assert found(server(), LLMATIC_LLM_TOKEN=nothing) is None


def test_null_device_says_that_there_is_no_key():
    assert found(server(os.devnull), LLMATIC_LLM_TOKEN=KEY) is None


# --- whose it is ---------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["environment", "systemd"])
def test_key_for_one_of_several_must_say_whose_it_is(tmp_path: Path, source: str):
    """Sent to all, it would give one provider's key to another."""
    written(tmp_path, KEY.encode(), "llm-token")
    from_ = {"LLMATIC_LLM_TOKEN": KEY}
    if source == "systemd":
        from_ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}

    with pytest.raises(ConfigurationError, match=r"writer\.endpoints\.big\.token_file") as raised:
        found(server(), is_only=False, **from_)

    assert KEY not in str(raised.value)


def test_each_of_several_has_its_own_file(tmp_path: Path):
    endpoint = server(written(tmp_path, b"own"))

    assert found(endpoint, is_only=False, LLMATIC_LLM_TOKEN=KEY) == "own"


# --- odd files -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "must hold the key of endpoint 'big', found nothing"),
        (b" \n\n", "found nothing"),
        (b"one\ntwo\n", "must hold one line of printable ASCII, found more"),
        (b"one two", "one line of printable ASCII"),
        (b"\xef\xbb\xbfkey", "one line of printable ASCII"),
        ("schlüssel".encode(), "one line of printable ASCII"),
        (b"key\x00", "one line of printable ASCII"),
        (b"\xff\xfek\x00e\x00y\x00", "it is no text"),
    ],
)
def test_odd_file_is_refused_without_quoting_it(tmp_path: Path, content: bytes, says: str):
    file = written(tmp_path, content)

    with pytest.raises(ConfigurationError, match=says) as raised:
        found(server(file))

    assert str(raised.value).startswith(str(file))
    assert "two" not in str(raised.value)


@pytest.mark.parametrize("odd", ["one\ntwo", "schlüssel", "a\tb", "key\x7f"])
def test_odd_variable_is_refused_without_quoting_it(odd: str):
    """A header takes none of these, and the error of the transport would show the key."""
    with pytest.raises(ConfigurationError, match="LLMATIC_LLM_TOKEN must hold one line") as raised:
        found(server(), LLMATIC_LLM_TOKEN=odd)

    assert odd not in str(raised.value)


@pytest.mark.parametrize("kind", ["missing", "folder", "forbidden"])
def test_file_that_cannot_be_read_is_refused(tmp_path: Path, kind: str):
    file = {"missing": tmp_path / "nowhere", "folder": tmp_path}.get(kind, tmp_path / "key")
    if kind == "forbidden":
        written(tmp_path, KEY.encode()).chmod(0)
        if os.access(file, os.R_OK):
            pytest.skip("root reads everything")

    with pytest.raises(ConfigurationError, match="must be a readable file with the key of"):
        found(server(file))


# --- where it is never seen ----------------------------------------------------------------------


async def test_key_is_sent_and_shown_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("LLMATIC_LLM_TOKEN", KEY)
    async with fake_tgi(api_key=KEY) as tgi:
        environment = {"LLMATIC_WRITER__KIND": "tgi", "LLMATIC_WRITER__URL": tgi.url, **os.environ}
        settings = config.load(environment=environment)
        tgi.faults.then("html", "empty_object")
        async with build_writers.writer(settings) as writer:
            answer = await writer.complete(mutation())
        keys = {received.headers.get("Authorization") for received in tgi.asked}

    seen = [repr(settings), settings.model_dump_json(), caplog.text, repr(answer), repr(writer)]
    assert keys == {f"Bearer {KEY}"}
    assert not any(KEY in text for text in seen)
    assert answer.endpoint == "tgi"


async def test_refused_key_is_not_quoted(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("LLMATIC_LLM_TOKEN", KEY)
    async with fake_tgi(api_key="another") as tgi:
        environment = {"LLMATIC_WRITER__KIND": "tgi", "LLMATIC_WRITER__URL": tgi.url, **os.environ}
        async with build_writers.writer(config.load(environment=environment)) as writer:
            answer = await writer.complete(mutation())

    assert answer.fallback
    assert "status 200, got 401" in caplog.text
    assert KEY not in caplog.text


def test_key_is_in_no_childs_environment(monkeypatch: pytest.MonkeyPatch):
    for name in ("LLMATIC_LLM_TOKEN", "CREDENTIALS_DIRECTORY", "HF_TOKEN"):
        monkeypatch.setenv(name, KEY)
    monkeypatch.setenv("HARMLESS", "yes")

    for only in (None, {"OURS": "1"}):
        assert KEY not in json.dumps(child.environment(only))
    assert child.environment()["HARMLESS"] == "yes"


def test_token_for_control_comes_from_its_file_or_from_systemd(tmp_path: Path) -> None:
    (tmp_path / "api-token").write_text("0123456789abcdef\n")
    (tmp_path / "mine").write_text("fedcba9876543210\n")
    of_systemd = {"CREDENTIALS_DIRECTORY": str(tmp_path)}

    assert api_token("", of_systemd) == "0123456789abcdef"
    assert api_token(str(tmp_path / "mine"), of_systemd) == "fedcba9876543210"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "control.port needs a token, found none; set control.token_file"),
        ("", "must hold the key of the control port, found nothing"),
        ("short", "must hold a token of at least 16 characters, found 5"),
        ("0123456789abcdef\nx", "must hold one line of printable ASCII"),
    ],
)
def test_without_a_good_token_there_is_no_control_over_tcp(
    tmp_path: Path, content: str | None, why: str
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)

    with pytest.raises(ConfigurationError, match=re.escape(why)):
        api_token("" if content is None else str(file), {})
