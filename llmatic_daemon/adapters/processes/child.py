"""Child processes of this package: one-shot commands, and servers that answer frames on their pipes."""

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
    """The child ended or sent a bad frame; the text gives the exit code and the last lines of stderr.

    Args:
        message: As above.
        signal: That ended the child by itself; None: it exited, or was alive.
    """

    def __init__(self, message: str, signal: int | None = None) -> None:
        super().__init__(message)
        self.signal = signal


#: Folder of this package: children run the same code, whatever the current folder is.
_ROOT = str(PACKAGE_ROOT.parent)


def python(module: str) -> list[str]:
    """Return the command that runs a module of this package; -P: never one of the current folder."""
    return [sys.executable, "-P", "-m", module]


async def run_module(module: str, *arguments: object) -> tuple[int, bytes]:
    """Run a module of this package to its end; return its exit status and its output."""
    process = await asyncio.create_subprocess_exec(
        *python(module), *map(str, arguments), stdout=asyncio.subprocess.PIPE, env=environment()
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode or 0, output


#: Variables that an isolated child needs.
_HARMLESS = frozenset({"PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "VIRTUAL_ENV"})
#: Variables that no child gets: keys, and the sockets of the service manager.
_SECRET = frozenset(
    {"LLMATIC_LLM_TOKEN", "CREDENTIALS_DIRECTORY", "OPENAI_API_KEY"}
    | {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM"}
    | {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACEHUB_API_TOKEN"}
)


def environment(only: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a child, with this package in its path.

    Args:
        only: All variables in addition to those that Python needs; None: this process's environment.
    """
    path = [_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
    kept = (_HARMLESS if only is not None else os.environ.keys()) - _SECRET
    ours = {name: os.environ[name] for name in os.environ if name in kept}
    return {**ours, "PYTHONPATH": os.pathsep.join(path), **(only or {})}


class Child:
    """A child in a session of its own that answers frames. One request at a time."""

    def __init__(self, process: asyncio.subprocess.Process, name: str) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._process, self._name = process, name
        self._input, self._output, self._errors = process.stdin, process.stdout, process.stderr
        self._last_errors: deque[str] = deque(maxlen=8)
        self._drain = asyncio.create_task(self._keep_stderr())

    @classmethod
    async def start(
        cls,
        module: str,
        *arguments: str,
        name: str,
        only: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> "Child":
        """Start `python -m module` with pipes, closed descriptors and a session of its own.

        Args:
            module: A module of this package.
            arguments: Arguments of the command.
            name: Used in messages.
            only: As for `environment`.
            prefix: Put before the command, to run it in a sandbox.
        """
        process = await asyncio.create_subprocess_exec(
            *prefix,
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
        try:
            self._input.write(frames.encode(header, *blobs))
            await self._input.drain()
        except (BrokenPipeError, ConnectionResetError) as error:
            raise await self._gone() from error

    async def receive(self) -> frames.Frame:
        """Wait for one frame.

        Raises:
            ChildGone: the child has ended, or sent a bad frame.
        """
        try:
            return await frames.read(self._output)
        except asyncio.IncompleteReadError as error:
            raise await self._gone() from error
        except frames.FrameError as error:
            raise ChildGone(f"{self._name} sent a bad frame: {error}") from error

    async def _gone(self) -> ChildGone:
        summary = await self.exit_summary()
        code = self._process.returncode or 0
        return ChildGone(summary, -code if code < 0 else None)

    async def exit_summary(self) -> str:
        """Kill what is left; return how the child ended, with its last lines of stderr."""
        code = await self.kill()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        last = " | ".join(line for line in self._last_errors if line)
        return f"{self._name} (process {self.pid}) ended with {how}" + (f": {last}" if last else "")

    async def shut_down(self, grace_s: float) -> int:
        """Close its input, so that it can kill its own children; kill it after `grace_s`."""
        self._input.close()
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
        """Read what the dead child has written: at the end of it the loop closes the pipe."""
        self._input.close()
        with contextlib.suppress(RuntimeError):  # `receive` still waits, and will see the end
            await self._output.read()

    async def _keep_stderr(self) -> None:
        while line := await self._read_line():
            self._last_errors.append(line.decode(errors="replace").rstrip()[:500])

    async def _read_line(self) -> bytes:
        try:
            return await self._errors.readline()
        except ValueError:  # a line beyond the stream's limit, whose buffer is dropped
            return b"(a very long line)\n"
