"""Access of the listener to the history of a running search, in a thread of its own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from llmatic_daemon.adapters.storage.history import History

T = TypeVar("T")


class Reader:
    """One read-only connection in one thread, opened at the first query; the event loop never blocks."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="llmatic-api")
        self._history: History | None = None

    async def ask(self, question: Callable[[History], T]) -> T:
        """Return the result of one query.

        Raises:
            UserError: the queried item does not exist.
            ConfigurationError: the database cannot be read.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._answer, question)

    async def close(self) -> None:
        """Close the database and end the thread."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _answer(self, question: Callable[[History], T]) -> T:
        if self._history is None:
            self._history = History(self._state_dir)
        return question(self._history)

    def _close(self) -> None:
        if self._history is not None:
            self._history.close()
