"""Prompt reload: edits of the prompt files are loaded into the running search as a whole, or rejected."""

import asyncio
import contextlib
import logging
from dataclasses import dataclass

from llmatic_daemon.adapters.prompts.watcher import PromptFolder
from llmatic_daemon.domain import Prompt
from llmatic_daemon.domain.errors import ConfigurationError, Outdated, StoreUnavailable
from llmatic_daemon.domain.events import EventBus, PromptsRejected
from llmatic_daemon.domain.ports import SearchStore
from llmatic_daemon.engine.engine import Engine

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reloaded:
    """The result of reading the prompt folder."""

    #: False: the files equal the active set.
    changed: bool
    #: Number of the active edition.
    edition: int
    num_prompts: int
    #: Of the active set, for an If-Match.
    digest: str


class PromptReloader:
    """Reads the prompt folder on request; keeps the last valid set active whatever it finds.

    Args:
        folder: Where the prompts are edited.
        engine: Whose prompts change.
        store: Keeps the reason of a rejection, for `status`.
        axis_size: Length of the prompt archive's prompt axis.
        events: Where rejections are published.
    """

    def __init__(
        self, folder: PromptFolder, engine: Engine, store: SearchStore, *, axis_size: int, events: EventBus
    ) -> None:
        self._folder = folder
        self._engine = engine
        self._store = store
        self._axis_size = axis_size
        self._events = events
        self._reading = asyncio.Lock()
        #: Why the folder was rejected last, as it was logged; empty: it is valid.
        self._rejection = ""
        #: What the store has noted of it; None: an earlier run may have left a reason there.
        self._noted: str | None = None

    async def begin(self, prompts: tuple[Prompt, ...] | ConfigurationError) -> None:
        """Activate the prompts of the start; if they are invalid, keep those of the last run.

        Raises:
            ConfigurationError: they are invalid, and there was no last run.
        """
        try:
            if isinstance(prompts, ConfigurationError):
                raise prompts
            await self._engine.take_prompts(prompts, self._axis_size)
        except ConfigurationError as error:
            if self._engine.evolution.prompts.edition is None:
                raise
            await self._reject(str(error))

    async def watch(self) -> None:
        """Load edits as they come, until cancelled."""
        async with contextlib.aclosing(self._folder.changes()) as changes:
            async for _ in changes:
                with contextlib.suppress(ConfigurationError, StoreUnavailable):  # logged, and noted
                    await self.reload()

    @property
    def digest(self) -> str:
        """The digest of the active set."""
        return self._engine.evolution.prompts.current.digest

    async def reload(self, known: str = "") -> Reloaded:
        """Load what the folder contains now.

        Args:
            known: Digest of the set that must still be active; empty: any.

        Raises:
            Outdated: another set is active.
            ConfigurationError: the set is invalid; names file, line and reason.
            StoreUnavailable: it cannot be stored now.
        """
        async with self._reading:
            if known and known != self.digest:
                raise Outdated(
                    f"the active prompts must be those of {known[:64]!r}, found "
                    f"{self.digest!r}; read them, and ask again"
                )
            try:
                prompts = await self._folder.read()
                edition = await self._engine.take_prompts(prompts, self._axis_size)
            except ConfigurationError as error:
                with contextlib.suppress(StoreUnavailable):  # noted at the next reading
                    await self._reject(str(error))
                raise
            with contextlib.suppress(StoreUnavailable):
                await self._end_rejection()
        current = self._engine.evolution.prompts
        assert current.edition is not None
        return Reloaded(
            changed=edition is not None,
            edition=current.edition.number,
            num_prompts=len(current.current.all),
            digest=self.digest,
        )

    async def _reject(self, reason: str) -> None:
        """Log and publish a rejection once, however often the folder is read.

        Raises:
            StoreUnavailable: it is published, but not stored for `status`.
        """
        if reason != self._rejection:
            self._rejection = reason
            logger.error("prompts are rejected, the active ones stay: %s", reason, extra=_REJECTED)
            self._events.publish(PromptsRejected(reason=reason))
        await self._note(reason)

    async def _end_rejection(self) -> None:
        if self._rejection:
            self._rejection = ""
            logger.info("the prompt folder is valid again", extra=_REJECTED)
        await self._note("")

    async def _note(self, reason: str) -> None:
        if reason != self._noted:
            await self._store.note_refusal(reason)
            self._noted = reason


_REJECTED = {"action": "prompts_refused"}
