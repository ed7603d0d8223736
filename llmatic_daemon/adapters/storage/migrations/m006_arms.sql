-- Sums for the comparison of an LLM with the control arm.

CREATE TABLE comparisons ( -- stretches of the log with one and the same share of the control arm
  number INTEGER PRIMARY KEY,
  control_ratio REAL NOT NULL CHECK (control_ratio > 0 AND control_ratio <= 1),
  since INTEGER NOT NULL CHECK (since >= 0), -- placements before it
  until INTEGER CHECK (until >= since) -- placements with its last one; none: it goes on
) STRICT;

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
