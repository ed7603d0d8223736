-- An experiment: its runs that have ended, what each has found, and the runs that have failed.

CREATE TABLE runs (
  id INTEGER PRIMARY KEY, variant TEXT NOT NULL, data_set TEXT NOT NULL, seed INTEGER NOT NULL,
  fingerprint TEXT NOT NULL, ended_at TEXT NOT NULL, duration_s REAL NOT NULL, reason TEXT NOT NULL,
  num_settled INTEGER NOT NULL, num_queries INTEGER NOT NULL, num_looks INTEGER NOT NULL,
  cost REAL NOT NULL, UNIQUE (variant, data_set, seed)
);

CREATE TABLE improvements (
  run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE, number INTEGER NOT NULL, cost REAL NOT NULL,
  time_s REAL NOT NULL, objective REAL NOT NULL, test_accuracy REAL NOT NULL, flops INTEGER NOT NULL,
  source TEXT NOT NULL, PRIMARY KEY (run, number)
) WITHOUT ROWID;

CREATE TABLE windows (
  run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE, number INTEGER NOT NULL, cost REAL NOT NULL,
  num_settled INTEGER NOT NULL, num_trained INTEGER NOT NULL, objective REAL, test_accuracy REAL,
  flops INTEGER, PRIMARY KEY (run, number)
) WITHOUT ROWID;

CREATE TABLE elites (
  run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE, archive TEXT NOT NULL, cell INTEGER NOT NULL,
  value REAL NOT NULL, what TEXT NOT NULL, PRIMARY KEY (run, archive, cell)
) WITHOUT ROWID;

CREATE TABLE failures (
  variant TEXT NOT NULL, data_set TEXT NOT NULL, seed INTEGER NOT NULL, fingerprint TEXT NOT NULL,
  ended_at TEXT NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (variant, data_set, seed)
) WITHOUT ROWID;
