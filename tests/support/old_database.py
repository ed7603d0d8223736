"""Databases as version 0.5.0 (schema 6) made them: one column for each fact of a placement."""

import json
import sqlite3
from pathlib import Path

from llmatic_daemon.adapters.storage import schema
from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.adapters.storage.state_folder import database_path
from llmatic_daemon.domain import Audit, Edition, Epoch, Measures, Placement, PromptOffer, Report

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

AUDIT_COLUMNS = (
    "number",
    "num_settled",
    "job",
    "cell",
    "seed",
    "outcome",
    "detail",
    "first_objective",
    "first_test_accuracy",
    "objective",
    "test_accuracy",
    "standard_error",
    "verdict",
    "holder",
    "holder_objective",
    "holder_test_accuracy",
    "place",
    "wait_s",
    "train_s",
)
#: Whose columns are the same in the current schema, references before those who refer to them.
_SAME_TABLES = (
    "search",
    "centroids",
    "jobs",
    "job_events",
    "sources",
    "graphs",
    "parents",
    "network_elites",
    "prompt_elites",
    "prompt_versions",
    "edition_prompts",
    "refusals",
    "tallies",
    "comparisons",
    "arm_tallies",
)
#: What this version and its predecessors call times.
_TIMES = {"placements": "settled_at", "audits": "audited_at", "editions": "adopted_at"}

_Value = str | int | float | None


def make_database(path: Path, version: int = 6) -> sqlite3.Connection:
    """Make an empty database as an older version made it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    migrations, newest = schema._MIGRATIONS, schema.VERSION
    schema._MIGRATIONS, schema.VERSION = migrations[:version], version
    try:
        schema.migrate(connection)
    finally:
        schema._MIGRATIONS, schema.VERSION = migrations, newest
    return connection


def write_as_version_6(state: Path, path: Path) -> None:
    """Write the search of a state folder into a database as version 0.5.0 would have."""
    connection = make_database(path)
    connection.execute("ATTACH ? AS newer", (str(database_path(state)),))
    for table in _SAME_TABLES:
        connection.execute(f"INSERT INTO main.{table} SELECT * FROM newer.{table}")
    with History(state) as history:
        for entry in history.log():
            write_entry(connection, entry)
    for table, time in _TIMES.items():
        times = f"SELECT {time} FROM newer.{table} AS new WHERE new.number = {table}.number"
        connection.execute(f"UPDATE main.{table} SET {time} = ({times})")
    connection.close()


def write_entry(connection: sqlite3.Connection, entry: Placement | Audit | Edition) -> None:
    """Write one entry of the log, its parents and prompts aside."""
    if isinstance(entry, Placement):
        _insert(connection, "placements", COLUMNS, placement_row(entry))
    elif isinstance(entry, Audit):
        _insert(connection, "audits", AUDIT_COLUMNS, audit_row(entry))
    else:
        row = (entry.number, entry.num_settled, entry.prompts.digest, json.dumps(entry.emptied))
        _insert(connection, "editions", ("number", "num_settled", "digest", "emptied"), row)


def _insert(
    connection: sqlite3.Connection, table: str, columns: tuple[str, ...], row: tuple[_Value, ...]
) -> None:
    marks = ", ".join("?" * len(columns))
    connection.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", row)


def placement_row(placement: Placement) -> tuple[_Value, ...]:
    """Lay a placement out in the order of `COLUMNS`; its parents have a table of their own."""
    durations = placement.durations
    return (
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


def audit_row(audit: Audit) -> tuple[str | int | float, ...]:
    """Lay an audit out in the order of `AUDIT_COLUMNS`."""
    return (
        audit.number,
        audit.num_settled,
        audit.job,
        audit.cell,
        audit.seed,
        audit.outcome.value,
        audit.detail,
        audit.first.objective,
        audit.first.test_accuracy,
        audit.second.objective,
        audit.second.test_accuracy,
        audit.standard_error,
        audit.verdict.value,
        audit.holder,
        audit.holder_figures.objective,
        audit.holder_figures.test_accuracy,
        audit.device,
        audit.wait_s,
        audit.train_s,
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
    return json.dumps([(epoch.number, epoch.train_loss, epoch.accuracy) for epoch in curve])
