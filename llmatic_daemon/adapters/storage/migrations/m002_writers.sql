-- Who wrote a candidate, and every version of the prompts.

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
) STRICT, WITHOUT ROWID;

CREATE TABLE editions ( -- the log's other half: the prompt sets that the search has taken
  number INTEGER PRIMARY KEY,
  num_settled INTEGER NOT NULL CHECK (num_settled >= 0), -- placements before it
  digest TEXT NOT NULL,
  emptied TEXT NOT NULL, -- JSON: [cell of the prompt archive, ...]
  adopted_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;

CREATE TABLE edition_prompts ( -- what a prompt set holds
  edition INTEGER NOT NULL REFERENCES editions (number),
  prompt TEXT NOT NULL,
  version INTEGER NOT NULL,
  slot INTEGER, -- on the archive's axis; the crossover prompt has none
  weight REAL NOT NULL CHECK (weight > 0),
  PRIMARY KEY (edition, prompt),
  FOREIGN KEY (prompt, version) REFERENCES prompt_versions (prompt, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE refusals ( -- prompt sets that were not taken, and why
  number INTEGER PRIMARY KEY,
  after_edition INTEGER NOT NULL,
  why TEXT NOT NULL,
  refused_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  ended_at TEXT -- when the folder was good again
) STRICT;

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
DROP TABLE prompts;
