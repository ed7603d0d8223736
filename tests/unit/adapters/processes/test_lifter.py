"""The lifter against true processes: lifts, rejections, deaths, cancellation."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llmatic_daemon.adapters.processes.lifter import ProcessLifter
from llmatic_daemon.domain import Candidate, Network, Outcome, Rejection, Task
from llmatic_daemon.domain.errors import LifterUnavailable
from llmatic_daemon.domain.sandbox import Layer, Sandbox
from tests.support.paths import ROOT

TASK = Task(name="made up", input_shape=(3, 8, 8), num_classes=10, num_train=1, num_validation=1, num_test=1)
HONEST = """
from torch import nn
class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(192, 10))
"""
SLEEPER = "import time\ntime.sleep(600)\n"
#: Counts the secrets in the environment of its parent.
SPY = """
import os
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        raise ValueError(open(f"/proc/{os.getppid()}/environ").read().count("SECRET"))
"""
#: In the view of bubblewrap they are not.
WHERE_TESTS_ARE = Sandbox(without=frozenset({Layer.BUBBLEWRAP}))
#: As many as the honest one has.
MOST_PARAMETERS = 1930


def on_one_loop(test: Any) -> Any:
    """Run a test on the loop of the shared lifter."""
    return pytest.mark.asyncio(loop_scope="module")(test)


@pytest.fixture(autouse=True)
def _child_can_be_found(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def candidate(source: str = HONEST) -> Candidate:
    return Candidate(source=source, class_name="Net", seed=1, task=TASK)


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.fixture(scope="module")
def environment() -> Iterator[None]:
    """Be a daemon with a secret, whose children can be found."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("SECRET", "dear")
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lifter(environment: None) -> AsyncIterator[ProcessLifter]:
    """A lifter that is warm: a start takes five seconds."""
    async with ProcessLifter(limits={"max_parameters": MOST_PARAMETERS}) as warm:
        await warm.warmed_up()
        yield warm


@on_one_loop
async def test_lifter_returns_a_network_or_a_rejection(lifter: ProcessLifter):
    network = await lifter.lift(candidate())
    rejection = await lifter.lift(candidate("import no_such_module"))

    assert isinstance(network, Network)
    assert network.measures.num_parameters == MOST_PARAMETERS
    assert isinstance(rejection, Rejection)
    assert rejection.cause is Outcome.LIFT_FAILED
    assert "no_such_module" in rejection.detail


@on_one_loop
async def test_limits_reach_the_validator(lifter: ProcessLifter):
    rejection = await lifter.lift(candidate(HONEST.replace("192, 10)", "192, 10), nn.PReLU()")))

    assert isinstance(rejection, Rejection)
    assert rejection.cause is Outcome.INVALID_GRAPH
    assert f"at most {MOST_PARAMETERS} parameters" in rejection.detail


@on_one_loop
async def test_lifter_is_told_nothing_of_the_daemon(lifter: ProcessLifter):
    rejection = await lifter.lift(candidate(SPY))

    assert isinstance(rejection, Rejection)
    assert re.match(r"ValueError: 0 |PermissionError|FileNotFoundError", rejection.detail), rejection


@on_one_loop
async def test_cancelled_lift_leaves_no_process_and_the_next_one_works(lifter: ProcessLifter):
    (pid,) = lifter.pids
    lift = asyncio.create_task(lifter.lift(candidate(SLEEPER)))
    await asyncio.sleep(0)

    lift.cancel()
    with pytest.raises(asyncio.CancelledError):
        await lift

    assert not alive(pid)
    assert isinstance(await lifter.lift(candidate()), Network)


@on_one_loop
async def test_dead_parent_blames_nobody_and_is_replaced(lifter: ProcessLifter):
    (pid,) = lifter.pids
    os.kill(pid, signal.SIGKILL)

    with pytest.raises(LifterUnavailable, match="signal 9"):
        await lifter.lift(candidate())

    assert isinstance(await lifter.lift(candidate()), Network)


async def test_close_ends_all_parents_and_what_they_lift():
    lifter = await ProcessLifter(
        num_parents=2, module="tests.support.ready_lifter_child", sandbox=WHERE_TESTS_ARE
    ).__aenter__()
    await lifter.warmed_up()
    pids = lifter.pids
    lift = asyncio.create_task(lifter.lift(candidate(SLEEPER)))
    await asyncio.sleep(0)

    await lifter.close()

    with pytest.raises(LifterUnavailable):
        await lift
    assert len(pids) == 2
    assert not any(map(alive, pids))


async def test_parent_that_ends_at_once_is_unavailable():
    async with ProcessLifter(module="no_such_module") as lifter:
        with pytest.raises(LifterUnavailable, match="No module named"):
            await lifter.lift(candidate())

        assert lifter.pids == ()


async def test_parent_that_cannot_be_started_is_unavailable(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/no/such/python")

    async with ProcessLifter() as lifter:
        with pytest.raises(LifterUnavailable, match="could not be started"):
            await lifter.lift(candidate())


async def test_parent_that_never_gets_ready_is_unavailable():
    async with ProcessLifter(
        module="tests.support.lifter_child", start_timeout_s=0.1, sandbox=WHERE_TESTS_ARE
    ) as lifter:
        with pytest.raises(LifterUnavailable, match=r"within 0\.1 s of its start"):
            await lifter.lift(candidate())

        assert lifter.pids == ()


async def test_closed_lifter_starts_no_parent():
    async with ProcessLifter(module="tests.support.lifter_child") as lifter:
        await lifter.close()

        with pytest.raises(LifterUnavailable, match="has been closed"):
            await lifter.lift(candidate())

        assert lifter.pids == ()
