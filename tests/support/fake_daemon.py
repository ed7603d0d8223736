"""The true daemon with fake adapters, as a process to be killed: `python -m tests.support.fake_daemon STATE N [--cells-at-once]`.

Prints each job's number after its commit: an acknowledgement that a kill must not undo.
"""

import asyncio
import contextlib
import os
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass

from llmatic_daemon import config
from llmatic_daemon.bootstrap import build_search
from llmatic_daemon.bootstrap.build import Adapters
from llmatic_daemon.daemon import main as daemon
from llmatic_daemon.domain import (
    Candidate,
    Completion,
    Failure,
    Measures,
    Network,
    Outcome,
    Progress,
    Rejection,
    Report,
    Request,
    StoppedEarly,
    Training,
)
from llmatic_daemon.domain.events import Event, Placed
from llmatic_daemon.search.archive.tessellation import r2_sequence
from tests.support.fakes import FakeLifter, FakeTrainer, FakeWriter, after_rung, lifted, report

SOURCE = "from torch import nn\n\n\nclass Net(nn.Module):\n    number = {}\n"


class RandomWriter(FakeWriter):
    """Writes a new network, now and then one of twenty, or prose."""

    async def complete(self, request: Request) -> Completion:
        chance = random.Random(request.seed)
        number = chance.randrange(20) if chance.random() < 0.1 else request.seed
        text = "no code" if chance.random() < 0.2 else SOURCE.format(number)
        return Completion(text=text, writer="fake", model="fake-1")


class RandomLifter(FakeLifter):
    """Lifts to a graph whose measures follow from the source."""

    async def lift(self, candidate: Candidate) -> Network | Rejection:
        if isinstance(rejection := lifted(candidate), Rejection):
            return rejection
        chance = random.Random(candidate.digest)
        if chance.random() < 0.1:
            return Rejection(cause=Outcome.LIFT_FAILED, detail="it did not lift")
        measures = Measures(
            num_parameters=10,
            flops=int(10 ** chance.uniform(3, 7)),
            width=chance.randint(1, 512),
            depth=chance.randint(1, 20),
        )
        graph = f'{{"nodes": [["op{chance.randrange(5)}"]], "source": "{candidate.digest}"}}'.encode()
        return Network(graph=graph, weights=b"", measures=measures, lift_s=0.0)


@dataclass
class RandomTrainer(FakeTrainer):
    """Takes up to 8 ms; another seed gives another figure."""

    failure_ratio: float = 0.1

    async def train(
        self, network: Network, training: Training, watch: Callable[[Progress], None]
    ) -> Report | Failure | StoppedEarly:
        chance = random.Random(f"{network.digest} {training.seed}")
        watch(Progress(device="fake:0", epoch=0, num_epochs=1, accuracy=None))
        await asyncio.sleep(chance.random() * 0.008)
        if chance.random() < self.failure_ratio:
            return Failure(cause=Outcome.NAN, detail="the loss is not finite", train_s=0.004)
        objective = chance.random()
        return after_rung(training, report(objective, train_s=0.004), objective / 2)


def acknowledge(event: Event) -> None:
    """Print each committed job, without a buffer that a kill would take along."""
    if isinstance(event, Placed):
        os.write(1, f"{event.placement.job.number}\n".encode())


def fake_adapters() -> Adapters:
    """Make them all."""
    return Adapters(
        contextlib.nullcontext(RandomWriter()),
        contextlib.nullcontext(RandomLifter()),
        contextlib.nullcontext(RandomTrainer()),
    )


def place_cells_at_once() -> None:
    """Take points of a sequence for centroids: scikit-learn, which a new search starts twice, takes seconds."""

    async def points(num_cells: int, num_samples: int, seed: int) -> tuple[tuple[float, float], ...]:
        return tuple((x, y) for x, y in r2_sequence(num_cells).tolist())

    build_search._centroids = points


def main() -> None:
    """Search until there are N evaluations; half of the new elites are audited."""
    overrides = {
        "state_dir": sys.argv[1],
        "budget": {"max_evaluations": int(sys.argv[2]), "max_hours": 0.0},
        "engine": {"slots": 4},
        "audit": {"share": 0.5},
    }
    settings = config.load(preset="demo", overrides=overrides, environment={})
    adapters = fake_adapters()
    adapters.events.subscribe(acknowledge)
    if "--cells-at-once" in sys.argv:
        place_cells_at_once()
    end = asyncio.run(daemon.run(settings, adapters))
    print(end, file=sys.stderr)


if __name__ == "__main__":
    main()
