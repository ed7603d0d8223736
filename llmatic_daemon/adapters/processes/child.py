"""One warm child process that answers frames on its pipes; killed as a whole process group."""

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from llmatic_daemon import PACKAGE_ROOT
from llmatic_daemon.domain import frames


class ChildGone(Exception):
    """The child ended, or spoke nonsense; the text says how, with its last lines of stderr."""


#: Where this package was found: children run the same code, from whatever folder we are started.
_ROOT = str(PACKAGE_ROOT.parent)


def python(module: str) -> list[str]:
    """Write the command that runs a module of ours; -P: never one of the current folder."""
    return [sys.executable, "-P", "-m", module]


async def printed(module: str, *arguments: object) -> tuple[int, bytes]:
    """Run a module of ours to its end: its exit status, and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *python(module), *map(str, arguments), stdout=asyncio.subprocess.PIPE, env=environment()
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode or 0, output


#: What a child needs of our environment that is to know nothing of us.
_HARMLESS = frozenset({"PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "VIRTUAL_ENV"})
#: What no child needs: keys, and the way to the service manager.
_SECRET = frozenset(
    {"LLMATIC_LLM_TOKEN", "CREDENTIALS_DIRECTORY", "OPENAI_API_KEY"}
    | {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM"}
    | {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACEHUB_API_TOKEN"}
)


def environment(only: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of such a command, with our package in its path.

    Args:
        only: All that it is told beside what Python needs; None: our own environment.
    """
    path = [_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
    kept = (_HARMLESS if only is not None else os.environ.keys()) - _SECRET
    ours = {name: os.environ[name] for name in os.environ if name in kept}
    return {**ours, "PYTHONPATH": os.pathsep.join(path), **(only or {})}


class Child:
    """A child in its own session. One conversation at a time; frames in, frames out."""

    def __init__(self, process: asyncio.subprocess.Process, name: str) -> None:
        self._process = process
        self._name = name
        self._stderr: deque[str] = deque(maxlen=8)
        self._drain = asyncio.create_task(self._keep_stderr())

    @classmethod
    async def start(
        cls,
        module: str,
        *arguments: str,
        name: str,
        only: Mapping[str, str] | None = None,
        inside: Sequence[str] = (),
    ) -> "Child":
        """Start `python -m module` with pipes, closed descriptors and a session of its own.

        Args:
            module: Of ours.
            arguments: Of the command.
            name: For people.
            only: As for `environment`.
            inside: What is put before the command, to run it inside of something.
        """
        process = await asyncio.create_subprocess_exec(
            *inside,
            *python(module),
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            env=environment(only),
        )
        return cls(process, name)

    @property
    def pid(self) -> int:
        """Process id, which is also the id of its group."""
        return self._process.pid

    async def send(self, header: dict[str, Any], *blobs: bytes) -> None:
        """Send one frame.

        Raises:
            ChildGone: the child has ended.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(frames.encode(header, *blobs))
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ChildGone(await self.epitaph()) from error

    async def receive(self) -> frames.Frame:
        """Wait for one frame.

        Raises:
            ChildGone: the child has ended, or sent something else.
        """
        assert self._process.stdout is not None
        try:
            return await frames.read(self._process.stdout)
        except asyncio.IncompleteReadError as error:
            raise ChildGone(await self.epitaph()) from error
        except frames.FrameError as error:
            raise ChildGone(f"{self._name} sent a bad frame: {error}") from error

    async def epitaph(self) -> str:
        """Kill what is left and say how the child ended, with its last lines of stderr."""
        code = await self.kill()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        last = " | ".join(line for line in self._stderr if line)
        return f"{self._name} (process {self.pid}) ended with {how}" + (f": {last}" if last else "")

    async def dismiss(self, grace_s: float) -> int:
        """Close its input, so that it can end what it started itself; kill it after `grace_s`."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self._process.wait()
        finally:
            code = await self.kill()
        return code

    async def kill(self) -> int:
        """Kill the whole group with signal 9, reap the child, return its exit code.

        Shielded: a cancelled caller still leaves no process behind.
        """
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        code = await asyncio.shield(self._process.wait())
        await asyncio.shield(self._drain)
        await self._close_pipes()
        return code

    async def _close_pipes(self) -> None:
        """Read what the dead child had still said: at its end the loop closes the pipe."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        with contextlib.suppress(RuntimeError):  # somebody still receives, and meets the end
            await self._process.stdout.read()

    async def _keep_stderr(self) -> None:
        assert self._process.stderr is not None
        while line := await self._read_line():
            self._stderr.append(line.decode(errors="replace").rstrip()[:500])

    async def _read_line(self) -> bytes:
        assert self._process.stderr is not None
        try:
            return await self._process.stderr.readline()
        except ValueError:  # a line beyond the stream's limit: what was buffered is dropped
            return b"(a very long line)\n"
