"""Watcher of the prompt folder: it reports changes, and reads the files when they are stable."""

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

from llmatic_daemon.adapters.prompts.prompt_files import FolderSnapshot, parse_prompts, snapshot
from llmatic_daemon.domain import Prompt
from llmatic_daemon.domain.errors import ConfigurationError

#: Events within this time are combined.
_DEBOUNCE_MS = 50
#: Maximum number of readings, `settle_s` apart, until a folder must be stable.
_MAX_READINGS = 25


class PromptFolder:
    """A folder of prompts that a person may edit at any time.

    Args:
        folder: The folder; it may not exist yet.
        settle_s: How long the files must stay unchanged, because an editor saves a file in several steps.
        rescan_s: Interval between scans without an event, because a watch ends silently with its folder.
    """

    def __init__(self, folder: Path, *, settle_s: float, rescan_s: float) -> None:
        self._folder = folder
        self._settle_s = settle_s
        self._rescan_s = rescan_s
        #: Last result of `settled`, so that unchanged files are read once only.
        self._last: FolderSnapshot | None = None

    async def settled(self) -> FolderSnapshot:
        """Read the folder until two readings in a row are equal.

        Raises:
            ConfigurationError: the folder cannot be read, or keeps changing.
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
            f"{self._folder}: prompts must stay unchanged for {self._settle_s:g} s, found changes in "
            f"{_MAX_READINGS} readings; stop the program that writes there"
        )

    async def read(self) -> tuple[Prompt, ...]:
        """Read and parse the stable folder.

        Raises:
            ConfigurationError: as `settled` and `parse_prompts`.
        """
        return parse_prompts(await self.settled())

    async def changes(self) -> AsyncGenerator[None, None]:
        """Yield whenever the folder may have changed, until cancelled."""
        while True:
            yield  # there may have been changes while there was no watch
            try:
                async with aclosing(self._watched()) as changes:
                    async for _ in changes:
                        yield
            except (OSError, RuntimeError):  # no such folder, or no inotify watch is left
                await asyncio.sleep(self._rescan_s)
            except ExceptionGroup as errors:  # watchfiles fails on a name that is not UTF-8
                if errors.split(RuntimeError)[1]:
                    raise
                await asyncio.sleep(self._rescan_s)

    async def _watched(self) -> AsyncGenerator[None, None]:
        """Yield at each change, until another folder replaces this one."""
        from watchfiles import awatch  # takes 0.1 s, and a start need not wait for it

        with _opened(self._folder) as opened:
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
                if not os.path.samestat(os.fstat(opened), os.stat(self._folder)):
                    return


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """Keep a folder open, because ext4 reuses the inode number of a deleted folder."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield opened
    finally:
        os.close(opened)
