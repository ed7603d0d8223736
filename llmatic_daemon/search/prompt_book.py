"""Prompts: every version that a search has known, its position, its curiosity and its collective score."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from immutables import Map

from llmatic_daemon.domain import AddStatus, Edition, Prompt, PromptElite, PromptKind, PromptSet
from llmatic_daemon.domain.errors import ConfigurationError
from llmatic_daemon.search.archive.archive import CVTArchive
from llmatic_daemon.search.rules import Rules

#: A version of a prompt: its id and its number.
Version = tuple[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptBook:
    """All prompts that a search has known, and the set in use."""

    #: The last edition; None before the first.
    edition: Edition | None = None
    #: Digests of the versions of each prompt, oldest first.
    versions: Map[str, tuple[str, ...]] = Map()
    #: Slot of each mutation prompt on the archive's axis, retired ones included.
    axis_positions: Map[str, int] = Map()
    #: Number of the last edition that each prompt was in.
    last_used: Map[str, int] = Map()

    @property
    def current(self) -> PromptSet:
        """The set in use.

        Raises:
            ValueError: the search has not taken one yet.
        """
        if self.edition is None:
            raise ValueError("a search must take a prompt set before it can propose")
        return self.edition.prompts

    def numbered(self, prompts: Sequence[Prompt], axis_size: int) -> PromptSet:
        """Give prompts as they were read their versions, and mutation prompts their positions.

        A text that was there before is its old version again, with the credit that it has earned.

        Args:
            prompts: At least one for mutation and exactly one for crossover.
            axis_size: Length of the archive's axis.

        Raises:
            ConfigurationError: there are more mutation prompts than positions.
        """
        known = sorted((self._numbered(prompt) for prompt in prompts), key=lambda p: p.id)
        mutation = tuple(p for p in known if p.kind is PromptKind.MUTATION)
        (crossover,) = (p for p in known if p.kind is PromptKind.CROSSOVER)
        positions = self._positions_for([prompt.id for prompt in mutation], axis_size)
        return PromptSet(mutation=mutation, crossover=crossover, axis_positions=positions)

    def _numbered(self, prompt: Prompt) -> Prompt:
        digests = self.versions.get(prompt.id, ())
        known = prompt.digest in digests
        version = digests.index(prompt.digest) + 1 if known else len(digests) + 1
        return replace(prompt, version=version)

    def _positions_for(self, ids: Sequence[str], axis_size: int) -> tuple[int, ...]:
        """Keep known positions; a new prompt takes the lowest one never used, else a retired one's."""
        if len(ids) > axis_size:
            raise ConfigurationError(
                f"there must be at most {axis_size} mutation prompts (archives.prompt_axis_size), "
                f"found {len(ids)}; disable or remove some"
            )
        free = self._free_positions(ids, axis_size)
        return tuple(self.axis_positions[id_] if id_ in self.axis_positions else next(free) for id_ in ids)

    def _free_positions(self, ids: Sequence[str], axis_size: int) -> Iterator[int]:
        taken = set(self.axis_positions.values())
        yield from (position for position in range(axis_size) if position not in taken)
        retired = [
            id_ for id_ in self.axis_positions if id_ not in ids and self.axis_positions[id_] < axis_size
        ]
        for id_ in sorted(retired, key=lambda id_: (self.last_used[id_], id_)):
            yield self.axis_positions[id_]

    def after(self, edition: Edition) -> "PromptBook":
        """Return the book after an edition. Total: nothing is decided here."""
        versions, positions, last_used = self.versions, self.axis_positions, self.last_used
        for prompt in edition.prompts.all:
            digests = versions.get(prompt.id, ())
            if prompt.version > len(digests):
                versions = versions.set(prompt.id, (*digests, prompt.digest))
            last_used = last_used.set(prompt.id, edition.number)
        for prompt, position in zip(edition.prompts.mutation, edition.prompts.axis_positions, strict=True):
            positions = _given(positions, prompt.id, position)
        return replace(
            self, edition=edition, versions=versions, axis_positions=positions, last_used=last_used
        )

    def is_outdated(self, elite: PromptElite) -> bool:
        """Tell whether an individual stands for a text that was changed, or has lost its position."""
        if elite.prompt not in self.axis_positions:
            return True
        versions = {p.id: p.version for p in self.current.mutation}
        return versions.get(elite.prompt, elite.prompt_version) != elite.prompt_version


#: Before the first edition.
EMPTY_BOOK = PromptBook()


def _given(positions: Map[str, int], prompt: str, position: int) -> Map[str, int]:
    """Give a position to a prompt, and take it from the retired one that had it."""
    for other, theirs in positions.items():
        if theirs == position and other != prompt:
            positions = positions.delete(other)
    return positions.set(prompt, position)


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
    in_use = {(prompt.id, prompt.version) for prompt in prompts.mutation}
    cells: list[int] = []
    best = -math.inf
    for cell, held in archive.items():
        elite = held.elite
        if elite.curiosity < best or (elite.prompt, elite.prompt_version) not in in_use:
            continue
        if elite.curiosity > best:
            best, cells = elite.curiosity, []
        cells.append(cell)
    return cells


def highest_curiosity(archive: CVTArchive[PromptElite], prompts: PromptSet) -> dict[str, float]:
    """Find the highest curiosity of each prompt in use that has an individual."""
    in_use = {(prompt.id, prompt.version) for prompt in prompts.mutation}
    highest: dict[str, float] = {}
    for _, held in archive.items():
        elite = held.elite
        if (elite.prompt, elite.prompt_version) in in_use:
            before = highest.get(elite.prompt, elite.curiosity)
            highest[elite.prompt] = max(before, elite.curiosity)
    return highest


def with_credit(
    archive: CVTArchive[PromptElite], cell: int, job: int, change: float
) -> CVTArchive[PromptElite]:
    """Change the curiosity of the individual that was selected, if it still holds its cell."""
    held = archive.get(cell)
    if held is None or held.elite.job != job:
        return archive
    elite = replace(held.elite, curiosity=held.elite.curiosity + change)
    return archive.with_elite(cell, held.objective, elite)
