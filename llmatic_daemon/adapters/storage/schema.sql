-- The database's schema for readers, as the migrations make it. A test compares the two.

CREATE TABLE arm_tallies ( -- sums over the placements of a comparison, kept with each
  comparison INTEGER NOT NULL REFERENCES comparisons (number),
  arm TEXT NOT NULL CHECK (arm IN ('writer', 'control')),
  num_settled INTEGER NOT NULL, -- but for those that the world has failed
  num_entered INTEGER NOT NULL, -- the network archive
  num_trained INTEGER NOT NULL,
  objective_sum INTEGER NOT NULL, -- in parts of 100,000, and so are the squares
  objective_squares INTEGER NOT NULL,
  PRIMARY KEY (comparison, arm)
) STRICT, WITHOUT ROWID;

CREATE TABLE audits ( -- of the log: second trainings of elites, by another seed
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

CREATE TABLE centroids ( -- the cells of both archives, normalised to [0, 1]
  archive TEXT NOT NULL CHECK (archive IN ('network', 'prompt')),
  cell INTEGER NOT NULL CHECK (cell >= 0),
  x REAL NOT NULL CHECK (x BETWEEN 0 AND 1),
  y REAL NOT NULL CHECK (y BETWEEN 0 AND 1),
  PRIMARY KEY (archive, cell)
) STRICT, WITHOUT ROWID;

CREATE TABLE checkpoints ( -- the search after this part of its log; the last one only
  num_settled INTEGER NOT NULL CHECK (num_settled >= 0),
  num_editions INTEGER NOT NULL CHECK (num_editions >= 0),
  num_audits INTEGER NOT NULL CHECK (num_audits >= 0),
  num_deaths INTEGER NOT NULL CHECK (num_deaths >= 0),
  rules_digest TEXT NOT NULL,
  search TEXT NOT NULL, -- JSON of domain.SavedSearch
  kept_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;

CREATE TABLE comparisons ( -- stretches of the log with one and the same share of the control arm
  number INTEGER PRIMARY KEY,
  control_ratio REAL NOT NULL CHECK (control_ratio > 0 AND control_ratio <= 1),
  since INTEGER NOT NULL CHECK (since >= 0), -- placements before it
  until INTEGER CHECK (until >= since) -- placements with its last one; none: it goes on
) STRICT;

CREATE TABLE deaths ( -- of the log: trainers that ended while they trained a network
  number INTEGER PRIMARY KEY,
  recorded_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  job INTEGER GENERATED ALWAYS AS (json_extract(entry, '$.job')) STORED NOT NULL REFERENCES jobs (number),
  source_digest TEXT GENERATED ALWAYS AS (json_extract(entry, '$.source_digest')) STORED NOT NULL REFERENCES sources (digest),
  network_digest TEXT GENERATED ALWAYS AS (json_extract(entry, '$.network_digest')) STORED NOT NULL REFERENCES graphs (digest),
  entry TEXT NOT NULL -- JSON of domain.TrainerDeath
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

CREATE INDEX edition_prompts_version ON edition_prompts (prompt, version, edition);

CREATE TABLE editions ( -- of the log: the prompt sets that the search has used
  number INTEGER PRIMARY KEY,
  adopted_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  num_settled INTEGER AS (json_extract(entry, '$.num_settled')) STORED NOT NULL CHECK (num_settled >= 0),
  entry TEXT NOT NULL -- JSON of domain.Edition
) STRICT;

CREATE TABLE graphs (
  digest TEXT NOT NULL PRIMARY KEY, -- SHA-256 of the graph in UTF-8
  graph TEXT NOT NULL -- canonical JSON
) STRICT;

CREATE TABLE job_events ( -- of each job: queued (dispatched (released dispatched)*) placed
  number INTEGER PRIMARY KEY,
  job INTEGER NOT NULL REFERENCES jobs (number),
  attempt INTEGER NOT NULL,
  event TEXT NOT NULL
    CHECK (event IN ('queued', 'dispatched', 'released', 'placed', 'fenced')),
  charged INTEGER CHECK (charged IN (0, 1)), -- of a release: counts as a failed attempt
  recorded_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  CHECK ((event = 'released') = (charged IS NOT NULL))
) STRICT;

CREATE TABLE jobs ( -- one for each candidate; its lease while a slot works on it
  number INTEGER PRIMARY KEY,
  state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'settled')),
  attempt INTEGER NOT NULL CHECK (attempt >= 1),
  num_charged INTEGER NOT NULL DEFAULT 0 CHECK (num_charged >= 0),
  slot INTEGER NOT NULL,
  released_by INTEGER, -- job_events.number: the place in the queue
  lease_pid INTEGER,
  lease_boot_id TEXT,
  lease_monotonic_s REAL, -- of the clock that no one can set
  CHECK ((state = 'queued') = (released_by IS NOT NULL)),
  CHECK ((state = 'running') = (lease_pid IS NOT NULL))
) STRICT;

CREATE INDEX jobs_queue ON jobs (released_by) WHERE state = 'queued';

CREATE INDEX jobs_running ON jobs (number) WHERE state = 'running';

CREATE TABLE network_elites ( -- the network archive: what each filled cell holds
  cell INTEGER PRIMARY KEY,
  job INTEGER NOT NULL REFERENCES placements (job),
  objective REAL NOT NULL,
  test_accuracy REAL NOT NULL
) STRICT;

CREATE TABLE parents ( -- position 0 is the parent to be changed
  job INTEGER NOT NULL REFERENCES placements (job),
  position INTEGER NOT NULL,
  parent INTEGER NOT NULL REFERENCES placements (job),
  PRIMARY KEY (job, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE placements ( -- the log: what each settled job changed
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

CREATE INDEX placements_network ON placements (network_digest) WHERE network_digest IS NOT NULL;

CREATE TABLE prompt_elites ( -- the prompt archive: (prompt, temperature) individuals
  cell INTEGER PRIMARY KEY,
  job INTEGER NOT NULL REFERENCES placements (job),
  prompt TEXT NOT NULL,
  temperature REAL NOT NULL,
  objective REAL NOT NULL, -- collective score of the prompt when it was offered
  curiosity REAL NOT NULL
, prompt_version INTEGER NOT NULL DEFAULT 1) STRICT;

CREATE TABLE prompt_versions ( -- every text that a search has used
  prompt TEXT NOT NULL,
  version INTEGER NOT NULL CHECK (version >= 1),
  kind TEXT NOT NULL CHECK (kind IN ('mutation', 'crossover')),
  text TEXT NOT NULL,
  PRIMARY KEY (prompt, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE refusals ( -- prompt sets that were not taken, and why
  number INTEGER PRIMARY KEY,
  after_edition INTEGER NOT NULL,
  why TEXT NOT NULL,
  refused_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  ended_at TEXT -- when the folder was good again
) STRICT;

CREATE TABLE search ( -- what this state belongs to: data set, seed, bounds, ...
  name TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) STRICT;

CREATE TABLE sources (
  digest TEXT NOT NULL PRIMARY KEY, -- SHA-256 of the text in UTF-8
  text TEXT NOT NULL
) STRICT;

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

CREATE VIEW elites AS
SELECT network_elites.cell, network_elites.job, network_elites.objective,
  network_elites.test_accuracy, num_parameters, flops, width, depth,
  1.0 * width / max(1, depth) AS width_to_depth, operator, prompt, temperature, writer, model,
  placements.train_s, source_digest, network_digest, sources.text AS source, audits.verdict
FROM network_elites JOIN placements ON placements.job = network_elites.job
  LEFT JOIN sources ON sources.digest = placements.source_digest
  LEFT JOIN audits ON audits.job = network_elites.job;

CREATE VIEW evaluations AS
SELECT number, job, operator, prompt, temperature, objective, test_accuracy, test_loss,
  num_parameters, flops, width, depth, 1.0 * width / max(1, depth) AS width_to_depth,
  cell, status, train_s, elapsed_s, settled_at, source_digest, network_digest
FROM placements WHERE outcome = 'trained';

CREATE VIEW lineage AS
WITH RECURSIVE ancestors (cell, elite, job) AS (
  SELECT cell, job, job FROM network_elites
  UNION
  SELECT ancestors.cell, ancestors.elite, parents.parent
  FROM ancestors JOIN parents ON parents.job = ancestors.job
)
SELECT ancestors.cell, ancestors.elite, placements.job AS ancestor, placements.operator,
  placements.prompt, placements.temperature, placements.objective, placements.source_digest
FROM ancestors JOIN placements ON placements.job = ancestors.job;

CREATE VIEW prompt_credit AS
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
GROUP BY prompt_versions.prompt, prompt_versions.version;

CREATE VIEW totals AS
SELECT coalesce(sum(num), 0) AS num_settled,
  coalesce(sum(num * (outcome = 'trained')), 0) AS num_evaluations,
  coalesce(sum(train_s), 0.0) + (SELECT coalesce(sum(train_s), 0.0) FROM audits) AS train_s,
  coalesce((SELECT elapsed_s FROM placements ORDER BY number DESC LIMIT 1), 0.0) AS elapsed_s,
  max(best_objective) AS best_objective,
  (SELECT settled_at FROM placements ORDER BY number DESC LIMIT 1) AS last_settled_at,
  (SELECT count(*) FROM audits) AS num_audits,
  (SELECT count(*) FROM audits WHERE verdict = 'unstable') AS num_unstable
FROM tallies;
