"""Credit: the curiosity of a prompt individual and the collective score of a prompt."""

import math
from dataclasses import replace

from llmatic_daemon.core.archive import CVTArchive
from llmatic_daemon.core.rules import Rules
from llmatic_daemon.records import AddStatus, PromptElite, PromptSet


def curiosity_change(rules: Rules, *, trainable: bool, status: AddStatus) -> float:
    """Say what the individual that was selected gets for its candidate.

    Source: Cully 2018, with the paper's values: +1, -0.5, and -1 when it cannot be trained.
    """
    if not trainable:
        return rules.curiosity_untrainable
    return rules.curiosity_added if status.added else rules.curiosity_not_added


def score_change(objective: float | None, window_best: float | None) -> float:
    """Say by how much the collective score of a prompt grows: 1 when its candidate beats the best.

    Args:
        objective: Of the candidate; None when it could not be trained.
        window_best: Best objective of the last complete window; None before the first, which
            nothing can beat.
    """
    beats = objective is not None and window_best is not None and objective > window_best
    return 1.0 if beats else 0.0


def most_curious(archive: CVTArchive[PromptElite], prompts: PromptSet) -> list[int]:
    """Find the cells whose individuals share the highest curiosity, among prompts still in use."""
    cells: list[int] = []
    best = -math.inf
    for cell, held in archive.items():
        curiosity = held.elite.curiosity
        if curiosity < best or prompts.slot_of(held.elite.prompt) is None:
            continue
        if curiosity > best:
            best, cells = curiosity, []
        cells.append(cell)
    return cells


def with_credit(
    archive: CVTArchive[PromptElite], cell: int, job: int, change: float
) -> CVTArchive[PromptElite]:
    """Change the curiosity of the individual that was selected, if it still holds its cell."""
    held = archive.get(cell)
    if held is None or held.elite.job != job:
        return archive
    elite = replace(held.elite, curiosity=held.elite.curiosity + change)
    return archive.with_elite(cell, held.objective, elite)
