"""Services: one that fails names itself in the log."""

import asyncio

import pytest

from llmatic_daemon.daemon.application import Service
from llmatic_daemon.domain.errors import ConfigurationError


async def test_service_that_fails_is_named_in_the_log(caplog: pytest.LogCaptureFixture):
    async def fail() -> None:
        raise ConfigurationError("the data set must be the state's")

    with pytest.raises(ConfigurationError):
        await Service("data set check", fail).run()

    (record,) = caplog.records
    assert record.getMessage() == (
        "service 'data set check' failed, and ends the daemon: the data set must be the state's"
    )
    assert record.__dict__["service"] == "data set check"


async def test_cancelled_service_logs_nothing(caplog: pytest.LogCaptureFixture):
    service = asyncio.create_task(Service("watchdog", asyncio.Event().wait).run())
    await asyncio.sleep(0)

    service.cancel()
    await asyncio.wait([service])

    assert service.cancelled()
    assert caplog.records == []
