"""The search in numbers, read from a running engine."""

from llmatic_daemon.domain import SearchStatus
from llmatic_daemon.domain.ports import Trainer
from llmatic_daemon.engine.control_arm import ControlArm
from llmatic_daemon.engine.engine import Engine
from llmatic_daemon.search.prompt_book import highest_curiosity


def status_of(engine: Engine, arm: ControlArm, trainer: Trainer, max_evaluations: int | None) -> SearchStatus:
    """Return the search in numbers, as it is after the last commit."""
    now = engine.evolution
    return SearchStatus(
        num_settled=now.num_settled,
        num_evaluations=now.num_evaluations,
        max_evaluations=max_evaluations,
        network_cells=len(now.networks.centroids),
        filled_network_cells=len(now.networks),
        prompt_cells=len(now.individuals.centroids),
        filled_prompt_cells=len(now.individuals),
        qd_score=now.networks.qd_score,
        best_objective=now.best.objective if now.best else None,
        best_job=now.best.job if now.best else None,
        elapsed_s=engine.elapsed_s,
        train_s=now.train_s,
        num_slots=engine.num_slots,
        is_ready=engine.is_ready,
        is_paused=engine.is_paused,
        is_draining=engine.is_draining,
        median_objective=now.networks.median_objective,
        curiosity=highest_curiosity(now.individuals, now.prompts.current),
        uplift=arm.uplift(),
        num_trainer_deaths=now.num_deaths,
        devices_out=trainer.out_of_service(),
    )
