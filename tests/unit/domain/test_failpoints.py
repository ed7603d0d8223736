"""Failpoints: named places to die at."""

import os
import signal
import subprocess
import sys

import pytest

from llmatic_daemon.domain import failpoints


@pytest.mark.parametrize(("text", "meant"), [("commit-inside", ("commit-inside", 1)), ("a:3", ("a", 3))])
def test_failpoint_is_a_name_and_a_pass(text: str, meant: tuple[str, int]):
    assert failpoints.parse(text) == meant


@pytest.mark.parametrize("text", ["", ":2", "a:0", "a:x", "a:-1", "a:1:2"])
def test_failpoint_that_makes_no_sense_is_refused(text: str):
    with pytest.raises(ValueError, match="LLMATIC_FAILPOINT must be"):
        failpoints.parse(text)


def test_failpoint_kills_at_the_chosen_pass():
    code = (
        "from llmatic_daemon.domain import failpoints\n"
        "for n in range(5): failpoints.reached('b'); print(n, flush=True); failpoints.reached('a')"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "LLMATIC_FAILPOINT": "a:3"},
        stdout=subprocess.PIPE,
        check=False,
    )

    assert done.returncode == -signal.SIGKILL
    assert done.stdout == b"0\n1\n2\n"
