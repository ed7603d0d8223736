"""A small search and the hands of its engine, all in memory: for tests and benchmarks."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from llmatic_daemon.core.archive import CVTArchive
from llmatic_daemon.core.centroids import Centroids
from llmatic_daemon.core.evolution import Evolution
from llmatic_daemon.core.measures import Axis, MeasureSpace
from llmatic_daemon.core.rules import Rules
from llmatic_daemon.core.tessellation import r2_sequence
from llmatic_daemon.errors import StoreUnavailable
from llmatic_daemon.ports import Lifter, Observer, Prompts, Trainer, Writer
from llmatic_daemon.records import (
    Artefacts,
    Candidate,
    Completion,
    Failure,
    Job,
    Measures,
    Network,
    Operator,
    Placement,
    Progress,
    Prompt,
    PromptKind,
    PromptSet,
    Proposal,
    Rejection,
    Report,
    Request,
    Task,
    Training,
    Trial,
)
from tests.memory_store import Memory, MemoryStore

TASK = Task(
    name="fake",
    input_shape=(3, 32, 32),
    num_classes=10,
    num_train=900,
    num_validation=100,
    num_test=100,
)

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
        "jitter_ratio": 0.5,
        "jitter": 0.1,
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
    Axis(name="width_to_depth", low=0.0, high=200.0), Axis(name="flops", low=200e6, high=5e9)
)
PROMPT_SPACE = MeasureSpace(
    Axis(name="prompt", low=0.0, high=16.0), Axis(name="temperature", low=0.0, high=1.0)
)


def evolution(num_cells: int = 100, **changes: Any) -> Evolution:
    """Start a search with the paper's bounds."""
    return Evolution(
        rules=rules(**changes),
        networks=CVTArchive(space=NETWORK_SPACE, centroids=centroids(num_cells)),
        individuals=CVTArchive(space=PROMPT_SPACE, centroids=centroids(num_cells)),
    )


def prompt_set(num_prompts: int = 16, *, without: Sequence[int] = ()) -> PromptSet:
    """Make prompts p0, p1, ... in slots 0, 1, ...; some of them may be retired."""
    slots = tuple(slot for slot in range(num_prompts) if slot not in without)
    return PromptSet(
        mutation=tuple(
            Prompt(id=f"p{slot}", kind=PromptKind.MUTATION, text=f"do {slot}") for slot in slots
        ),
        crossover=Prompt(id="crossover", kind=PromptKind.CROSSOVER, text="join"),
        slots=slots,
    )


def proposal(number: int = 1, **changes: Any) -> Proposal:
    """Make a mutation of the initial network by p0 at 0.5 that credits nobody."""
    parts: dict[str, Any] = {
        "job": Job(number=number, attempt=1),
        "operator": Operator.MUTATION,
        "prompt": prompt_set().mutation[0],
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
        "place": "fake:0",
        "wait_s": 0.5,
        "train_s": 2.0,
    }
    return Report(**(parts | changes))


def trial(
    made: Proposal, result: Report | Rejection | Failure | Any, lifted: Network | None = None
) -> Trial:
    """Bring a proposal to its end; what was trained has a network."""
    if lifted is None and isinstance(result, Report):
        lifted = network(f"net {made.job.number}")
    candidate = Candidate(source=f"# {made.job.number}\n", class_name="Net", seed=1, task=TASK)
    completion = Completion(text="", writer="fake", model="fake-1", duration_s=0.1)
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


# --- the hands of an engine ----------------------------------------------------------------------


class Gate:
    """Holds whoever comes until it is opened, and tells who has come."""

    def __init__(self) -> None:
        self._opened = asyncio.Event()
        self._arrivals: asyncio.Queue[None] = asyncio.Queue()

    async def passing(self) -> None:
        """Wait here."""
        self._arrivals.put_nowait(None)
        await self._opened.wait()

    async def arrivals(self, count: int = 1) -> None:
        """Wait until so many more have come."""
        for _ in range(count):
            await self._arrivals.get()

    def open(self) -> None:
        """Let all pass, also those who come later."""
        self._opened.set()


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Faults:
    """Faults that strike the next calls, one each; None lets a call pass."""

    def __init__(self, *faults: Exception | None) -> None:
        self._left = list(faults)

    def strike(self) -> None:
        """Raise the next one, if it is one."""
        fault = self._left.pop(0) if self._left else None
        if fault is not None:
            raise fault


@dataclass
class FakeWriter(Writer):
    """Writes a new network each time."""

    text: Callable[[int], str] = "class Net(nn.Module):\n    number = {}\n".format
    gate: Gate | None = None
    faults: Faults = field(default_factory=Faults)
    requests: list[Request] = field(default_factory=list)

    async def complete(self, request: Request) -> Completion:
        self.requests.append(request)
        number = len(self.requests)
        if self.gate:
            await self.gate.passing()
        self.faults.strike()
        return Completion(text=self.text(number), writer="fake", model="fake-1")


@dataclass
class FakeLifter(Lifter):
    """Lifts a source to a graph that is its text."""

    result: Callable[[Candidate], Network | Rejection] = lambda candidate: network(candidate.source)
    faults: Faults = field(default_factory=Faults)
    candidates: list[Candidate] = field(default_factory=list)

    async def lift(self, candidate: Candidate) -> Network | Rejection:
        self.candidates.append(candidate)
        self.faults.strike()
        return self.result(candidate)


@dataclass
class FakeTrainer(Trainer):
    """Trains at once; the n-th network reaches `objective(n)`."""

    objective: Callable[[int], float] = lambda number: min(0.1 + number / 1000, 0.99)
    result: Callable[[Network], Report | Failure] | None = None
    gate: Gate | None = None
    faults: Faults = field(default_factory=Faults)
    trained: list[Network] = field(default_factory=list)
    trainings: list[Training] = field(default_factory=list)

    async def task(self) -> Task:
        return TASK

    async def train(
        self, network: Network, training: Training, watch: Callable[[Progress], None]
    ) -> Report | Failure:
        self.trained.append(network)
        self.trainings.append(training)
        number = len(self.trained)
        watch(Progress(place="fake:0", epoch=0, num_epochs=1, accuracy=None))
        if self.gate:
            await self.gate.passing()
        self.faults.strike()
        return self.result(network) if self.result else report(self.objective(number))


@dataclass
class FakePrompts(Prompts):
    """A prompt set that a test may change."""

    prompts: PromptSet = field(default_factory=prompt_set)

    def current(self) -> PromptSet:
        return self.prompts


@dataclass
class FakeObserver(Observer):
    """Remembers what it hears."""

    phases: list[tuple[int, str]] = field(default_factory=list)
    placements: list[Placement] = field(default_factory=list)

    def slot_changed(self, slot: int, phase: str, detail: str) -> None:
        self.phases.append((slot, phase))

    def placed(self, placement: Placement) -> None:
        self.placements.append(placement)


class FlakyStore(MemoryStore):
    """A store in memory whose commits and dispatches can fail or be held."""

    def __init__(self, memory: Memory | None = None) -> None:
        super().__init__(memory)
        self.commit_faults = Faults()
        self.dispatch_faults = Faults()
        self.commit_gate: Gate | None = None
        self.out = False
        #: Set at each commit that the outage refused.
        self.refused = asyncio.Event()

    async def dispatch(self, slot: int) -> Job:
        self.dispatch_faults.strike()
        return await super().dispatch(slot)

    async def commit(self, placement: Placement, artefacts: Artefacts) -> bool:
        if self.commit_gate:
            await self.commit_gate.passing()
        self.commit_faults.strike()
        if self.out:
            self.refused.set()
            raise StoreUnavailable("the disk is full")
        return await super().commit(placement, artefacts)
