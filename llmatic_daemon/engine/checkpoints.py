"""Keeps a milestone of the search now and then, so that a start need not fold the whole log."""

import asyncio
import logging

from llmatic_daemon.domain.errors import StoreUnavailable
from llmatic_daemon.domain.ports import SearchStore
from llmatic_daemon.engine.engine import Engine
from llmatic_daemon.search.checkpoint import checkpoint_of
from llmatic_daemon.search.evolution import Evolution

logger = logging.getLogger(__name__)

#: Placements between two milestones, at least: 0.1 s of folding.
_MIN_INTERVAL = 1000


async def keep_checkpoints(engine: Engine, store: SearchStore) -> None:
    """Keep the first one now, and go on for ever: a start may have had to fold all there was."""
    while True:
        await keep_checkpoint(engine.evolution, store)
        evolution = engine.evolution
        await engine.settled(evolution.num_settled + interval(evolution))


async def keep_checkpoint(evolution: Evolution, store: SearchStore) -> None:
    """Keep a milestone; a store that takes none now is asked again with the next one."""
    checkpoint = await asyncio.to_thread(checkpoint_of, evolution)
    try:
        await store.keep_checkpoint(checkpoint)
    except StoreUnavailable as error:
        logger.warning("no milestone is kept: %s", error, extra={"action": "milestone"})


def interval(evolution: Evolution) -> int:
    """Say how many placements later the next one comes.

    A milestone costs as much as there are filled cells, so that large archives have fewer: what a
    placement costs stays the same.
    """
    return max(_MIN_INTERVAL, (len(evolution.networks) + len(evolution.individuals)) // 10)
