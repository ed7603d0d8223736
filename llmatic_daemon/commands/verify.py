"""Does what a state folder stores follow from its log? The same fold as a restart, compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.bootstrap.build_search import empty
from llmatic_daemon.bootstrap.saved_settings import read_settings
from llmatic_daemon.domain import PromptElite
from llmatic_daemon.search.checkpoint import resumed
from llmatic_daemon.search.evolution import Evolution, fold


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """What a comparison has found."""

    num_settled: int
    num_evaluations: int
    #: One line for each difference; empty when all agrees.
    faults: tuple[str, ...]


def verify(state_dir: Path) -> Verification:
    """Fold the log and compare: archives, credit, jobs, and the database's own check.

    Raises:
        LLMaticError: the folder holds no search, or cannot be read.
    """
    settings = read_settings(state_dir)
    with History(state_dir) as history, history.moment():
        beginning = empty(settings, history.centroids())
        totals = history.totals()
        evolution = fold(beginning, totals.watch(history.log()))
        faults = (
            *history.check(totals),
            *_network_faults(evolution, history),
            *_prompt_faults(evolution, history),
            *_checkpoint_faults(beginning, evolution, history),
        )
    return Verification(
        num_settled=evolution.num_settled, num_evaluations=evolution.num_evaluations, faults=faults
    )


def _checkpoint_faults(beginning: Evolution, evolution: Evolution, history: History) -> list[str]:
    """Compare with what a restart does: the checkpoint, and the fold of what came after it."""
    checkpoint = history.checkpoint()
    begun = resumed(beginning, checkpoint) if checkpoint else None
    if checkpoint is None or begun is None:
        return []
    if fold(begun, history.log(checkpoint)) == evolution:
        return []
    position = f"{checkpoint.num_settled} placements"
    return [f"the checkpoint after {position} and the log after it give another search"]


def _network_faults(evolution: Evolution, history: History) -> list[str]:
    folded = {
        cell: (held.elite.job, held.objective, evolution.contenders.of(cell)[0].figures.test_accuracy)
        for cell, held in evolution.networks.items()
    }
    stored = {elite.cell: (elite.job, elite.objective, elite.test_accuracy) for elite in history.elites()}
    return _differences("network archive", folded, stored)


def _prompt_faults(evolution: Evolution, history: History) -> list[str]:
    folded = {cell: (held.elite, held.objective) for cell, held in evolution.individuals.items()}
    stored = {
        each.cell: (
            PromptElite(
                job=each.job,
                prompt=each.prompt,
                prompt_version=each.prompt_version,
                temperature=each.temperature,
                curiosity=each.curiosity,
            ),
            each.objective,
        )
        for each in history.prompt_elites()
    }
    return _differences("prompt archive", folded, stored)


def _differences(archive: str, folded: Mapping[int, object], stored: Mapping[int, object]) -> list[str]:
    return [
        f"{archive}, cell {cell}: the log gives {folded.get(cell)}, stored is {stored.get(cell)}"
        for cell in sorted(folded.keys() | stored.keys())
        if folded.get(cell) != stored.get(cell)
    ]
