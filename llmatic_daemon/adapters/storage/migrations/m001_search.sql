-- Jobs, the log, and both archives.

CREATE TABLE search ( -- what this state belongs to: data set, seed, bounds, ...
  name TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) STRICT;

CREATE TABLE prompts ( -- slot on the prompt archive's axis; kept for ever, also of deleted files
  id TEXT NOT NULL PRIMARY KEY,
  slot INTEGER NOT NULL UNIQUE CHECK (slot >= 0)
) STRICT;

CREATE TABLE centroids ( -- the cells of both archives, normalised to [0, 1]
  archive TEXT NOT NULL CHECK (archive IN ('network', 'prompt')),
  cell INTEGER NOT NULL CHECK (cell >= 0),
  x REAL NOT NULL CHECK (x BETWEEN 0 AND 1),
  y REAL NOT NULL CHECK (y BETWEEN 0 AND 1),
  PRIMARY KEY (archive, cell)
) STRICT, WITHOUT ROWID;

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

CREATE TABLE sources (
  digest TEXT NOT NULL PRIMARY KEY, -- SHA-256 of the text in UTF-8
  text TEXT NOT NULL
) STRICT;

CREATE TABLE graphs (
  digest TEXT NOT NULL PRIMARY KEY, -- SHA-256 of the graph in UTF-8
  graph TEXT NOT NULL -- canonical JSON
) STRICT;

CREATE TABLE placements ( -- the log: all that each settled job changed
  number INTEGER PRIMARY KEY,
  job INTEGER NOT NULL UNIQUE REFERENCES jobs (number),
  attempt INTEGER NOT NULL,
  num_charged INTEGER NOT NULL,
  slot INTEGER NOT NULL,
  operator TEXT NOT NULL CHECK (operator IN ('initialisation', 'mutation', 'crossover')),
  prompt TEXT NOT NULL,
  temperature REAL CHECK (temperature BETWEEN 0 AND 1),
  seed INTEGER NOT NULL, -- of the writer, the initial weights and the training
  writer TEXT NOT NULL,
  model TEXT NOT NULL,
  outcome TEXT NOT NULL,
  detail TEXT NOT NULL,
  source_digest TEXT REFERENCES sources (digest),
  network_digest TEXT REFERENCES graphs (digest),
  duplicate_of INTEGER REFERENCES placements (job),
  num_parameters INTEGER,
  flops INTEGER,
  width INTEGER,
  depth INTEGER,
  objective REAL CHECK (objective BETWEEN 0 AND 1),
  test_accuracy REAL CHECK (test_accuracy BETWEEN 0 AND 1),
  test_loss REAL,
  curve TEXT, -- JSON: [[epoch, train loss, accuracy], ...]
  place TEXT,
  held_wait_s REAL, -- waiting for a device place and holding it, as the trainer reported
  held_train_s REAL,
  cell INTEGER,
  status TEXT NOT NULL CHECK (status IN ('new', 'improved', 'not_added')),
  clipped INTEGER NOT NULL CHECK (clipped IN (0, 1)),
  credited_cell INTEGER,
  credited_job INTEGER REFERENCES placements (job),
  curiosity_change REAL NOT NULL,
  score_change REAL NOT NULL,
  offer_temperature REAL CHECK (offer_temperature BETWEEN 0 AND 1),
  offer_cell INTEGER,
  offer_status TEXT CHECK (offer_status IN ('new', 'improved', 'not_added')),
  offer_objective REAL,
  offer_curiosity REAL,
  staleness INTEGER NOT NULL CHECK (staleness >= 0),
  llm_s REAL NOT NULL,
  lift_s REAL NOT NULL,
  wait_s REAL NOT NULL,
  train_s REAL NOT NULL,
  total_s REAL NOT NULL,
  elapsed_s REAL NOT NULL, -- running time of the search so far, over all restarts
  settled_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  -- SQLite stores a NaN as NULL: these groups are there as a whole, or not at all
  CHECK ((num_parameters IS NULL) + (flops IS NULL) + (width IS NULL) + (depth IS NULL) IN (0, 4)),
  CHECK ((objective IS NULL) + (test_accuracy IS NULL) + (test_loss IS NULL) + (curve IS NULL)
    + (place IS NULL) + (held_wait_s IS NULL) + (held_train_s IS NULL) IN (0, 7)),
  CHECK ((offer_temperature IS NULL) + (offer_cell IS NULL) + (offer_status IS NULL)
    + (offer_objective IS NULL) + (offer_curiosity IS NULL) IN (0, 5)),
  CHECK ((outcome = 'trained') <= (objective IS NOT NULL)),
  CHECK (status = 'not_added' OR (cell IS NOT NULL AND objective IS NOT NULL))
) STRICT;

CREATE TABLE parents ( -- position 0 is the parent to be changed
  job INTEGER NOT NULL REFERENCES placements (job),
  position INTEGER NOT NULL,
  parent INTEGER NOT NULL REFERENCES placements (job),
  PRIMARY KEY (job, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE network_elites ( -- the network archive: what each filled cell holds
  cell INTEGER PRIMARY KEY,
  job INTEGER NOT NULL REFERENCES placements (job),
  objective REAL NOT NULL,
  test_accuracy REAL NOT NULL
) STRICT;

CREATE TABLE prompt_elites ( -- the prompt archive: (prompt, temperature) individuals
  cell INTEGER PRIMARY KEY,
  job INTEGER NOT NULL REFERENCES placements (job),
  prompt TEXT NOT NULL,
  temperature REAL NOT NULL,
  objective REAL NOT NULL, -- collective score of the prompt when it was offered
  curiosity REAL NOT NULL
) STRICT;
