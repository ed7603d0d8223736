"""A search as JSON, and back: what a start begins with instead of the whole log.

What was written under other rules is not read: the fold of the log may give another search then.
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from immutables import Map

from llmatic_daemon.domain import (
    Accuracies,
    Checkpoint,
    Edition,
    Elite,
    Measures,
    Prompt,
    PromptElite,
    PromptKind,
    PromptSet,
    digest,
)
from llmatic_daemon.search.archive.archive import CVTArchive
from llmatic_daemon.search.auditing import Contender, Contenders
from llmatic_daemon.search.evolution import Best, Evolution, Window
from llmatic_daemon.search.prompt_book import PromptBook

#: Grows when what is written, or what `apply` makes of the log, changes.
_FORMAT = 2


def rules_digest(evolution: Evolution) -> str:
    """Name all that, beside the log, decides what its fold gives."""
    return digest(repr((_FORMAT, evolution.rules, evolution.audit_rules)).encode())


def milestone_of(evolution: Evolution) -> Checkpoint:
    """Write a search out. Costs some 10 us for each filled cell."""
    edition = evolution.prompts.edition
    written = {
        "networks": [_cell(evolution, cell) for cell, _ in evolution.networks.items()],
        "individuals": [
            [cell, held.objective, *_individual(held.elite)] for cell, held in evolution.individuals.items()
        ],
        "scores": sorted([*version, score] for version, score in evolution.scores.items()),
        "prompts": _book(evolution.prompts),
        "window": [evolution.window.last_best, evolution.window.current_best],
        "best": [evolution.best.objective, evolution.best.job] if evolution.best else None,
        "num_evaluations": evolution.num_evaluations,
        "num_since_added": evolution.num_since_added,
        "cost": evolution.cost,
        "looks": evolution.rung_accuracies,
        "look_ratio": evolution.rung_ratio,
        "llm_is_out": evolution.llm_is_out,
        "train_s": evolution.train_s,
        "elapsed_s": evolution.elapsed_s,
    }
    return Checkpoint(
        num_settled=evolution.num_settled,
        num_editions=edition.number if edition else 0,
        num_audits=evolution.num_audits,
        rules_digest=rules_digest(evolution),
        search=json.dumps(written, separators=(",", ":"), allow_nan=False),
    )


def resumed(empty: Evolution, checkpoint: Checkpoint) -> Evolution | None:
    """Read a search back; None when it was written under other rules, or by another version.

    Args:
        empty: The search before its first placement.
        checkpoint: Of the same search.
    """
    if checkpoint.rules_digest != rules_digest(empty):
        return None
    read = json.loads(checkpoint.search)
    contenders = Contenders(
        ranked=Map((cell, tuple(map(_contender, ranked))) for cell, *ranked in read["networks"])
    )
    return replace(
        empty,
        networks=_networks(empty.networks, contenders, [row[0] for row in read["networks"]]),
        contenders=replace(contenders, due=_due(contenders)),
        individuals=_individuals(empty.individuals, read["individuals"]),
        scores=Map(((prompt, version), score) for prompt, version, score in read["scores"]),
        prompts=_book_from(read["prompts"]),
        window=Window(last_best=read["window"][0], current_best=read["window"][1]),
        best=Best(*read["best"]) if read["best"] else None,
        num_settled=checkpoint.num_settled,
        num_evaluations=read["num_evaluations"],
        num_since_added=read["num_since_added"],
        cost=read["cost"],
        rung_accuracies=tuple(read["looks"]),
        rung_ratio=read["look_ratio"],
        llm_is_out=read["llm_is_out"],
        train_s=read["train_s"],
        elapsed_s=read["elapsed_s"],
        num_audits=checkpoint.num_audits,
    )


# --- the network archive: of each cell, who contends for it ----------------------------------------


def _cell(evolution: Evolution, cell: int) -> list[Any]:
    """Write a cell's contenders; the first one is what the archive holds."""
    return [cell, *map(_contender_row, evolution.contenders.of(cell))]


def _contender_row(contender: Contender) -> list[Any]:
    elite, measures, figures = contender.elite, contender.elite.measures, contender.figures
    return [
        elite.job,
        elite.source_digest,
        measures.num_parameters,
        measures.flops,
        measures.width,
        measures.depth,
        figures.objective,
        figures.test_accuracy,
        contender.wants_audit,
        elite.rung_accuracy,
        elite.rung_ratio,
        elite.structure,
    ]


def _contender(row: list[Any]) -> Contender:
    (
        job,
        source,
        num_parameters,
        flops,
        width,
        depth,
        objective,
        test_accuracy,
        wants_audit,
        rung_accuracy,
        rung_ratio,
        structure,
    ) = row
    measures = Measures(num_parameters=num_parameters, flops=flops, width=width, depth=depth)
    return Contender(
        elite=Elite(
            job=job,
            source_digest=source,
            measures=measures,
            rung_accuracy=rung_accuracy,
            rung_ratio=rung_ratio,
            structure=tuple((name, number) for name, number in structure),
        ),
        figures=Accuracies(objective=objective, test_accuracy=test_accuracy),
        wants_audit=wants_audit,
    )


def _networks(archive: CVTArchive[Elite], contenders: Contenders, cells: Iterable[int]) -> CVTArchive[Elite]:
    for cell in cells:
        holder = contenders.of(cell)[0]
        archive = archive.with_elite(cell, holder.figures.objective, holder.elite)
    return archive


def _due(contenders: Contenders) -> Map[int, int]:
    return Map(
        (cell, ranked[0].elite.job) for cell, ranked in contenders.ranked.items() if ranked[0].wants_audit
    )


# --- the prompt archive, and the prompts -----------------------------------------------------------


def _individual(elite: PromptElite) -> list[Any]:
    return [elite.job, elite.prompt, elite.prompt_version, elite.temperature, elite.curiosity]


def _individuals(archive: CVTArchive[PromptElite], rows: Iterable[list[Any]]) -> CVTArchive[PromptElite]:
    for cell, objective, job, prompt, version, temperature, curiosity in rows:
        elite = PromptElite(
            job=job,
            prompt=prompt,
            prompt_version=version,
            temperature=temperature,
            curiosity=curiosity,
        )
        archive = archive.with_elite(cell, objective, elite)
    return archive


def _book(book: PromptBook) -> dict[str, Any]:
    return {
        "edition": _edition(book.edition) if book.edition else None,
        "versions": dict(sorted(book.versions.items())),
        "slots": dict(sorted(book.axis_positions.items())),
        "last_used": dict(sorted(book.last_used.items())),
    }


def _book_from(read: dict[str, Any]) -> PromptBook:
    return PromptBook(
        edition=_edition_from(**read["edition"]) if read["edition"] else None,
        versions=Map((prompt, tuple(digests)) for prompt, digests in read["versions"].items()),
        axis_positions=Map(read["slots"]),
        last_used=Map(read["last_used"]),
    )


def _edition(edition: Edition) -> dict[str, Any]:
    prompts = edition.prompts
    return {
        "number": edition.number,
        "num_settled": edition.num_settled,
        "emptied": edition.emptied,
        "slots": prompts.axis_positions,
        "prompts": [[p.id, p.kind.value, p.text, p.weight, p.version] for p in prompts.all],
    }


def _edition_from(
    number: int, num_settled: int, emptied: list[int], slots: list[int], prompts: list[list[Any]]
) -> Edition:
    *mutation, crossover = (
        Prompt(id=id_, kind=PromptKind(kind), text=text, weight=weight, version=version)
        for id_, kind, text, weight, version in prompts
    )
    members = PromptSet(mutation=tuple(mutation), crossover=crossover, axis_positions=tuple(slots))
    return Edition(number=number, num_settled=num_settled, prompts=members, emptied=tuple(emptied))
