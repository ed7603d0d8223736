"""Prompts, the set of them that is active, and its editions."""

from dataclasses import dataclass
from enum import StrEnum

from llmatic_daemon.domain.task import digest


class PromptKind(StrEnum):
    """Which operator a prompt serves."""

    MUTATION = "mutation"
    CROSSOVER = "crossover"


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """One version of a hot-edited prompt file."""

    #: The file's stem, stable for ever.
    id: str
    kind: PromptKind
    text: str
    #: How often it is drawn at random, against the others; above 0.
    weight: float = 1.0
    #: From 1 for each id; 0: as read from its file, before a search has taken it.
    version: int = 0

    @property
    def digest(self) -> str:
        """Name what makes this version another one than the last: its kind and its text."""
        return digest(f"{self.kind.value}\n{self.text}".encode())

    @property
    def name(self) -> str:
        """Name the version for a person."""
        return f"{self.id} v{self.version}"


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptSet:
    """All prompts that may be chosen now, mutation prompts sorted by id."""

    mutation: tuple[Prompt, ...]
    crossover: Prompt
    #: Position of each mutation prompt on the prompt archive's axis; kept for ever.
    axis_positions: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuse a set without mutation prompts, or with axis positions that do not match."""
        if not self.mutation or len(self.axis_positions) != len(self.mutation):
            raise ValueError("a prompt set needs mutation prompts, and one axis position for each")

    def axis_position_of(self, prompt_id: str, version: int) -> int | None:
        """Find the axis position of a mutation prompt; None when this version is not in the set."""
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
        """Name the set by what its files say: the same files give the same digest."""
        parts = sorted((p.id, p.digest, p.weight) for p in self.all)
        return digest(repr(parts).encode())


@dataclass(frozen=True, kw_only=True, slots=True)
class Edition:
    """A prompt set that a search has taken: an entry of its log, between two placements."""

    #: Position among the editions, from 1, without gaps.
    number: int
    #: Number of placements before it.
    num_settled: int
    prompts: PromptSet
    #: Cells of the prompt archive that it empties: of older versions, and of axis positions given away.
    emptied: tuple[int, ...]


#: Ids of prompts that are no files' (theirs have no colon), and that those who write by rule know: one
#: asks for a network that owes nothing to the parent, the other for a change of any kind.
SAMPLE_PROMPT_ID = "variant:sample"
CHANGE_PROMPT_ID = "variant:change"

#: What a prompt may leave open, as `{source}`: the parents' sources, the shape of an image
#: ("3 x 32 x 32"), the number of classes, the name of the data set.
PLACEHOLDERS = ("source", "shape", "num_classes", "task")
