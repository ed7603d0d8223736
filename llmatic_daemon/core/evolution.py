"""The whole search as one immutable value: what to try next, and what a result changes.

`propose` draws the next candidate, `place` decides what a finished one changes, `edit` what other
prompts change, `audit` what a second training changes, and `apply` obeys. Folding `apply` over the stored log rebuilds the search exactly.
"""

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np
from immutables import Map
from numpy.random import Generator

from llmatic_daemon.core import audits, fidelity, operators, prompts, temperature
from llmatic_daemon.core.archive import CVTArchive, Insertion
from llmatic_daemon.core.audits import (
    NO_AUDITS,
    NO_CONTENDERS,
    AuditRules,
    Contender,
    Contenders,
    Due,
)
from llmatic_daemon.core.fidelity import NO_LOOKS, FidelityRules
from llmatic_daemon.core.prompts import EMPTY_BOOK, PromptBook, Version
from llmatic_daemon.core.rules import Rules
from llmatic_daemon.core.structure import structure_of
from llmatic_daemon.core.variants import Credit, Offered, population_offer, strategy_of
from llmatic_daemon.records import (
    AddStatus,
    Audit,
    Completion,
    Duplicate,
    Durations,
    Edition,
    Elite,
    Failure,
    Figures,
    Job,
    Measures,
    Network,
    Operator,
    Outcome,
    Placement,
    Prompt,
    PromptElite,
    PromptOffer,
    Proposal,
    Rejection,
    Report,
    Stopped,
    Trial,
)


@dataclass(frozen=True, slots=True)
class Best:
    """The highest objective so far, and the job that reached it first."""

    objective: float
    job: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """Settled candidates are counted in windows; ours have no generations to compare with."""

    #: Best objective of the last complete window that had one; None before.
    last_best: float | None = None
    #: Best objective of the window under way.
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
    #: All that was trained, looks included, in full trainings; audits aside.
    cost: float = 0.0
    #: Accuracies of the first looks of late, oldest first, all at the same point of a training.
    looks: tuple[float, ...] = ()
    #: See `Placement.look_ratio`.
    look_ratio: float = 0.0
    #: Whether a stand-in wrote the last candidate that was not the control arm's: no LLM answers.
    llm_is_out: bool = False
    #: Time that networks held a device place, audits included, in seconds.
    train_s: float = 0.0
    #: Running time over all restarts, in seconds.
    elapsed_s: float = 0.0
    audit_rules: AuditRules = NO_AUDITS
    #: Who holds a cell of the network archive if its elite falls.
    contenders: Contenders = NO_CONTENDERS
    num_audits: int = 0
    fidelity_rules: FidelityRules = NO_LOOKS


def propose(evolution: Evolution, job: Job, rng: Generator) -> Proposal:
    """Draw what to try next.

    Raises:
        ValueError: the search has taken no prompts yet.

    Source: Nasir 2024, Algorithm 1; `core.variants` for all others.
    """
    strategy = strategy_of(evolution.rules)
    proposal = strategy.propose(_archives(evolution, job), rng)
    by_rule = strategy.by_rule or _is_control(evolution.rules, job)
    return replace(proposal, by_rule=by_rule) if by_rule else proposal


def _is_control(rules: Rules, job: Job) -> bool:
    """Tell whether a job belongs to the control arm, in all its attempts, whatever is proposed."""
    if not rules.control_ratio:
        return False
    return bool(np.random.default_rng([rules.seed, job.number]).random() < rules.control_ratio)


def shorten(evolution: Evolution, proposal: Proposal) -> Proposal | None:
    """Make less of a proposal whose request was too long; None when nothing can be left out.

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
    """Make the random generator of one attempt, whatever else runs beside it."""
    return np.random.default_rng([seed, job.number, job.attempt])


def num_epochs(evolution: Evolution, proposal: Proposal) -> int | None:
    """Say how long to train: 0 when initial networks are measured untrained, else None."""
    initial = proposal.operator is Operator.INITIALISATION
    return 0 if initial and evolution.rules.measures_untrained else None


def goes_on(evolution: Evolution, network: Network, look: float) -> bool:
    """Tell whether a network is trained on after its first look: `core.fidelity` says by which rule."""
    rules, elite_look = evolution.fidelity_rules, None
    looks = evolution.looks if evolution.look_ratio == rules.look_ratio else ()
    if strategy_of(evolution.rules).is_map:
        held = evolution.networks.get(evolution.networks.locate(*measured(network.measures))[0])
        if held is None:
            return True
        if held.elite.look_ratio == rules.look_ratio:
            elite_look = held.elite.look
    return fidelity.is_promising(rules, look, elite_look, looks)


def place(evolution: Evolution, trial: Trial, elapsed_s: float) -> Placement:
    """Decide all that one finished candidate changes; nothing is changed here.

    Args:
        evolution: The search as it is now, not as the proposal saw it.
        trial: The candidate at the end of its life.
        elapsed_s: Running time of the search so far.

    Raises:
        ValueError: the objective is not finite.
    """
    proposal, result = trial.proposal, trial.result
    outcome = _outcome(result)
    report = result if isinstance(result, Report) else None
    completion = trial.completion or _NO_COMPLETION
    insertion = _insertion(evolution, trial, report)
    status = insertion.status if insertion else AddStatus.NOT_ADDED
    credit = _credit(evolution, trial, outcome, status)
    score = _score_change(evolution, trial, outcome, report)
    offer = _offer(evolution, trial, outcome, report, credit, score, status)
    look = result.look if isinstance(result, Report | Stopped) else None
    return Placement(
        number=evolution.num_settled + 1,
        job=proposal.job,
        slot=trial.slot,
        operator=proposal.operator,
        prompt=proposal.prompt.id,
        prompt_version=proposal.prompt.version,
        temperature=proposal.temperature,
        seed=proposal.seed,
        parents=proposal.parents,
        writer=completion.writer,
        endpoint=completion.endpoint,
        model=completion.model,
        model_version=completion.version,
        finish_reason=completion.finish_reason,
        num_prompt_tokens=completion.num_prompt_tokens,
        num_tokens=completion.num_tokens,
        stand_in=completion.stand_in or (proposal.by_rule and evolution.llm_is_out),
        outcome=outcome,
        detail=_detail(result),
        source_digest=trial.candidate.digest if trial.candidate else None,
        network_digest=trial.network.digest if trial.network else None,
        duplicate_of=result.of if isinstance(result, Duplicate) else None,
        measures=trial.network.measures if trial.network else None,
        report=replace(report, weights=None, normalisation=None) if report else None,
        cell=insertion.cell if insertion else None,
        status=status,
        clipped=insertion.clipped if insertion else False,
        credited_cell=proposal.credited_cell if credit is not None else None,
        credited_job=proposal.credited_job if credit is not None else None,
        curiosity_change=credit or 0.0,
        score_change=score,
        offer=offer,
        staleness=evolution.num_settled - proposal.num_settled,
        durations=_durations(trial),
        elapsed_s=elapsed_s,
        by_rule=proposal.by_rule,
        look=look,
        look_ratio=0.0 if look is None else evolution.fidelity_rules.look_ratio,
        cost=result.cost if isinstance(result, Report | Stopped | Failure) else 0.0,
        structure=_structure(evolution, trial, insertion),
    )


def edit(evolution: Evolution, prompts: Sequence[Prompt], num_slots: int) -> Edition | None:
    """Decide all that another set of prompts changes; None when it is the set in use.

    Args:
        evolution: The search as it is now.
        prompts: As they were read: at least one for mutation, exactly one for crossover.
        num_slots: Length of the prompt archive's prompt axis.

    Raises:
        ConfigurationError: there are more mutation prompts than slots.
    """
    book, last = evolution.prompts, evolution.prompts.edition
    numbered = book.numbered(prompts, num_slots)
    if last is not None and last.prompts == numbered:
        return None
    number = last.number + 1 if last else 1
    edition = Edition(number=number, num_settled=evolution.num_settled, prompts=numbered, emptied=())
    after = book.after(edition)
    cells = (cell for cell, held in evolution.individuals.items() if after.is_outdated(held.elite))
    return replace(edition, emptied=tuple(sorted(cells)))


def due_for_audit(evolution: Evolution, passed_over: Set[int] = frozenset()) -> Due | None:
    """Choose the elite that is to be trained again next, but for some jobs; None when there is none."""
    return audits.next_due(evolution.contenders, evolution.rules.seed, passed_over)


def audit(evolution: Evolution, due: Due, result: Report | Failure | Rejection, num_images: int) -> Audit:
    """Decide all that a second training changes: the mean of both counts from now on.

    Whoever is better than the mean takes the cell, the network that the first figure had turned
    down or out. The prompts keep what they have earned by the first figure, and so does the window
    that it was the best of: credit is given for what was known, and is not taken back.

    Args:
        evolution: The search as it is now, not as the audit began.
        due: What was audited.
        result: What became of it.
        num_images: Of the split that selects, at least 1.

    Raises:
        ValueError: a figure is not finite.
    """
    return audits.judge(
        evolution.contenders,
        evolution.audit_rules,
        due,
        result,
        number=evolution.num_audits + 1,
        num_settled=evolution.num_settled,
        num_images=num_images,
    )


def apply(evolution: Evolution, entry: Placement | Edition | Audit) -> Evolution:
    """Return the search after an entry of its log. Total and deterministic: it decides nothing.

    Raises:
        ValueError: the entry is not the next one of the log.
    """
    if isinstance(entry, Edition):
        return _after_edition(evolution, entry)
    if isinstance(entry, Audit):
        return _after_audit(evolution, entry)
    return _after_placement(evolution, entry)


def _after_edition(evolution: Evolution, edition: Edition) -> Evolution:
    book, last = evolution.prompts, evolution.prompts.edition
    due = (last.number + 1 if last else 1, evolution.num_settled)
    if (edition.number, edition.num_settled) != due:
        raise ValueError(
            f"edition {due[0]} after {due[1]} placements must come next, got {edition.number} "
            f"after {edition.num_settled}"
        )
    return replace(
        evolution,
        prompts=book.after(edition),
        individuals=evolution.individuals.without(edition.emptied),
    )


def _after_audit(evolution: Evolution, audit: Audit) -> Evolution:
    due = (evolution.num_audits + 1, evolution.num_settled)
    if (audit.number, audit.num_settled) != due:
        raise ValueError(
            f"audit {due[0]} after {due[1]} placements must come next, got {audit.number} after "
            f"{audit.num_settled}"
        )
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
        looks=_with_look(evolution, placement),
        look_ratio=evolution.look_ratio if placement.look is None else placement.look_ratio,
        llm_is_out=evolution.llm_is_out if placement.by_rule else placement.stand_in,
        train_s=evolution.train_s + placement.durations.train_s,
        elapsed_s=max(evolution.elapsed_s, placement.elapsed_s),
    )


def fold(evolution: Evolution, log: Iterable[Placement | Edition | Audit]) -> Evolution:
    """Rebuild a search from its log."""
    for entry in log:
        evolution = apply(evolution, entry)
    return evolution


# --- the parts of `place` ------------------------------------------------------------------------

_NO_COMPLETION = Completion(text="", writer="", model="", finish_reason="")


def _outcome(result: Report | Rejection | Failure | Duplicate | Stopped) -> Outcome:
    match result:
        case Stopped():
            return Outcome.STOPPED
        case Report():
            return Outcome.TRAINED
        case Duplicate():
            return Outcome.DUPLICATE
        case Rejection() | Failure():
            return result.cause


def _detail(result: Report | Rejection | Failure | Duplicate | Stopped) -> str:
    match result:
        case Stopped():
            return f"its first look, {result.look:.3f}, promised too little"
        case Report():
            return ""
        case Duplicate():
            return f"the same network as job {result.of}"
        case Rejection() | Failure():  # a candidate's words may hold what no encoding can write
            return result.detail.encode(errors="replace").decode()


def measured(measures: Measures) -> tuple[float, float]:
    """Say where a network stands in the measure space, in the units of its axes."""
    return measures.width_to_depth, float(measures.flops)


def _insertion(evolution: Evolution, trial: Trial, report: Report | None) -> Insertion | None:
    if report is None or trial.network is None:
        return None
    offered = Offered(
        operator=trial.proposal.operator,
        solution=measured(trial.network.measures),
        objective=report.objective,
        num_evaluations=evolution.num_evaluations,
    )
    rules = evolution.rules
    return strategy_of(rules).judge(rules, evolution.networks, offered)


def _structure(
    evolution: Evolution, trial: Trial, insertion: Insertion | None
) -> tuple[tuple[str, int], ...]:
    """Count the operations of a network that is added, where the variant asks for it."""
    is_wanted = insertion is not None and insertion.status.added
    if not is_wanted or not strategy_of(evolution.rules).keeps_structure:
        return ()
    assert trial.network is not None
    return structure_of(trial.network.graph)


def _credit(evolution: Evolution, trial: Trial, outcome: Outcome, status: AddStatus) -> float | None:
    """Say what the selected individual gets; None when there is nobody (any more) to credit."""
    proposal = trial.proposal
    is_known = strategy_of(evolution.rules).credit is Credit.ARCHIVE
    if proposal.credited_cell is None or not is_known or not _earns_credit(trial, outcome):
        return None
    held = evolution.individuals.get(proposal.credited_cell)
    if held is None or held.elite.job != proposal.credited_job:
        return None
    return prompts.curiosity_change(evolution.rules, trainable=_is_trainable(trial.result), status=status)


def _earns_credit(trial: Trial, outcome: Outcome) -> bool:
    """Tell whether the prompt took part: what is written by rule says nothing about it."""
    by_rule = trial.proposal.by_rule or (trial.completion and trial.completion.stand_in)
    return outcome.blames_prompt and not by_rule


def _is_trainable(result: Report | Rejection | Failure | Duplicate | Stopped) -> bool:
    if isinstance(result, Duplicate):
        return result.outcome in (Outcome.TRAINED, Outcome.STOPPED)
    return isinstance(result, Report | Stopped)


def _score_change(evolution: Evolution, trial: Trial, outcome: Outcome, report: Report | None) -> float:
    is_known = strategy_of(evolution.rules).credit is Credit.ARCHIVE
    if trial.proposal.temperature is None or not is_known or not _earns_credit(trial, outcome):
        return 0.0
    return prompts.score_change(report.objective if report else None, evolution.window.last_best)


def _offer(
    evolution: Evolution,
    trial: Trial,
    outcome: Outcome,
    report: Report | None,
    credit: float | None,
    score: float,
    status: AddStatus,
) -> PromptOffer | None:
    """Decide where (prompt, new temperature) goes; None when it is not offered at all.

    A version that is no longer in use has no slot.
    """
    proposal, rules = trial.proposal, evolution.rules
    version = (proposal.prompt.id, proposal.prompt.version)
    slot = evolution.prompts.current.slot_of(*version)
    if proposal.temperature is None or slot is None or not _earns_credit(trial, outcome):
        return None
    kind = strategy_of(rules).credit
    if kind is Credit.POPULATION and proposal.credited_cell is not None:
        return population_offer(
            rules,
            evolution.individuals,
            evolution.prompts.current,
            proposal.credited_cell,
            trainable=_is_trainable(trial.result),
            status=status,
        )
    if kind is not Credit.ARCHIVE:
        return None
    objective = report.objective if report else None
    at = temperature.adapted(
        proposal.temperature, objective, evolution.window.last_best, rules.temperature_step
    )
    total = evolution.scores.get(version, 0.0) + score
    insertion = evolution.individuals.judge(float(slot), at, total)
    return PromptOffer(
        temperature=at,
        cell=insertion.cell,
        status=insertion.status,
        objective=total,
        curiosity=_inherited_curiosity(evolution, proposal, insertion.cell, credit),
    )


def _inherited_curiosity(evolution: Evolution, proposal: Proposal, cell: int, credit: float | None) -> float:
    """Let an individual that replaces the one it comes from keep that one's curiosity.

    Otherwise each success that improves a prompt would throw its credit away. All others start
    at 0 (Cully 2018).
    """
    if credit is None or cell != proposal.credited_cell:
        return 0.0
    elite = evolution.individuals[cell].elite
    same = (elite.prompt, elite.prompt_version) == (proposal.prompt.id, proposal.prompt.version)
    return elite.curiosity + credit if same else 0.0


def _durations(trial: Trial) -> Durations:
    trained = trial.result if isinstance(trial.result, Report | Failure | Stopped) else None
    return Durations(
        llm_s=trial.completion.duration_s if trial.completion else 0.0,
        lift_s=trial.network.lift_s if trial.network else 0.0,
        wait_s=trained.wait_s if trained else 0.0,
        train_s=trained.train_s if trained else 0.0,
        total_s=trial.total_s,
    )


# --- the parts of `apply` ------------------------------------------------------------------------


def _contender(evolution: Evolution, placement: Placement) -> Contender | None:
    """Make a contender of what was offered to the network archive; None when nothing was."""
    if placement.cell is None or placement.report is None:
        return None
    assert placement.measures is not None
    assert placement.source_digest is not None
    elite = Elite(
        job=placement.job.number,
        source_digest=placement.source_digest,
        measures=placement.measures,
        solution=measured(placement.measures),
        look=placement.look,
        look_ratio=placement.look_ratio,
        structure=placement.structure,
    )
    figures = Figures(objective=placement.report.objective, test_accuracy=placement.report.test_accuracy)
    drawn = audits.is_drawn(evolution.audit_rules, evolution.rules.seed, elite.job)
    wants_audit = drawn and not _is_untrained(evolution, placement)
    return Contender(elite=elite, figures=figures, wants_audit=wants_audit)


def _is_untrained(evolution: Evolution, placement: Placement) -> bool:
    """Tell whether a network was measured as it was built."""
    return placement.operator is Operator.INITIALISATION and evolution.rules.measures_untrained


def _with_look(evolution: Evolution, placement: Placement) -> tuple[float, ...]:
    """Remember a look, and no look at another point of a training beside it."""
    if placement.look is None:
        return evolution.looks
    same = placement.look_ratio == evolution.look_ratio
    return fidelity.remembered(evolution.looks if same else (), placement.look)


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
    # A place of a population is left for good by whoever was there.
    added = placement.status.added
    return contenders.left_to(placement.cell, contender) if added else contenders


def _with_individual(archive: CVTArchive[PromptElite], placement: Placement) -> CVTArchive[PromptElite]:
    if placement.credited_cell is not None and placement.credited_job is not None:
        archive = prompts.with_credit(
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
    """Find the best elite; of equals, the one with the lowest job."""
    found = [Best(held.objective, held.elite.job) for _, held in networks.items()]
    return max(found, key=lambda best: (best.objective, -best.job), default=None)
