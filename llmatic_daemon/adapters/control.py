"""The control socket in the state folder: HTTP for those who may open it, and nobody else."""

import asyncio
import contextlib
import importlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from llmatic_daemon.errors import ConfigurationError, LLMaticError, StoreUnavailable, UserError

SOCKET = "control.sock"
#: A verb's answer, as JSON.
Verb = Callable[[], Awaitable[Mapping[str, Any]]]

#: Longest path that a unix socket takes, its end included.
_MAX_PATH_BYTES = 107
#: Longer than any verb may take: a prompt folder that does not come to rest.
_TIMEOUT_S = 60.0


@asynccontextmanager
async def listening(state_dir: Path, verbs: Mapping[str, Verb]) -> AsyncIterator[None]:
    """Answer `POST /VERB` on the socket while the context lasts.

    A verb that a person must help answers 409, and one that the world fails 503, both with a JSON
    object whose `error` is one line.

    Raises:
        ConfigurationError: the socket cannot be made.
    """
    web = await asyncio.to_thread(importlib.import_module, "aiohttp.web")  # 0.3 s
    application = web.Application(client_max_size=64 << 10)
    for name, verb in verbs.items():
        application.router.add_post(f"/{name}", _handler(verb))
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    path = state_dir / SOCKET
    try:
        await _listen(runner, path)
        yield
    finally:
        await runner.cleanup()
        with contextlib.suppress(OSError):
            path.unlink()


def _handler(verb: Verb) -> Callable[[Any], Awaitable[Any]]:
    from aiohttp import web

    async def handle(_: web.Request) -> web.Response:
        try:
            return web.json_response(await verb())
        except LLMaticError as error:
            status = 503 if isinstance(error, StoreUnavailable) else 409
            return web.json_response({"error": str(error)}, status=status)

    return handle


async def _listen(runner: Any, path: Path) -> None:
    """Bind with the mode that lets the owner and the group in, from the first moment on."""
    from aiohttp import web

    try:
        with _short(path) as short, _umask(0o117):
            await web.UnixSite(runner, short).start()
    except OSError as error:
        raise ConfigurationError(
            f"{path} must be free for the control socket, got: {error.strerror or error}"
        ) from error


@contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


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


async def ask(state_dir: Path, verb: str) -> Mapping[str, Any]:
    """Ask the daemon of a state folder.

    Raises:
        UserError: no daemon listens there, or it refuses; with its reason.
    """
    import aiohttp

    path = state_dir / SOCKET
    with _short(path) as short:
        connector = aiohttp.UnixConnector(short)
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
                session.post(f"http://daemon/{verb}") as response,
            ):
                answer: dict[str, Any] = await response.json()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise UserError(
                f"a daemon must listen on {str(path)!r}, got: {_why(error)}; "
                "start it, or name its folder with --state"
            ) from error
    if response.status != 200:
        raise UserError(str(answer.get("error", response.status)))
    return answer


def _why(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
