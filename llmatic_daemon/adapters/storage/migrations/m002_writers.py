"""Who wrote a candidate, and every version of the prompts."""

from typing import TYPE_CHECKING

from llmatic_daemon.adapters.storage.migrations import STRICT, STRICT_AND

if TYPE_CHECKING:
    from sqlite_utils import Database

_WRITERS = f"""
ALTER TABLE placements ADD COLUMN prompt_version INTEGER NOT NULL DEFAULT 1;
ALTER TABLE placements ADD COLUMN endpoint TEXT NOT NULL DEFAULT '';
ALTER TABLE placements ADD COLUMN model_version TEXT NOT NULL DEFAULT '';
ALTER TABLE placements ADD COLUMN finish_reason TEXT NOT NULL DEFAULT '';
ALTER TABLE placements ADD COLUMN num_prompt_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE placements ADD COLUMN num_tokens INTEGER NOT NULL DEFAULT 0;
-- written by rule while no LLM answered: the prompt got no credit
ALTER TABLE placements ADD COLUMN stand_in INTEGER NOT NULL DEFAULT 0 CHECK (stand_in IN (0, 1));
ALTER TABLE prompt_elites ADD COLUMN prompt_version INTEGER NOT NULL DEFAULT 1;

CREATE TABLE prompt_versions ( -- every text that a search has used
  prompt TEXT NOT NULL,
  version INTEGER NOT NULL CHECK (version >= 1),
  kind TEXT NOT NULL CHECK (kind IN ('mutation', 'crossover')),
  text TEXT NOT NULL,
  PRIMARY KEY (prompt, version)
) {STRICT_AND} WITHOUT ROWID;

CREATE TABLE editions ( -- the log's other half: the prompt sets that the search has taken
  number INTEGER PRIMARY KEY,
  num_settled INTEGER NOT NULL CHECK (num_settled >= 0), -- placements before it
  digest TEXT NOT NULL,
  emptied TEXT NOT NULL, -- JSON: [cell of the prompt archive, ...]
  adopted_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) {STRICT};

CREATE TABLE edition_prompts ( -- what a prompt set holds
  edition INTEGER NOT NULL REFERENCES editions (number),
  prompt TEXT NOT NULL,
  version INTEGER NOT NULL,
  slot INTEGER, -- on the archive's axis; the crossover prompt has none
  weight REAL NOT NULL CHECK (weight > 0),
  PRIMARY KEY (edition, prompt),
  FOREIGN KEY (prompt, version) REFERENCES prompt_versions (prompt, version)
) {STRICT_AND} WITHOUT ROWID;

CREATE TABLE refusals ( -- prompt sets that were not taken, and why
  number INTEGER PRIMARY KEY,
  after_edition INTEGER NOT NULL,
  why TEXT NOT NULL,
  refused_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  ended_at TEXT -- when the folder was good again
) {STRICT};

-- The first version kept no texts: each file counts as edited since.
INSERT INTO prompt_versions SELECT id, 1, 'mutation', '' FROM prompts;
-- An id that has served both kinds stays a mutation prompt; '' is no file's.
INSERT INTO prompt_versions
  SELECT coalesce(
    (SELECT max(prompt) FROM placements
      WHERE operator = 'crossover' AND prompt NOT IN (SELECT id FROM prompts)),
    (SELECT 'crossover' WHERE 'crossover' NOT IN (SELECT id FROM prompts)),
    ''
  ), 1, 'crossover', '' WHERE EXISTS (SELECT 1 FROM prompts);
INSERT INTO editions (number, num_settled, digest, emptied)
  SELECT 1, 0, '', '[]' WHERE EXISTS (SELECT 1 FROM prompts);
INSERT INTO edition_prompts (edition, prompt, version, slot, weight)
  SELECT 1, prompt, 1, slot, 1.0 FROM prompt_versions LEFT JOIN prompts ON prompts.id = prompt;
DROP VIEW prompt_credit;
DROP TABLE prompts;
"""


_PROMPT_CREDIT = """
SELECT prompt_versions.prompt, prompt_versions.version, prompt_versions.kind,
  (SELECT slot FROM edition_prompts AS member WHERE member.prompt = prompt_versions.prompt
    AND member.version = prompt_versions.version ORDER BY member.edition DESC LIMIT 1) AS slot,
  EXISTS (SELECT 1 FROM edition_prompts AS member WHERE member.prompt = prompt_versions.prompt
    AND member.version = prompt_versions.version
    AND member.edition = (SELECT max(number) FROM editions)) AS in_use,
  count(placements.number) AS num_used,
  coalesce(sum(placements.outcome = 'trained'), 0) AS num_trained,
  coalesce(sum(placements.status <> 'not_added'), 0) AS num_added,
  coalesce(sum(placements.score_change), 0.0) AS score,
  coalesce(sum(placements.curiosity_change), 0.0) AS curiosity_change,
  (SELECT max(curiosity) FROM prompt_elites WHERE prompt_elites.prompt = prompt_versions.prompt
    AND prompt_elites.prompt_version = prompt_versions.version) AS curiosity,
  max(placements.objective) AS best_objective
FROM prompt_versions LEFT JOIN placements ON placements.prompt = prompt_versions.prompt
  AND placements.prompt_version = prompt_versions.version
GROUP BY prompt_versions.prompt, prompt_versions.version"""


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


def m002_writers(db: "Database") -> None:
    """Keep who wrote a candidate, and every version of the prompts."""
    db.executescript(_WRITERS)
    db.create_view("prompt_credit", _PROMPT_CREDIT)
