"""Supervise one candidate's process from outside: time, output, exit code, and all its descendants."""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How a candidate's process ended, and all that it wrote to its result pipe."""

    output: bytes
    #: As from `os.waitstatus_to_exitcode`: negative for a signal.
    exit_code: int
    timed_out: bool
    flooded: bool
    #: The daemon has closed its pipe.
    abandoned: bool


def run(child: Callable[[int], None], *, time_s: float, max_bytes: int, client: int) -> Ending:
    """Run `child` in a fork with the write end of a pipe; then kill it with all its descendants.

    Args:
        child: Runs in the fork and should not return; if it does, the exit code is 1.
        time_s: Deadline, on the monotonic clock.
        max_bytes: Most output; more ends the process.
        client: Pipe of the daemon; if it hangs up, the process is killed.
    """
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _run_child(child, write_end)
    os.close(write_end)
    watch = _Watch(pid, read_end, client, max_bytes)
    try:
        watch.until(time.monotonic() + time_s)
    finally:
        exit_code = _end(pid)
        watch.drain()
        watch.close()
    return Ending(
        output=bytes(watch.output),
        exit_code=exit_code,
        timed_out=watch.timed_out,
        flooded=watch.flooded,
        abandoned=watch.abandoned,
    )


def _run_child(child: Callable[[int], None], write_end: int) -> None:
    """Run the child, and never return into the parent's code."""
    try:
        child(write_end)
    finally:
        os._exit(1)


class _Watch:
    """Waits for output, the end of the process, or the deadline."""

    def __init__(self, pid: int, pipe: int, client: int, max_bytes: int) -> None:
        self.output = bytearray()
        self.timed_out = self.flooded = self.abandoned = False
        self._pipe, self._client, self._max_bytes = pipe, client, max_bytes
        self._process = os.pidfd_open(pid)
        os.set_blocking(pipe, False)
        self._poll = select.poll()
        self._poll.register(pipe, select.POLLIN)
        self._poll.register(self._process, select.POLLIN)
        self._poll.register(client, 0)  # hang-up is always reported

    def until(self, deadline: float) -> None:
        """Wait until the process has ended, or must be killed."""
        while True:
            left_s = deadline - time.monotonic()
            events = dict(self._poll.poll(max(0, int(left_s * 1000) + 1)))
            self.abandoned = self._client in events
            self.timed_out = not self.abandoned and time.monotonic() >= deadline
            if self._pipe in events:
                self._read()
            if self.flooded or self.timed_out or self.abandoned or self._process in events:
                return

    def drain(self) -> None:
        """Read what the pipe still holds, after all processes that could write to it are dead."""
        while not self.flooded and self._read():
            pass

    def close(self) -> None:
        os.close(self._pipe)
        os.close(self._process)

    def _read(self) -> bool:
        try:
            part = os.read(self._pipe, _CHUNK_BYTES)
        except BlockingIOError:
            return False
        if not part:
            self._unregister_pipe()
            return False
        self.output += part
        self.flooded = len(self.output) > self._max_bytes
        return True

    def _unregister_pipe(self) -> None:
        with contextlib.suppress(KeyError):  # the end of the pipe can be seen twice
            self._poll.unregister(self._pipe)


def _end(pid: int) -> int:
    """Kill the process and all its descendants, reap them, return the exit code.

    First its group, at once; then all processes that have left the group. This process is their
    subreaper: it inherits the children of each one that it kills, until none is left.
    """
    # Not reaped before, so no other process has its number. One that has ended keeps its exit code.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)  # it may not have made its own group yet
    exit_code: int | None = None
    while True:
        for child in _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        try:
            ended, status = os.waitpid(-1, 0)
        except ChildProcessError:
            assert exit_code is not None
            return os.waitstatus_to_exitcode(exit_code)
        if ended == pid:
            exit_code = status


def _children() -> list[int]:
    """List the living children of this process, adopted orphans included."""
    return [int(word) for word in Path("/proc/thread-self/children").read_text().split()]
