"""The loop that the steady state is compared with: generations, each begun when the slowest has ended."""

from collections.abc import Callable

from llmatic_daemon.engine.engine import Engine
from llmatic_daemon.search.evolution import Evolution


async def run_generations(
    engine_for: Callable[[Evolution, int], Engine], search: Evolution, num_evaluations: int
) -> Evolution:
    """Run whole generations until so many networks are evaluated.

    Args:
        engine_for: Makes the engine of the n-th generation, from 1, which ends with it. It has a slot
            for each candidate: all are proposed from the same archives, and written at the same time.
        search: As it begins.
        num_evaluations: At least.
    """
    number = 0
    while search.num_evaluations < num_evaluations:
        number += 1
        engine = engine_for(search, number)
        await engine.run()
        search = engine.evolution
    return search
