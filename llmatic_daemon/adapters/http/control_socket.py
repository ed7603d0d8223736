"""The control socket in the state folder: HTTP for those who may open it, and nobody else."""

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
from llmatic_daemon.domain.errors import ConfigurationError, LLMaticError, Outdated, Unavailable, UserError

logger = logging.getLogger(__name__)

SOCKET = "control.sock"
#: Takes a JSON object, and answers with one.
Verb = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]

_MODE = 0o660
#: Longest path that a unix socket takes, its end included.
_MAX_PATH_BYTES = 107
#: Longer than any verb may take: a new device place that loads its data set.
_TIMEOUT_S = 660.0
#: How long the end waits for a verb under way.
_GRACE_S = 2.0


@asynccontextmanager
async def listening(
    state_dir: Path, verbs: Mapping[str, Verb], *, reads: Collection[str] = ()
) -> AsyncIterator[None]:
    """Answer `POST /VERB` on the socket while the context lasts.

    A body that is no JSON object of at most 64 KiB answers 400 or 413; a verb that a person must
    help 409, one whose If-Match is lost 412, and one that the world fails 503; all of them with a
    JSON object whose `error` is one line.

    Args:
        state_dir: Where the socket lies.
        verbs: By name.
        reads: Verbs that change nothing. All others are logged, with who has asked.

    Raises:
        ConfigurationError: the socket cannot be made.
    """
    web = await asyncio.to_thread(importlib.import_module, "aiohttp.web")  # 0.3 s
    application = web.Application(client_max_size=MAX_BODY_BYTES)
    for name, verb in verbs.items():
        application.router.add_post(f"/{name}", _handler(name, verb, is_read=name in reads))
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=_GRACE_S)
    await runner.setup()
    path = state_dir / SOCKET
    try:
        await _listen(runner, path)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                path.unlink()
    finally:
        await runner.cleanup()


def _handler(name: str, verb: Verb, *, is_read: bool) -> Callable[[Any], Awaitable[Any]]:
    from aiohttp import web

    async def handle(request: web.Request) -> web.Response:
        actor = actor_of(request)
        status, said = await answer(request, verb)
        if not is_read:
            what = str(said["error"]) if status != 200 else "done"
            extra = {"action": "control", "verb": name, "uid": actor.uid, "pid": actor.pid}
            logger.info("%s, asked for by %s: %s", name, actor, what, extra=extra)
        return web.json_response(said, status=status)

    return handle


async def answer(request: Any, verb: Verb) -> tuple[int, Mapping[str, Any]]:
    """Do what a request asks of a verb; the status, and the JSON object to answer with."""
    from aiohttp import web

    try:
        return 200, await verb(await body_of(request))
    except web.HTTPRequestEntityTooLarge:
        return 413, {"error": f"the body must have at most {MAX_BODY_BYTES} bytes"}
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
            f"{path} must be free for the control socket, got: {error.strerror or error}"
        ) from error


def _bound(path: Path) -> socket.socket:
    """Bind with the mode that lets the owner and the group in, and never with a looser one.

    Linux gives the file the mode of the socket. The umask could do the same, but other threads
    make files at this moment.
    """
    with contextlib.suppress(FileNotFoundError):
        if path.is_socket():  # of a daemon that was killed: the folder is locked, so it is not in use
            path.unlink()
    bound = socket.socket(socket.AF_UNIX)
    try:
        os.fchmod(bound.fileno(), _MODE)
        with _short(path) as short:
            bound.bind(short)
        path.chmod(_MODE)  # what the umask has taken
    except OSError:
        bound.close()
        raise
    return bound


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """Name a path in so few bytes that a socket can be bound there, however deep it lies."""
    if len(os.fsencode(path)) <= _MAX_PATH_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


async def ask(
    state_dir: Path,
    verb: str,
    body: Mapping[str, Any] = MappingProxyType({}),
    *,
    timeout_s: float = 0.0,
) -> Mapping[str, Any]:
    """Ask the daemon of a state folder.

    Args:
        state_dir: Where it listens.
        verb: What it is to do.
        body: What the verb is told, as JSON.
        timeout_s: How long the answer may take; 0: as long as most verbs may.

    Raises:
        UserError: no daemon listens there, or it refuses; with its reason.
    """
    import aiohttp

    path = state_dir / SOCKET
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
                f"a daemon must listen on {str(path)!r}, got: {_why(error)}; "
                "start it, or name its folder with --state"
            ) from error
    if status in (404, 405):
        raise UserError(f"the daemon must know {verb!r}, and does not; is it of another version?")
    answer = _object(text)
    if status != 200:
        raise UserError(str(answer.get("error") or f"the daemon answers {status}; see its log"))
    return answer


def _why(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or str(error) or type(error).__name__)


def _object(text: str) -> Mapping[str, Any]:
    """Read a JSON object; what is none is an empty one."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
