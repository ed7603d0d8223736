"""The status of a stored search, read from its state folder."""

import sqlite3
import time
from pathlib import Path
from typing import Any

from llmatic_daemon.adapters.storage.history_records import ActivePrompts, RunningJob, Status
from llmatic_daemon.adapters.storage.notes import backup_note, pause_note, sandbox_note
from llmatic_daemon.adapters.storage.rows import arm_rows, job_rows
from llmatic_daemon.adapters.storage.state_folder import database_path, holder
from llmatic_daemon.domain import Outcome

_TOTALS = """
SELECT num_settled, num_evaluations, train_s, elapsed_s, last_settled_at, num_audits, num_unstable
FROM totals"""
_OUTCOMES = """
SELECT outcome, sum(num) FROM tallies GROUP BY outcome ORDER BY sum(num) DESC, outcome"""
_RUNNING = """
SELECT number, attempt, slot, lease_boot_id, lease_monotonic_s FROM jobs
WHERE state = 'running' ORDER BY slot, number"""
_STAND_INS = "SELECT coalesce(sum(num), 0) FROM tallies WHERE arm = 'stand_in'"
_IN_FORCE = """
SELECT number, adopted_at, (SELECT count(*) FROM edition_prompts WHERE edition = number)
FROM editions ORDER BY number DESC LIMIT 1"""


def read(connection: sqlite3.Connection, folder: Path) -> Status:
    """Return how far a search has come, and who works on it; all of one moment."""

    def rows(query: str) -> list[tuple[Any, ...]]:
        return connection.execute(query).fetchall()

    counts = "SELECT count(*) FROM network_elites UNION ALL SELECT count(*) FROM prompt_elites"
    (num_filled,), (num_prompt_filled,) = rows(counts)
    cells = dict(rows("SELECT archive, count(*) FROM centroids GROUP BY archive"))
    ((num_settled, num_evaluations, train_s, elapsed_s, last, *audits),) = rows(_TOTALS)
    num_audits, num_unstable = audits
    size_bytes = database_path(folder).stat().st_size
    ((num_queued,),) = rows("SELECT count(*) FROM jobs WHERE state = 'queued'")
    best = rows("SELECT job, objective FROM network_elites ORDER BY objective DESC, job LIMIT 1")
    return Status(
        num_settled=num_settled,
        num_evaluations=num_evaluations,
        outcomes=tuple((Outcome(name), number) for name, number in rows(_OUTCOMES)),
        best=best[0] if best else None,
        num_filled=num_filled,
        num_cells=cells.get("network", 0),
        num_prompt_filled=num_prompt_filled,
        num_prompt_cells=cells.get("prompt", 0),
        num_queued=num_queued,
        running=_running(connection),
        prompts=_active_prompts(connection),
        num_stand_ins=rows(_STAND_INS)[0][0],
        num_audits=num_audits,
        num_unstable=num_unstable,
        last_settled_at=last,
        elapsed_s=elapsed_s,
        train_s=train_s,
        holder=holder(folder),
        database_bytes=size_bytes,
        bytes_per_candidate=size_bytes / num_settled if num_settled else None,
        backup=backup_note.read(folder),
        sandbox=sandbox_note.read(folder),
        comparison=arm_rows.read(connection),
        paused_since=pause_note.read(folder),
    )


def _active_prompts(connection: sqlite3.Connection) -> ActivePrompts | None:
    rows = connection.execute(_IN_FORCE).fetchall()
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
            job=job,
            attempt=attempt,
            slot=slot,
            age_s=now_s - since_s if lease_boot_id == boot_id else None,
        )
        for job, attempt, slot, lease_boot_id, since_s in connection.execute(_RUNNING)
    )
