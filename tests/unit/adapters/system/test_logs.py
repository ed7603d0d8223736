"""What is logged, in each of its forms: fields, one line for a complaint, and nothing that moves a cursor."""

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from llmatic_daemon.adapters.system import logs
from llmatic_daemon.adapters.system.journal import JournalHandler
from llmatic_daemon.adapters.system.logs import Counting, TextFormatter, leads_to_the_journal
from tests.support.service_manager import Listener

logger = logging.getLogger("llmatic_daemon.of_this_test")


class Kept(logging.Handler):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, as it was before once the test is over."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    for handler in [each for each in root.handlers if each not in handlers]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def counting(kept: Kept, clock: Clock) -> Iterator[logging.Logger]:
    handler = Counting(kept, counted_s=600.0, clock=clock)
    logger.addHandler(handler)
    yield logger
    logger.removeHandler(handler)


# --- once, and then counted ----------------------------------------------------------------------


def test_same_complaint_is_logged_once_whatever_its_numbers(counting: logging.Logger, kept: Kept) -> None:
    for number in range(5):
        counting.warning("trainer on %s did not start; next try in %g s", "cpu", 0.5 * number)

    assert kept.texts == ["trainer on cpu did not start; next try in 0 s"]


def test_first_line_after_its_time_tells_how_often_it_came_again(
    counting: logging.Logger, kept: Kept, clock: Clock
) -> None:
    for number in range(5):
        counting.warning("job %d: no LLM", number)
    clock.now = 599.0
    counting.info("candidate 1")
    clock.now = 601.0
    counting.info("candidate 2")
    counting.info("candidate 3")

    assert kept.texts == [
        "job 0: no LLM",
        "candidate 1",
        "job 4: no LLM (4 times more in 601 s)",
        "candidate 2",
        "candidate 3",
    ]


def test_complaint_that_still_lasts_is_told_anew_after_its_time(
    counting: logging.Logger, kept: Kept, clock: Clock
) -> None:
    counting.warning("no room")
    counting.warning("no room")
    clock.now = 700.0
    counting.warning("no room")

    assert kept.texts == ["no room", "no room (once more in 700 s)", "no room"]


def test_another_complaint_is_no_repetition(counting: logging.Logger, kept: Kept) -> None:
    counting.warning("endpoint %r failed", "a")
    counting.warning("endpoint %r failed", "b")
    counting.error("endpoint %r failed", "a")

    assert len(kept.texts) == 3


def test_candidates_are_never_counted(counting: logging.Logger, kept: Kept) -> None:
    for number in range(3):
        counting.info("candidate %d", number)

    assert len(kept.texts) == 3


def test_exceptions_are_never_counted(counting: logging.Logger, kept: Kept) -> None:
    for _ in range(2):
        counting.error("a bug", exc_info=ValueError("it"))

    assert len(kept.texts) == 2


def test_what_was_counted_is_told_at_the_end(kept: Kept, clock: Clock) -> None:
    handler = Counting(kept, clock=clock)
    record = logging.makeLogRecord({"levelno": logging.WARNING, "msg": "no room"})
    for _ in range(3):
        handler.handle(record)

    handler.close()

    assert kept.texts == ["no room", "no room (2 times more in 0 s)"]


def test_warnings_that_are_all_different_take_no_memory(counting: logging.Logger, kept: Kept) -> None:
    for number in range(1000):
        counting.warning("odd name %s", "x" * number)

    (handler,) = counting.handlers

    assert len(kept.texts) == 1000
    assert isinstance(handler, Counting)
    assert len(handler._warnings) <= 256


# --- forms ---------------------------------------------------------------------------------------


def test_json_line_holds_message_and_fields(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")

    logger.info("candidate %d: NEW\nforged", 7, extra={"action": "placed", "job": 7, "slot": 1})

    (line,) = capsys.readouterr().err.splitlines()
    said = json.loads(line)
    assert said.pop("time") > 0
    assert said == {
        "level": "info",
        "logger": logger.name,
        "message": "candidate 7: NEW\nforged",
        "action": "placed",
        "job": 7,
        "slot": 1,
    }


def test_json_line_holds_a_traceback(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    try:
        raise ValueError("a bug")
    except ValueError:
        logger.exception("it failed")

    said = json.loads(capsys.readouterr().err)

    assert said["traceback"].endswith("ValueError: a bug")


def test_text_line_cannot_be_forged_or_move_a_cursor(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("text")

    logger.info("candidate 1: %s", "odd\x1b[2J\nERROR all is lost\x9b1m")

    assert capsys.readouterr().err == ("INFO candidate 1: odd\\x1b[2J\\x0aERROR all is lost\\x9b1m\n")


def test_lines_on_a_terminal_are_coloured(root: logging.Logger, tmp_path: Path) -> None:
    with (tmp_path / "terminal").open("w+") as terminal:
        console = Console(file=terminal, force_terminal=True, color_system="standard", width=80)
        logs.configure(console=console)

        logger.warning("no room")

        terminal.seek(0)
        assert "\x1b[" in terminal.read()


def test_configuring_twice_is_configuring_once(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("text")
    logs.configure("text")

    logger.info("once")

    assert capsys.readouterr().err == "INFO once\n"


def test_libraries_that_log_each_request_are_quiet(root: logging.Logger) -> None:
    logs.configure("text")

    assert not logging.getLogger("httpx2").isEnabledFor(logging.INFO)


# --- the journal ---------------------------------------------------------------------------------


def test_stderr_that_systemd_has_connected_is_known() -> None:
    at = os.fstat(2)

    assert leads_to_the_journal({"JOURNAL_STREAM": f"{at.st_dev}:{at.st_ino}"})
    assert not leads_to_the_journal({"JOURNAL_STREAM": f"{at.st_dev}:{at.st_ino + 1}"})
    assert not leads_to_the_journal({})


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[Listener]:
    listener = Listener(tmp_path / "socket")
    handler = JournalHandler(logs.fields_of, str(listener.path))
    handler.setFormatter(TextFormatter("%(message)s"))
    logger.addHandler(handler)
    yield listener
    logger.removeHandler(handler)
    handler.close()
    listener.close()


def test_journal_is_told_message_priority_and_fields(journald: Listener) -> None:
    logger.warning("no LLM", extra={"action": "outage", "job": 3, "slot": 0})

    (datagram,) = journald.received()
    fields = dict(line.split("=", 1) for line in datagram.splitlines())
    assert fields["MESSAGE"] == "no LLM"
    assert fields["PRIORITY"] == "4"
    assert fields["SYSLOG_IDENTIFIER"] == "llmatic-daemon"
    ours = {name: fields[name] for name in ("LLMATIC_ACTION", "LLMATIC_JOB", "LLMATIC_SLOT")}
    assert ours == {"LLMATIC_ACTION": "outage", "LLMATIC_JOB": "3", "LLMATIC_SLOT": "0"}


def test_value_with_several_lines_carries_its_length(journald: Listener) -> None:
    logger.info("a message", extra={"where": "one\nPRIORITY=0"})

    (datagram,) = journald.heard()

    assert b"\nLLMATIC_WHERE\n" + (14).to_bytes(8, "little") + b"one\nPRIORITY=0\n" in datagram


def test_endless_message_is_cut(journald: Listener) -> None:
    logger.info("x" * 1_000_000)

    (datagram,) = journald.heard()

    assert len(datagram) < 20_000


def test_journald_that_is_far_behind_does_not_hold_us_up(journald: Listener) -> None:
    for number in range(2000):
        logger.info("line %d", number)

    assert 0 < len(journald.heard()) < 2000
