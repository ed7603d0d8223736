"""The prompt folder while it is edited: watched, and read when it has settled."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

from llmatic_daemon.adapters.prompts import Snapshot, parse_prompts, snapshot
from llmatic_daemon.errors import ConfigurationError
from llmatic_daemon.records import Prompt

#: Events that come within this time of each other are one.
_DEBOUNCE_MS = 50
#: How many times `settle_s` a folder gets to come to rest before it is given up.
_MAX_READINGS = 25


class PromptFolder:
    """A folder of prompts that people edit with whatever editor they like.

    Args:
        folder: Need not be there yet.
        settle_s: For how long its files must stay the same before they count: an editor writes in
            several steps, and half a file is not an edit.
        rescan_s: How often to look without being told: a watch ends silently with its folder.
    """

    def __init__(self, folder: Path, *, settle_s: float, rescan_s: float) -> None:
        self._folder = folder
        self._settle_s = settle_s
        self._rescan_s = rescan_s
        #: What `settled` gave last, so that nothing is read twice.
        self._last: Snapshot | None = None

    async def settled(self) -> Snapshot:
        """Read the folder until two readings in a row are the same.

        Raises:
            ConfigurationError: it cannot be read, or does not come to rest.
        """
        before = await asyncio.to_thread(snapshot, self._folder)
        if before == self._last:
            return before
        for _ in range(_MAX_READINGS):
            await asyncio.sleep(self._settle_s)
            now = await asyncio.to_thread(snapshot, self._folder)
            if now == before:
                self._last = now
                return now
            before = now
        raise ConfigurationError(
            f"{self._folder}: prompts must stay unchanged for {self._settle_s:g} s, found them "
            "changing all the time; let whoever writes there come to rest"
        )

    async def read(self) -> tuple[Prompt, ...]:
        """Read the settled folder as one set of prompts.

        Raises:
            ConfigurationError: as `settled` and `parse_prompts`.
        """
        return parse_prompts(await self.settled())

    async def stirrings(self) -> AsyncIterator[None]:
        """Tell whenever the folder may have changed, however its files are saved; for ever."""
        while True:
            try:
                async for _ in self._watched():
                    yield
            except OSError:  # it is not there, or may not be watched: look now and then
                await asyncio.sleep(self._rescan_s)
                yield

    async def _watched(self) -> AsyncIterator[None]:
        """Tell of changes until the folder is another one than at the beginning."""
        from watchfiles import awatch  # 0.1 s, that a start need not wait for

        inode = self._inode()
        async for _ in awatch(
            self._folder,
            watch_filter=None,
            debounce=_DEBOUNCE_MS,
            step=_DEBOUNCE_MS // 2,
            rust_timeout=int(self._rescan_s * 1000),
            yield_on_timeout=True,
            recursive=False,
        ):
            yield
            if self._inode() != inode:
                return

    def _inode(self) -> int:
        return os.stat(self._folder).st_ino
