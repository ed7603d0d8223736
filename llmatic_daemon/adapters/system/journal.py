"""The journal's own protocol: a datagram of fields for each record, so that they can be asked for."""

import contextlib
import logging
import socket
from collections.abc import Callable, Mapping
from typing import Any

SOCKET = "/run/systemd/journal/socket"
_PREFIX = "LLMATIC_"
#: Longest message, in characters: far below what a datagram holds.
_MOST = 16_384


class JournalHandler(logging.Handler):
    """Sends records to journald: the message, its priority, and our fields as `LLMATIC_...`.

    Args:
        fields_of: What was said of a record beside its message.
        path: Of journald's socket.
    """

    def __init__(
        self, fields_of: Callable[[logging.LogRecord], Mapping[str, Any]], path: str = SOCKET
    ) -> None:
        super().__init__()
        self._fields_of = fields_of
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record; while journald is far behind, it is lost rather than the loop held up."""
        try:
            with contextlib.suppress(BlockingIOError):
                self._socket.sendto(_encoded(self._fields(record)), self._path)
        except Exception:  # as logging's own handlers do: a log that fails must not end a search
            self.handleError(record)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        super().close()

    def _fields(self, record: logging.LogRecord) -> dict[str, str]:
        ours = self._fields_of(record).items()
        return {
            "MESSAGE": self.format(record)[:_MOST],
            "PRIORITY": str(_priority(record.levelno)),
            "SYSLOG_IDENTIFIER": "llmatic-daemon",
            "CODE_FUNC": record.funcName or "",
            "CODE_LINE": str(record.lineno),
            f"{_PREFIX}LOGGER": record.name,
            **{f"{_PREFIX}{name.upper()}": str(value) for name, value in ours},
        }


def _encoded(fields: Mapping[str, str]) -> bytes:
    """Write fields: `NAME=value`, or the name and the value's length where it has several lines."""
    parts = []
    for name, value in fields.items():
        content = value.encode(errors="replace")
        if b"\n" in content:
            parts.append(name.encode() + b"\n" + len(content).to_bytes(8, "little") + content)
        else:
            parts.append(name.encode() + b"=" + content)
    return b"\n".join(parts) + b"\n"


def _priority(level: int) -> int:
    """Translate a level into syslog's: 3 error, 4 warning, 6 info, 7 debug; above error 2."""
    for least, priority in ((50, 2), (40, 3), (30, 4), (20, 6)):
        if level >= least:
            return priority
    return 7
