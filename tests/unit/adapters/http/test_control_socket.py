"""The control socket: a real one, asked as the command line asks, and as nobody should."""

import asyncio
import logging
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from llmatic_daemon.adapters.http import control_socket
from llmatic_daemon.adapters.http.control_socket import ask, listening
from llmatic_daemon.adapters.storage.state_folder import CONTROL_SOCKET
from llmatic_daemon.domain.errors import (
    ConfigurationError,
    Outdated,
    StateLocked,
    StoreUnavailable,
    TrainerUnavailable,
    UserError,
)
from tests.support.web import status_and_body


async def answer(body: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"changed": True, "edition": 3}


def failing(error: Exception):
    async def verb(body: Mapping[str, Any]) -> Mapping[str, Any]:
        raise error

    return verb


# --- what is asked -------------------------------------------------------------------------------


async def test_verb_is_answered(tmp_path: Path):
    async with listening(tmp_path, {"prompts/reload": answer}):
        assert await ask(tmp_path, "prompts/reload") == {"changed": True, "edition": 3}


async def test_verbs_are_answered_one_beside_the_other(tmp_path: Path):
    arrived, leave = asyncio.Event(), asyncio.Event()

    async def slow(body: Mapping[str, Any]) -> Mapping[str, Any]:
        arrived.set()
        await leave.wait()
        return {}

    async with listening(tmp_path, {"slow": slow, "quick": answer}), asyncio.TaskGroup() as group:
        waiting = group.create_task(ask(tmp_path, "slow"))
        await arrived.wait()
        quick = await ask(tmp_path, "quick")
        leave.set()

    assert quick["changed"]
    assert waiting.result() == {}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigurationError("widen.md, line 3: unknown setting 'kid'"), 409),
        (UserError("there is no such prompt"), 409),
        (StateLocked("another daemon"), 409),
        (Outdated("another set is in force"), 412),
        (StoreUnavailable("the disk is full"), 503),
        (TrainerUnavailable("no trainer"), 503),
    ],
)
async def test_refusal_has_a_status_and_its_one_line(tmp_path: Path, error: Exception, status: int):
    async with listening(tmp_path, {"verb": failing(error)}):
        got = await status_and_body(tmp_path, "POST", "verb")
        with pytest.raises(UserError) as caught:
            await ask(tmp_path, "verb")

    assert got == (status, {"error": str(error)})
    assert str(caught.value) == str(error)


async def test_bug_in_a_verb_is_told_as_one(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    async with listening(tmp_path, {"verb": failing(RuntimeError("oh"))}):
        with pytest.raises(UserError, match=r"^the daemon returned status 500; see its log$"):
            await ask(tmp_path, "verb")

    assert "RuntimeError: oh" in caplog.text


async def test_unknown_verb_is_told_in_one_clear_line(tmp_path: Path):
    async with listening(tmp_path, {"verb": answer}):
        with pytest.raises(UserError, match=r"^the daemon does not know the command 'prompts/relaod'; check"):
            await ask(tmp_path, "prompts/relaod")


async def test_get_is_refused(tmp_path: Path):
    """A GET could be had from a user by a link."""
    async with listening(tmp_path, {"verb": answer}):
        status, _ = await status_and_body(tmp_path, "GET", "verb")

    assert status == 405


async def echo(body: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"said": dict(body)}


async def test_body_reaches_the_verb(tmp_path: Path):
    async with listening(tmp_path, {"verb": echo}):
        assert await ask(tmp_path, "verb", {"slots": 3}) == {"said": {"slots": 3}}
        assert await status_and_body(tmp_path, "POST", "verb") == (200, {"said": {}})


@pytest.mark.parametrize("header", ["abc", '"abc"', ' "abc" '])
async def test_if_match_reaches_the_verb_whatever_the_body_says(tmp_path: Path, header: str):
    async with listening(tmp_path, {"verb": echo}):
        got = await status_and_body(
            tmp_path, "POST", "verb", headers={"If-Match": header}, json={"if_match": "forged"}
        )
        any_set = await status_and_body(tmp_path, "POST", "verb", headers={"If-Match": "*"})

    assert got == (200, {"said": {"if_match": "abc"}})
    assert any_set == (200, {"said": {}})


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"[1]", "the body must be a JSON object, got list"),
        (b"3", "the body must be a JSON object, got int"),
        (b"null", "the body must be a JSON object, got NoneType"),
        (b"slots=3", "the body must be a JSON object, got invalid JSON: "),
        (b"\xff\xfe\xfd", "the body must be a JSON object, got invalid JSON: "),
        (b"[" * 60_000, "the body must be a JSON object, got invalid JSON: "),
    ],
)
async def test_body_that_is_no_object_is_refused(tmp_path: Path, body: bytes, why: str):
    async with listening(tmp_path, {"verb": echo}):
        status, said = await status_and_body(tmp_path, "POST", "verb", data=body)

    assert status == 400
    assert isinstance(said, dict)
    assert said["error"].startswith(why)


async def test_body_over_the_limit_is_refused(tmp_path: Path):
    longest = b'"' + b"x" * ((64 << 10) - 8)
    async with listening(tmp_path, {"verb": echo}):
        too_long = await status_and_body(tmp_path, "POST", "verb", data=b"x" * (65 << 10))
        fits, _ = await status_and_body(tmp_path, "POST", "verb", data=b'{"a":' + longest + b'"}')

    assert too_long == (413, {"error": "expected a body of at most 65536 bytes"})
    assert fits == 200


async def test_who_asks_for_a_change_is_logged_as_the_kernel_knows_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    me = f"user {os.getuid()}, process {os.getpid()}"
    verbs = {"pause": answer, "reload": failing(UserError("bad")), "status": answer}
    with caplog.at_level(logging.INFO, "llmatic_daemon"):
        async with listening(tmp_path, verbs, reads=("status",)):
            for verb in verbs:
                await status_and_body(tmp_path, "POST", verb)

    said = [record.getMessage() for record in caplog.records]
    assert said == [f"pause, requested by {me}: done", f"reload, requested by {me}: bad"]
    assert (caplog.records[0].action, caplog.records[0].uid) == ("control", os.getuid())


async def test_garbage_is_refused_and_the_next_one_answered(tmp_path: Path):
    async with listening(tmp_path, {"verb": answer}):
        reader, writer = await asyncio.open_unix_connection(tmp_path / CONTROL_SOCKET)
        writer.write(b"\x16\x03\x01 hello\r\n\r\n")
        said = await reader.read()
        writer.close()
        await writer.wait_closed()

        assert b" 400 " in said.split(b"\r\n")[0]
        assert (await ask(tmp_path, "verb"))["changed"]


# --- nobody there --------------------------------------------------------------------------------


async def test_no_daemon_is_told_with_the_way_out(tmp_path: Path):
    with pytest.raises(
        UserError, match=r"expected a daemon that listens on .*; start it, or name its folder"
    ):
        await ask(tmp_path, "verb")


async def test_daemon_that_does_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(control_socket, "_TIMEOUT_S", 0.05)
    leave = asyncio.Event()

    async def stuck(body: Mapping[str, Any]) -> Mapping[str, Any]:
        await leave.wait()
        return {}

    async with listening(tmp_path, {"verb": stuck}):
        try:
            with pytest.raises(UserError, match=r"listens on .*got: TimeoutError; start"):
                await ask(tmp_path, "verb")
        finally:
            leave.set()


def killed_listener(state: Path) -> None:
    """Leave a socket behind that nobody listens on."""
    script = (
        "import os, socket, sys\n"
        "bound = socket.socket(socket.AF_UNIX)\n"
        "bound.bind(sys.argv[1])\n"
        "bound.listen()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(state / CONTROL_SOCKET)], check=False)


async def test_socket_of_a_killed_daemon_is_nobody(tmp_path: Path):
    killed_listener(tmp_path)

    with pytest.raises(UserError, match=r"expected a daemon that listens on .*refused"):
        await ask(tmp_path, "verb")


async def test_socket_of_a_killed_daemon_is_replaced(tmp_path: Path):
    killed_listener(tmp_path)

    async with listening(tmp_path, {"verb": answer}):
        assert (await ask(tmp_path, "verb"))["changed"]


async def test_file_in_the_place_of_the_socket_is_left_alone(tmp_path: Path):
    (tmp_path / CONTROL_SOCKET).write_text("precious")

    with pytest.raises(ConfigurationError, match=r"control socket: expected .* to be free, got: Addr"):
        async with listening(tmp_path, {}):
            pass

    assert (tmp_path / CONTROL_SOCKET).read_text() == "precious"


# --- the file ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
async def test_socket_is_for_owner_and_group_at_every_moment(
    tmp_path: Path, mask: int, monkeypatch: pytest.MonkeyPatch
):
    modes: list[int] = []
    monkeypatch.setattr(socket, "socket", _looking(tmp_path / CONTROL_SOCKET, modes))
    before = os.umask(mask)
    try:
        async with listening(tmp_path, {}):
            modes.append(_mode(tmp_path / CONTROL_SOCKET))
    finally:
        os.umask(before)

    assert modes == [0o660 & ~mask, 0o660]


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _looking(path: Path, modes: list[int]) -> type[socket.socket]:
    """Make a socket that notes its file's mode the moment it is bound."""

    class Looking(socket.socket):
        def bind(self, address: Any) -> None:
            super().bind(address)
            modes.append(_mode(path))

    return Looking


async def test_umask_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It belongs to all threads: a folder that another one makes meanwhile would be shut."""
    masks: list[int] = []
    monkeypatch.setattr(os, "umask", masks.append)

    async with listening(tmp_path, {}):
        pass

    assert masks == []


async def test_socket_is_removed_at_the_end(tmp_path: Path):
    async with listening(tmp_path, {}):
        assert (tmp_path / CONTROL_SOCKET).is_socket()

    assert os.listdir(tmp_path) == []


async def test_idle_connection_does_not_hold_up_the_end(tmp_path: Path):
    async with asyncio.timeout(5):
        async with listening(tmp_path, {"verb": answer}):
            reader, writer = await asyncio.open_unix_connection(tmp_path / CONTROL_SOCKET)
            writer.write(b"POST /verb HTTP/1.1\r\nHost: daemon\r\n\r\nPOST /verb HT")
            said = await reader.readuntil(b"}")
        rest = await reader.read()
    writer.close()
    await writer.wait_closed()

    assert said.startswith(b"HTTP/1.1 200 ")
    assert rest == b""


async def test_verb_under_way_holds_up_the_end_for_a_moment_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(control_socket, "_SHUTDOWN_S", 0.05)
    arrived, cancelled = asyncio.Event(), asyncio.Event()

    async def stuck(body: Mapping[str, Any]) -> Mapping[str, Any]:
        arrived.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return {}

    async with asyncio.timeout(5):
        async with listening(tmp_path, {"verb": stuck}):
            asking = asyncio.create_task(ask(tmp_path, "verb"))
            await arrived.wait()
        with pytest.raises(UserError, match="listens on"):
            await asking

    assert cancelled.is_set()


async def test_state_folder_may_lie_deeper_than_a_socket_may(tmp_path: Path):
    state = tmp_path / ("deep" * 30) / ("er" * 20)
    state.mkdir(parents=True)
    before = len(os.listdir("/proc/self/fd"))

    async with listening(state, {"verb": answer}):
        answered = await ask(state, "verb")
        assert _mode(state / CONTROL_SOCKET) == 0o660

    assert answered["changed"]
    assert os.listdir(state) == []
    assert len(os.listdir("/proc/self/fd")) <= before + 1
