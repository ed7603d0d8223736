"""Recordings: a file of a writer's answers, and the writer that replays it."""

import asyncio
import errno
import json
import os
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from llmatic_daemon.domain import Completion, EndpointState, Request, TooLong
from llmatic_daemon.domain.errors import ConfigurationError, UserError, WriterUnavailable
from llmatic_daemon.domain.ports import Writer


class Recorder(Writer):
    """Writer that appends each answer of another writer to a file, one JSON object a line.

    Args:
        writer: The writer that answers.
        file: File of the recording; created with mode 600 if it is missing. Its first line holds the
            control ratio.
        control_ratio: Share of the jobs that the control arm writes, in [0, 1]; these are not recorded.

    Raises:
        ConfigurationError: the file cannot be written.
    """

    def __init__(self, writer: Writer, file: Path, *, control_ratio: float = 0.0) -> None:
        self._writer = writer
        self._path = file
        self._writing = asyncio.Lock()
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            added = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            self._file = os.fdopen(added, "ab", buffering=0)
            _cut_half_line(file)
        except OSError as error:
            raise ConfigurationError(
                f"writer.record must name a writable file, got {str(file)!r}: {error.strerror or error}"
            ) from error
        self._head = json.dumps({_HEAD: control_ratio}).encode() + b"\n"

    def endpoints(self) -> tuple[EndpointState, ...]:
        """Return the endpoints of the writer."""
        return self._writer.endpoints()

    async def wait_until_probed(self) -> None:
        """Wait until each of the writer's endpoints has answered or failed its first request."""
        await self._writer.wait_until_probed()

    async def complete(self, request: Request) -> Completion | TooLong:
        """Return the writer's answer, after storing it."""
        answer = await self._writer.complete(request)
        kind = "completion" if isinstance(answer, Completion) else "too_long"
        line = json.dumps({"request": request.digest, kind: asdict(answer)}).encode() + b"\n"
        async with self._writing:
            await asyncio.shield(asyncio.to_thread(self._add, line))
        return answer

    def _add(self, line: bytes) -> None:
        try:
            added = line if self._path.stat().st_size else self._head + line
            if self._file.write(added) < len(added):  # the disk is full
                _cut_half_line(self._path)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise WriterUnavailable(
                f"the recording {str(self._path)!r} must be writable, got: {error.strerror}; "
                "make room, or set writer.record to another file"
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()


#: Key of a recording's first line; older recordings have no such line.
_HEAD = "control_ratio"


def control_ratio_of(file: Path) -> float:
    """Return the control ratio of a recording; 0 if it has none."""
    try:
        with file.open("rb") as opened:
            return float(json.loads(opened.readline())[_HEAD])
    except (OSError, ValueError, LookupError, TypeError):
        return 0.0  # `Replay` reports what is wrong with the file


def _cut_half_line(file: Path) -> None:
    """Remove an incomplete last line, which a crash or a full disk has left."""
    if not file.is_file():
        return
    with file.open("rb+") as opened:
        end = opened.seek(0, os.SEEK_END)
        while end and _byte_at(opened, end - 1) != b"\n":
            end -= 1
        opened.truncate(end)


def _byte_at(file: BinaryIO, offset: int) -> bytes:
    file.seek(offset)
    return file.read(1)


class Replay(Writer):
    """Writer that answers from a recording: the same request gets the same answer again.

    A search with the same settings and one slot sends the same requests as before. With several slots,
    the order in which candidates settle varies, and the requests with it.

    Args:
        file: File of a `Recorder`. If a request was recorded twice, the last answer counts.

    Raises:
        ConfigurationError: the file cannot be read, or a line is not a recorded answer.
    """

    def __init__(self, file: Path) -> None:
        self._path = file
        try:
            self._file: BinaryIO = file.open("rb")
        except OSError as error:
            raise ConfigurationError(
                f"writer.replay must name a recording, got {str(file)!r}: {error.strerror or error}"
            ) from error
        try:
            self._offsets = self._indexed()
        except ConfigurationError:
            self._file.close()
            raise
        self._reading = Lock()

    def _indexed(self) -> dict[str, int]:
        """Map the digest of each request to the offset of its answer; skip an incomplete last line."""
        offsets, offset = {}, 0
        for number, line in enumerate(self._file, 1):
            if line.endswith(b"\n") and not (number == 1 and _is_head(line)):
                request, _ = self._parsed(line, number)
                offsets[request] = offset
            offset += len(line)
        return offsets

    def _parsed(self, line: bytes, number: int) -> tuple[str, Completion | TooLong]:
        try:
            recorded = json.loads(line)
            (kind,) = recorded.keys() - {"request"}
            request, answer = recorded["request"], _KINDS[kind](**recorded[kind])
            if isinstance(request, str):
                return request, answer
        except (ValueError, LookupError, TypeError, AttributeError):
            pass
        raise ConfigurationError(
            f"{self._path}, line {number}: must be a recorded answer, found {line[:40]!r}"
        )

    async def complete(self, request: Request) -> Completion | TooLong:
        """Return the recorded answer.

        Raises:
            UserError: the recording does not hold this request.
        """
        offset = self._offsets.get(request.digest)
        if offset is None:
            raise UserError(
                f"the recording {str(self._path)!r} holds no answer to this request; replay with "
                "the settings and prompts that it was made with, engine.slots = 1 both times"
            )
        _, answer = self._parsed(await asyncio.to_thread(self._line_at, offset), 0)
        return answer

    def _line_at(self, offset: int) -> bytes:
        """Read a line; the thread of a cancelled request still reads, so a thread lock is needed."""
        with self._reading:
            self._file.seek(offset)
            return self._file.readline()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _is_head(line: bytes) -> bool:
    try:
        return list(json.loads(line)) == [_HEAD]
    except (ValueError, TypeError):
        return False


_KINDS: dict[str, type[Completion] | type[TooLong]] = {"completion": Completion, "too_long": TooLong}
