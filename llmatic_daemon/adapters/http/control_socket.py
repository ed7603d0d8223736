"""The control socket in the state folder: HTTP for processes that may open the socket file."""

import asyncio
import contextlib
import importlib
import json
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from llmatic_daemon.adapters.http.control_request import MAX_BODY_BYTES, BadBody, actor_of, body_of
from llmatic_daemon.adapters.storage.state_folder import CONTROL_SOCKET
from llmatic_daemon.domain.errors import ConfigurationError, LLMaticError, Outdated, Unavailable, UserError

logger = logging.getLogger(__name__)

#: Receives a JSON object and returns one.
Verb = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]

_MODE = 0o660
#: Longest path of a unix socket, its final zero byte included.
_MAX_PATH_BYTES = 107
#: Longer than the slowest verb: a new device worker that loads its data set.
_TIMEOUT_S = 660.0
#: Time for a verb in progress at shutdown.
_SHUTDOWN_S = 2.0


@asynccontextmanager
async def listening(
    state_dir: Path, verbs: Mapping[str, Verb], *, reads: Collection[str] = ()
) -> AsyncIterator[None]:
    """Serve `POST /VERB` on the socket while the context is open.

    Error responses are a JSON object whose `error` is one line: 400 or 413 for a body that is not a
    JSON object of at most 64 KiB, 409 if a person must act first, 412 if If-Match is outdated, and
    503 if something is temporarily unavailable.

    Args:
        state_dir: Folder of the socket.
        verbs: By name.
        reads: Verbs that change nothing; all others are logged with the calling process.

    Raises:
        ConfigurationError: the socket cannot be created.
    """
    web = await asyncio.to_thread(importlib.import_module, "aiohttp.web")  # 0.3 s
    application = web.Application(client_max_size=MAX_BODY_BYTES)
    for name, verb in verbs.items():
        application.router.add_post(f"/{name}", handler(name, verb, _process, is_read=name in reads))
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=_SHUTDOWN_S)
    await runner.setup()
    path = state_dir / CONTROL_SOCKET
    try:
        await _listen(runner, path)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                path.unlink()
    finally:
        await runner.cleanup()


#: Returns the caller of a command for the log, with its fields.
Caller = Callable[[Any], tuple[str, Mapping[str, int]]]


def handler(name: str, verb: Verb, caller: Caller, *, is_read: bool) -> Callable[[Any], Awaitable[Any]]:
    """Return a handler that runs a verb; unless it only reads, the handler logs it with its caller."""
    from aiohttp import web

    async def handle(request: web.Request) -> web.Response:
        who, about = caller(request)
        status, result = await answer(request, verb)
        if not is_read:
            what = str(result["error"]) if status != 200 else "done"
            extra = {"action": "control", "verb": name, **about}
            logger.info("%s, requested %s: %s", name, who, what, extra=extra)
        return web.json_response(result, status=status)

    return handle


def _process(request: Any) -> tuple[str, Mapping[str, int]]:
    actor = actor_of(request)
    return f"by {actor}", {"uid": actor.uid, "pid": actor.pid}


async def answer(request: Any, verb: Verb) -> tuple[int, Mapping[str, Any]]:
    """Run a verb; return the status and the JSON object of the response."""
    from aiohttp import web

    try:
        return 200, await verb(await body_of(request))
    except web.HTTPRequestEntityTooLarge:
        return 413, {"error": f"expected a body of at most {MAX_BODY_BYTES} bytes"}
    except LLMaticError as error:
        return _status(error), {"error": str(error)}


def _status(error: LLMaticError) -> int:
    statuses = ((BadBody, 400), (Outdated, 412), (Unavailable, 503))
    return next((status for kind, status in statuses if isinstance(error, kind)), 409)


async def _listen(runner: Any, path: Path) -> None:
    from aiohttp import web

    try:
        await web.SockSite(runner, _bound(path)).start()
    except OSError as error:
        raise ConfigurationError(
            f"control socket: expected {path} to be free, got: {error.strerror or error}"
        ) from error


def _bound(path: Path) -> socket.socket:
    """Bind with a mode that admits only owner and group, from the first moment on.

    Linux gives the file the mode of the socket. Setting the umask would also change the files that
    other threads create at the same time.
    """
    with contextlib.suppress(FileNotFoundError):
        if path.is_socket():  # left by a killed daemon: the folder is locked, so nothing uses it
            path.unlink()
    bound = socket.socket(socket.AF_UNIX)
    try:
        os.fchmod(bound.fileno(), _MODE)
        with _short(path) as short:
            bound.bind(short)
        path.chmod(_MODE)  # the umask may have removed bits
    except OSError:
        bound.close()
        raise
    return bound


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """Return a path short enough for a socket, however deep the folder is."""
    if len(os.fsencode(path)) <= _MAX_PATH_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


async def ask(
    state_dir: Path, verb: str, body: Mapping[str, Any] = MappingProxyType({}), *, timeout_s: float = 0.0
) -> Mapping[str, Any]:
    """Send a command to the daemon of a state folder and return its result.

    Args:
        state_dir: Folder of the socket.
        verb: Name of the command.
        body: Arguments, as JSON.
        timeout_s: Time limit for the response; 0: the default.

    Raises:
        UserError: no daemon listens there, or it rejects the command; with its reason.
    """
    import aiohttp

    path = state_dir / CONTROL_SOCKET
    with _short(path) as short:
        connector = aiohttp.UnixConnector(short)
        timeout = aiohttp.ClientTimeout(total=timeout_s or _TIMEOUT_S)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
                session.post(f"http://daemon/{verb}", json=dict(body)) as response,
            ):
                status, text = response.status, await response.text()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise UserError(
                f"expected a daemon that listens on {str(path)!r}, got: {_why(error)}; "
                "start it, or name its folder with --state"
            ) from error
    if status in (404, 405):
        raise UserError(f"the daemon does not know the command {verb!r}; check that it has the same version")
    answer = _object(text)
    if status != 200:
        raise UserError(str(answer.get("error") or f"the daemon returned status {status}; see its log"))
    return answer


def _why(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or str(error) or type(error).__name__)


def _object(text: str) -> Mapping[str, Any]:
    """Return a JSON object; empty if the text holds none."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
