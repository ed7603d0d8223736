-- Audits: second trainings of elites.

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
) STRICT;
