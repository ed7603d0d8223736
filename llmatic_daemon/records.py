"""Every noun of the search, frozen, in the order in which they flow.

Task, Prompt -> Job -> Request -> Proposal -> Completion -> Candidate -> Network -> Report -> Placement.
The log of a search holds its placements, and between them the editions of its prompts and its audits.
Units end names (`_s`, `_bytes`, `_ratio`); counts are `num_...`.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum


def digest(content: bytes) -> str:
    """Name content by its SHA-256, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


# --- what is searched ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """The data set that networks are made for, as the trainers see it."""

    name: str
    #: (channels, height, width) of one image.
    input_shape: tuple[int, int, int]
    num_classes: int
    num_train: int
    #: 0 when the test split selects (the paper's way).
    num_validation: int
    num_test: int


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
    #: Slot of each mutation prompt on the prompt archive's axis; kept for ever.
    slots: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuse a set without mutation prompts, or with slots that do not match."""
        if not self.mutation or len(self.slots) != len(self.mutation):
            raise ValueError("a prompt set needs mutation prompts, and one slot for each")

    def slot_of(self, prompt_id: str, version: int) -> int | None:
        """Find the axis slot of a mutation prompt; None when this version is not in the set."""
        for prompt, slot in zip(self.mutation, self.slots, strict=True):
            if (prompt.id, prompt.version) == (prompt_id, version):
                return slot
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
    #: Cells of the prompt archive that it empties: of older versions, and of slots given away.
    emptied: tuple[int, ...]


# --- one candidate, from claim to completion -----------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A claim to develop one candidate."""

    #: From 1, without gaps.
    number: int
    #: From 1; how often this job has been dispatched. The fence against late results.
    attempt: int
    #: How many attempts before this one count as failed (a crash counts, a graceful stop does not).
    num_charged: int = 0


class Operator(StrEnum):
    """How a candidate is made."""

    INITIALISATION = "initialisation"
    MUTATION = "mutation"
    CROSSOVER = "crossover"


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """What is to be tried next, and all that is needed to give credit for its result."""

    job: Job
    operator: Operator
    prompt: Prompt
    #: Of the (prompt, temperature) individual that is used, in [0, 1]; None for a crossover.
    temperature: float | None
    #: As sent to the writer, in [0.01, 1].
    sampling_temperature: float
    #: For the writer, the lifted network's initial weights and its training.
    seed: int
    #: Job numbers and source digests of the parents, the one to be changed first; the initial
    #: network has neither.
    parents: tuple[int, ...]
    parent_digests: tuple[str, ...]
    #: Cell of the prompt archive whose elite is to be credited, and that elite's job; None: nobody.
    credited_cell: int | None
    credited_job: int | None
    #: Number of placements that the proposal had seen.
    num_settled: int
    #: Accuracies of the parents, where the writer is told of them; in [0, 1].
    results: tuple[float, ...] = ()
    #: Written by rule although an LLM may be there: for the control arm, and by what compares with us.
    by_rule: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a writer is asked."""

    operator: Operator
    prompt: Prompt
    #: Sources of the parents, the one to be changed first.
    parents: tuple[str, ...]
    #: Sampling temperature as sent, in [0.01, 1].
    temperature: float
    seed: int
    task: Task
    #: For a model that continues a file: the text, and where it is to stop.
    continuation: str = field(repr=False)
    stops: tuple[str, ...] = field(repr=False)
    #: For a chat model.
    system: str = field(repr=False)
    question: str = field(repr=False)

    @property
    def digest(self) -> str:
        """Name the request by all that an LLM could answer it by."""
        parts = (self.continuation, self.stops, self.system, self.question, self.temperature)
        return digest(repr((*parts, self.seed)).encode(errors="surrogatepass"))


#: Ids of prompts that are no files' (theirs have no colon), and that those who write by rule know: one
#: asks for a network that owes nothing to the parent, the other for a change of any kind.
AFRESH = "variant:sample"
ANYHOW = "variant:change"

#: What a prompt may leave open, as `{source}`: the parents' sources, the shape of an image
#: ("3 x 32 x 32"), the number of classes, the name of the data set.
PLACEHOLDERS = ("source", "shape", "num_classes", "task")


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """What a writer answered."""

    text: str
    writer: str
    #: What the endpoint calls the model, and its revision; empty when it does not say.
    model: str
    version: str = ""
    #: Name of the endpoint in the settings; empty for a writer without one.
    endpoint: str = ""
    #: "stop", "length" (the token limit cut it), or the server's own word.
    finish_reason: str = "stop"
    #: Of the request, where the server counts them, and of the answer.
    num_prompt_tokens: int = 0
    num_tokens: int = 0
    #: Of the call that was answered, waiting for its turn and earlier tries aside.
    duration_s: float = 0.0
    #: Written by rule while no LLM answered: its prompt earns no credit.
    stand_in: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class TooLong:
    """A request that does not fit into the context of the LLM; it was not sent."""

    endpoint: str
    num_tokens: int
    max_tokens: int

    def __str__(self) -> str:
        return f"the request has {self.num_tokens} tokens, endpoint {self.endpoint!r} takes {self.max_tokens}"


class CallOutcome(StrEnum):
    """How one call of an LLM's endpoint ended."""

    ANSWERED = "answered"
    #: Measured before it was sent, or refused for its length.
    TOO_LONG = "too_long"
    #: The server had no room (429).
    OVERLOADED = "overloaded"
    #: Broken on its way or in the server: tried again.
    FAILED = "failed"
    TIMEOUT = "timeout"
    #: The server understood, and will not have it: a setting or a key is wrong.
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One call of an LLM's endpoint, for those who watch."""

    endpoint: str
    outcome: CallOutcome
    duration_s: float
    #: Of an answer only.
    completion: Completion | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointState:
    """An endpoint at this moment, for those who watch."""

    name: str
    model: str
    #: Whether calls are held back because too many have failed.
    is_open: bool
    num_in_flight: int
    #: Calls that may be in flight at once, as adapted to what the server bears.
    limit: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A completion's network source: read and vetted, never run here."""

    source: str
    #: Name of the `nn.Module` subclass.
    class_name: str
    #: Of the random generators before the network is built.
    seed: int
    task: Task

    @property
    def digest(self) -> str:
        """Name the source by its content."""
        return digest(self.source.encode())


class Outcome(StrEnum):
    """How a job ended. All but TRAINED, DUPLICATE and STOPPED are causes of a rejection or failure."""

    TRAINED = "trained"
    DUPLICATE = "duplicate"
    #: A first look told that it would not win its cell; its training was ended.
    STOPPED = "stopped"
    #: The completion does not parse.
    NOT_CODE = "not_code"
    #: No class that inherits from nn.Module, or one that triage forbids.
    NO_CLASS = "no_class"
    #: The request does not fit the LLM's context; blames no prompt.
    CONTEXT = "context"
    #: Building or exporting the network raised.
    LIFT_FAILED = "lift_failed"
    #: The graph breaks a rule or a limit.
    INVALID_GRAPH = "invalid_graph"
    #: Tried to leave the sandbox, or broke a resource limit of it.
    SANDBOX = "sandbox"
    NAN = "nan"
    TIMEOUT = "timeout"
    OOM = "oom"
    #: The world failed `max_attempts` times; blames no prompt.
    ERROR = "error"

    @property
    def blames_prompt(self) -> bool:
        """Tell whether the prompt takes part in what happened."""
        return self not in (Outcome.CONTEXT, Outcome.ERROR)

    @property
    def is_lasting(self) -> bool:
        """Tell whether the same network would end so again: it was trained, and no machine is to blame.

        One that was stopped would, while there are first looks.
        """
        return self not in (Outcome.DUPLICATE, Outcome.ERROR, Outcome.TIMEOUT, Outcome.OOM)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejection:
    """A candidate that never got to training, and why."""

    cause: Outcome
    #: One line for a person.
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Measures:
    """What a lifted graph says about a network."""

    num_parameters: int
    #: Multiply-adds of one forward pass of one image.
    flops: int
    #: Largest number of output features or channels of any layer.
    width: int
    #: Number of layers (convolutions, linear and recurrent layers).
    depth: int

    @property
    def width_to_depth(self) -> float:
        """The paper's first measure."""
        return self.width / max(1, self.depth)


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """A lifted network: a graph of allow-listed operations and its initial weights."""

    #: Canonical JSON, UTF-8: two sources of the same network give the same bytes.
    graph: bytes = field(repr=False)
    #: Safetensors.
    weights: bytes = field(repr=False)
    measures: Measures
    lift_s: float
    #: Operations of the graph in the order in which the source computes them; empty: as numbered.
    order: tuple[int, ...] = field(default=(), repr=False)

    @property
    def digest(self) -> str:
        """Name the network by its canonical graph, weights and order aside."""
        return digest(self.graph)


@dataclass(frozen=True, slots=True)
class Look:
    """A cheap first look at a network in training, after which its training may end."""

    #: After which share of the training, in (0, 1).
    ratio: float
    #: Asked with the accuracy so far, on the split that selects; must return at once.
    goes_on: Callable[[float], bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """How a network is to be trained, beyond the trainer's own recipe."""

    seed: int
    #: 0 measures the untrained network; None trains as long as the recipe says.
    epochs: int | None = None
    keep_weights: bool = False
    #: Take a device place only while nobody else waits for one.
    spare: bool = False
    #: None: it is trained to its end without a look.
    look: Look | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """One point of a learning curve."""

    number: int
    train_loss: float
    #: On the split that selects, in [0, 1].
    accuracy: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """What a trainer says while it works; the first one, at epoch 0, when it has its place."""

    place: str
    epoch: int
    num_epochs: int
    accuracy: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A network that did not train, and why."""

    cause: Outcome
    detail: str
    place: str = ""
    wait_s: float = 0.0
    train_s: float = 0.0
    #: In full trainings, by the epochs that had ended.
    cost: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Duplicate:
    """A network that another job has settled before; it is not trained again."""

    #: Job number.
    of: int
    #: What happened then.
    outcome: Outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class Stopped:
    """A network whose training was ended after the first look; its accuracy never counts as one."""

    #: Accuracy of the look, in [0, 1].
    look: float
    place: str
    wait_s: float
    train_s: float
    #: In full trainings, in (0, 1).
    cost: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """A network that was trained and measured."""

    #: Accuracy on the split that selects, in [0, 1].
    objective: float
    #: In [0, 1].
    test_accuracy: float
    #: Mean cross-entropy on the test split.
    test_loss: float
    curve: tuple[Epoch, ...]
    place: str
    #: Time spent waiting for a device place, and holding it.
    wait_s: float
    train_s: float
    #: Safetensors; only when `Training.keep_weights`.
    weights: bytes | None = field(default=None, repr=False)
    #: Mean and deviation of each channel by which images are normalised; beside the weights only.
    normalisation: tuple[tuple[float, float], ...] | None = None
    #: Accuracy of the first look, in [0, 1]; None when there was none.
    look: float | None = None
    #: In full trainings; a look that is a training of its own comes on top, and to measure an
    #: untrained network costs none.
    cost: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One candidate at the end of its life, with all that it became on the way."""

    proposal: Proposal
    slot: int
    result: Report | Rejection | Failure | Duplicate | Stopped
    completion: Completion | None = None
    candidate: Candidate | None = None
    network: Network | None = None
    #: Since the job was claimed, in seconds.
    total_s: float = 0.0


# --- what those who watch hear of -----------------------------------------------------------------


class PlacePhase(StrEnum):
    """What keeps a device place busy."""

    #: A trainer is being started there, or a pause follows a start that failed.
    START = "start"
    TRAIN = "train"
    AUDIT = "audit"


class RestartReason(StrEnum):
    """Why a trainer was replaced."""

    DIED = "died"
    #: It did not end a training in time, and was killed.
    HUNG = "hung"
    #: Nobody wants the result of its training any more.
    CANCELLED = "cancelled"
    #: It did not become ready.
    NOT_STARTED = "not_started"


class CommitResult(StrEnum):
    """What came of a try to commit a placement."""

    KEPT = "kept"
    #: The fence refused it: its job was settled, or dispatched anew, before.
    FENCED = "fenced"
    #: The store could not be written.
    UNAVAILABLE = "unavailable"


# --- what one candidate changes ------------------------------------------------------------------


class Arm(StrEnum):
    """Who has written a candidate, for the comparison of the two."""

    #: The configured writer: an LLM, where there is one.
    WRITER = "writer"
    #: A rule, from the same parents: what an LLM must beat to be worth its while.
    CONTROL = "control"
    #: A rule, in the place of an LLM that did not answer.
    STAND_IN = "stand_in"


class AddStatus(StrEnum):
    """What happened to a solution that was offered to an archive."""

    NEW = "new"
    IMPROVED = "improved"
    NOT_ADDED = "not_added"

    @property
    def added(self) -> bool:
        """Tell whether the solution is now its cell's elite."""
        return self is not AddStatus.NOT_ADDED


@dataclass(frozen=True, kw_only=True, slots=True)
class Durations:
    """Where a candidate's time went, in seconds."""

    llm_s: float = 0.0
    lift_s: float = 0.0
    wait_s: float = 0.0
    train_s: float = 0.0
    total_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptOffer:
    """A (prompt, temperature) individual as offered to the prompt archive."""

    #: Temperature of the individual offered, in [0, 1].
    temperature: float
    cell: int
    status: AddStatus
    #: The prompt's collective score at this moment: the individual's objective.
    objective: float
    #: What the newcomer starts with, when added.
    curiosity: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """All that one settled candidate changes: the database row, the log line, the metric, the message."""

    #: Position in the log, from 1, without gaps.
    number: int
    job: Job
    slot: int
    operator: Operator
    prompt: str
    prompt_version: int
    #: Of the individual that was used; None for a crossover.
    temperature: float | None
    #: Of the writer, the initial weights and the training: what a candidate is made again with.
    seed: int
    #: Job numbers.
    parents: tuple[int, ...]
    #: Of the completion, see there; empty and 0 when there was none.
    writer: str
    endpoint: str
    model: str
    model_version: str
    finish_reason: str
    num_prompt_tokens: int
    num_tokens: int
    stand_in: bool
    outcome: Outcome
    #: One line for a person; empty when trained.
    detail: str
    source_digest: str | None
    network_digest: str | None
    #: The job that settled the same network before; for DUPLICATE only.
    duplicate_of: int | None
    measures: Measures | None
    report: Report | None
    #: Set when the candidate was offered to the network archive.
    cell: int | None
    status: AddStatus
    #: A measure lay outside the archive's bounds.
    clipped: bool
    #: Credit to the individual that was selected: its cell and job, and what it gets.
    credited_cell: int | None
    credited_job: int | None
    curiosity_change: float
    #: Credit to the prompt.
    score_change: float
    offer: PromptOffer | None
    #: How many others were settled between proposal and settling.
    staleness: int
    durations: Durations
    #: Running time of the search so far, over all restarts, in seconds.
    elapsed_s: float
    #: See `Proposal.by_rule`.
    by_rule: bool = False
    #: Accuracy of the first look, in [0, 1]; None when there was none. The setting after which share
    #: of the training it was: looks at another point are not compared.
    look: float | None = None
    look_ratio: float = 0.0
    #: Of all that was trained for it, in full trainings.
    cost: float = 0.0
    #: How often each operation occurs, by name; kept for the variant that compares structures.
    structure: tuple[tuple[str, int], ...] = ()

    @property
    def arm(self) -> Arm:
        """Say who has written it."""
        if self.stand_in:
            return Arm.STAND_IN
        return Arm.CONTROL if self.by_rule else Arm.WRITER

    @property
    def objective(self) -> float | None:
        """Accuracy on the split that selects; None when not trained."""
        return self.report.objective if self.report else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Elite:
    """What a cell of the network archive holds."""

    job: int
    source_digest: str
    measures: Measures
    #: In the units of the measures (not normalised).
    solution: tuple[float, float]
    #: See `Placement`.
    look: float | None = None
    look_ratio: float = 0.0
    #: See `Placement.structure`.
    structure: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptElite:
    """What a cell of the prompt archive holds: a (prompt, temperature) individual."""

    #: The job after which it was offered.
    job: int
    prompt: str
    prompt_version: int
    temperature: float
    curiosity: float


# --- what a second training changes ---------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """How good a network is, by one training or as the mean of two."""

    #: Accuracy on the split that selects, and on the test split; in [0, 1].
    objective: float
    test_accuracy: float


class Verdict(StrEnum):
    """What two trainings of the same network, by two seeds, say of its figures."""

    STABLE = "stable"
    #: They differ by more than chance allows, or the second training failed.
    UNSTABLE = "unstable"


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """A second training of an elite, and all that it changes: an entry of the search's log."""

    #: Position among the audits, from 1, without gaps.
    number: int
    #: Number of placements before it.
    num_settled: int
    #: The network that was audited, and its cell.
    job: int
    cell: int
    #: Of the initial weights and of the training; another one than the first time.
    seed: int
    #: TRAINED, or why it was not.
    outcome: Outcome
    #: One line for a person; empty when trained.
    detail: str
    #: Of the first training, and of the audit; a training that failed has reached 0.
    first: Figures
    second: Figures
    #: Of the difference of the two objectives, by the number of images alone; above 0.
    standard_error: float
    verdict: Verdict
    #: Job that holds the cell from now on, and its figures.
    holder: int
    holder_figures: Figures
    #: Empty when no place was held; then both times are 0. In seconds.
    place: str
    wait_s: float
    train_s: float

    @property
    def mean(self) -> Figures:
        """The figures that count from now on."""
        return Figures(
            objective=(self.first.objective + self.second.objective) / 2,
            test_accuracy=(self.first.test_accuracy + self.second.test_accuracy) / 2,
        )


# --- what the LLM is worth ------------------------------------------------------------------------

#: Objectives are summed up in these parts of 1, as integers: such a sum knows no order.
OBJECTIVE_UNITS = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmTally:
    """What has become of the candidates of one arm; those that the world has failed are in none."""

    num_settled: int = 0
    #: Of these, entered the network archive.
    num_entered: int = 0
    #: Trained to the end and measured.
    num_trained: int = 0
    #: Of the trained ones: sum of the objectives, and of their squares; in `OBJECTIVE_UNITS`.
    objective_sum: int = 0
    objective_squares: int = 0

    @classmethod
    def of(cls, placement: Placement) -> "ArmTally | None":
        """Count one candidate; None when it says nothing of its arm, as the world has failed it."""
        if placement.arm is Arm.STAND_IN or not placement.outcome.blames_prompt:
            return None
        objective = placement.objective
        units = 0 if objective is None else int(objective * OBJECTIVE_UNITS)
        return cls(
            num_settled=1,
            num_entered=int(placement.status.added),
            num_trained=int(objective is not None),
            objective_sum=units,
            objective_squares=units * units,
        )

    def __add__(self, other: "ArmTally") -> "ArmTally":
        """Add up two of them."""
        return ArmTally(
            num_settled=self.num_settled + other.num_settled,
            num_entered=self.num_entered + other.num_entered,
            num_trained=self.num_trained + other.num_trained,
            objective_sum=self.objective_sum + other.objective_sum,
            objective_squares=self.objective_squares + other.objective_squares,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """A stretch of a search in which the control arm had one and the same share of the jobs."""

    #: In (0, 1].
    control_ratio: float
    #: Number of placements before it, and with its last one; None: it goes on.
    since: int
    until: int | None = None
    writer: ArmTally = ArmTally()
    control: ArmTally = ArmTally()

    def after(self, placement: Placement) -> "Comparison":
        """Return it after one more placement; one that is over stays as it is."""
        one = ArmTally.of(placement)
        if one is None or self.until is not None:
            return self
        if placement.arm is Arm.CONTROL:
            return replace(self, control=self.control + one)
        return replace(self, writer=self.writer + one)


class Finding(StrEnum):
    """What a difference between the arms says of the LLM."""

    #: The interval holds 0.
    OPEN = "not yet distinguishable"
    BETTER = "better"
    WORSE = "worse"


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """What the LLM's arm has over the control arm in one respect; below 0: it has less."""

    mean: float
    #: Bounds of the 95 % bootstrap interval.
    low: float
    high: float
    finding: Finding


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmFigures:
    """How an arm has done; for people."""

    num_settled: int
    #: Of these, entered the network archive; were trained to the end and measured.
    num_entered: int
    num_trained: int
    #: In [0, 1]; None: nothing was settled, or trained.
    entered_ratio: float | None
    mean_objective: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Uplift:
    """What the LLM is worth, as far as a control arm tells."""

    control_ratio: float
    #: Number of placements before the comparison, and with its last one; None: it goes on.
    since: int
    until: int | None
    writer: ArmFigures
    control: ArmFigures
    #: In the share of the settled candidates that entered; None: too few to say.
    entered: Difference | None
    #: In the mean objective of the trained ones; None: too few to say.
    objective: Difference | None


# --- the search in numbers ------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """The search in numbers, for those who watch it."""

    num_settled: int
    num_evaluations: int
    #: None: no limit.
    max_evaluations: int | None
    network_cells: int
    filled_network_cells: int
    prompt_cells: int
    filled_prompt_cells: int
    qd_score: float
    #: None before the first evaluation.
    best_objective: float | None
    best_job: int | None
    #: Running time over all restarts, and time that device places were held, in seconds.
    elapsed_s: float
    train_s: float
    num_slots: int
    #: Jobs are dispatched and results kept, as far as we know.
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


# --- what goes into the store, beside a placement -------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Artefacts:
    """The content that a placement names by digest."""

    source: str | None = None
    graph: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Milestone:
    """A search as the first part of its log made it, so that a start folds only what came after."""

    #: Of the log, how much it has seen: placements, editions, audits.
    num_settled: int = 0
    num_editions: int = 0
    num_audits: int = 0
    #: Names the rules by which the log was folded; by others it may give another search.
    rules_digest: str = ""
    #: The search, as JSON.
    search: str = field(default="", repr=False)


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
