"""Checkpoints: what a start begins with instead of the whole log.

A checkpoint that was made under other rules is not used: the fold of the log may give another search.
"""

from collections.abc import Iterable
from dataclasses import replace

from immutables import Map

from llmatic_daemon.domain import Checkpoint, Elite, PromptElite, SavedSearch, digest
from llmatic_daemon.search.archive.archive import CVTArchive
from llmatic_daemon.search.auditing import Contenders
from llmatic_daemon.search.evolution import Best, Evolution, Window
from llmatic_daemon.search.prompt_book import PromptBook

#: Grows when what `apply` makes of the log changes.
_FORMAT = 4


def rules_digest(evolution: Evolution) -> str:
    """Return the digest of what, in addition to the log, decides what its fold gives."""
    return digest(repr((_FORMAT, evolution.rules, evolution.audit_rules)).encode())


def checkpoint_of(evolution: Evolution) -> Checkpoint:
    """Return the checkpoint of a search. Costs some microseconds for each filled cell."""
    edition = evolution.prompts.edition
    return Checkpoint(
        num_settled=evolution.num_settled,
        num_editions=edition.number if edition else 0,
        num_audits=evolution.num_audits,
        num_deaths=evolution.num_deaths,
        rules_digest=rules_digest(evolution),
        search=_saved(evolution),
    )


def _saved(evolution: Evolution) -> SavedSearch:
    book, window, best = evolution.prompts, evolution.window, evolution.best
    individuals = evolution.individuals.items()
    return SavedSearch(
        networks=tuple((cell, evolution.contenders.of(cell)) for cell, _ in evolution.networks.items()),
        individuals=tuple((cell, held.objective, held.elite) for cell, held in individuals),
        scores=tuple(sorted((*version, score) for version, score in evolution.scores.items())),
        edition=book.edition,
        versions=dict(sorted(book.versions.items())),
        axis_positions=dict(sorted(book.axis_positions.items())),
        last_used=dict(sorted(book.last_used.items())),
        window=(window.last_best, window.current_best),
        best=(best.objective, best.job) if best else None,
        num_evaluations=evolution.num_evaluations,
        num_since_added=evolution.num_since_added,
        cost=evolution.cost,
        rung_accuracies=evolution.rung_accuracies,
        rung_ratio=evolution.rung_ratio,
        llm_is_out=evolution.llm_is_out,
        train_s=evolution.train_s,
        elapsed_s=evolution.elapsed_s,
        deaths=dict(sorted(evolution.deaths.items())),
    )


def resumed(empty: Evolution, checkpoint: Checkpoint) -> Evolution | None:
    """Return the search of a checkpoint, or None if it was made under other rules.

    Args:
        empty: The search before its first placement.
        checkpoint: Of the same search.
    """
    saved = checkpoint.search
    if saved is None or checkpoint.rules_digest != rules_digest(empty):
        return None
    contenders = _contenders(saved)
    return replace(
        empty,
        networks=_networks(empty.networks, contenders, (cell for cell, _ in saved.networks)),
        contenders=contenders,
        individuals=_individuals(empty.individuals, saved),
        scores=Map(((prompt, version), score) for prompt, version, score in saved.scores),
        prompts=_book(saved),
        window=Window(last_best=saved.window[0], current_best=saved.window[1]),
        best=Best(*saved.best) if saved.best else None,
        num_settled=checkpoint.num_settled,
        num_evaluations=saved.num_evaluations,
        num_since_added=saved.num_since_added,
        cost=saved.cost,
        rung_accuracies=saved.rung_accuracies,
        rung_ratio=saved.rung_ratio,
        llm_is_out=saved.llm_is_out,
        train_s=saved.train_s,
        elapsed_s=saved.elapsed_s,
        num_audits=checkpoint.num_audits,
        num_deaths=checkpoint.num_deaths,
        deaths=Map(saved.deaths),
    )


def _contenders(saved: SavedSearch) -> Contenders:
    due = {cell: ranked[0].elite.job for cell, ranked in saved.networks if ranked[0].wants_audit}
    return Contenders(ranked=Map(saved.networks), due=Map(due))


def _networks(archive: CVTArchive[Elite], contenders: Contenders, cells: Iterable[int]) -> CVTArchive[Elite]:
    for cell in cells:
        holder = contenders.of(cell)[0]
        archive = archive.with_elite(cell, holder.figures.objective, holder.elite)
    return archive


def _individuals(archive: CVTArchive[PromptElite], saved: SavedSearch) -> CVTArchive[PromptElite]:
    for cell, objective, elite in saved.individuals:
        archive = archive.with_elite(cell, objective, elite)
    return archive


def _book(saved: SavedSearch) -> PromptBook:
    return PromptBook(
        edition=saved.edition,
        versions=Map(saved.versions),
        axis_positions=Map(saved.axis_positions),
        last_used=Map(saved.last_used),
    )
