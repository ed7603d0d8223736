"""Failpoints: named points at which a test can kill this process, as `LLMATIC_FAILPOINT=commit-inside:3`.

The process kills itself with signal 9 at the n-th pass of the named point. So a test sees what a power cut or
the out-of-memory killer would leave. If the variable is unset, a pass costs one comparison.

Points of the store: `migration`, `checkpoint`, and `-begin`, `-inside`, `-after` of the transactions
`recover`, `identify`, `tessellation`, `slots`, `dispatch`, `release`, `commit` and `milestone`. Copies of a
state folder: `snapshot-step`, `snapshot-inside`; and `restore-inside`.
"""

import itertools
import os
import signal

VARIABLE = "LLMATIC_FAILPOINT"


def parse(text: str) -> tuple[str, int]:
    """Read `name` or `name:n`.

    Raises:
        ValueError: n is no whole number from 1.
    """
    name, _, count = text.partition(":")
    if not name or (count and not (count.isdecimal() and int(count) > 0)):
        raise ValueError(f"{VARIABLE} must be a point's name or name:n with n from 1, got {text!r}")
    return name, int(count or 1)


_NAME, _COUNT = parse(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else (None, 0)
#: A counter that needs no lock: `next` of it is one step for every thread.
_passes = itertools.count(1)


def reached(name: str) -> None:
    """Pass a named point; kill this process if it is the chosen pass."""
    if name == _NAME and next(_passes) == _COUNT:
        os.kill(os.getpid(), signal.SIGKILL)
