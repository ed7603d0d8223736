"""Where edits of the prompt files come in: taken into the running search whole, or not at all."""

import asyncio
import contextlib
import logging
from dataclasses import dataclass

from llmatic_daemon.adapters.prompts.watcher import PromptFolder
from llmatic_daemon.domain.errors import ConfigurationError, Outdated, StoreUnavailable
from llmatic_daemon.domain.ports import Observer, SearchStore
from llmatic_daemon.engine.engine import Engine

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reloaded:
    """What came of looking at the prompt folder."""

    #: False: the files say what is in force already.
    changed: bool
    #: Number of the edition that is in force.
    edition: int
    num_prompts: int
    #: Of the set in force, for an If-Match.
    digest: str


class PromptReloader:
    """Reads the folder when told, and keeps the last good set in force whatever it finds."""

    def __init__(
        self,
        folder: PromptFolder,
        engine: Engine,
        store: SearchStore,
        *,
        num_slots: int,
        observers: tuple[Observer, ...] = (),
    ) -> None:
        self._folder = folder
        self._engine = engine
        self._store = store
        self._num_slots = num_slots
        self._observers = observers
        self._reading = asyncio.Lock()
        #: Why the folder was refused last, as it was told; empty: it is good.
        self._refusal = ""
        #: What the store has noted of it; None: an earlier life may have left a refusal there.
        self._noted: str | None = None

    async def watch(self) -> None:
        """Take edits as they come, for ever."""
        async with contextlib.aclosing(self._folder.stirrings()) as stirrings:
            async for _ in stirrings:
                with contextlib.suppress(ConfigurationError, StoreUnavailable):  # told, and kept
                    await self.reload()

    @property
    def digest(self) -> str:
        """Name the set that is in force."""
        return self._engine.evolution.prompts.current.digest

    async def reload(self, known: str = "") -> Reloaded:
        """Take what lies in the folder now.

        Args:
            known: Digest of the set that must still be in force; empty: whichever is.

        Raises:
            Outdated: another one is.
            ConfigurationError: it is no good set; says which file, which line, why.
            StoreUnavailable: it cannot be kept now.
        """
        async with self._reading:
            if known and known != self.digest:
                raise Outdated(
                    f"the prompts in force must be those of {known[:64]!r}, found "
                    f"{self.digest!r}; look at them, and ask again"
                )
            try:
                prompts = await self._folder.read()
                edition = await self._engine.take_prompts(prompts, self._num_slots)
            except ConfigurationError as error:
                with contextlib.suppress(StoreUnavailable):  # noted when it is looked at again
                    await self.refuse(str(error))
                raise
            with contextlib.suppress(StoreUnavailable):
                await self._end_refusal()
        current = self._engine.evolution.prompts
        assert current.edition is not None
        return Reloaded(
            changed=edition is not None,
            edition=current.edition.number,
            num_prompts=len(current.current.all),
            digest=self.digest,
        )

    async def refuse(self, why: str) -> None:
        """Tell that a set was not taken: once, however often it is looked at.

        Raises:
            StoreUnavailable: it is told, but not kept for those who ask later.
        """
        if why != self._refusal:
            self._refusal = why
            logger.error("prompts are not taken, the last good ones stay: %s", why, extra=_REFUSED)
            for observer in self._observers:
                observer.refused(why)
        await self._note(why)

    async def _end_refusal(self) -> None:
        if self._refusal:
            self._refusal = ""
            logger.info("the prompt folder is good again", extra=_REFUSED)
        await self._note("")

    async def _note(self, why: str) -> None:
        if why != self._noted:
            await self._store.note_refusal(why)
            self._noted = why


_REFUSED = {"action": "prompts_refused"}
