"""Reload: the settings are read again while a search runs, and the live ones change, all or none."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from llmatic_daemon.config.settings import Settings
from llmatic_daemon.daemon.prompt_reload import PromptReloader, Reloaded
from llmatic_daemon.domain.ports import Trainer
from llmatic_daemon.engine.engine import Engine

logger = logging.getLogger(__name__)

#: Settings that a running daemon changes, in addition to the prompt files.
LIVE = frozenset({"engine.slots", "training.devices"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Applied:
    """The result of reading the settings again."""

    #: Live settings that differ from before.
    changed: tuple[str, ...]
    #: Settings that differ from those of the start, and apply from the next start.
    needs_restart: tuple[str, ...]
    prompts: Reloaded

    def __str__(self) -> str:
        changed = f"changed: {', '.join(self.changed)}" if self.changed else "no setting is changed"
        edition = f"prompts of edition {self.prompts.edition}"
        later = f"; after a restart: {', '.join(self.needs_restart)}"
        return f"{changed}; {edition}{later if self.needs_restart else ''}"


@dataclass(eq=False, repr=False)
class Reloader:
    """Changes a running search to what the settings say now, one change at a time.

    Args:
        settings: With which the daemon has started.
        again: Reads them from their sources again.
        check: Rejects settings that do not belong to the state folder.
        engine: Whose slots may change.
        trainer: Whose device workers may change.
        prompts: Loads edits of the prompt files.
        announced: Reports a reload while its context lasts.
    """

    settings: Settings
    again: Callable[[], Settings]
    check: Callable[[Settings], Awaitable[None]]
    _: KW_ONLY
    engine: Engine
    trainer: Trainer
    prompts: PromptReloader
    announced: Callable[[], AbstractContextManager[None]] = nullcontext
    _changing: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    def __post_init__(self) -> None:
        self._devices = self.settings.training.devices

    async def reload(self, known: str = "") -> Applied:
        """Apply the settings and the prompt files as they are now; return when they are active.

        Edits of the prompt files become active as soon as they are noticed, with or without a reload.
        Only the settings change all or none.

        Args:
            known: As for `PromptReloader.reload`.

        Raises:
            ConfigurationError: a setting or the prompt folder is invalid; no setting is changed.
            Outdated: as `PromptReloader.reload`; no setting is changed.
            Unavailable: the store is out, or a new device worker does not start; the same.
        """
        async with self._changing:
            with self.announced():
                return await self._reload(known)

    async def _reload(self, known: str) -> Applied:
        settings = await asyncio.to_thread(self.again)
        await self.check(settings)
        prompts = await self.prompts.reload(known)
        changed = await self._change(settings)
        applied = Applied(
            changed=changed,
            needs_restart=tuple(
                name
                for name in _differences(self.settings.model_dump(), settings.model_dump())
                if name not in LIVE
            ),
            prompts=prompts,
        )
        logger.info("reloaded: %s", applied, extra={"action": "reload"})
        return applied

    async def _change(self, settings: Settings) -> tuple[str, ...]:
        """Change the live settings; the change that may fail comes first."""
        changed = []
        devices, num_slots = settings.training.devices, settings.engine.slots
        if devices != self._devices:
            await self.trainer.resize(devices)
            self._devices = devices
            changed.append("training.devices")
        if num_slots != self.engine.num_slots:
            await self.engine.resize(num_slots)
            changed.append("engine.slots")
        return tuple(changed)

    async def resize(self, num_slots: int) -> int:
        """Change the number of slots until the next `reload` or start; return the previous one."""
        async with self._changing:
            before = self.engine.num_slots
            await self.engine.resize(num_slots)
            return before


def _differences(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Name the settings that differ, such as data.folder."""
    for name in dict.fromkeys((*before, *after)):
        old, new = before.get(name), after.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{prefix}{name}.")
        elif old != new:
            yield f"{prefix}{name}"
