-- Who wrote by rule, early stopping, and the cost of each candidate.

-- written by rule for the control arm, or by what the search is compared with
ALTER TABLE placements ADD COLUMN by_rule INTEGER NOT NULL DEFAULT 0 CHECK (by_rule IN (0, 1));
ALTER TABLE placements ADD COLUMN look REAL CHECK (look BETWEEN 0 AND 1); -- accuracy of the first look
ALTER TABLE placements ADD COLUMN look_ratio REAL NOT NULL DEFAULT 0; -- after this share of a training
ALTER TABLE placements ADD COLUMN cost REAL; -- in full trainings; older versions did not say
ALTER TABLE placements ADD COLUMN structure TEXT; -- JSON: [[operation, number], ...]

DROP TABLE tallies;
CREATE TABLE tallies ( -- sums over the placements, kept with each: nobody need read them all
  prompt TEXT NOT NULL,
  prompt_version INTEGER NOT NULL,
  outcome TEXT NOT NULL,
  arm TEXT NOT NULL CHECK (arm IN ('writer', 'control', 'stand_in')),
  num INTEGER NOT NULL,
  num_added INTEGER NOT NULL,
  score REAL NOT NULL,
  curiosity_change REAL NOT NULL,
  train_s REAL NOT NULL,
  best_objective REAL,
  PRIMARY KEY (prompt, prompt_version, outcome, arm)
) STRICT, WITHOUT ROWID;
INSERT INTO tallies
  SELECT prompt, prompt_version, outcome, CASE WHEN stand_in THEN 'stand_in' ELSE 'writer' END,
    count(*), sum(status <> 'not_added'), sum(score_change), sum(curiosity_change), sum(train_s),
    max(objective)
  FROM placements GROUP BY prompt, prompt_version, outcome, stand_in;
