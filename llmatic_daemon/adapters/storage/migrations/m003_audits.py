"""Audits: second trainings of elites."""

from typing import TYPE_CHECKING

from llmatic_daemon.adapters.storage.migrations import STRICT

if TYPE_CHECKING:
    from sqlite_utils import Database

_AUDITS = f"""
CREATE TABLE audits ( -- of the log: second trainings of elites, by another seed
  number INTEGER PRIMARY KEY,
  num_settled INTEGER NOT NULL CHECK (num_settled >= 0), -- placements before it
  job INTEGER NOT NULL UNIQUE REFERENCES placements (job),
  cell INTEGER NOT NULL CHECK (cell >= 0),
  seed INTEGER NOT NULL,
  outcome TEXT NOT NULL,
  detail TEXT NOT NULL,
  first_objective REAL NOT NULL CHECK (first_objective BETWEEN 0 AND 1),
  first_test_accuracy REAL NOT NULL CHECK (first_test_accuracy BETWEEN 0 AND 1),
  objective REAL NOT NULL CHECK (objective BETWEEN 0 AND 1), -- 0 when it did not train
  test_accuracy REAL NOT NULL CHECK (test_accuracy BETWEEN 0 AND 1),
  standard_error REAL NOT NULL CHECK (standard_error > 0), -- of the difference
  verdict TEXT NOT NULL CHECK (verdict IN ('stable', 'unstable')),
  holder INTEGER NOT NULL REFERENCES placements (job), -- of the cell, afterwards
  holder_objective REAL NOT NULL,
  holder_test_accuracy REAL NOT NULL,
  place TEXT NOT NULL,
  wait_s REAL NOT NULL,
  train_s REAL NOT NULL,
  audited_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) {STRICT};
DROP VIEW elites;
DROP VIEW totals;
"""


AUDITED_VIEWS = {
    # Objective and test accuracy are means of two trainings where there is a verdict.
    "elites": """
SELECT network_elites.cell, network_elites.job, network_elites.objective,
  network_elites.test_accuracy, num_parameters, flops, width, depth,
  1.0 * width / max(1, depth) AS width_to_depth, operator, prompt, temperature, writer, model,
  placements.train_s, source_digest, network_digest, sources.text AS source, audits.verdict
FROM network_elites JOIN placements ON placements.job = network_elites.job
  LEFT JOIN sources ON sources.digest = placements.source_digest
  LEFT JOIN audits ON audits.job = network_elites.job""",
    "totals": """
SELECT count(*) AS num_settled,
  coalesce(sum(outcome = 'trained'), 0) AS num_evaluations,
  coalesce(sum(train_s), 0.0) + (SELECT coalesce(sum(train_s), 0.0) FROM audits) AS train_s,
  coalesce(max(elapsed_s), 0.0) AS elapsed_s,
  max(objective) AS best_objective,
  max(settled_at) AS last_settled_at,
  (SELECT count(*) FROM audits) AS num_audits,
  (SELECT count(*) FROM audits WHERE verdict = 'unstable') AS num_unstable
FROM placements""",
}


def m003_audits(db: "Database") -> None:
    """Keep second trainings, and what they say of an elite."""
    db.executescript(_AUDITS)
    for name, query in AUDITED_VIEWS.items():
        db.create_view(name, query)
