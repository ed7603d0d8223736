"""Completions on file: written while an LLM answers, and replayed without one."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from llmatic_daemon.errors import ConfigurationError, UserError, WriterUnavailable
from llmatic_daemon.ports import Writer
from llmatic_daemon.records import Completion, EndpointState, Request, TooLong


class Recorder(Writer):
    """Adds each answer of a writer to a file, one JSON object a line.

    Args:
        writer: Who answers.
        file: Added to; made, for its owner only, when it is missing.

    Raises:
        ConfigurationError: it cannot be written.
    """

    def __init__(self, writer: Writer, file: Path) -> None:
        self._writer = writer
        self._path = file
        self._writing = asyncio.Lock()
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._file = file.open("ab", buffering=0)
        except OSError as error:
            raise ConfigurationError(
                f"writer.record must name a file that we can write, got {str(file)!r}: "
                f"{error.strerror or error}"
            ) from error

    def endpoints(self) -> tuple[EndpointState, ...]:
        """Return the writer's."""
        return self._writer.endpoints()

    async def complete(self, request: Request) -> Completion | TooLong:
        """Answer by the writer, and keep what it says before it is used."""
        answer = await self._writer.complete(request)
        kind = "completion" if isinstance(answer, Completion) else "too_long"
        line = json.dumps({"request": request.digest, kind: asdict(answer)}).encode() + b"\n"
        async with self._writing:
            await asyncio.shield(asyncio.to_thread(self._add, line))
        return answer

    def _add(self, line: bytes) -> None:
        try:
            self._file.write(line)
        except OSError as error:
            raise WriterUnavailable(
                f"the recording {str(self._path)!r} must be writable, got: {error.strerror}; "
                "make room, or set writer.record to another file"
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Replay(Writer):
    """Answers from a recording: the same request gets the same answer again.

    A search with the same settings and one slot asks exactly what it asked before. With several
    slots, the order in which candidates settle is the machine's, and requests with it.

    Args:
        file: What a `Recorder` has written. Where a request was recorded twice, the last counts.

    Raises:
        ConfigurationError: it cannot be read, or a line of it is no recorded answer.
    """

    def __init__(self, file: Path) -> None:
        self._path = file
        try:
            self._file: BinaryIO = file.open("rb")
        except OSError as error:
            raise ConfigurationError(
                f"writer.replay must name a recording, got {str(file)!r}: {error.strerror or error}"
            ) from error
        self._places = self._indexed()
        self._reading = asyncio.Lock()

    def _indexed(self) -> dict[str, int]:
        """Find where each answer begins; what a crash has cut off at the end is left out."""
        places, place = {}, 0
        for number, line in enumerate(self._file, 1):
            if line.endswith(b"\n"):
                places[self._parsed(line, number)["request"]] = place
            place += len(line)
        return places

    def _parsed(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            answer = json.loads(line)
            if isinstance(answer["request"], str) and answer.keys() & _KINDS.keys():
                return dict(answer)
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        raise ConfigurationError(
            f"{self._path}, line {number}: must be a recorded answer, found {line[:40]!r}"
        )

    async def complete(self, request: Request) -> Completion | TooLong:
        """Answer as recorded.

        Raises:
            UserError: this was never asked.
        """
        place = self._places.get(request.digest)
        if place is None:
            raise UserError(
                f"the recording {str(self._path)!r} holds no answer to this request; replay with "
                "the settings and prompts that it was made with, engine.slots = 1 both times"
            )
        async with self._reading:
            line = await asyncio.to_thread(self._line_at, place)
        answer = self._parsed(line, 0)
        (kind,) = answer.keys() & _KINDS.keys()
        return _KINDS[kind](**answer[kind])

    def _line_at(self, place: int) -> bytes:
        self._file.seek(place)
        return self._file.readline()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


_KINDS: dict[str, type[Completion] | type[TooLong]] = {
    "completion": Completion,
    "too_long": TooLong,
}
