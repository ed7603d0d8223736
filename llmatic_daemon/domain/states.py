"""A search as a whole: its status, checkpoint, cells and identity."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from llmatic_daemon.domain.audits import Contender
from llmatic_daemon.domain.placements import PromptElite
from llmatic_daemon.domain.prompts import Edition
from llmatic_daemon.domain.uplift import Uplift

# --- the search in numbers ------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchStatus:
    """A search in numbers: of the running engine, or as a state folder holds it."""

    num_settled: int
    num_evaluations: int
    #: None: no limit, or a state folder: its settings have the limit.
    max_evaluations: int | None = None
    network_cells: int
    filled_network_cells: int
    prompt_cells: int
    filled_prompt_cells: int
    qd_score: float
    #: None before the first evaluation.
    best_objective: float | None
    best_job: int | None
    #: Running time over all restarts, and busy time of the device workers, in seconds.
    elapsed_s: float
    train_s: float
    #: Of a state folder: those with a running job.
    num_slots: int
    #: The daemon dispatches jobs and stores results, as far as is known.
    is_ready: bool = True
    #: A person has paused the search.
    is_paused: bool = False
    #: No job is started any more.
    is_draining: bool = False
    #: Of the elites; None before the first.
    median_objective: float | None = None
    #: Highest curiosity of the individuals of each prompt that has any.
    curiosity: Mapping[str, float] = field(default_factory=dict)
    #: None: there was never a control arm.
    uplift: Uplift | None = None
    #: Trainers that died while they trained a network; device workers taken out of service for that.
    num_trainer_deaths: int = 0
    devices_out: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedSearch:
    """What a log has made of a search, in records that can be stored."""

    #: Each filled cell of the network archive and its contenders, its elite first.
    networks: tuple[tuple[int, tuple[Contender, ...]], ...]
    #: Each filled cell of the prompt archive, with its objective and its elite.
    individuals: tuple[tuple[int, float, PromptElite], ...]
    #: Prompt, version and collective score.
    scores: tuple[tuple[str, int, float], ...]
    edition: Edition | None
    #: By prompt: digests of its versions, its position on the archive's axis, its last edition.
    versions: Mapping[str, tuple[str, ...]]
    axis_positions: Mapping[str, int]
    last_used: Mapping[str, int]
    #: Best objectives of the last window and of the current one.
    window: tuple[float | None, float | None]
    #: Objective and job.
    best: tuple[float, int] | None
    num_evaluations: int
    num_since_added: int
    #: In full trainings.
    cost: float
    rung_accuracies: tuple[float, ...]
    rung_ratio: float
    llm_is_out: bool
    train_s: float
    elapsed_s: float
    #: Deaths of trainers by the digest of the network, if there were any.
    deaths: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A search as the first part of its log made it, so that a start folds only what came after."""

    #: Of the log, how much it has seen: placements, editions, audits, deaths of trainers.
    num_settled: int = 0
    num_editions: int = 0
    num_audits: int = 0
    num_deaths: int = 0
    #: Names the rules by which the log was folded; by others it may give another search.
    rules_digest: str = ""
    #: None: the search before its first entry.
    search: SavedSearch | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tessellation:
    """The centroids of both archives, made once and kept with them."""

    #: (num_cells, 2), in [0, 1].
    network: tuple[tuple[float, float], ...] = field(repr=False)
    prompt: tuple[tuple[float, float], ...] = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """What a state folder belongs to; a search with another identity is refused."""

    #: Data set, seed, bounds, cells: whatever would make old results wrong for a new run.
    fields: tuple[tuple[str, str], ...]

    def differences(self, other: "Identity") -> Iterable[str]:
        """Name what differs, one line each."""
        mine, theirs = dict(self.fields), dict(other.fields)
        for name in sorted(mine.keys() | theirs.keys()):
            if mine.get(name) != theirs.get(name):
                now, before = (repr(x[name]) if name in x else "as by default" for x in (theirs, mine))
                yield f"{name} is {now}, was {before}"
