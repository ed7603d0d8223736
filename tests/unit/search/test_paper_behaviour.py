"""One test for each difference between the paper and the code of its authors.

Source: Nasir 2024 (LLMatic, GECCO). The names state the paper's behaviour.
"""

import tomllib
from typing import Any

import pytest

from llmatic_daemon.adapters.storage.memory_store import MemoryStore
from llmatic_daemon.config.loading import preset_text
from llmatic_daemon.domain import (
    AddStatus,
    Candidate,
    Completion,
    Failure,
    Job,
    Operator,
    Outcome,
    Placement,
    Proposal,
    Rejection,
)
from llmatic_daemon.domain.ports import Ports
from llmatic_daemon.engine.engine import Engine
from llmatic_daemon.search.budget import Budget
from llmatic_daemon.search.candidates.source import read_source
from llmatic_daemon.search.evolution import Evolution, apply
from llmatic_daemon.search.operators import initial_source
from llmatic_daemon.search.placement import place
from llmatic_daemon.search.proposals import num_epochs, propose, rng_for
from llmatic_daemon.search.rules import RetryPolicy
from tests.support.fakes import (
    NETWORK_SPACE,
    TASK,
    FakeLifter,
    FakeTrainer,
    FakeWriter,
    evolution,
    network,
    proposal,
    report,
    trial,
)


def settled(search: Evolution, made: Proposal, result: Any, **lifted: Any) -> tuple[Evolution, Placement]:
    net = network(f"net {made.job.number}", **lifted) if lifted else None
    placement = place(search, trial(made, result, net), 0.0)
    return apply(search, placement), placement


def with_one_individual() -> tuple[Evolution, Proposal]:
    """Make a search whose prompt archive holds one individual, and a proposal that selects it."""
    search, placement = settled(evolution(), proposal(1), report(0.5))
    assert placement.offer is not None
    return search, proposal(2, credited_cell=placement.offer.cell, credited_job=1)


def curiosity(search: Evolution, made: Proposal) -> float:
    assert made.credited_cell is not None
    return search.individuals[made.credited_cell].elite.curiosity


def test_flops_are_normalised_so_that_all_cells_can_be_reached():
    """Raw FLOPs among centroids in [0, 1]^2 reach 1 of 100 cells."""
    archive = evolution(num_cells=100).networks
    ratio, flops = NETWORK_SPACE.first, NETWORK_SPACE.second

    reached = {
        archive.locate(x * ratio.high, flops.low + y * (flops.high - flops.low))[0]
        for x, y in archive.centroids.points
    }

    assert reached == set(range(100))


def test_objective_is_accuracy_not_loss():
    better = report(0.9, test_loss=5.0)
    search, first = settled(evolution(), proposal(1), report(0.5, test_loss=0.1), flops=10**9)
    search, second = settled(search, proposal(2), better, flops=10**9)

    assert (first.objective, second.objective) == (0.5, 0.9)
    assert second.status is AddStatus.IMPROVED
    assert search.best is not None
    assert search.best.job == 2


def test_networks_are_trained_after_initialisation():
    search = evolution(num_initial=1)
    search, _ = settled(search, proposal(1, operator=Operator.INITIALISATION), report(0.1))
    job = Job(number=2, attempt=1)

    made = propose(search, job, rng_for(1, job))

    assert made.operator is not Operator.INITIALISATION
    assert num_epochs(search, made) is None


def test_untrained_network_is_measured_only_as_a_random_initial_one():
    initial = proposal(operator=Operator.INITIALISATION)

    assert num_epochs(evolution(train_initial=False), initial) == 0
    assert num_epochs(evolution(train_initial=True), initial) is None


def test_curiosity_accumulates_on_the_selected_individual():
    search, made = with_one_individual()

    for number, flops in ((2, 3 * 10**9), (3, 4 * 10**9)):
        again = proposal(number, credited_cell=made.credited_cell, credited_job=1)
        search, placement = settled(search, again, report(0.5), flops=flops)
        assert placement.status is AddStatus.NEW

    assert curiosity(search, made) == 2.0


def test_curiosity_falls_by_half_when_the_network_does_not_enter():
    search, made = with_one_individual()

    search, placement = settled(search, made, report(0.4), flops=10**9)

    assert placement.status is AddStatus.NOT_ADDED
    assert curiosity(search, made) == -0.5


@pytest.mark.parametrize(
    "cause",
    [
        Outcome.NOT_CODE,
        Outcome.NO_CLASS,
        Outcome.LIFT_FAILED,
        Outcome.INVALID_GRAPH,
        Outcome.SANDBOX,
        Outcome.NAN,
        Outcome.TIMEOUT,
        Outcome.OOM,
    ],
)
def test_untrainable_candidate_costs_one_curiosity(cause: Outcome):
    search, made = with_one_individual()

    search, _ = settled(search, made, Failure(cause=cause, detail="it does not train"))

    assert curiosity(search, made) == -1.0


def test_candidate_that_does_not_import_is_never_replaced_by_its_parent():
    parent = initial_source(TASK)
    for text in ("", "import", parent[: len(parent) // 2].replace("class Net", "class Net(")):
        answer = Completion(text=text, writer="fake", model="fake-1")

        assert isinstance(read_source(answer, proposal(), (parent,), TASK), Rejection)


async def test_parent_is_not_evaluated_for_a_child_that_does_not_import():
    trainer, store = FakeTrainer(), MemoryStore()
    texts = ["class Net(nn.Module): pass", "import", "class Net(nn.Module): x = 1"]
    await _search(FakeWriter(text=lambda n: texts[n - 1]), trainer, store, max_evaluations=2)

    assert [p.outcome for p in store.memory.placements] == [
        Outcome.TRAINED,
        Outcome.NOT_CODE,
        Outcome.TRAINED,
    ]
    assert len(trainer.trained) == 2


def test_source_keeps_what_follows_its_first_return():
    text = (
        "class Net(nn.Module):\n"
        "    def width(self):\n        return 8\n\n"
        "    def forward(self, x):\n        if x is None:\n            return None\n        return 2 * x\n"
    )

    candidate = read_source(
        Completion(text=text, writer="fake", model="fake-1"), proposal(), (initial_source(TASK),), TASK
    )

    assert isinstance(candidate, Candidate)
    assert candidate.source.endswith(text)


def test_batch_size_of_the_paper_preset_is_four():
    """The paper gives none; 4 is the classic partner of its learning rate, and the code uses 1."""
    recipes = pytest.importorskip("llmatic_daemon.worker.training.recipes")
    training = tomllib.loads(preset_text("paper"))["training"]

    assert training == {"recipe": "paper"}
    assert recipes.PAPER.batch_size == 4
    assert (recipes.PAPER.epochs, recipes.PAPER.learning_rate, recipes.PAPER.momentum) == (50, 0.001, 0.9)


async def test_writer_is_made_once_and_asked_for_each_candidate():
    """Loading an LLM for each call would take longer than most trainings."""
    writer = FakeWriter()

    await _search(writer, FakeTrainer(), MemoryStore(), max_evaluations=7)

    assert len(writer.requests) == 7


async def _search(
    writer: FakeWriter, trainer: FakeTrainer, store: MemoryStore, *, max_evaluations: int
) -> None:
    ports = Ports(writer=writer, lifter=FakeLifter(), trainer=trainer, store=store)
    await Engine(
        evolution(train_initial=True),
        TASK,
        ports,
        num_slots=1,
        budget=Budget(max_evaluations=max_evaluations),
        retry_policy=RetryPolicy(max_attempts=3, retry_s=0.0, max_retry_s=0.0),
    ).run()
