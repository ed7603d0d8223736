"""A small search and fake adapters of its engine, all in memory: for tests and benchmarks."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from llmatic_daemon.adapters.storage.memory_store import Memory, MemoryStore
from llmatic_daemon.domain import (
    Artefacts,
    Audit,
    Call,
    Candidate,
    Completion,
    DevicePhase,
    Edition,
    Failure,
    Job,
    Measures,
    Network,
    Operator,
    Outcome,
    Placement,
    Progress,
    Prompt,
    PromptKind,
    Proposal,
    Rejection,
    Report,
    Request,
    RestartReason,
    StoppedEarly,
    Task,
    TooLong,
    Training,
    Trial,
)
from llmatic_daemon.domain.errors import StoreUnavailable
from llmatic_daemon.domain.events import (
    Audited,
    CallEnded,
    CommitTried,
    DeviceChanged,
    DeviceRemoved,
    Event,
    EventBus,
    JobDispatched,
    JobReleased,
    Placed,
    PromptsAdopted,
    PromptsRejected,
    SlotChanged,
    SlotsResized,
    TrainerReplaced,
)
from llmatic_daemon.domain.ports import Lifter, Trainer, Writer
from llmatic_daemon.search.archive.archive import CVTArchive
from llmatic_daemon.search.archive.centroids import Centroids
from llmatic_daemon.search.archive.measures import FLOPS, WIDTH_TO_DEPTH, Axis, MeasureSpace
from llmatic_daemon.search.archive.tessellation import r2_sequence
from llmatic_daemon.search.candidates.requests import write_request
from llmatic_daemon.search.evolution import Evolution, apply
from llmatic_daemon.search.operators import initial_source
from llmatic_daemon.search.placement import edit
from llmatic_daemon.search.rules import Rules

TASK = Task(
    name="fake", input_shape=(3, 32, 32), num_classes=10, num_train=900, num_validation=100, num_test=100
)

#: Length of the prompt archive's prompt axis.
AXIS_SIZE = 16

# --- a small search ------------------------------------------------------------------------------


def rules(**changes: Any) -> Rules:
    """Give the paper's numbers, some of them changed."""
    numbers: dict[str, Any] = {
        "seed": 1,
        "num_initial": 10,
        "initial_temperature": 0.6,
        "train_initial": False,
        "mutation_ratio": 0.7,
        "curious_ratio": 0.5,
        "temperature_jitter_ratio": 0.5,
        "temperature_jitter": 0.1,
        "tournament_size": 1,
        "min_neighbours": 2,
        "max_neighbours": 3,
        "crossover_temperature": 0.7,
        "window_size": 100,
        "curiosity_added": 1.0,
        "curiosity_not_added": -0.5,
        "curiosity_untrainable": -1.0,
        "temperature_step": 0.05,
        "min_sampling_temperature": 0.01,
        "duplicates": "train",
    }
    return Rules(**(numbers | changes))


def centroids(num_cells: int) -> Centroids:
    """Spread cells evenly, without k-means."""
    return Centroids([(float(x), float(y)) for x, y in r2_sequence(num_cells)])


NETWORK_SPACE = MeasureSpace(
    replace(WIDTH_TO_DEPTH, low=0.0, high=200.0, log=False), replace(FLOPS, low=200e6, high=5e9, log=False)
)
PROMPT_SPACE = MeasureSpace(
    Axis(name="prompt", low=0.0, high=16.0), Axis(name="temperature", low=0.0, high=1.0)
)


def evolution(num_cells: int = 100, num_prompts: int = 16, **changes: Any) -> Evolution:
    """Start a search with the paper's bounds and its prompts taken."""
    start = Evolution(
        rules=rules(**changes),
        networks=CVTArchive(space=NETWORK_SPACE, centroids=centroids(num_cells)),
        individuals=CVTArchive(space=PROMPT_SPACE, centroids=centroids(num_cells)),
    )
    return with_prompts(start, prompts(num_prompts))


def prompts(num_prompts: int = 16, *, without: Sequence[int] = ()) -> tuple[Prompt, ...]:
    """Make prompts p00, p01, ..., as read from files, some of them left out; and a crossover."""
    kept = [number for number in range(num_prompts) if number not in without]
    return (
        *(prompt(f"p{number:02}", f"do {number}") for number in kept),
        prompt("crossover", "join", kind=PromptKind.CROSSOVER),
    )


def prompt(id_: str, text: str, **changes: Any) -> Prompt:
    """Make a prompt as it is read from its file."""
    return Prompt(id=id_, **({"kind": PromptKind.MUTATION, "text": text} | changes))


def with_prompts(search: Evolution, files: Sequence[Prompt], axis_size: int = AXIS_SIZE) -> Evolution:
    """Let a search take other prompts."""
    edition = edit(search, files, axis_size)
    return search if edition is None else apply(search, edition)


def proposal(number: int = 1, **changes: Any) -> Proposal:
    """Make a mutation of the initial network by p0 at 0.5 that credits nobody."""
    parts: dict[str, Any] = {
        "job": Job(number=number, attempt=1),
        "operator": Operator.MUTATION,
        "prompt": evolution().prompts.current.mutation[0],
        "temperature": 0.5,
        "sampling_temperature": 0.5,
        "seed": 7,
        "parents": (),
        "parent_digests": (),
        "credited_cell": None,
        "credited_job": None,
        "num_settled": 0,
    }
    return Proposal(**(parts | changes))


def request_for(
    asked: Prompt, *sources: str, task: Task = TASK, temperature: float = 0.5, seed: int = 7
) -> Request:
    """Make the request for a prompt, of the initial network if no source is given."""
    crosses = asked.kind is PromptKind.CROSSOVER
    made = proposal(
        operator=Operator.CROSSOVER if crosses else Operator.MUTATION,
        prompt=asked,
        sampling_temperature=temperature,
        seed=seed,
    )
    return write_request(made, sources or (initial_source(task),), task)


def network(name: str = "net", *, flops: int = 1_000_000_000, ratio: int = 50) -> Network:
    """Make a lifted network of one layer."""
    measures = Measures(num_parameters=10, flops=flops, width=ratio, depth=1)
    return Network(graph=name.encode(), weights=b"", measures=measures, lift_s=0.25)


def report(objective: float, **changes: Any) -> Report:
    """Make a report of a training that took two seconds."""
    parts: dict[str, Any] = {
        "objective": objective,
        "test_accuracy": objective,
        "test_loss": 1.0 - objective,
        "curve": (),
        "device": "fake:0",
        "wait_s": 0.5,
        "train_s": 2.0,
    }
    return Report(**(parts | changes))


def trial(
    made: Proposal, result: Report | Rejection | Failure | Any, lifted: Network | None = None, **written: Any
) -> Trial:
    """Bring a proposal to its end; what was trained has a network."""
    if lifted is None and isinstance(result, Report):
        lifted = network(f"net {made.job.number}")
    candidate = Candidate(source=f"# {made.job.number}\n", class_name="Net", seed=1, task=TASK)
    completion = Completion(text="", writer="fake", model="fake-1", duration_s=0.1, **written)
    return Trial(
        proposal=made,
        slot=0,
        result=result,
        completion=completion,
        candidate=candidate if lifted else None,
        network=lifted,
    )


def differences(first: Any, second: Any) -> list[str]:
    """Name the fields in which two records differ."""
    names = [part.name for part in fields(first)]
    return [name for name in names if getattr(first, name) != getattr(second, name)]


# --- the adapters of an engine -------------------------------------------------------------------


class Barrier:
    """Block every caller until it is opened, and count the callers."""

    def __init__(self) -> None:
        self._opened = asyncio.Event()
        self._arrivals: asyncio.Queue[None] = asyncio.Queue()

    async def wait(self) -> None:
        """Wait until the barrier is open."""
        self._arrivals.put_nowait(None)
        await self._opened.wait()

    async def arrivals(self, count: int = 1) -> None:
        """Wait until so many more callers have arrived."""
        for _ in range(count):
            await self._arrivals.get()

    def open(self) -> None:
        """Release all callers, present and future ones."""
        self._opened.set()


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class ErrorScript:
    """Errors of the next calls, one each; None lets a call succeed."""

    def __init__(self, *faults: Exception | None) -> None:
        self._left = list(faults)

    def raise_next(self) -> None:
        """Raise the next error, if there is one."""
        fault = self._left.pop(0) if self._left else None
        if fault is not None:
            raise fault


@dataclass
class FakeWriter(Writer):
    """Writes a new network each time."""

    text: Callable[[int], str] = "class Net(nn.Module):\n    number = {}\n".format
    barrier: Barrier | None = None
    faults: ErrorScript = field(default_factory=ErrorScript)
    requests: list[Request] = field(default_factory=list)
    #: More parents than this do not fit.
    max_parents: int = 9
    fallback: bool = False

    async def complete(self, request: Request) -> Completion | TooLong:
        self.requests.append(request)
        number = len(self.requests)
        if self.barrier:
            await self.barrier.wait()
        self.faults.raise_next()
        if len(request.parents) > self.max_parents:
            return TooLong(endpoint="fake", num_tokens=len(request.parents), max_tokens=0)
        text = self.text(number)
        return Completion(text=text, writer="fake", model="fake-1", fallback=self.fallback)


def lifted(candidate: Candidate) -> Network | Rejection:
    """Lift a source to a graph that is its text."""
    try:
        compile(candidate.source, "<candidate>", "exec")
    except SyntaxError as error:
        return Rejection(cause=Outcome.LIFT_FAILED, detail=str(error))
    return network(candidate.source)


@dataclass
class FakeLifter(Lifter):
    """Lifts a source to a graph that is its text; what does not compile is rejected."""

    result: Callable[[Candidate], Network | Rejection] = lambda candidate: lifted(candidate)
    faults: ErrorScript = field(default_factory=ErrorScript)
    candidates: list[Candidate] = field(default_factory=list)

    async def lift(self, candidate: Candidate) -> Network | Rejection:
        self.candidates.append(candidate)
        self.faults.raise_next()
        return self.result(candidate)


def after_rung(
    training: Training, result: Report | Failure, accuracy: float
) -> Report | Failure | StoppedEarly:
    """Return what becomes of a training whose network reaches an accuracy at its rung, if it has one."""
    if training.rung is None or isinstance(result, Failure):
        return result
    if training.rung.should_continue(accuracy):
        return replace(result, rung_accuracy=accuracy)
    ratio = training.rung.ratio
    train_s = result.train_s * ratio
    return StoppedEarly(
        rung_accuracy=accuracy, device=result.device, wait_s=result.wait_s, train_s=train_s, cost=ratio
    )


@dataclass
class FakeTrainer(Trainer):
    """Trains at once; the n-th network reaches `objective(n)`. By itself it always has a device."""

    objective: Callable[[int], float] = lambda number: min(0.1 + number / 1000, 0.99)
    #: Accuracy of the n-th network at its rung, if it has one.
    rung_accuracy: Callable[[int], float] = lambda number: 0.05
    result: Callable[[Network], Report | Failure] | None = None
    barrier: Barrier | None = None
    faults: ErrorScript = field(default_factory=ErrorScript)
    trained: list[Network] = field(default_factory=list)
    trainings: list[Training] = field(default_factory=list)
    #: As they were asked for last.
    devices: tuple[str, ...] = ()

    async def resize(self, devices: Sequence[str]) -> None:
        self.faults.raise_next()
        self.devices = tuple(devices)

    async def task(self) -> Task:
        return TASK

    async def wait_until_idle(self) -> None:
        """Return at once."""

    async def train(
        self, network: Network, training: Training, watch: Callable[[Progress], None]
    ) -> Report | Failure | StoppedEarly:
        self.trained.append(network)
        self.trainings.append(training)
        number = len(self.trained)
        watch(Progress(device="fake:0", epoch=0, num_epochs=1, accuracy=None))
        if self.barrier:
            await self.barrier.wait()
        self.faults.raise_next()
        result = self.result(network) if self.result else report(self.objective(number))
        return after_rung(training, result, self.rung_accuracy(number))


@dataclass
class FakeObserver:
    """Remembers the events that it receives."""

    phases: list[tuple[int, str]] = field(default_factory=list)
    placements: list[Placement] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    editions: list[Edition] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    audits: list[Audit] = field(default_factory=list)
    #: What became of jobs and commits, in words.
    life: list[str] = field(default_factory=list)
    places: list[tuple[str, DevicePhase | RestartReason | None]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)

    def receive(self, event: Event) -> None:
        match event:
            case SlotChanged(slot=slot, phase=phase):
                self.phases.append((slot, phase))
            case Placed(placement=placement):
                self.placements.append(placement)
            case CallEnded(call=call):
                self.calls.append(call)
            case PromptsAdopted(edition=edition):
                self.editions.append(edition)
            case PromptsRejected(reason=reason):
                self.refusals.append(reason)
            case Audited(audit=audit):
                self.audits.append(audit)
            case JobDispatched(job=job):
                self.life.append(f"dispatched {job.number}")
            case JobReleased(job=job, charged=charged):
                self.life.append(f"{'charged' if charged else 'released'} {job.number}")
            case CommitTried(result=result):
                self.life.append(result.value)
            case DeviceChanged(device=device, phase=phase):
                self.places.append((device, phase))
            case TrainerReplaced(device=device, reason=reason):
                self.places.append((device, reason))
            case SlotsResized(num_slots=num_slots):
                self.sizes.append(num_slots)
            case DeviceRemoved(device=device):
                self.gone.append(device)


def bus_to(*observers: FakeObserver) -> EventBus:
    """Build a bus from which these receive."""
    events = EventBus()
    for observer in observers:
        events.subscribe(observer.receive)
    return events


class FlakyStore(MemoryStore):
    """A store in memory whose commits and dispatches can fail or be held."""

    def __init__(self, memory: Memory | None = None) -> None:
        super().__init__(memory)
        self.commit_faults = ErrorScript()
        self.dispatch_faults = ErrorScript()
        self.commit_barrier: Barrier | None = None
        self.out = False
        #: Set at each commit that the outage refused.
        self.refused = asyncio.Event()

    async def dispatch(self, slot: int) -> Job:
        self.dispatch_faults.raise_next()
        return await super().dispatch(slot)

    async def commit(self, placement: Placement, artefacts: Artefacts) -> bool:
        if self.commit_barrier:
            await self.commit_barrier.wait()
        self.commit_faults.raise_next()
        if self.out:
            self.refused.set()
            raise StoreUnavailable("the disk is full")
        return await super().commit(placement, artefacts)
