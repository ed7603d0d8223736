"""A placement as a row of the log, and back: exactly the same, but for a report's weights."""

import json
import math
from typing import Any

from llmatic_daemon.domain import (
    AddStatus,
    Durations,
    Epoch,
    Job,
    Measures,
    Operator,
    Outcome,
    Placement,
    PromptOffer,
    Report,
)

COLUMNS = (
    "number",
    "job",
    "attempt",
    "num_charged",
    "slot",
    "operator",
    "prompt",
    "prompt_version",
    "temperature",
    "seed",
    "writer",
    "endpoint",
    "model",
    "model_version",
    "finish_reason",
    "num_prompt_tokens",
    "num_tokens",
    "stand_in",
    "outcome",
    "detail",
    "source_digest",
    "network_digest",
    "duplicate_of",
    "num_parameters",
    "flops",
    "width",
    "depth",
    "objective",
    "test_accuracy",
    "test_loss",
    "curve",
    "place",
    "held_wait_s",
    "held_train_s",
    "cell",
    "status",
    "clipped",
    "credited_cell",
    "credited_job",
    "curiosity_change",
    "score_change",
    "offer_temperature",
    "offer_cell",
    "offer_status",
    "offer_objective",
    "offer_curiosity",
    "staleness",
    "llm_s",
    "lift_s",
    "wait_s",
    "train_s",
    "total_s",
    "elapsed_s",
    "by_rule",
    "look",
    "look_ratio",
    "cost",
    "structure",
)

#: Reads rows that `from_row` takes; a WHERE may follow.
SELECT = f"SELECT {', '.join(COLUMNS)} FROM placements"
INSERT = f"INSERT INTO placements ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"

_OPERATORS = {operator.value: operator for operator in Operator}
_OUTCOMES = {outcome.value: outcome for outcome in Outcome}
_STATUSES = {status.value: status for status in AddStatus}

_Value = str | int | float | None


def to_row(placement: Placement) -> tuple[_Value, ...]:
    """Lay a placement out in the order of `COLUMNS`; its parents have a table of their own.

    Raises:
        ValueError: a number is not finite: SQLite would keep it as NULL.
    """
    durations = placement.durations
    row = (
        placement.number,
        placement.job.number,
        placement.job.attempt,
        placement.job.num_charged,
        placement.slot,
        placement.operator.value,
        placement.prompt,
        placement.prompt_version,
        placement.temperature,
        placement.seed,
        placement.writer,
        placement.endpoint,
        placement.model,
        placement.model_version,
        placement.finish_reason,
        placement.num_prompt_tokens,
        placement.num_tokens,
        int(placement.fallback),
        placement.outcome.value,
        placement.detail,
        placement.source_digest,
        placement.network_digest,
        placement.duplicate_of,
        *_measures_cells(placement.measures),
        *_report_cells(placement.report),
        placement.cell,
        placement.status.value,
        int(placement.clipped),
        placement.credited_cell,
        placement.credited_job,
        placement.curiosity_change,
        placement.score_change,
        *_offer_cells(placement.offer),
        placement.staleness,
        durations.llm_s,
        durations.lift_s,
        durations.wait_s,
        durations.train_s,
        durations.total_s,
        placement.elapsed_s,
        int(placement.by_rule),
        placement.rung_accuracy,
        placement.rung_ratio,
        placement.cost,
        json.dumps(placement.structure) if placement.structure else None,
    )
    for name, value in zip(COLUMNS, row, strict=True):
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{name} of placement {placement.number} must be finite, got {value!r}")
    return row


def from_row(row: tuple[Any, ...], parents: tuple[int, ...]) -> Placement:
    """Rebuild the placement that `to_row` laid out."""
    (
        number,
        job,
        attempt,
        num_charged,
        slot,
        operator,
        prompt,
        prompt_version,
        temperature,
        seed,
        writer,
        endpoint,
        model,
        model_version,
        finish_reason,
        num_prompt_tokens,
        num_tokens,
        fallback,
        outcome,
        detail,
        source_digest,
        network_digest,
        duplicate_of,
        num_parameters,
        flops,
        width,
        depth,
        objective,
        test_accuracy,
        test_loss,
        curve,
        place,
        held_wait_s,
        held_train_s,
        cell,
        status,
        clipped,
        credited_cell,
        credited_job,
        curiosity_change,
        score_change,
        offer_temperature,
        offer_cell,
        offer_status,
        offer_objective,
        offer_curiosity,
        staleness,
        llm_s,
        lift_s,
        wait_s,
        train_s,
        total_s,
        elapsed_s,
        by_rule,
        rung_accuracy,
        rung_ratio,
        cost,
        structure,
    ) = row
    if cost is None:
        cost = float(objective is not None)
    return Placement(
        number=number,
        job=Job(number=job, attempt=attempt, num_charged=num_charged),
        slot=slot,
        operator=_OPERATORS[operator],
        prompt=prompt,
        prompt_version=prompt_version,
        temperature=temperature,
        seed=seed,
        parents=parents,
        writer=writer,
        endpoint=endpoint,
        model=model,
        model_version=model_version,
        finish_reason=finish_reason,
        num_prompt_tokens=num_prompt_tokens,
        num_tokens=num_tokens,
        fallback=bool(fallback),
        outcome=_OUTCOMES[outcome],
        detail=detail,
        source_digest=source_digest,
        network_digest=network_digest,
        duplicate_of=duplicate_of,
        measures=None
        if flops is None
        else Measures(num_parameters=num_parameters, flops=flops, width=width, depth=depth),
        report=None
        if objective is None
        else Report(
            objective=objective,
            test_accuracy=test_accuracy,
            test_loss=test_loss,
            curve=_curve_from(curve),
            device=place,
            wait_s=held_wait_s,
            train_s=held_train_s,
            rung_accuracy=rung_accuracy,
            cost=cost,
        ),
        cell=cell,
        status=_STATUSES[status],
        clipped=bool(clipped),
        credited_cell=credited_cell,
        credited_job=credited_job,
        curiosity_change=curiosity_change,
        score_change=score_change,
        offer=None
        if offer_cell is None
        else PromptOffer(
            temperature=offer_temperature,
            cell=offer_cell,
            status=_STATUSES[offer_status],
            objective=offer_objective,
            curiosity=offer_curiosity,
        ),
        staleness=staleness,
        durations=Durations(llm_s=llm_s, lift_s=lift_s, wait_s=wait_s, train_s=train_s, total_s=total_s),
        elapsed_s=elapsed_s,
        by_rule=bool(by_rule),
        rung_accuracy=rung_accuracy,
        rung_ratio=rung_ratio,
        cost=cost,
        structure=tuple((name, count) for name, count in json.loads(structure or "[]")),
    )


def _measures_cells(measures: Measures | None) -> tuple[int | None, ...]:
    if measures is None:
        return (None,) * 4
    return measures.num_parameters, measures.flops, measures.width, measures.depth


def _report_cells(report: Report | None) -> tuple[_Value, ...]:
    if report is None:
        return (None,) * 7
    return (
        report.objective,
        report.test_accuracy,
        report.test_loss,
        _curve_text(report.curve),
        report.device,
        report.wait_s,
        report.train_s,
    )


def _offer_cells(offer: PromptOffer | None) -> tuple[_Value, ...]:
    if offer is None:
        return (None,) * 5
    return offer.temperature, offer.cell, offer.status.value, offer.objective, offer.curiosity


def _curve_text(curve: tuple[Epoch, ...]) -> str:
    points = [(epoch.number, epoch.train_loss, epoch.accuracy) for epoch in curve]
    try:
        return json.dumps(points, allow_nan=False)
    except ValueError as error:
        raise ValueError(f"a learning curve must be finite, got {curve!r}") from error


def _curve_from(text: str) -> tuple[Epoch, ...]:
    return tuple(
        Epoch(number=number, train_loss=train_loss, accuracy=accuracy)
        for number, train_loss, accuracy in json.loads(text)
    )
