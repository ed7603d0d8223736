"""Compares a database with itself and with its log: pages, references, jobs, and sums."""

import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from llmatic_daemon.adapters.storage.rows import arm_rows, total_rows
from llmatic_daemon.domain import ArmTally, Placement
from llmatic_daemon.domain.ports import Entry

#: Of a job, one word each; what a fence has refused may stand anywhere.
_SETTLED = re.compile(r"queued (dispatched (released dispatched )*)placed ")
_UNSETTLED = re.compile(r"queued ((dispatched released )*(dispatched )?)")
_EVENTS = """
SELECT jobs.number, state, coalesce(event, 'none') FROM jobs
LEFT JOIN job_events ON job_events.job = jobs.number AND event <> 'fenced'
ORDER BY jobs.number, job_events.number"""
_JOBS = """
SELECT jobs.number, state, CASE WHEN placements.job IS NULL THEN 'not in the log' ELSE 'in the log' END
FROM jobs LEFT JOIN placements ON placements.job = jobs.number
WHERE (state = 'settled') <> (placements.job IS NOT NULL)"""


class LogTotals:
    """The sums that a database keeps beside its log, counted again from the log."""

    def __init__(self, comparisons: Sequence[arm_rows.Stretch]) -> None:
        self._comparisons = comparisons
        self.tallies: dict[tuple[str, int, str, str], total_rows.Sums] = {}
        self.arms: dict[tuple[int, str], ArmTally] = {}

    def watch(self, log: Iterable[Entry]) -> Iterator[Entry]:
        """Hand the entries of a log on, and count them."""
        for entry in log:
            if isinstance(entry, Placement):
                self._count(entry)
            yield entry

    def _count(self, placement: Placement) -> None:
        key, one = total_rows.key_of(placement), total_rows.sums_of(placement)
        before = self.tallies.get(key)
        self.tallies[key] = before.plus(one) if before else one
        if tally := ArmTally.of(placement):
            self._count_arm(placement, tally)

    def _count_arm(self, placement: Placement, tally: ArmTally) -> None:
        for number, since, until in self._comparisons:
            if since < placement.number <= (until or placement.number):
                key = (number, placement.arm.value)
                self.arms[key] = self.arms.get(key, ArmTally()) + tally


def faults(connection: sqlite3.Connection, totals: LogTotals) -> tuple[str, ...]:
    """Return one line for each fault of a database; `totals` are those of its whole log."""
    ask = connection.execute
    damage = [text for (text,) in ask("PRAGMA integrity_check") if text != "ok"]
    loose = [f"loose reference from {row[0]}" for row in ask("PRAGMA foreign_key_check")]
    jobs_ = [f"job {job}: state {state}, but {fault}" for job, state, fault in ask(_JOBS)]
    return (
        *damage,
        *loose,
        *jobs_,
        *_event_faults(ask(_EVENTS)),
        *_differences("tally", totals.tallies, total_rows.read(connection)),
        *_differences("arm", totals.arms, arm_rows.read_all(connection)),
    )


def _differences(what: str, counted: Mapping[Any, object], stored: Mapping[Any, object]) -> list[str]:
    return [
        f"{what} {key}: the log gives {counted.get(key)}, stored is {stored.get(key)}"
        for key in sorted(counted.keys() | stored.keys())
        if counted.get(key) != stored.get(key)
    ]


def _event_faults(events: Iterable[tuple[int, str, str]]) -> Iterator[str]:
    """Hold the events of each job to their grammar."""
    for (job, state), rows in groupby(events, key=itemgetter(0, 1)):
        words = "".join(f"{event} " for _, _, event in rows)
        grammar = _SETTLED if state == "settled" else _UNSETTLED
        if not grammar.fullmatch(words):
            yield f"job {job}: state {state}, but its events are {words.strip()}"
