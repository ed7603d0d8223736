"""Sums and checkpoints: what a start would otherwise read the whole log for."""

from typing import TYPE_CHECKING

from llmatic_daemon.adapters.storage.migrations import STRICT, STRICT_AND

if TYPE_CHECKING:
    from sqlite_utils import Database

_GROWTH = f"""
CREATE INDEX placements_network ON placements (network_digest)
  WHERE network_digest IS NOT NULL AND outcome NOT IN ('duplicate', 'error', 'timeout', 'oom');
CREATE INDEX jobs_running ON jobs (number) WHERE state = 'running';
CREATE INDEX edition_prompts_version ON edition_prompts (prompt, version, edition);

CREATE TABLE tallies ( -- sums over the placements, kept with each: nobody need read them all
  prompt TEXT NOT NULL,
  prompt_version INTEGER NOT NULL,
  outcome TEXT NOT NULL,
  num INTEGER NOT NULL,
  num_added INTEGER NOT NULL,
  num_stand_ins INTEGER NOT NULL,
  score REAL NOT NULL,
  curiosity_change REAL NOT NULL,
  train_s REAL NOT NULL,
  best_objective REAL,
  PRIMARY KEY (prompt, prompt_version, outcome)
) {STRICT_AND} WITHOUT ROWID;
INSERT INTO tallies
  SELECT prompt, prompt_version, outcome, count(*), sum(status <> 'not_added'), sum(stand_in),
    sum(score_change), sum(curiosity_change), sum(train_s), max(objective)
  FROM placements GROUP BY prompt, prompt_version, outcome;

CREATE TABLE milestones ( -- the search as the log up to here made it; the last one only
  num_settled INTEGER NOT NULL CHECK (num_settled >= 0),
  num_editions INTEGER NOT NULL CHECK (num_editions >= 0),
  num_audits INTEGER NOT NULL CHECK (num_audits >= 0),
  rules_digest TEXT NOT NULL,
  search TEXT NOT NULL, -- JSON
  kept_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) {STRICT};
DROP VIEW totals;
DROP VIEW prompt_credit;
"""


GROWN_VIEWS = {
    "prompt_credit": """
SELECT prompt_versions.prompt, prompt_versions.version, prompt_versions.kind,
  (SELECT slot FROM edition_prompts AS member WHERE member.prompt = prompt_versions.prompt
    AND member.version = prompt_versions.version ORDER BY member.edition DESC LIMIT 1) AS slot,
  EXISTS (SELECT 1 FROM edition_prompts AS member WHERE member.prompt = prompt_versions.prompt
    AND member.version = prompt_versions.version
    AND member.edition = (SELECT max(number) FROM editions)) AS in_use,
  coalesce(sum(num), 0) AS num_used,
  coalesce(sum(num * (outcome = 'trained')), 0) AS num_trained,
  coalesce(sum(num_added), 0) AS num_added,
  coalesce(sum(tallies.score), 0.0) AS score,
  coalesce(sum(tallies.curiosity_change), 0.0) AS curiosity_change,
  (SELECT max(curiosity) FROM prompt_elites WHERE prompt_elites.prompt = prompt_versions.prompt
    AND prompt_elites.prompt_version = prompt_versions.version) AS curiosity,
  max(tallies.best_objective) AS best_objective
FROM prompt_versions LEFT JOIN tallies ON tallies.prompt = prompt_versions.prompt
  AND tallies.prompt_version = prompt_versions.version
GROUP BY prompt_versions.prompt, prompt_versions.version""",
    "totals": """
SELECT coalesce(sum(num), 0) AS num_settled,
  coalesce(sum(num * (outcome = 'trained')), 0) AS num_evaluations,
  coalesce(sum(train_s), 0.0) + (SELECT coalesce(sum(train_s), 0.0) FROM audits) AS train_s,
  coalesce((SELECT elapsed_s FROM placements ORDER BY number DESC LIMIT 1), 0.0) AS elapsed_s,
  max(best_objective) AS best_objective,
  (SELECT settled_at FROM placements ORDER BY number DESC LIMIT 1) AS last_settled_at,
  (SELECT count(*) FROM audits) AS num_audits,
  (SELECT count(*) FROM audits WHERE verdict = 'unstable') AS num_unstable
FROM tallies""",
}


def m004_growth(db: "Database") -> None:
    """Keep what a start and a look would otherwise read the whole log for."""
    db.executescript(_GROWTH)
    for name, query in GROWN_VIEWS.items():
        db.create_view(name, query)
