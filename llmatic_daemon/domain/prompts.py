"""Prompts, the active prompt set, and its editions."""

from dataclasses import dataclass
from enum import StrEnum

from llmatic_daemon.domain.task import digest


class PromptKind(StrEnum):
    """The operator that uses a prompt."""

    MUTATION = "mutation"
    CROSSOVER = "crossover"


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """One version of a prompt file, which may be edited during a search."""

    #: The file's stem, which never changes.
    id: str
    kind: PromptKind
    text: str
    #: Relative probability of a random draw; above 0.
    weight: float = 1.0
    #: From 1 for each id; 0: read from a file, and not yet part of a search.
    version: int = 0

    @property
    def digest(self) -> str:
        """Digest of the kind and the text, which define a version."""
        return digest(f"{self.kind.value}\n{self.text}".encode())

    @property
    def name(self) -> str:
        """Name of the version, for people."""
        return f"{self.id} v{self.version}"


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptSet:
    """The active prompts, mutation prompts sorted by id."""

    mutation: tuple[Prompt, ...]
    crossover: Prompt
    #: Position of each mutation prompt on the prompt archive's axis, which never changes.
    axis_positions: tuple[int, ...]

    def __post_init__(self) -> None:
        """Reject a set without mutation prompts, or with axis positions that do not match."""
        if not self.mutation or len(self.axis_positions) != len(self.mutation):
            raise ValueError("a prompt set needs mutation prompts, and one axis position for each")

    def axis_position_of(self, prompt_id: str, version: int) -> int | None:
        """Return the axis position of a mutation prompt, or None if this version is not in the set."""
        for prompt, position in zip(self.mutation, self.axis_positions, strict=True):
            if (prompt.id, prompt.version) == (prompt_id, version):
                return position
        return None

    @property
    def all(self) -> tuple[Prompt, ...]:
        """All prompts, the crossover prompt last."""
        return (*self.mutation, self.crossover)

    @property
    def digest(self) -> str:
        """Digest of the prompts' ids, contents and weights: the same files give the same digest."""
        parts = sorted((p.id, p.digest, p.weight) for p in self.all)
        return digest(repr(parts).encode())


@dataclass(frozen=True, kw_only=True, slots=True)
class Edition:
    """A prompt set that became active: an entry of the search's log, between two placements."""

    #: Position among the editions, from 1, without gaps.
    number: int
    #: Number of placements before it.
    num_settled: int
    prompts: PromptSet
    #: Cells of the prompt archive that it empties: of older versions, and of reassigned axis positions.
    emptied: tuple[int, ...]


#: Ids of prompts without a file (ids of files have no colon), which the rule-based writers support. One asks
#: for a network independent of the parent, the other for any change.
SAMPLE_PROMPT_ID = "variant:sample"
CHANGE_PROMPT_ID = "variant:change"

#: Placeholders of a prompt, such as `{source}`: the parents' sources, the shape of an image
#: ("3 x 32 x 32"), the number of classes, the name of the data set.
PLACEHOLDERS = ("source", "shape", "num_classes", "task")
