-- Deaths of trainers as entries of the log, with the networks that they worked on.

CREATE TABLE deaths ( -- of the log: trainers that ended while they trained a network
  number INTEGER PRIMARY KEY,
  recorded_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  job INTEGER GENERATED ALWAYS AS (json_extract(entry, '$.job')) STORED NOT NULL REFERENCES jobs (number),
  source_digest TEXT GENERATED ALWAYS AS (json_extract(entry, '$.source_digest')) STORED NOT NULL REFERENCES sources (digest),
  network_digest TEXT GENERATED ALWAYS AS (json_extract(entry, '$.network_digest')) STORED NOT NULL REFERENCES graphs (digest),
  entry TEXT NOT NULL -- JSON of domain.TrainerDeath
) STRICT;
