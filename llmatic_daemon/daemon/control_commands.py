"""The commands of a running daemon: pause, resume, drain, slots, reload, status."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import KW_ONLY, asdict, dataclass, field
from typing import Any

from llmatic_daemon.adapters.http import control_socket
from llmatic_daemon.adapters.http.control_request import IF_MATCH
from llmatic_daemon.adapters.http.control_socket import Verb
from llmatic_daemon.adapters.storage.notes import pause_note
from llmatic_daemon.config.settings import MAX_SLOTS, Settings
from llmatic_daemon.daemon.prompt_reload import PromptReloader
from llmatic_daemon.daemon.reload import Reloader
from llmatic_daemon.domain import SearchStatus
from llmatic_daemon.domain.errors import ConfigurationError, UserError
from llmatic_daemon.domain.events import EventBus
from llmatic_daemon.engine.engine import Engine

logger = logging.getLogger(__name__)

Body = Mapping[str, Any]

#: Verbs that change nothing.
READS = ("status",)


@dataclass(eq=False, repr=False)
class ControlCommands:
    """Executes the commands that come through the control socket of a state folder, or over TCP.

    Args:
        settings: With which the daemon has started.
        engine: The running one.
        prompts: Loads edits of the prompt files.
        reloader: Changes slots and settings.
        view: Returns the search in numbers.
        events: Where each answer over TCP is published.
        token: For control over TCP; empty: there is none.
    """

    settings: Settings
    _: KW_ONLY
    engine: Engine
    prompts: PromptReloader
    reloader: Reloader
    view: Callable[[], SearchStatus]
    events: EventBus
    token: str = ""
    #: Held from the change of the engine to the note of it.
    _pausing: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def recall(self) -> None:
        """Pause a search that was paused when its last daemon ended."""
        since = await asyncio.to_thread(pause_note.read, self.settings.state_dir)
        if since is not None:
            await self.engine.pause()
            logger.warning(
                "the search is paused since %s; 'llmatic-daemon resume' continues it",
                since or "an unknown time",
                extra={"action": "pause"},
            )

    async def serve(self, more: Mapping[str, Verb], listening: asyncio.Event) -> None:
        """Answer until cancelled.

        Args:
            more: Further verbs, for the socket alone.
            listening: Set when the socket listens, or is known to be impossible.

        Raises:
            ConfigurationError: the port is taken.
        """
        async with asyncio.TaskGroup() as group, AsyncExitStack() as stack:
            verbs = self._verbs(group)
            if self.settings.control.port:
                await stack.enter_async_context(self._remote(verbs))
            try:
                everything = control_socket.listening(self.settings.state_dir, {**verbs, **more}, reads=READS)
                await stack.enter_async_context(everything)
            except ConfigurationError as error:  # a search needs no control socket
                logger.warning("%s; continuing without it", error, extra={"action": "control"})
            listening.set()
            await asyncio.Event().wait()

    def _remote(self, verbs: Mapping[str, Verb]) -> AbstractAsyncContextManager[None]:
        """Listen on TCP too; verbs that name a path of this machine are for the socket alone."""
        # They take 0.3 s, and most searches do not need them.
        from llmatic_daemon.adapters.http import control_tcp, server

        return server.listening(
            self.settings.control.port,
            control_tcp.routes(verbs, READS),
            setting="control.port",
            hosts=self.settings.metrics.allowed_hosts,
            token=self.token,
            events=self.events,
        )

    def _verbs(self, group: asyncio.TaskGroup) -> dict[str, Verb]:
        async def drain(body: Body) -> dict[str, Any]:
            """Answer at once: when the last job has ended, so has the daemon."""
            _only(body)
            group.create_task(self.engine.drain("drained as asked", self.settings.engine.drain_s))
            return {"is_draining": True, "drain_s": self.settings.engine.drain_s}

        return {
            "pause": self._pause,
            "resume": self._resume,
            "drain": drain,
            "slots": self._slots,
            "reload": self._reload,
            "prompts/reload": self._reload_prompts,
            "status": self._status,
        }

    async def _pause(self, body: Body) -> dict[str, Any]:
        _only(body)
        async with self._pausing:
            before = self.engine.is_paused
            await self.engine.pause()
            if await asyncio.to_thread(pause_note.read, self.settings.state_dir) is None:
                await asyncio.to_thread(pause_note.write, self.settings.state_dir)
        return {"is_paused": True, "changed": not before}

    async def _resume(self, body: Body) -> dict[str, Any]:
        _only(body)
        async with self._pausing:
            before = self.engine.is_paused
            await self.engine.resume()
            await asyncio.to_thread(pause_note.remove, self.settings.state_dir)
        return {"is_paused": False, "changed": before}

    async def _slots(self, body: Body) -> dict[str, Any]:
        _only(body, "slots")
        wish = body.get("slots")
        if type(wish) is not int or not 1 <= wish <= MAX_SLOTS:
            raise UserError(f"slots must be an integer from 1 to {MAX_SLOTS}, got {wish!r}")
        return {"before": await self.reloader.resize(wish), "slots": wish}

    async def _reload(self, body: Body) -> dict[str, Any]:
        _only(body, IF_MATCH)
        return asdict(await self.reloader.reload(body.get(IF_MATCH, "")))

    async def _reload_prompts(self, body: Body) -> dict[str, Any]:
        _only(body, IF_MATCH)
        return asdict(await self.prompts.reload(body.get(IF_MATCH, "")))

    async def _status(self, body: Body) -> dict[str, Any]:
        _only(body)
        return {**asdict(self.view()), "prompt_set_digest": self.prompts.digest}


def _only(body: Body, *names: str) -> None:
    """Reject fields that a verb does not know, rather than ignore them."""
    unknown = sorted(set(body) - set(names))
    if unknown:
        known = " and ".join(map(repr, names)) or "nothing"
        raise UserError(f"the body may hold {known}, found {', '.join(map(repr, unknown))}")
