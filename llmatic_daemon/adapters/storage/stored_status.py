"""The status of a stored search, read from its state folder."""

import math
import sqlite3
import statistics
import time
from pathlib import Path
from typing import Any

from llmatic_daemon.adapters.storage.history_records import ActivePrompts, RunningJob, StoredStatus
from llmatic_daemon.adapters.storage.notes import backup_note, devices_note, pause_note, sandbox_note
from llmatic_daemon.adapters.storage.rows import arm_rows, job_rows
from llmatic_daemon.adapters.storage.state_folder import database_path, holder
from llmatic_daemon.domain import Outcome

_TOTALS = """
SELECT num_settled, num_evaluations, train_s, elapsed_s, last_settled_at, num_audits, num_unstable
FROM totals"""
_OUTCOMES = """
SELECT outcome, sum(num) FROM tallies GROUP BY outcome ORDER BY sum(num) DESC, outcome"""
_CURIOSITY = """
SELECT prompt, max(curiosity) FROM prompt_credit WHERE in_use AND curiosity IS NOT NULL GROUP BY prompt"""
_RUNNING = """
SELECT number, attempt, slot, lease_boot_id, lease_monotonic_s FROM jobs
WHERE state = 'running' ORDER BY slot, number"""
_FALLBACKS = "SELECT coalesce(sum(num), 0) FROM tallies WHERE arm = 'stand_in'"
_ACTIVE = """
SELECT number, adopted_at, (SELECT count(*) FROM edition_prompts WHERE edition = number)
FROM editions ORDER BY number DESC LIMIT 1"""


def read(connection: sqlite3.Connection, folder: Path) -> StoredStatus:
    """Return the progress of a search, and who works on it. The caller holds one moment."""

    def rows(query: str) -> list[tuple[Any, ...]]:
        return connection.execute(query).fetchall()

    elites = rows("SELECT objective, job FROM network_elites ORDER BY objective DESC, job")
    objectives = [objective for objective, _ in elites]
    cells = dict(rows("SELECT archive, count(*) FROM centroids GROUP BY archive"))
    ((num_settled, num_evaluations, train_s, elapsed_s, last, num_audits, num_unstable),) = rows(_TOTALS)
    size_bytes = database_path(folder).stat().st_size
    running, working, paused_since = _running(connection), holder(folder), pause_note.read(folder)
    out = devices_note.read(folder) if working else {}
    return StoredStatus(
        num_settled=num_settled,
        num_evaluations=num_evaluations,
        network_cells=cells.get("network", 0),
        filled_network_cells=len(elites),
        prompt_cells=cells.get("prompt", 0),
        filled_prompt_cells=rows("SELECT count(*) FROM prompt_elites")[0][0],
        qd_score=math.fsum(objectives),
        best_objective=elites[0][0] if elites else None,
        best_job=elites[0][1] if elites else None,
        elapsed_s=elapsed_s,
        train_s=train_s,
        num_slots=len({job.slot for job in running}),
        is_ready=working is not None,
        is_paused=paused_since is not None,
        median_objective=statistics.median(objectives) if objectives else None,
        curiosity=dict(rows(_CURIOSITY)),
        outcomes=tuple((Outcome(name), number) for name, number in rows(_OUTCOMES)),
        num_queued=rows("SELECT count(*) FROM jobs WHERE state = 'queued'")[0][0],
        running=running,
        prompts=_active_prompts(connection),
        num_fallbacks=rows(_FALLBACKS)[0][0],
        num_audits=num_audits,
        num_trainer_deaths=rows("SELECT count(*) FROM deaths")[0][0],
        devices_out=tuple(sorted(out)),
        devices_out_reasons=out,
        num_unstable=num_unstable,
        last_settled_at=last,
        holder=working,
        database_bytes=size_bytes,
        bytes_per_candidate=size_bytes / num_settled if num_settled else None,
        backup=backup_note.read(folder),
        sandbox=sandbox_note.read(folder),
        comparison=arm_rows.read(connection),
        paused_since=paused_since,
    )


def _active_prompts(connection: sqlite3.Connection) -> ActivePrompts | None:
    rows = connection.execute(_ACTIVE).fetchall()
    if not rows:
        return None
    edition, adopted_at, num_prompts = rows[0]
    refused = connection.execute("SELECT why FROM refusals WHERE ended_at IS NULL").fetchall()
    return ActivePrompts(
        edition=edition,
        num_prompts=num_prompts,
        adopted_at=adopted_at,
        refused=refused[0][0] if refused else None,
    )


def _running(connection: sqlite3.Connection) -> tuple[RunningJob, ...]:
    boot_id, now_s = job_rows.boot_id(), time.monotonic()
    return tuple(
        RunningJob(
            job=job, attempt=attempt, slot=slot, age_s=now_s - since_s if lease_boot_id == boot_id else None
        )
        for job, attempt, slot, lease_boot_id, since_s in connection.execute(_RUNNING)
    )
