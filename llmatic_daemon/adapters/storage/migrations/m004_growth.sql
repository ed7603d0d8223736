-- Sums and checkpoints: what a start would otherwise read the whole log for.

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
) STRICT, WITHOUT ROWID;
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
) STRICT;
