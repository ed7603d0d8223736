"""The whole search as one immutable value.

`proposals.propose` draws the next candidate. `placement.place`, `edit`, `audit` and `note_death` decide what a
finished candidate, other prompts, a second training or the death of a trainer change. `apply` applies these entries of the log. Folding
`apply` over the stored log rebuilds the search exactly.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from immutables import Map

from llmatic_daemon.domain import (
    Accuracies,
    Audit,
    Contender,
    Edition,
    Elite,
    Operator,
    Placement,
    PromptElite,
    TrainerDeath,
)
from llmatic_daemon.domain.ports import Entry
from llmatic_daemon.search import auditing, early_stopping, prompt_book
from llmatic_daemon.search.archive.archive import CVTArchive
from llmatic_daemon.search.auditing import NO_AUDITS, NO_CONTENDERS, AuditRules, Contenders
from llmatic_daemon.search.early_stopping import NO_EARLY_STOPPING, EarlyStoppingRules
from llmatic_daemon.search.prompt_book import EMPTY_BOOK, PromptBook, Version
from llmatic_daemon.search.rules import Rules
from llmatic_daemon.search.variants import measures_untrained, strategy_of


@dataclass(frozen=True, slots=True)
class Best:
    """The highest objective so far, and the job that reached it first."""

    objective: float
    job: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """The best objectives of windows of settled candidates.

    A window replaces the generation of the paper, because this search is steady-state.
    """

    #: Best objective of the last complete window that had one; None before.
    last_best: float | None = None
    #: Best objective of the current window.
    current_best: float | None = None

    def after(self, objective: float | None, *, complete: bool) -> "Window":
        """Return the window after one more settled candidate."""
        bests = [best for best in (self.current_best, objective) if best is not None]
        current = max(bests, default=None)
        if not complete:
            return replace(self, current_best=current)
        return Window(last_best=self.last_best if current is None else current)


@dataclass(frozen=True, kw_only=True, slots=True)
class Evolution:
    """The search after some number of placements, editions and audits."""

    rules: Rules
    networks: CVTArchive[Elite]
    individuals: CVTArchive[PromptElite]
    prompts: PromptBook = EMPTY_BOOK
    #: Collective score of each version of a prompt that has one.
    scores: Map[Version, float] = Map()
    window: Window = Window()
    best: Best | None = None
    num_settled: int = 0
    #: Settled candidates that were trained and measured.
    num_evaluations: int = 0
    #: Settled since a network was last added to the network archive.
    num_since_added: int = 0
    #: Cost of all trainings, stopped ones included and audits excluded, in full trainings.
    cost: float = 0.0
    #: Recent accuracies at the rung, oldest first, all at `rung_ratio`.
    rung_accuracies: tuple[float, ...] = ()
    #: See `Placement.rung_ratio`.
    rung_ratio: float = 0.0
    #: Whether the fallback wrote the last candidate outside the control arm: no LLM is available.
    llm_is_out: bool = False
    #: Time that networks used a device, audits included, in seconds.
    train_s: float = 0.0
    #: Running time over all restarts, in seconds.
    elapsed_s: float = 0.0
    audit_rules: AuditRules = NO_AUDITS
    #: The networks that may hold a cell of the network archive if its elite falls.
    contenders: Contenders = NO_CONTENDERS
    num_audits: int = 0
    num_deaths: int = 0
    #: Trainers that a network has ended, by its digest.
    deaths: Map[str, int] = Map()
    early_stopping_rules: EarlyStoppingRules = NO_EARLY_STOPPING


def apply(evolution: Evolution, entry: Entry) -> Evolution:
    """Return the search after an entry of its log. Total and deterministic: it decides nothing.

    Raises:
        ValueError: the entry is not the next one of the log.
    """
    if isinstance(entry, Edition):
        return _after_edition(evolution, entry)
    if isinstance(entry, Audit):
        return _after_audit(evolution, entry)
    if isinstance(entry, TrainerDeath):
        return _after_death(evolution, entry)
    return _after_placement(evolution, entry)


def _after_edition(evolution: Evolution, edition: Edition) -> Evolution:
    last = evolution.prompts.edition
    _check_next("edition", edition, last.number + 1 if last else 1, evolution.num_settled)
    return replace(
        evolution,
        prompts=evolution.prompts.after(edition),
        individuals=evolution.individuals.without(edition.emptied),
    )


def _after_audit(evolution: Evolution, audit: Audit) -> Evolution:
    _check_next("audit", audit, evolution.num_audits + 1, evolution.num_settled)
    contenders = evolution.contenders.after(audit)
    holder = contenders.of(audit.cell)[0]
    networks = evolution.networks.with_elite(audit.cell, holder.figures.objective, holder.elite)
    return replace(
        evolution,
        networks=networks,
        contenders=contenders,
        best=_best_of(networks),
        num_audits=audit.number,
        train_s=evolution.train_s + audit.train_s,
    )


def _after_death(evolution: Evolution, death: TrainerDeath) -> Evolution:
    _check_next("death", death, evolution.num_deaths + 1, evolution.num_settled)
    digest = death.network_digest
    return replace(
        evolution,
        num_deaths=death.number,
        deaths=evolution.deaths.set(digest, evolution.deaths.get(digest, 0) + 1),
        contenders=evolution.contenders.doubted(death.suspects),
    )


def _check_next(kind: str, entry: Edition | Audit | TrainerDeath, number: int, num_settled: int) -> None:
    if (entry.number, entry.num_settled) != (number, num_settled):
        raise ValueError(
            f"{kind} {number} after {num_settled} placements must come next, got {entry.number} after "
            f"{entry.num_settled}"
        )


def _after_placement(evolution: Evolution, placement: Placement) -> Evolution:
    if placement.number != evolution.num_settled + 1:
        raise ValueError(f"placement {evolution.num_settled + 1} must come next, got {placement.number}")
    objective = placement.objective
    complete = placement.number % evolution.rules.window_size == 0
    contender = _contender(evolution, placement)
    return replace(
        evolution,
        networks=_with_network(evolution.networks, placement, contender),
        contenders=_with_contender(evolution, placement, contender),
        individuals=_with_individual(evolution.individuals, placement),
        scores=_with_score(evolution.scores, placement),
        window=evolution.window.after(objective, complete=complete),
        best=_with_best(evolution.best, placement),
        num_settled=placement.number,
        num_evaluations=evolution.num_evaluations + (objective is not None),
        num_since_added=0 if placement.status.added else evolution.num_since_added + 1,
        cost=evolution.cost + placement.cost,
        rung_accuracies=_with_rung_accuracy(evolution, placement),
        rung_ratio=evolution.rung_ratio if placement.rung_accuracy is None else placement.rung_ratio,
        llm_is_out=evolution.llm_is_out if placement.by_rule else placement.fallback,
        train_s=evolution.train_s + placement.durations.train_s,
        elapsed_s=max(evolution.elapsed_s, placement.elapsed_s),
    )


def fold(evolution: Evolution, log: Iterable[Entry]) -> Evolution:
    """Rebuild a search from its log."""
    for entry in log:
        evolution = apply(evolution, entry)
    return evolution


# --- the parts of `apply` ------------------------------------------------------------------------


def _contender(evolution: Evolution, placement: Placement) -> Contender | None:
    """Return the contender that was offered to the network archive, or None."""
    if placement.cell is None or placement.report is None:
        return None
    assert placement.measures is not None
    assert placement.source_digest is not None
    untrained = _is_untrained(evolution, placement)
    elite = Elite(
        job=placement.job.number,
        source_digest=placement.source_digest,
        measures=placement.measures,
        rung_accuracy=placement.rung_accuracy,
        rung_ratio=placement.rung_ratio,
        structure=placement.structure,
        trainer="" if untrained else placement.report.trainer,
    )
    figures = Accuracies(objective=placement.report.objective, test_accuracy=placement.report.test_accuracy)
    drawn = auditing.is_drawn(evolution.audit_rules, evolution.rules.seed, elite.job)
    return Contender(elite=elite, figures=figures, wants_audit=drawn and not untrained)


def _is_untrained(evolution: Evolution, placement: Placement) -> bool:
    """Return whether a network was measured without training."""
    return placement.operator is Operator.INITIALISATION and measures_untrained(evolution.rules)


def _with_rung_accuracy(evolution: Evolution, placement: Placement) -> tuple[float, ...]:
    """Add an accuracy at the rung; drop those of another rung ratio."""
    if placement.rung_accuracy is None:
        return evolution.rung_accuracies
    same = placement.rung_ratio == evolution.rung_ratio
    return early_stopping.remembered(evolution.rung_accuracies if same else (), placement.rung_accuracy)


def _with_network(
    archive: CVTArchive[Elite], placement: Placement, contender: Contender | None
) -> CVTArchive[Elite]:
    if not placement.status.added:
        return archive
    assert placement.cell is not None
    assert contender is not None
    return archive.with_elite(placement.cell, contender.figures.objective, contender.elite)


def _with_contender(evolution: Evolution, placement: Placement, contender: Contender | None) -> Contenders:
    contenders = evolution.contenders
    if placement.cell is None or contender is None:
        return contenders
    if strategy_of(evolution.rules).is_map:
        return contenders.joined_by(placement.cell, contender)
    # In a population, a replaced network never returns.
    added = placement.status.added
    return contenders.left_to(placement.cell, contender) if added else contenders


def _with_individual(archive: CVTArchive[PromptElite], placement: Placement) -> CVTArchive[PromptElite]:
    if placement.credited_cell is not None and placement.credited_job is not None:
        archive = prompt_book.with_credit(
            archive, placement.credited_cell, placement.credited_job, placement.curiosity_change
        )
    offer = placement.offer
    if offer is None or not offer.status.added:
        return archive
    elite = PromptElite(
        job=placement.job.number,
        prompt=placement.prompt,
        prompt_version=placement.prompt_version,
        temperature=offer.temperature,
        curiosity=offer.curiosity,
    )
    return archive.with_elite(offer.cell, offer.objective, elite)


def _with_score(scores: Map[Version, float], placement: Placement) -> Map[Version, float]:
    if not placement.score_change:
        return scores
    version = (placement.prompt, placement.prompt_version)
    return scores.set(version, scores.get(version, 0.0) + placement.score_change)


def _with_best(best: Best | None, placement: Placement) -> Best | None:
    objective = placement.objective
    if objective is None or (best is not None and objective <= best.objective):
        return best
    return Best(objective, placement.job.number)


def _best_of(networks: CVTArchive[Elite]) -> Best | None:
    """Return the best elite; among equals, the one with the lowest job."""
    found = [Best(held.objective, held.elite.job) for _, held in networks.items()]
    return max(found, key=lambda best: (best.objective, -best.job), default=None)
