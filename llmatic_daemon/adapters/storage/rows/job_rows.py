"""The life of jobs in the database: claimed, released, settled; runs inside a transaction."""

import os
import sqlite3
import time
from pathlib import Path

from llmatic_daemon.domain import Job

_OLDEST = """
SELECT number, attempt, num_charged FROM jobs WHERE state = 'queued' ORDER BY released_by LIMIT 1"""
_ADD = """
INSERT INTO jobs (number, state, attempt, slot, lease_pid, lease_boot_id, lease_monotonic_s)
VALUES ((SELECT coalesce(max(number), 0) + 1 FROM jobs), 'running', 1, ?, ?, ?, ?)"""
_LEASE = """
UPDATE jobs SET state = 'running', attempt = ?, slot = ?, released_by = NULL,
  lease_pid = ?, lease_boot_id = ?, lease_monotonic_s = ? WHERE number = ?"""
_RELEASE = """
UPDATE jobs SET state = 'queued', num_charged = num_charged + ?, released_by = ?,
  lease_pid = NULL, lease_boot_id = NULL, lease_monotonic_s = NULL WHERE number = ?"""
_SETTLE = """
UPDATE jobs SET state = 'settled',
  lease_pid = NULL, lease_boot_id = NULL, lease_monotonic_s = NULL WHERE number = ?"""
_EVENT = "INSERT INTO job_events (job, attempt, event, charged) VALUES (?, ?, ?, ?)"


class Jobs:
    """The jobs of one daemon's life: leases name its process and this boot of the machine."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._boot_id = boot_id()

    def claim(self, connection: sqlite3.Connection, slot: int) -> Job:
        """Lease the job that was released first, else a new one."""
        lease = (slot, self._pid, self._boot_id, time.monotonic())
        oldest = connection.execute(_OLDEST).fetchone()
        if oldest:
            number, attempt, num_charged = oldest
            job = Job(number=number, attempt=attempt + 1, num_charged=num_charged)
            connection.execute(_LEASE, (job.attempt, *lease, number))
        else:
            number = connection.execute(_ADD, lease).lastrowid
            assert number is not None
            job = Job(number=number, attempt=1)
            record_event(connection, job, "queued")
        record_event(connection, job, "dispatched")
        return job


def release(connection: sqlite3.Connection, job: Job, charged: bool) -> None:
    """Put a job at the end of the queue; one that is not leased in this attempt is left alone."""
    if not is_leased(connection, job):
        return
    event = connection.execute(_EVENT, (job.number, job.attempt, "released", charged)).lastrowid
    connection.execute(_RELEASE, (charged, event, job.number))


def release_all(connection: sqlite3.Connection) -> int:
    """Release what an earlier daemon had leased; returns how many.

    Charged: the crash may have been this job's doing, and a job that kills the daemon each time
    must come to its end like any other that always fails.
    """
    running = "SELECT number, attempt FROM jobs WHERE state = 'running' ORDER BY number"
    leased = connection.execute(running).fetchall()
    for number, attempt in leased:
        release(connection, Job(number=number, attempt=attempt), charged=True)
    return len(leased)


def settle(connection: sqlite3.Connection, job: Job) -> None:
    """End a job for good."""
    connection.execute(_SETTLE, (job.number,))
    record_event(connection, job, "placed")


def is_leased(connection: sqlite3.Connection, job: Job) -> bool:
    """Decide whether this attempt is the one that runs.

    Raises:
        ValueError: there is no such job.
    """
    query = "SELECT state, attempt FROM jobs WHERE number = ?"
    found = connection.execute(query, (job.number,)).fetchone()
    if found is None:
        raise ValueError(f"job {job.number} was never dispatched")
    return bool(found == ("running", job.attempt))


def record_event(connection: sqlite3.Connection, job: Job, event: str) -> None:
    """Add to the history of a job."""
    connection.execute(_EVENT, (job.number, job.attempt, event, None))


def boot_id() -> str:
    """Identify this boot: a monotonic time of another one means nothing. Empty beyond Linux."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
