"""The prompt book: all prompt versions of a search, their axis positions, curiosity and scores."""

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
    """All prompts that a search has used, and the active set."""

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
        """The active prompt set.

        Raises:
            ValueError: there is no active set yet.
        """
        if self.edition is None:
            raise ValueError("a search must have a prompt set before it can propose")
        return self.edition.prompts

    def numbered(self, prompts: Sequence[Prompt], axis_size: int) -> PromptSet:
        """Return prompts with their versions, and mutation prompts with their axis positions.

        A text that was used before gets its old version again, with its credit.

        Args:
            prompts: At least one for mutation and exactly one for crossover.
            axis_size: Length of the prompt archive's axis.

        Raises:
            ConfigurationError: there are more mutation prompts than axis positions.
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
        """Return known positions; a new prompt gets the lowest unused one, else that of a retired prompt."""
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
        """Return the book after an edition."""
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
        """Return whether an individual's prompt was changed, or has lost its axis position."""
        if elite.prompt not in self.axis_positions:
            return True
        versions = {p.id: p.version for p in self.current.mutation}
        return versions.get(elite.prompt, elite.prompt_version) != elite.prompt_version


#: Before the first edition.
EMPTY_BOOK = PromptBook()


def _given(positions: Map[str, int], prompt: str, position: int) -> Map[str, int]:
    """Assign a position to a prompt, and remove it from the retired prompt that had it."""
    for other, theirs in positions.items():
        if theirs == position and other != prompt:
            positions = positions.delete(other)
    return positions.set(prompt, position)


def curiosity_change(rules: Rules, *, trainable: bool, status: AddStatus) -> float:
    """Return the curiosity change of the selected individual.

    Source: Cully 2018, with the paper's values: +1, -0.5, and -1 if the candidate cannot be trained.
    """
    if not trainable:
        return rules.curiosity_untrainable
    return rules.curiosity_added if status.added else rules.curiosity_not_added


def score_change(objective: float | None, window_best: float | None) -> float:
    """Return the change of a prompt's collective score: 1 if its candidate beats the last window, else 0.

    Args:
        objective: Objective of the candidate; None if it could not be trained.
        window_best: Best objective of the last complete window; None before the first, when no
            candidate scores.
    """
    beats = objective is not None and window_best is not None and objective > window_best
    return 1.0 if beats else 0.0


def most_curious(archive: CVTArchive[PromptElite], prompts: PromptSet) -> list[int]:
    """Return the cells whose individuals share the highest curiosity, among active prompts."""
    active = list(_active(archive, prompts))
    best = max((elite.curiosity for _, elite in active), default=0.0)
    return [cell for cell, elite in active if elite.curiosity == best]


def highest_curiosity(archive: CVTArchive[PromptElite], prompts: PromptSet) -> dict[str, float]:
    """Return the highest curiosity of each active prompt that has an individual."""
    highest: dict[str, float] = {}
    for _, elite in _active(archive, prompts):
        highest[elite.prompt] = max(highest.get(elite.prompt, elite.curiosity), elite.curiosity)
    return highest


def _active(archive: CVTArchive[PromptElite], prompts: PromptSet) -> Iterator[tuple[int, PromptElite]]:
    versions = {(prompt.id, prompt.version) for prompt in prompts.mutation}
    for cell, held in archive.items():
        if (held.elite.prompt, held.elite.prompt_version) in versions:
            yield cell, held.elite


def with_credit(
    archive: CVTArchive[PromptElite], cell: int, job: int, change: float
) -> CVTArchive[PromptElite]:
    """Change the curiosity of the selected individual, if it still holds its cell."""
    held = archive.get(cell)
    if held is None or held.elite.job != job:
        return archive
    elite = replace(held.elite, curiosity=held.elite.curiosity + change)
    return archive.with_elite(cell, held.objective, elite)
