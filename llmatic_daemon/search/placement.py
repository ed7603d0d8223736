"""Placement: decide everything that a finished candidate, other prompts or a second training change."""

from collections.abc import Sequence, Set
from dataclasses import replace

from llmatic_daemon.domain import (
    AddStatus,
    Audit,
    Candidate,
    Completion,
    Duplicate,
    Durations,
    Edition,
    Failure,
    Network,
    Outcome,
    Placement,
    Prompt,
    PromptOffer,
    Proposal,
    Rejection,
    Report,
    StoppedEarly,
    TrainerDeath,
    Trial,
)
from llmatic_daemon.domain.errors import TrainerDied
from llmatic_daemon.domain.text import without_surrogates
from llmatic_daemon.domain.trainer_deaths import is_damage
from llmatic_daemon.search import auditing, prompt_book, temperature
from llmatic_daemon.search.archive.archive import Insertion
from llmatic_daemon.search.auditing import Due
from llmatic_daemon.search.evolution import Evolution
from llmatic_daemon.search.similarity import structure_of
from llmatic_daemon.search.variants import Credit, Offered, population_offer, strategy_of


def place(evolution: Evolution, trial: Trial, elapsed_s: float) -> Placement:
    """Decide everything that one finished candidate changes, without changing the search.

    Args:
        evolution: The current search, which may have changed since the proposal.
        trial: The finished candidate.
        elapsed_s: Running time of the search so far.

    Raises:
        ValueError: the objective is not finite.
    """
    proposal, result = trial.proposal, trial.result
    outcome, detail = _outcome(result)
    report = result if isinstance(result, Report) else None
    completion = trial.completion or _NO_COMPLETION
    insertion = _insertion(evolution, trial, report)
    status = insertion.status if insertion else AddStatus.NOT_ADDED
    credit = _credit(evolution, trial, outcome, status)
    score = _score_change(evolution, trial, outcome, report)
    offer = _offer(evolution, trial, outcome, report, credit, score, status)
    rung_accuracy = result.rung_accuracy if isinstance(result, Report | StoppedEarly) else None
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
        fallback=completion.fallback or (proposal.by_rule and evolution.llm_is_out),
        outcome=outcome,
        detail=detail,
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
        rung_accuracy=rung_accuracy,
        rung_ratio=0.0 if rung_accuracy is None else evolution.early_stopping_rules.rung_ratio,
        cost=result.cost if isinstance(result, Report | StoppedEarly | Failure) else 0.0,
        structure=_structure(evolution, trial, insertion),
        violation=result.violation if isinstance(result, Rejection) else None,
    )


def edit(evolution: Evolution, prompts: Sequence[Prompt], axis_size: int) -> Edition | None:
    """Decide everything that another prompt set changes; return None if it is already active.

    Args:
        evolution: The current search.
        prompts: Prompts of the files: at least one for mutation, exactly one for crossover.
        axis_size: Length of the prompt archive's prompt axis.

    Raises:
        ConfigurationError: there are more mutation prompts than axis positions.
    """
    book, last = evolution.prompts, evolution.prompts.edition
    numbered = book.numbered(prompts, axis_size)
    if last is not None and last.prompts == numbered:
        return None
    number = last.number + 1 if last else 1
    edition = Edition(number=number, num_settled=evolution.num_settled, prompts=numbered, emptied=())
    after = book.after(edition)
    cells = (cell for cell, held in evolution.individuals.items() if after.is_outdated(held.elite))
    return replace(edition, emptied=tuple(sorted(cells)))


def due_for_audit(evolution: Evolution, skipped_audits: Set[int] = frozenset()) -> Due | None:
    """Return the elite to audit next, except some jobs, or None."""
    return auditing.next_due(evolution.contenders, evolution.rules.seed, skipped_audits)


def audit(evolution: Evolution, due: Due, result: Report | Failure | Rejection, num_images: int) -> Audit:
    """Decide everything that a second training changes: the mean of both accuracies counts from now on.

    If another contender is better than the mean, it replaces the elite. Prompts keep their credit and the
    window keeps its best objective, because both were justified by what was known.

    Args:
        evolution: The current search, which may have changed since the audit began.
        due: The audited elite.
        result: Result of the second training.
        num_images: Size of the split that selects, at least 1.

    Raises:
        ValueError: an accuracy is not finite.
    """
    return auditing.judge(
        evolution.contenders,
        evolution.audit_rules,
        due,
        result,
        number=evolution.num_audits + 1,
        num_settled=evolution.num_settled,
        num_images=num_images,
    )


def note_death(
    evolution: Evolution, error: TrainerDied, job: int, candidate: Candidate, network: Network, seed: int
) -> TrainerDeath:
    """Decide what the death of a trainer changes: networks that it measured are audited first.

    Only if its memory may have been damaged. An audit of a network has confirmed it by another trainer.

    Args:
        evolution: The current search.
        error: How the trainer ended.
        job: Job of the network.
        candidate: Source of the network.
        network: What was being trained.
        seed: Of the training.
    """
    suspects = evolution.contenders.measured_by(error.trainer) if is_damage(error.signal) else ()
    return TrainerDeath(
        number=evolution.num_deaths + 1,
        num_settled=evolution.num_settled,
        job=job,
        source_digest=candidate.digest,
        network_digest=network.digest,
        seed=seed,
        device=error.device,
        trainer=error.trainer,
        signal=error.signal,
        detail=without_surrogates(str(error)),
        train_s=error.train_s,
        suspects=suspects,
    )


# --- the parts of `place` ------------------------------------------------------------------------

_NO_COMPLETION = Completion(text="", writer="", model="", finish_reason="")


def _outcome(result: Report | Rejection | Failure | Duplicate | StoppedEarly) -> tuple[Outcome, str]:
    """Return the outcome, and its reason in one line; empty if trained."""
    match result:
        case StoppedEarly(rung_accuracy=accuracy):
            return Outcome.STOPPED, f"stopped early: accuracy {accuracy:.3f} at the rung was too low"
        case Report():
            return Outcome.TRAINED, ""
        case Duplicate():
            return Outcome.DUPLICATE, f"the same network as job {result.of}"
        case Rejection() | Failure():  # a candidate's message may contain lone surrogates
            return result.cause, without_surrogates(result.detail)


def _insertion(evolution: Evolution, trial: Trial, report: Report | None) -> Insertion | None:
    if report is None or trial.network is None:
        return None
    offered = Offered(
        operator=trial.proposal.operator,
        solution=evolution.networks.space.measured(trial.network.measures),
        objective=report.objective,
        num_evaluations=evolution.num_evaluations,
    )
    rules = evolution.rules
    return strategy_of(rules).judge(rules, evolution.networks, offered)


def _structure(
    evolution: Evolution, trial: Trial, insertion: Insertion | None
) -> tuple[tuple[str, int], ...]:
    """Count the operations of an added network, if the variant compares structures."""
    is_wanted = insertion is not None and insertion.status.added
    if not is_wanted or not strategy_of(evolution.rules).keeps_structure:
        return ()
    assert trial.network is not None
    return structure_of(trial.network.graph)


def _credit(evolution: Evolution, trial: Trial, outcome: Outcome, status: AddStatus) -> float | None:
    """Return the curiosity change of the selected individual, or None if it no longer exists."""
    proposal = trial.proposal
    is_known = strategy_of(evolution.rules).credit is Credit.ARCHIVE
    if proposal.credited_cell is None or not is_known or not _earns_credit(trial, outcome):
        return None
    held = evolution.individuals.get(proposal.credited_cell)
    if held is None or held.elite.job != proposal.credited_job:
        return None
    return prompt_book.curiosity_change(evolution.rules, trainable=_is_trainable(trial.result), status=status)


def _earns_credit(trial: Trial, outcome: Outcome) -> bool:
    """Return whether the candidate counts for its prompt; one that a rule wrote does not."""
    outcome = trial.result.outcome if isinstance(trial.result, Duplicate) else outcome
    by_rule = trial.proposal.by_rule or (trial.completion and trial.completion.fallback)
    return outcome.blames_prompt and not by_rule


def _is_trainable(result: Report | Rejection | Failure | Duplicate | StoppedEarly) -> bool:
    if isinstance(result, Duplicate):
        return result.outcome in (Outcome.TRAINED, Outcome.STOPPED)
    return isinstance(result, Report | StoppedEarly)


def _score_change(evolution: Evolution, trial: Trial, outcome: Outcome, report: Report | None) -> float:
    is_known = strategy_of(evolution.rules).credit is Credit.ARCHIVE
    if trial.proposal.temperature is None or not is_known or not _earns_credit(trial, outcome):
        return 0.0
    return prompt_book.score_change(report.objective if report else None, evolution.window.last_best)


def _offer(
    evolution: Evolution,
    trial: Trial,
    outcome: Outcome,
    report: Report | None,
    credit: float | None,
    score: float,
    status: AddStatus,
) -> PromptOffer | None:
    """Decide the cell of (prompt, new temperature), or return None if it is not offered.

    A version that is no longer active has no axis position.
    """
    proposal, rules = trial.proposal, evolution.rules
    version = (proposal.prompt.id, proposal.prompt.version)
    position = evolution.prompts.current.axis_position_of(*version)
    if proposal.temperature is None or position is None or not _earns_credit(trial, outcome):
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
    insertion = evolution.individuals.judge(float(position), at, total)
    return PromptOffer(
        temperature=at,
        cell=insertion.cell,
        status=insertion.status,
        objective=total,
        curiosity=_inherited_curiosity(evolution, proposal, insertion.cell, credit),
    )


def _inherited_curiosity(evolution: Evolution, proposal: Proposal, cell: int, credit: float | None) -> float:
    """Return the first curiosity of an individual: inherited if it replaces its own source, else 0.

    Without inheritance, each success of a prompt would delete its credit.

    Source: Cully 2018, for the start at 0.
    """
    if credit is None or cell != proposal.credited_cell:
        return 0.0
    elite = evolution.individuals[cell].elite
    same = (elite.prompt, elite.prompt_version) == (proposal.prompt.id, proposal.prompt.version)
    return elite.curiosity + credit if same else 0.0


def _durations(trial: Trial) -> Durations:
    trained = trial.result if isinstance(trial.result, Report | Failure | StoppedEarly) else None
    return Durations(
        llm_s=trial.completion.duration_s if trial.completion else 0.0,
        lift_s=trial.network.lift_s if trial.network else 0.0,
        wait_s=trained.wait_s if trained else 0.0,
        train_s=trained.train_s if trained else 0.0,
        total_s=trial.total_s,
    )
