"""What is in the log of a search: a line for each candidate's life, and never a line of its source."""

import logging

import pytest

from tests.support.engine import EngineHarness
from tests.support.fakes import FakeWriter

SECRET = "zebra_crossing"
ANSWERS = [
    f"class Net(nn.Module):\n    {SECRET} = (\n",
    f"class Net(nn.Module):\n    def __init__(self):\n        {SECRET} = = 1\n",
    f"import {SECRET} as os\n\nprint({SECRET!r}\n",
    f"The {SECRET} is a fine network.",
    f"def {SECRET}():\n    pass\n",
    f"class Net(nn.Module):\n    {SECRET} = 1\n",
]


async def test_log_tells_each_life_in_a_line_and_shows_no_source(caplog: pytest.LogCaptureFixture) -> None:
    answers = iter(ANSWERS)
    harness = EngineHarness(writer=FakeWriter(text=lambda number: next(answers)))

    with caplog.at_level(logging.DEBUG, logger="llmatic_daemon"):
        await harness.engine(max_evaluations=1).run()

    lives = [r for r in caplog.records if getattr(r, "action", "") == "placed"]
    assert [life.job for life in lives] == list(range(1, len(ANSWERS) + 1))
    assert all(life.slot == 0 for life in lives)
    assert SECRET not in caplog.text
