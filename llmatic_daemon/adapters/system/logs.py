"""Where log lines go, and in which form: the journal, JSON, or text; a complaint is logged once, then counted."""

import json
import logging
import os
import re
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from rich.console import Console
from rich.logging import RichHandler

from llmatic_daemon.adapters.system.journal import JournalHandler

Format = Literal["auto", "text", "json"]
FORMATS: tuple[str, ...] = get_args(Format)

#: For how long a complaint is counted before it is told again, in seconds.
COUNTED_S = 600.0
#: Complaints that are remembered at once.
_MOST = 256
#: Libraries that log a line for each request.
_NOISY_LOGGERS = ("httpx", "httpx2", "openai", "watchfiles")
_NUMBER = re.compile(r"\d+(\.\d+)?")
#: What a terminal or a log viewer might obey; a candidate's own words may hold it.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code != 9}


def configure(form: Format = "auto", *, level: int = logging.INFO, console: Console | None = None) -> None:
    """Send what is logged to stderr, or to the journal when that is where stderr leads.

    Args:
        form: "json": an object a line; "text": a line for a person; "auto": the journal's own fields
            under systemd, else text.
        level: Least severe level that is shown.
        console: A terminal that is drawn on: lines are printed above the drawing.
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
    """Tell whether systemd has connected our stderr to its journal."""
    try:
        at = os.fstat(2)
    except OSError:
        return False
    return environment.get("JOURNAL_STREAM") == f"{at.st_dev}:{at.st_ino}"


# --- what is in a line ---------------------------------------------------------------------------

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return what was said beside the message: `action`, `job`, `slot` and their like."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


class TextFormatter(logging.Formatter):
    """A line for a person; what a candidate has put into it moves no cursor and forges no line."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Write the line; a traceback that follows it is ours, and keeps its lines."""
        return super().formatMessage(record).translate(_CONTROLS)


class JSONFormatter(logging.Formatter):
    """An object a line: time, level, logger, message, and the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the object."""
        said = {
            "time": round(record.created, 6),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return json.dumps(said, default=str)


# --- once, and then counted ----------------------------------------------------------------------


@dataclass(slots=True)
class _Complaint:
    since: float
    record: logging.LogRecord
    num_more: int = 0


class Counting(logging.Handler):
    """Passes records on; a complaint that comes again is counted, and told of after a while.

    Two warnings are the same complaint when their words are the same, whatever the numbers in them.
    How often one came again is told by the first record of any kind after its time, so that no
    timer is needed.

    Args:
        target: Where records go.
        counted_s: For how long a complaint is counted.
        clock: Seconds that never go back.
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
        #: In the order in which they were told.
        self._complaints: OrderedDict[tuple[str, int, str], _Complaint] = OrderedDict()

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on, or count it."""
        now = self._clock()
        for summary in self._due(now):
            self._target.handle(summary)
        if record.levelno < logging.WARNING or record.exc_info:
            self._target.handle(record)
            return
        key = (record.name, record.levelno, _NUMBER.sub("#", record.getMessage()))
        known = self._complaints.get(key)
        if known is not None:
            known.num_more += 1
            known.record = record
            return
        self._complaints[key] = _Complaint(now, record)
        self._target.handle(record)

    def _due(self, now: float) -> Iterator[logging.LogRecord]:
        """Forget complaints whose time is over, or that are too many; say how often they came."""
        while self._complaints:
            oldest = next(iter(self._complaints.values()))
            if now - oldest.since < self._counted_s and len(self._complaints) < _MOST:
                return
            self._complaints.popitem(last=False)
            if oldest.num_more:
                yield _summary(oldest, now)

    def close(self) -> None:
        """Tell what was counted."""
        now = self._clock()
        while self._complaints:
            _, complaint = self._complaints.popitem(last=False)
            if complaint.num_more:
                self._target.handle(_summary(complaint, now))
        self._target.close()
        super().close()


def _summary(complaint: _Complaint, now: float) -> logging.LogRecord:
    """Say how often a complaint came again, in the words in which it came last."""
    times = "once more" if complaint.num_more == 1 else f"{complaint.num_more} times more"
    said = f"{complaint.record.getMessage()} ({times} in {now - complaint.since:.0f} s)"
    return logging.makeLogRecord({**vars(complaint.record), "msg": said, "args": None})
