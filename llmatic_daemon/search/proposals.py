"""Proposals: draw the next candidate."""

from dataclasses import replace

import numpy as np
from numpy.random import Generator

from llmatic_daemon.domain import Job, Network, Operator, Proposal
from llmatic_daemon.search import early_stopping, operators
from llmatic_daemon.search.evolution import Evolution
from llmatic_daemon.search.rules import Rules
from llmatic_daemon.search.variants import measures_untrained, strategy_of


def propose(evolution: Evolution, job: Job, rng: Generator) -> Proposal:
    """Draw what to try next.

    Raises:
        ValueError: the search has no prompt set yet.

    Source: Nasir 2024, Algorithm 1; `variants` for all other variants.
    """
    strategy = strategy_of(evolution.rules)
    proposal = strategy.propose(_archives(evolution, job), rng)
    by_rule = strategy.by_rule or _is_control(evolution.rules, job)
    return replace(proposal, by_rule=by_rule) if by_rule else proposal


def _is_control(rules: Rules, job: Job) -> bool:
    """Return whether a job belongs to the control arm; equal for all its attempts and proposals."""
    if not rules.control_ratio:
        return False
    return bool(np.random.default_rng([rules.seed, job.number]).random() < rules.control_ratio)


def shorten(evolution: Evolution, proposal: Proposal) -> Proposal | None:
    """Shorten a proposal whose request was too long, or return None if that is not possible.

    A crossover loses its farthest parent; with one neighbour left it becomes a mutation. A history
    loses its worst network.
    """
    if len(proposal.parents) > (1 if proposal.results else 2):
        return replace(
            proposal,
            parents=proposal.parents[:-1],
            parent_digests=proposal.parent_digests[:-1],
            results=proposal.results[:-1],
        )
    if proposal.operator is not Operator.CROSSOVER:
        return None
    rng = rng_for(evolution.rules.seed, proposal.job)
    return operators.mutate_instead(_archives(evolution, proposal.job), proposal, rng)


def _archives(evolution: Evolution, job: Job) -> operators.Archives:
    return operators.Archives(
        rules=evolution.rules,
        networks=evolution.networks,
        individuals=evolution.individuals,
        prompts=evolution.prompts.current,
        job=job,
        num_settled=evolution.num_settled,
        num_evaluations=evolution.num_evaluations,
        num_since_added=evolution.num_since_added,
    )


def rng_for(seed: int, job: Job) -> Generator:
    """Return the random generator of one attempt, independent of all other jobs."""
    return np.random.default_rng([seed, job.number, job.attempt])


def num_epochs(evolution: Evolution, proposal: Proposal) -> int | None:
    """Return the number of epochs: 0 if initial networks are measured untrained, else None."""
    initial = proposal.operator is Operator.INITIALISATION
    return 0 if initial and measures_untrained(evolution.rules) else None


def should_continue(evolution: Evolution, network: Network, rung_accuracy: float) -> bool:
    """Decide whether a training continues after its rung, by the rule of `early_stopping`."""
    rules, elite_rung_accuracy = evolution.early_stopping_rules, None
    rung_accuracies = evolution.rung_accuracies if evolution.rung_ratio == rules.rung_ratio else ()
    if strategy_of(evolution.rules).is_map:
        networks = evolution.networks
        held = networks.get(networks.locate(*networks.space.measured(network.measures))[0])
        if held is None:
            return True
        if held.elite.rung_ratio == rules.rung_ratio:
            elite_rung_accuracy = held.elite.rung_accuracy
    return early_stopping.is_promising(rules, rung_accuracy, elite_rung_accuracy, rung_accuracies)
