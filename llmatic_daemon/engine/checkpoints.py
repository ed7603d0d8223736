"""Stores checkpoints of the search, so that a start need not fold the whole log."""

import asyncio
import logging

from llmatic_daemon.domain.errors import StoreUnavailable
from llmatic_daemon.domain.ports import SearchStore
from llmatic_daemon.engine.engine import Engine
from llmatic_daemon.search.checkpoint import checkpoint_of
from llmatic_daemon.search.evolution import Evolution

logger = logging.getLogger(__name__)

#: Placements between two checkpoints, at least: 0.1 s of folding.
_MIN_INTERVAL = 1000


async def keep_checkpoints(engine: Engine, store: SearchStore) -> None:
    """Store checkpoints until cancelled, the first one now: a start may have folded the whole log."""
    while True:
        await keep_checkpoint(engine.evolution, store)
        evolution = engine.evolution
        await engine.settled(evolution.num_settled + interval(evolution))


async def keep_checkpoint(evolution: Evolution, store: SearchStore) -> None:
    """Store a checkpoint; if the store is out, the next checkpoint is the next try."""
    checkpoint = await asyncio.to_thread(checkpoint_of, evolution)
    try:
        await store.keep_checkpoint(checkpoint)
    except StoreUnavailable as error:
        logger.warning("no checkpoint is stored: %s", error, extra={"action": "checkpoint"})


def interval(evolution: Evolution) -> int:
    """Return the number of placements until the next checkpoint.

    A checkpoint costs in proportion to the filled cells, so that large archives have fewer: the cost
    of a placement stays the same.
    """
    return max(_MIN_INTERVAL, (len(evolution.networks) + len(evolution.individuals)) // 10)
