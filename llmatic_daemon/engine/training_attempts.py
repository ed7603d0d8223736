"""Training of one network, with a second attempt in a fresh trainer if the network ended the first one."""

from collections.abc import Callable
from dataclasses import replace

from llmatic_daemon.domain import (
    Candidate,
    Failure,
    Network,
    Outcome,
    Progress,
    Report,
    StoppedEarly,
    Training,
)
from llmatic_daemon.domain.errors import TrainerDied
from llmatic_daemon.domain.ports import Trainer
from llmatic_daemon.domain.trainer_deaths import MAX_DEATHS
from llmatic_daemon.engine.ledger import Ledger


async def train(
    trainer: Trainer,
    ledger: Ledger,
    job: int,
    candidate: Candidate,
    network: Network,
    training: Training,
    watch: Callable[[Progress], None],
) -> Report | Failure | StoppedEarly:
    """Train a network; one that ends MAX_DEATHS trainers, restarts of the daemon included, has failed.

    Args:
        trainer: Where it is trained.
        ledger: Records each death before the next attempt.
        job: Of the network.
        candidate: Its source.
        network: As it was lifted.
        training: Seed, priority and rung.
        watch: Called with the progress of each attempt.

    Raises:
        TrainerUnavailable: the outside failed; no network is blamed.
    """
    last: TrainerDied | None = None
    spent_s = 0.0
    while (num_deaths := ledger.evolution.deaths.get(network.digest, 0)) < MAX_DEATHS:
        attempt = replace(training, fresh=training.fresh or num_deaths > 0)
        try:
            return await trainer.train(network, attempt, watch)
        except TrainerDied as error:
            if not await ledger.note_death(error, job, candidate, network, training.seed):
                raise  # the search ends while the store is out
            last, spent_s = error, spent_s + error.train_s
    detail = str(last) if last else f"the same network has ended {num_deaths} trainers before"
    device = last.device if last else ""
    return Failure(cause=Outcome.TRAINER_DIED, detail=detail, device=device, train_s=spent_s)
