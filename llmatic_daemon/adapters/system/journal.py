"""Client for journald's native protocol: one datagram of fields for each log record."""

import contextlib
import logging
import socket
from collections.abc import Callable, Mapping
from typing import Any

SOCKET = "/run/systemd/journal/socket"
_PREFIX = "LLMATIC_"
#: Maximum length of a message, in characters; far below the maximum size of a datagram.
_MOST = 16_384


class JournalHandler(logging.Handler):
    """Handler that sends records to journald: message, priority, and extra fields as `LLMATIC_...`.

    Args:
        fields_of: Returns the extra fields of a record.
        path: Path of journald's socket.
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
        """Send a record without blocking; drop it if journald's queue is full."""
        try:
            with contextlib.suppress(BlockingIOError):
                self._socket.sendto(_encoded(self._fields(record)), self._path)
        except Exception:  # like logging's own handlers, because an error here must not end a search
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
    """Encode fields: `NAME=value`, or the name and the value's length if it has several lines."""
    parts = []
    for name, value in fields.items():
        content = value.encode(errors="replace")
        if b"\n" in content:
            parts.append(name.encode() + b"\n" + len(content).to_bytes(8, "little") + content)
        else:
            parts.append(name.encode() + b"=" + content)
    return b"\n".join(parts) + b"\n"


def _priority(level: int) -> int:
    """Return syslog's level: 2 critical, 3 error, 4 warning, 6 info, 7 debug."""
    for least, priority in ((50, 2), (40, 3), (30, 4), (20, 6)):
        if level >= least:
            return priority
    return 7
