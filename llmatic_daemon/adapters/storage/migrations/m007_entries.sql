-- Each entry of the log as one JSON text. SQL filters, joins and orders by the columns beside it, which are
-- generated; those of placements take no space: SQLite parses the entry to read one.

CREATE TABLE new_placements ( -- the log: what each settled job changed
  number INTEGER PRIMARY KEY,
  settled_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  job INTEGER AS (json_extract(entry, '$.job.number')) NOT NULL UNIQUE REFERENCES jobs (number),
  operator TEXT AS (json_extract(entry, '$.operator')) NOT NULL CHECK (operator IN ('initialisation', 'mutation', 'crossover')),
  prompt TEXT AS (json_extract(entry, '$.prompt')) NOT NULL,
  prompt_version INTEGER AS (json_extract(entry, '$.prompt_version')) NOT NULL,
  temperature REAL AS (json_extract(entry, '$.temperature')) CHECK (temperature BETWEEN 0 AND 1),
  writer TEXT AS (json_extract(entry, '$.writer')) NOT NULL,
  model TEXT AS (json_extract(entry, '$.model')) NOT NULL,
  outcome TEXT AS (json_extract(entry, '$.outcome')) NOT NULL,
  duplicate_of INTEGER AS (json_extract(entry, '$.duplicate_of')) REFERENCES placements (job),
  num_parameters INTEGER AS (json_extract(entry, '$.measures.num_parameters')),
  flops INTEGER AS (json_extract(entry, '$.measures.flops')),
  width INTEGER AS (json_extract(entry, '$.measures.width')),
  depth INTEGER AS (json_extract(entry, '$.measures.depth')),
  objective REAL AS (json_extract(entry, '$.report.objective')) CHECK (objective BETWEEN 0 AND 1),
  test_accuracy REAL AS (json_extract(entry, '$.report.test_accuracy')) CHECK (test_accuracy BETWEEN 0 AND 1),
  test_loss REAL AS (json_extract(entry, '$.report.test_loss')),
  cell INTEGER AS (json_extract(entry, '$.cell')),
  status TEXT AS (json_extract(entry, '$.status')) NOT NULL CHECK (status IN ('new', 'improved', 'not_added')),
  credited_job INTEGER AS (json_extract(entry, '$.credited_job')) REFERENCES placements (job),
  source_digest TEXT AS (json_extract(entry, '$.source_digest')) REFERENCES sources (digest),
  network_digest TEXT AS (json_extract(entry, '$.network_digest')) REFERENCES graphs (digest),
  elapsed_s REAL AS (json_extract(entry, '$.elapsed_s')) NOT NULL,
  train_s REAL AS (coalesce(json_extract(entry, '$.durations.train_s'), 0.0)),
  entry TEXT NOT NULL, -- JSON of domain.Placement
  CHECK ((num_parameters IS NULL) + (flops IS NULL) + (width IS NULL) + (depth IS NULL) IN (0, 4)),
  CHECK ((objective IS NULL) + (test_accuracy IS NULL) + (test_loss IS NULL) IN (0, 3)),
  CHECK (json_extract(entry, '$.fallback') IN (0, 1)),
  CHECK (json_extract(entry, '$.staleness') >= 0),
  CHECK (json_extract(entry, '$.rung_accuracy') BETWEEN 0 AND 1),
  CHECK (json_extract(entry, '$.offer.temperature') BETWEEN 0 AND 1),
  CHECK (json_extract(entry, '$.offer.status') IN ('new', 'improved', 'not_added')),
  CHECK ((outcome = 'trained') <= (objective IS NOT NULL)),
  CHECK (status = 'not_added' OR (cell IS NOT NULL AND objective IS NOT NULL))
) STRICT;

CREATE TABLE new_audits ( -- of the log: second trainings of elites, by another seed
  number INTEGER PRIMARY KEY,
  audited_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  num_settled INTEGER AS (json_extract(entry, '$.num_settled')) STORED NOT NULL CHECK (num_settled >= 0),
  job INTEGER AS (json_extract(entry, '$.job')) STORED NOT NULL UNIQUE REFERENCES placements (job),
  cell INTEGER AS (json_extract(entry, '$.cell')) STORED NOT NULL CHECK (cell >= 0),
  outcome TEXT AS (json_extract(entry, '$.outcome')) STORED NOT NULL,
  first_objective REAL AS (json_extract(entry, '$.first.objective')) STORED NOT NULL CHECK (first_objective BETWEEN 0 AND 1),
  objective REAL AS (json_extract(entry, '$.second.objective')) STORED NOT NULL CHECK (objective BETWEEN 0 AND 1),
  test_accuracy REAL AS (json_extract(entry, '$.second.test_accuracy')) STORED NOT NULL CHECK (test_accuracy BETWEEN 0 AND 1),
  standard_error REAL AS (json_extract(entry, '$.standard_error')) STORED NOT NULL CHECK (standard_error > 0),
  verdict TEXT AS (json_extract(entry, '$.verdict')) STORED NOT NULL CHECK (verdict IN ('stable', 'unstable')),
  holder INTEGER AS (json_extract(entry, '$.holder')) STORED NOT NULL REFERENCES placements (job),
  train_s REAL AS (json_extract(entry, '$.train_s')) STORED NOT NULL,
  entry TEXT NOT NULL -- JSON of domain.Audit
) STRICT;

CREATE TABLE new_editions ( -- of the log: the prompt sets that the search has used
  number INTEGER PRIMARY KEY,
  adopted_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  num_settled INTEGER AS (json_extract(entry, '$.num_settled')) STORED NOT NULL CHECK (num_settled >= 0),
  entry TEXT NOT NULL -- JSON of domain.Edition
) STRICT;

CREATE TABLE checkpoints ( -- the search after this part of its log; the last one only
  num_settled INTEGER NOT NULL CHECK (num_settled >= 0),
  num_editions INTEGER NOT NULL CHECK (num_editions >= 0),
  num_audits INTEGER NOT NULL CHECK (num_audits >= 0),
  num_deaths INTEGER NOT NULL CHECK (num_deaths >= 0),
  rules_digest TEXT NOT NULL,
  search TEXT NOT NULL, -- JSON of domain.SavedSearch
  kept_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;

DROP TABLE milestones; -- another version wrote it: the next start folds the whole log once
