"""What every lifter promises: one suite, run over each of them and over the fakes.

A module that runs it defines the fixture `lifter`.
"""

import asyncio

from llmatic_daemon.domain import Candidate, Network, Outcome, Rejection, Task
from llmatic_daemon.domain.ports import Lifter
from llmatic_daemon.domain.sandbox import Layer

TASK = Task(name="made up", input_shape=(3, 8, 8), num_classes=10, num_train=1, num_validation=1, num_test=1)
SOURCE = """
from torch import nn
class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(192, {0}), nn.Linear({0}, 10))
"""


class LifterContract:
    #: A source that cannot be lifted.
    broken = "class Net("

    def source(self, number: int) -> str:
        """Return the n-th of several sources that can be lifted to different networks."""
        return SOURCE.format(8 + number)

    def candidate(self, number: int = 0) -> Candidate:
        return Candidate(source=self.source(number), class_name="Net", seed=1, task=TASK)

    @property
    def broken_candidate(self) -> Candidate:
        return Candidate(source=self.broken, class_name="Net", seed=1, task=TASK)

    async def test_candidate_is_lifted_and_measured(self, lifter: Lifter):
        network = await lifter.lift(self.candidate())

        assert isinstance(network, Network)
        assert network.graph
        assert network.lift_s >= 0
        measures = network.measures
        assert min(measures.flops, measures.width) > 0
        assert min(measures.num_parameters, measures.depth) >= 0

    async def test_same_candidate_gives_the_same_network(self, lifter: Lifter):
        first, again = await lifter.lift(self.candidate()), await lifter.lift(self.candidate())

        assert isinstance(first, Network)
        assert isinstance(again, Network)
        assert (first.digest, first.weights, first.measures) == (again.digest, again.weights, again.measures)

    async def test_broken_candidate_is_a_rejection_with_a_reason(self, lifter: Lifter):
        rejection = await lifter.lift(self.broken_candidate)

        assert isinstance(rejection, Rejection)
        assert rejection.cause is Outcome.LIFT_FAILED
        assert rejection.detail

    async def test_rejection_leaves_the_lifter_usable(self, lifter: Lifter):
        await lifter.lift(self.broken_candidate)

        assert isinstance(await lifter.lift(self.candidate()), Network)

    async def test_many_candidates_at_once_get_their_own_networks(self, lifter: Lifter):
        lifted = await asyncio.gather(*(lifter.lift(self.candidate(n)) for n in range(4)))

        assert [type(each) for each in lifted] == [Network] * 4
        assert len({each.digest for each in lifted if isinstance(each, Network)}) == 4

    async def test_cancelled_lift_leaves_the_lifter_usable(self, lifter: Lifter):
        lift = asyncio.create_task(lifter.lift(self.candidate()))
        await asyncio.sleep(0)
        lift.cancel()
        await asyncio.wait([lift])

        assert isinstance(await lifter.lift(self.candidate(1)), Network)

    async def test_missing_layers_have_reasons(self, lifter: Lifter):
        missing = await lifter.missing()

        assert all(isinstance(layer, Layer) and reason for layer, reason in missing.items())
