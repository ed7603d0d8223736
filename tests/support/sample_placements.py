"""Placements that a search could have made, for tests and benchmarks of stores."""

from dataclasses import dataclass, field
from typing import Any

from llmatic_daemon.adapters.storage.sqlite_store import SQLiteStore
from llmatic_daemon.domain import (
    Accuracies,
    AddStatus,
    Artefacts,
    Audit,
    Contender,
    Durations,
    Edition,
    Elite,
    Epoch,
    Job,
    Measures,
    Operator,
    Outcome,
    Placement,
    Prompt,
    PromptElite,
    PromptKind,
    PromptOffer,
    PromptSet,
    Report,
    SavedSearch,
    TrainerDeath,
    Verdict,
    digest,
)


def failure(number: int, job: Job, **changes: Any) -> Placement:
    """Make a placement of a job that came to nothing and blames nobody."""
    facts: dict[str, Any] = {
        "number": number,
        "job": job,
        "slot": 0,
        "operator": Operator.MUTATION,
        "prompt": "deepen",
        "prompt_version": 1,
        "temperature": 0.6,
        "seed": 2**40 + number,
        "parents": (),
        "writer": "fake",
        "endpoint": "",
        "model": "fake-1",
        "model_version": "",
        "finish_reason": "stop",
        "num_prompt_tokens": 0,
        "num_tokens": 0,
        "fallback": False,
        "outcome": Outcome.ERROR,
        "detail": "the world failed",
        "source_digest": None,
        "network_digest": None,
        "duplicate_of": None,
        "measures": None,
        "report": None,
        "cell": None,
        "status": AddStatus.NOT_ADDED,
        "clipped": False,
        "credited_cell": None,
        "credited_job": None,
        "curiosity_change": 0.0,
        "score_change": 0.0,
        "offer": None,
        "staleness": 0,
        "durations": Durations(),
        "elapsed_s": float(number),
    }
    return Placement(**(facts | changes))


def success(
    number: int, job: Job, *, cell: int = 0, size: int = 0, num_epochs: int = 2, **changes: Any
) -> tuple[Placement, Artefacts]:
    """Make a placement of a trained network that enters both archives, and its content."""
    source = f"# network {job.number}\n" + "x = 1\n" * (size // 6)
    graph = b'{"nodes": [%d], "pad": "%s"}' % (job.number, b"g" * size)
    facts: dict[str, Any] = {
        "outcome": Outcome.TRAINED,
        "detail": "",
        "source_digest": digest(source.encode()),
        "network_digest": digest(graph),
        "measures": Measures(num_parameters=10_000, flops=1_000_000 + number, width=64, depth=5),
        "report": _report(number, num_epochs),
        "cost": 1.0,
        "cell": cell,
        "status": AddStatus.NEW,
        "curiosity_change": 1.0,
        "score_change": 1.0,
        "offer": PromptOffer(temperature=0.65, cell=cell, status=AddStatus.NEW, objective=1.0, curiosity=0.0),
        "durations": Durations(llm_s=0.1, lift_s=0.2, wait_s=0.3, train_s=0.4, total_s=1.0),
    }
    return failure(number, job, **(facts | changes)), Artefacts(source=source, graph=graph)


def edition(number: int, *ids: str, **changes: Any) -> Edition:
    """Make an edition of prompts for mutation, and a crossover prompt, all of version 1."""
    mutation = tuple(Prompt(id=id_, kind=PromptKind.MUTATION, text=f"{id_} it", version=1) for id_ in ids)
    crossover = Prompt(id="join", kind=PromptKind.CROSSOVER, text="join them", version=1)
    facts: dict[str, Any] = {
        "num_settled": 0,
        "prompts": PromptSet(
            mutation=mutation, crossover=crossover, axis_positions=tuple(range(len(mutation)))
        ),
        "emptied": (),
    }
    return Edition(number=number, **(facts | changes))


def audit(number: int, placement: Placement, **changes: Any) -> Audit:
    """Make an audit of an elite by which it keeps its cell."""
    assert placement.report is not None
    assert placement.cell is not None
    first = Accuracies(objective=placement.report.objective, test_accuracy=placement.report.test_accuracy)
    facts: dict[str, Any] = {
        "num_settled": placement.number,
        "job": placement.job.number,
        "cell": placement.cell,
        "seed": 2**31 + number,
        "outcome": Outcome.TRAINED,
        "detail": "",
        "first": first,
        "second": first,
        "standard_error": 0.05,
        "verdict": Verdict.STABLE,
        "holder": placement.job.number,
        "holder_figures": first,
        "device": "cpu:0",
        "wait_s": 0.1,
        "train_s": 0.4,
    }
    return Audit(number=number, **(facts | changes))


def death(number: int, job: int = 1, **changes: Any) -> tuple[TrainerDeath, Artefacts]:
    """Make the death of a trainer that worked on a job's network, and the network."""
    artefacts = Artefacts(source=f"class Net{number}: pass\n", graph=b'{"fatal": %d}' % number)
    assert artefacts.source is not None
    assert artefacts.graph is not None
    facts: dict[str, Any] = {
        "num_settled": 0,
        "job": job,
        "source_digest": digest(artefacts.source.encode()),
        "network_digest": digest(artefacts.graph),
        "seed": 7,
        "device": "cpu:0",
        "trainer": "5f0e",
        "signal": 11,
        "detail": "trainer on cpu:0 ended with signal 11: é\0x",
        "train_s": 0.1 + 0.2,
        "suspects": (),
    }
    return TrainerDeath(number=number, **(facts | changes)), artefacts


def _report(number: int, num_epochs: int) -> Report:
    objective = 0.1 + 0.8 * ((number * 7919) % 1000) / 1000
    curve = tuple(
        Epoch(number=epoch, train_loss=2.3 / epoch, accuracy=objective * epoch / num_epochs)
        for epoch in range(1, num_epochs + 1)
    )
    return Report(
        objective=objective,
        test_accuracy=objective - 0.01,
        test_loss=0.7,
        curve=curve,
        device="cpu:0",
        wait_s=0.3,
        train_s=0.4,
    )


@dataclass
class SampleSearch:
    """Grows a plausible search: children of elites, credit, failures, crossovers, now and then."""

    num_cells: int = 10
    size: int = 0
    num_epochs: int = 2
    placements: list[Placement] = field(default_factory=list)
    settled: list[int] = field(default_factory=list)
    #: Jobs that the cells of the prompt archive hold.
    prompt_elites: dict[int, int] = field(default_factory=dict)
    keep: bool = True
    num_settled: int = 0

    def next(self, job: Job) -> tuple[Placement, Artefacts]:
        """Settle a job in one of five ways, by turns."""
        number = self.num_settled + 1
        cell = (number * 31) % self.num_cells
        parents = tuple(self.settled[-1 - (number % 3) :][:1])
        placement, artefacts = success(
            number, job, cell=cell, size=self.size, num_epochs=self.num_epochs, parents=parents
        )
        if number % 5 == 0:
            placement, artefacts = failure(number, job, parents=parents), Artefacts()
        elif number % 5 == 1 and len(self.settled) > 2:
            placement, artefacts = success(
                number,
                job,
                cell=cell,
                size=self.size,
                num_epochs=self.num_epochs,
                operator=Operator.CROSSOVER,
                parents=tuple(self.settled[-3:]),
                temperature=None,
                offer=None,
                curiosity_change=0.0,
                status=AddStatus.NOT_ADDED,
            )
        elif number % 5 == 2 and self.prompt_elites:
            placement, artefacts = success(
                number,
                job,
                cell=cell,
                size=self.size,
                num_epochs=self.num_epochs,
                parents=parents,
                credited_cell=min(self.prompt_elites),
                credited_job=self.prompt_elites[min(self.prompt_elites)],
            )
        return placement, artefacts

    def settle(self, placement: Placement) -> None:
        """Take over what was committed."""
        self.num_settled = placement.number
        self.settled.append(placement.job.number)
        del self.settled[:-8]
        if placement.offer:
            self.prompt_elites[placement.offer.cell] = placement.job.number
        if self.keep:
            self.placements.append(placement)


async def settled(store: SQLiteStore, count: int = 2) -> list[Placement]:
    """Settle networks of one cell, the later the better."""
    placements = []
    for number in range(1, count + 1):
        status = AddStatus.NEW if number == 1 else AddStatus.IMPROVED
        placement, artefacts = success(number, await store.dispatch(0), cell=3, status=status)
        await store.commit(placement, artefacts)
        placements.append(placement)
    return placements


def saved_search() -> SavedSearch:
    """Make a search as a checkpoint stores it, with something in each field."""
    measures = Measures(num_parameters=7, flops=2**40, width=3, depth=2)
    elite = Elite(job=1, source_digest="s", measures=measures, structure=(("é", 2),))
    accuracies = Accuracies(objective=0.1 + 0.2, test_accuracy=1e-320)
    return SavedSearch(
        networks=((4, (Contender(elite=elite, figures=accuracies, wants_audit=True),)),),
        individuals=(
            (0, 1.0, PromptElite(job=1, prompt="é", prompt_version=2, temperature=0.7, curiosity=-0.5)),
        ),
        scores=(("é", 2, 3.0),),
        edition=edition(1, "deepen"),
        versions={"é": ("a", "b")},
        axis_positions={"é": 0},
        last_used={"é": 1},
        window=(None, 0.5),
        best=(0.5, 1),
        num_evaluations=1,
        num_since_added=0,
        cost=1 / 3,
        rung_accuracies=(0.25, 0.125),
        rung_ratio=0.25,
        llm_is_out=True,
        train_s=2.5,
        elapsed_s=1e9 + 1 / 3,
    )
