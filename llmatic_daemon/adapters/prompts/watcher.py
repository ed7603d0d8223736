"""The prompt folder while it is edited: watched, and read when it has settled."""

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

from llmatic_daemon.adapters.prompts.files import FolderSnapshot, parse_prompts, snapshot
from llmatic_daemon.domain import Prompt
from llmatic_daemon.domain.errors import ConfigurationError

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
        self._last: FolderSnapshot | None = None

    async def settled(self) -> FolderSnapshot:
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

    async def changes(self) -> AsyncGenerator[None, None]:
        """Yield whenever the folder may have changed, however its files are saved, until closed."""
        while True:
            yield  # for whatever has changed while it was not watched
            try:
                async with aclosing(self._watched()) as changes:
                    async for _ in changes:
                        yield
            except (
                OSError,
                RuntimeError,
            ):  # it is not there, or cannot be watched: inotify has limits
                await asyncio.sleep(self._rescan_s)
            except ExceptionGroup as errors:  # a name that is not UTF-8, which ended the daemon
                if errors.split(RuntimeError)[1]:
                    raise
                await asyncio.sleep(self._rescan_s)

    async def _watched(self) -> AsyncGenerator[None, None]:
        """Tell of changes until the folder is another one than at the beginning."""
        from watchfiles import awatch  # 0.1 s, that a start need not wait for

        with _held(self._folder) as held:
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
                if not os.path.samestat(os.fstat(held), os.stat(self._folder)):
                    return


@contextmanager
def _held(folder: Path) -> Iterator[int]:
    """Hold a folder open: ext4 gives the number of a deleted inode to the next one that is made."""
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield held
    finally:
        os.close(held)
