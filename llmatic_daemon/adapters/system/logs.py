"""Logging: output as journal fields, JSON or text; a repeated warning is logged once, then counted."""

import json
import logging
import math
import os
import re
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from rich.console import Console
from rich.logging import RichHandler

from llmatic_daemon.adapters.system.journal import JournalHandler

Format = Literal["auto", "text", "json"]
FORMATS: tuple[str, ...] = get_args(Format)

#: How long a repeated warning is counted before it is logged again, in seconds.
COUNTED_S = 600.0
#: Maximum number of warnings that are counted at once.
_MOST = 256
#: Libraries that log a line for each request.
_NOISY_LOGGERS = ("httpx", "httpx2", "openai", "watchfiles")
_NUMBER = re.compile(r"\d+(\.\d+)?")
#: Control characters, which a candidate's message may contain and a terminal would obey.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code != 9}


def configure(form: Format = "auto", *, level: int = logging.INFO, console: Console | None = None) -> None:
    """Configure logging to stderr, or to the journal if stderr is connected to it.

    Args:
        form: "json": one object a line; "text": one line for a person; "auto": journal fields under
            systemd, else text.
        level: Lowest level that is logged.
        console: Terminal with a live display; lines are printed above it.
    """
    for library in _NOISY_LOGGERS:
        logging.getLogger(library).setLevel(logging.WARNING)
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each, Counting)]:
        root.removeHandler(old)
    root.addHandler(Counting(_target(form, console)))
    root.setLevel(level)


def _target(form: Format, console: Console | None) -> logging.Handler:
    if form == "auto" and console is None and leads_to_the_journal():
        journal = JournalHandler(fields_of)
        journal.setFormatter(TextFormatter("%(message)s"))
        return journal
    if form != "json" and (console is not None or sys.stderr.isatty()):
        target: logging.Handler = RichHandler(console=console or Console(stderr=True), show_path=False)
        target.setFormatter(TextFormatter("%(message)s"))
        return target
    target = logging.StreamHandler()
    target.setFormatter(JSONFormatter() if form == "json" else TextFormatter("%(levelname)s %(message)s"))
    return target


def leads_to_the_journal(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether systemd has connected stderr to its journal."""
    try:
        at = os.fstat(2)
    except OSError:
        return False
    return environment.get("JOURNAL_STREAM") == f"{at.st_dev}:{at.st_ino}"


# --- content of a line ---------------------------------------------------------------------------

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return the extra fields of a record, such as `action`, `job` and `slot`."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


class TextFormatter(logging.Formatter):
    """Formatter of a line for a person; it escapes control characters."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line; a traceback after it keeps its line breaks."""
        return super().formatMessage(record).translate(_CONTROLS)


class JSONFormatter(logging.Formatter):
    """Formatter of one JSON object a line: time, level, logger, message, and the extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object as JSON."""
        values = {
            "time": round(record.created, 6),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            values["traceback"] = self.formatException(record.exc_info)
        return json.dumps(values, default=str)


# --- repeated warnings ---------------------------------------------------------------------------


@dataclass(slots=True)
class _Warning:
    since: float
    record: logging.LogRecord
    num_more: int = 0


class Counting(logging.Handler):
    """Handler that passes records on, and counts repeated warnings instead of logging each.

    Two warnings are equal if they differ in numbers only. The count is logged with the next record after
    `counted_s`, or at shutdown. This needs no timer.

    Args:
        target: Handler of the output.
        counted_s: How long a repeated warning is counted, in seconds.
        clock: Monotonic clock, in seconds.
    """

    def __init__(
        self,
        target: logging.Handler,
        counted_s: float = COUNTED_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._target = target
        self._counted_s = counted_s
        self._clock = clock
        #: In the order in which they were logged.
        self._warnings: OrderedDict[tuple[str, int, str], _Warning] = OrderedDict()

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on, or count it."""
        now = self._clock()
        self._log_counts(now, now - self._counted_s, _MOST - 1)
        if record.levelno < logging.WARNING or record.exc_info:
            self._target.handle(record)
            return
        key = (record.name, record.levelno, _NUMBER.sub("#", record.getMessage()))
        known = self._warnings.get(key)
        if known is not None:
            known.num_more += 1
            known.record = record
            return
        self._warnings[key] = _Warning(now, record)
        self._target.handle(record)

    def _log_counts(self, now: float, until: float, most: int) -> None:
        """Forget warnings that were logged before a time, or that exceed a number; log their counts."""
        while self._warnings:
            oldest = next(iter(self._warnings.values()))
            if oldest.since > until and len(self._warnings) <= most:
                return
            self._warnings.popitem(last=False)
            if oldest.num_more:
                self._target.handle(_summary(oldest, now))

    def close(self) -> None:
        """Log all counts, and close the output."""
        self._log_counts(self._clock(), math.inf, 0)
        self._target.close()
        super().close()


def _summary(warning: _Warning, now: float) -> logging.LogRecord:
    """Return a record with the count of a repeated warning and its last message."""
    times = "once more" if warning.num_more == 1 else f"{warning.num_more} times more"
    message = f"{warning.record.getMessage()} ({times} in {now - warning.since:.0f} s)"
    return logging.makeLogRecord({**vars(warning.record), "msg": message, "args": None})
