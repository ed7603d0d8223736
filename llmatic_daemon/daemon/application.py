"""The running daemon: the search, the services beside it, and the order in which they end."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from llmatic_daemon.adapters.system.notify import ServiceManager
from llmatic_daemon.config.settings import Settings
from llmatic_daemon.daemon.reload import Reloader
from llmatic_daemon.daemon.service_status import CLOSING_S
from llmatic_daemon.daemon.signals import handled_signals
from llmatic_daemon.domain import SearchStatus
from llmatic_daemon.domain.ports import SearchStore
from llmatic_daemon.engine.checkpoints import keep_checkpoint
from llmatic_daemon.engine.engine import Engine

logger = logging.getLogger(__name__)

View = Callable[[], SearchStatus]


@dataclass(frozen=True, slots=True)
class Service:
    """Work that runs beside the search; it is cancelled when the search ends."""

    name: str
    coroutine: Callable[[], Coroutine[Any, Any, None]]

    async def run(self) -> None:
        """Run until cancelled; an error ends the daemon, and the log names the service."""
        try:
            await self.coroutine()
        except Exception as error:
            extra = {"action": "service", "service": self.name}
            logger.error("service %r failed, and ends the daemon: %s", self.name, error, extra=extra)
            raise


@dataclass(frozen=True, kw_only=True, slots=True)
class Application:
    """All that lives as long as the daemon process, built and open."""

    settings: Settings
    engine: Engine
    store: SearchStore
    reloader: Reloader
    manager: ServiceManager
    services: tuple[Service, ...]
    #: Returns the search in numbers, as it is now.
    view: View

    async def run(self, ready: Callable[[View], None]) -> str:
        """Search until a budget is used up or a signal ends it; return the reason.

        Args:
            ready: Called when jobs can be dispatched.
        """
        drain_s = self.settings.engine.drain_s
        async with (
            asyncio.TaskGroup() as group,
            handled_signals(group, self.engine, self.reloader, self.manager, drain_s) as reloads,
        ):
            tasks = [group.create_task(service.run(), name=service.name) for service in self.services]
            self._log_start()
            ready(self.view)
            end = await self.engine.run()
            self.manager.stopping()
            self.manager.extend(CLOSING_S)
            for task in (*tasks, *reloads):
                task.cancel()
        logger.info("the search ends: %s", end, extra={"action": "end"})
        await keep_checkpoint(self.engine.evolution, self.store)
        return end

    def _log_start(self) -> None:
        logger.info(
            "ready: %d slots, %d device workers, %d evaluations, state in %s",
            self.settings.engine.slots,
            len(self.settings.training.devices),
            self.engine.evolution.num_evaluations,
            self.settings.state_dir,
            extra={"action": "ready"},
        )
