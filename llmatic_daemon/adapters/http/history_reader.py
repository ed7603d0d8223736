"""The history of a running search, for the listener: asked in a thread of its own, opened when first asked."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from llmatic_daemon.adapters.storage.history import History

T = TypeVar("T")


class Reader:
    """One read-only connection in one thread: whoever asks waits for those before, never the loop."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="llmatic-api")
        self._history: History | None = None

    async def ask(self, question: Callable[[History], T]) -> T:
        """Ask one question.

        Raises:
            UserError: what is asked for is not there.
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
