"""Starts of trainers: each within a time limit, and after a failed one a pause that grows."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from llmatic_daemon.adapters.processes.child import ChildGone
from llmatic_daemon.adapters.processes.devices import DeviceWorker
from llmatic_daemon.domain import DevicePhase, RestartReason, Task
from llmatic_daemon.domain.errors import TrainerUnavailable
from llmatic_daemon.domain.events import DeviceChanged, EventBus, TrainerReplaced

logger = logging.getLogger(__name__)


class TrainerStarter:
    """Starts the trainers of all device workers."""

    def __init__(
        self,
        module: str,
        configuration: Mapping[str, Any],
        *,
        timeout_s: float,
        backoff_s: tuple[float, float],
        events: EventBus,
    ) -> None:
        """Describe the trainers.

        Args:
            module: What to run.
            configuration: Sent to each trainer with its device.
            timeout_s: From start to ready; a data set may have to be downloaded in it.
            backoff_s: First and longest pause after a start that failed.
            events: Where starts and failed ones are published.
        """
        self._module, self._configuration = module, configuration
        self._timeout_s, self._backoff_s = timeout_s, backoff_s
        self._events = events
        #: The data set; None until a trainer has loaded it.
        self.task: Task | None = None

    async def start(self, worker: DeviceWorker) -> None:
        """Kill what is left of a worker's child, and start another.

        Raises:
            ConfigurationError: the child cannot use the configuration.
            ChildGone: it ended, or was not ready in time.
            OSError: no process could be started.
        """
        self._events.publish(DeviceChanged(device=worker.name, phase=DevicePhase.START))
        worker.set_deadline(self._timeout_s)
        await worker.kill()
        try:
            async with asyncio.timeout(self._timeout_s):
                self.task = await worker.start(self._module, self._configuration)
        except TimeoutError as error:
            raise ChildGone(f"no answer in {self._timeout_s:g} s") from error
        worker.was_ready = True

    async def start_once(self, worker: DeviceWorker) -> None:
        """Start a trainer for a caller that does not wait for further attempts.

        Raises:
            ConfigurationError: the child cannot use the configuration.
            TrainerUnavailable: it does not start.
        """
        try:
            await self.start(worker)
        except (ChildGone, OSError) as error:
            raise TrainerUnavailable(f"trainer on {worker.name} did not start: {error}") from error

    async def back_off(self, worker: DeviceWorker, error: Exception) -> None:
        """Kill what is left after a start that failed, and pause, longer each time."""
        first_s, longest_s = self._backoff_s
        doublings = min(worker.num_failed - 1, 32)  # after 17 hours no float holds the number
        pause_s = min(longest_s, first_s * 2**doublings)
        logger.warning(
            "trainer on %s did not start: %s; next try in %g s",
            worker.name,
            error,
            pause_s,
            extra={"action": "start_trainer", "device": worker.name},
        )
        self._events.publish(TrainerReplaced(device=worker.name, reason=RestartReason.NOT_STARTED))
        await worker.kill()
        worker.due = None
        await asyncio.sleep(pause_s)
