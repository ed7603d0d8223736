"""The database's tables and views, and the migrations that make them: a list that only grows.

`placements`, `editions` and `audits` are the log: one row for each settled job, with all that it
changed, one for each prompt set, and one for each second training. The archives are kept beside it in the same transaction; whatever else can be
computed from the log is a view.
"""

import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING

from llmatic_daemon.domain import failpoints

if TYPE_CHECKING:
    from sqlite_utils import Database

#: "LLMa" in ASCII: tells our databases from those of other programs.
APPLICATION_ID = 0x4C4C4D61

_SET = "llmatic"

#: Older SQLites know no STRICT tables; there the CHECKs stand alone.
_STRICT = "STRICT" if sqlite3.sqlite_version_info >= (3, 37) else ""

_JOBS = f"""
CREATE TABLE search ( -- what this state belongs to: data set, seed, bounds, ...
  name TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) {_STRICT};

CREATE TABLE prompts ( -- slot on the prompt archive's axis; kept for ever, also of deleted files
  id TEXT NOT NULL PRIMARY KEY,
  slot INTEGER NOT NULL UNIQUE CHECK (slot >= 0)
) {_STRICT};

CREATE TABLE centroids ( -- the cells of both archives, normalised to [0, 1]
  archive TEXT NOT NULL CHECK (archive IN ('network', 'prompt')),
  cell INTEGER NOT NULL CHECK (cell >= 0),
  x REAL NOT NULL CHECK (x BETWEEN 0 AND 1),
  y REAL NOT NULL CHECK (y BETWEEN 0 AND 1),
  PRIMARY KEY (archive, cell)
) {"STRICT," if _STRICT else ""} WITHOUT ROWID;

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
) {_STRICT};
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
) {_STRICT};
"""

_PLACEMENTS = f"""
CREATE TABLE sources (
  digest TEXT NOT NULL PRIMARY KEY, -- SHA-256 of the text in UTF-8
  text TEXT NOT NULL
) {_STRICT};

CREATE TABLE graphs (
  digest TEXT NOT NULL PRIMARY KEY, -- SHA-256 of the graph in UTF-8
  graph TEXT NOT NULL -- canonical JSON
) {_STRICT};

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
) {_STRICT};

CREATE TABLE parents ( -- position 0 is the parent to be changed
  job INTEGER NOT NULL REFERENCES placements (job),
  position INTEGER NOT NULL,
  parent INTEGER NOT NULL REFERENCES placements (job),
  PRIMARY KEY (job, position)
) {"STRICT," if _STRICT else ""} WITHOUT ROWID;

CREATE TABLE network_elites ( -- the network archive: what each filled cell holds
  cell INTEGER PRIMARY KEY,
  job INTEGER NOT NULL REFERENCES placements (job),
  objective REAL NOT NULL,
  test_accuracy REAL NOT NULL
) {_STRICT};

CREATE TABLE prompt_elites ( -- the prompt archive: (prompt, temperature) individuals
  cell INTEGER PRIMARY KEY,
  job INTEGER NOT NULL REFERENCES placements (job),
  prompt TEXT NOT NULL,
  temperature REAL NOT NULL,
  objective REAL NOT NULL, -- collective score of the prompt when it was offered
  curiosity REAL NOT NULL
) {_STRICT};
"""

_VIEWS = {
    "evaluations": """
SELECT number, job, operator, prompt, temperature, objective, test_accuracy, test_loss,
  num_parameters, flops, width, depth, 1.0 * width / max(1, depth) AS width_to_depth,
  cell, status, train_s, elapsed_s, settled_at, source_digest, network_digest
FROM placements WHERE outcome = 'trained'""",
    "elites": """
SELECT network_elites.cell, network_elites.job, network_elites.objective,
  network_elites.test_accuracy, num_parameters, flops, width, depth,
  1.0 * width / max(1, depth) AS width_to_depth, operator, prompt, temperature, writer, model,
  train_s, source_digest, network_digest, sources.text AS source
FROM network_elites JOIN placements ON placements.job = network_elites.job
  LEFT JOIN sources ON sources.digest = placements.source_digest""",
    # Only from the elites: the ancestors of every job would be millions of rows.
    "lineage": """
WITH RECURSIVE ancestors (cell, elite, job) AS (
  SELECT cell, job, job FROM network_elites
  UNION
  SELECT ancestors.cell, ancestors.elite, parents.parent
  FROM ancestors JOIN parents ON parents.job = ancestors.job
)
SELECT ancestors.cell, ancestors.elite, placements.job AS ancestor, placements.operator,
  placements.prompt, placements.temperature, placements.objective, placements.source_digest
FROM ancestors JOIN placements ON placements.job = ancestors.job""",
    "prompt_credit": """
SELECT prompts.id AS prompt, prompts.slot,
  count(placements.number) AS num_used,
  coalesce(sum(placements.outcome = 'trained'), 0) AS num_trained,
  coalesce(sum(placements.status <> 'not_added'), 0) AS num_added,
  coalesce(sum(placements.score_change), 0.0) AS score,
  coalesce(sum(placements.curiosity_change), 0.0) AS curiosity_change,
  max(placements.objective) AS best_objective
FROM prompts LEFT JOIN placements ON placements.prompt = prompts.id
GROUP BY prompts.id""",
    "totals": """
SELECT count(*) AS num_settled,
  coalesce(sum(outcome = 'trained'), 0) AS num_evaluations,
  coalesce(sum(train_s), 0.0) AS train_s,
  coalesce(max(elapsed_s), 0.0) AS elapsed_s,
  max(objective) AS best_objective,
  max(settled_at) AS last_settled_at
FROM placements""",
}


_WRITERS = f"""
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
) {"STRICT," if _STRICT else ""} WITHOUT ROWID;

CREATE TABLE editions ( -- the log's other half: the prompt sets that the search has taken
  number INTEGER PRIMARY KEY,
  num_settled INTEGER NOT NULL CHECK (num_settled >= 0), -- placements before it
  digest TEXT NOT NULL,
  emptied TEXT NOT NULL, -- JSON: [cell of the prompt archive, ...]
  adopted_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) {_STRICT};

CREATE TABLE edition_prompts ( -- what a prompt set holds
  edition INTEGER NOT NULL REFERENCES editions (number),
  prompt TEXT NOT NULL,
  version INTEGER NOT NULL,
  slot INTEGER, -- on the archive's axis; the crossover prompt has none
  weight REAL NOT NULL CHECK (weight > 0),
  PRIMARY KEY (edition, prompt),
  FOREIGN KEY (prompt, version) REFERENCES prompt_versions (prompt, version)
) {"STRICT," if _STRICT else ""} WITHOUT ROWID;

CREATE TABLE refusals ( -- prompt sets that were not taken, and why
  number INTEGER PRIMARY KEY,
  after_edition INTEGER NOT NULL,
  why TEXT NOT NULL,
  refused_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  ended_at TEXT -- when the folder was good again
) {_STRICT};

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
DROP VIEW prompt_credit;
DROP TABLE prompts;
"""

_PROMPT_CREDIT = """
SELECT prompt_versions.prompt, prompt_versions.version, prompt_versions.kind,
  (SELECT slot FROM edition_prompts AS member WHERE member.prompt = prompt_versions.prompt
    AND member.version = prompt_versions.version ORDER BY member.edition DESC LIMIT 1) AS slot,
  EXISTS (SELECT 1 FROM edition_prompts AS member WHERE member.prompt = prompt_versions.prompt
    AND member.version = prompt_versions.version
    AND member.edition = (SELECT max(number) FROM editions)) AS in_use,
  count(placements.number) AS num_used,
  coalesce(sum(placements.outcome = 'trained'), 0) AS num_trained,
  coalesce(sum(placements.status <> 'not_added'), 0) AS num_added,
  coalesce(sum(placements.score_change), 0.0) AS score,
  coalesce(sum(placements.curiosity_change), 0.0) AS curiosity_change,
  (SELECT max(curiosity) FROM prompt_elites WHERE prompt_elites.prompt = prompt_versions.prompt
    AND prompt_elites.prompt_version = prompt_versions.version) AS curiosity,
  max(placements.objective) AS best_objective
FROM prompt_versions LEFT JOIN placements ON placements.prompt = prompt_versions.prompt
  AND placements.prompt_version = prompt_versions.version
GROUP BY prompt_versions.prompt, prompt_versions.version"""


_AUDITS = f"""
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
) {_STRICT};
DROP VIEW elites;
DROP VIEW totals;
"""

_AUDITED_VIEWS = {
    # Objective and test accuracy are means of two trainings where there is a verdict.
    "elites": """
SELECT network_elites.cell, network_elites.job, network_elites.objective,
  network_elites.test_accuracy, num_parameters, flops, width, depth,
  1.0 * width / max(1, depth) AS width_to_depth, operator, prompt, temperature, writer, model,
  placements.train_s, source_digest, network_digest, sources.text AS source, audits.verdict
FROM network_elites JOIN placements ON placements.job = network_elites.job
  LEFT JOIN sources ON sources.digest = placements.source_digest
  LEFT JOIN audits ON audits.job = network_elites.job""",
    "totals": """
SELECT count(*) AS num_settled,
  coalesce(sum(outcome = 'trained'), 0) AS num_evaluations,
  coalesce(sum(train_s), 0.0) + (SELECT coalesce(sum(train_s), 0.0) FROM audits) AS train_s,
  coalesce(max(elapsed_s), 0.0) AS elapsed_s,
  max(objective) AS best_objective,
  max(settled_at) AS last_settled_at,
  (SELECT count(*) FROM audits) AS num_audits,
  (SELECT count(*) FROM audits WHERE verdict = 'unstable') AS num_unstable
FROM placements""",
}


#: Networks that would end so again; the words of `Outcome.is_reproducible` in SQL.
LASTING = "outcome NOT IN ('duplicate', 'error', 'timeout', 'oom')"

_GROWTH = f"""
CREATE INDEX placements_network ON placements (network_digest)
  WHERE network_digest IS NOT NULL AND {LASTING};
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
) {"STRICT," if _STRICT else ""} WITHOUT ROWID;
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
) {_STRICT};
DROP VIEW totals;
DROP VIEW prompt_credit;
"""

_GROWN_VIEWS = {
    "prompt_credit": """
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
GROUP BY prompt_versions.prompt, prompt_versions.version""",
    "totals": """
SELECT coalesce(sum(num), 0) AS num_settled,
  coalesce(sum(num * (outcome = 'trained')), 0) AS num_evaluations,
  coalesce(sum(train_s), 0.0) + (SELECT coalesce(sum(train_s), 0.0) FROM audits) AS train_s,
  coalesce((SELECT elapsed_s FROM placements ORDER BY number DESC LIMIT 1), 0.0) AS elapsed_s,
  max(best_objective) AS best_objective,
  (SELECT settled_at FROM placements ORDER BY number DESC LIMIT 1) AS last_settled_at,
  (SELECT count(*) FROM audits) AS num_audits,
  (SELECT count(*) FROM audits WHERE verdict = 'unstable') AS num_unstable
FROM tallies""",
}


_COMPARISONS = f"""
-- written by rule for the control arm, or by what the search is compared with
ALTER TABLE placements ADD COLUMN by_rule INTEGER NOT NULL DEFAULT 0 CHECK (by_rule IN (0, 1));
ALTER TABLE placements ADD COLUMN look REAL CHECK (look BETWEEN 0 AND 1); -- accuracy of the first look
ALTER TABLE placements ADD COLUMN look_ratio REAL NOT NULL DEFAULT 0; -- after this share of a training
ALTER TABLE placements ADD COLUMN cost REAL; -- in full trainings; older versions did not say
ALTER TABLE placements ADD COLUMN structure TEXT; -- JSON: [[operation, number], ...]

DROP VIEW totals;
DROP VIEW prompt_credit;
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
) {"STRICT," if _STRICT else ""} WITHOUT ROWID;
INSERT INTO tallies
  SELECT prompt, prompt_version, outcome, CASE WHEN stand_in THEN 'stand_in' ELSE 'writer' END,
    count(*), sum(status <> 'not_added'), sum(score_change), sum(curiosity_change), sum(train_s),
    max(objective)
  FROM placements GROUP BY prompt, prompt_version, outcome, stand_in;
"""


_ARMS = f"""
CREATE TABLE comparisons ( -- stretches of the log with one and the same share of the control arm
  number INTEGER PRIMARY KEY,
  control_ratio REAL NOT NULL CHECK (control_ratio > 0 AND control_ratio <= 1),
  since INTEGER NOT NULL CHECK (since >= 0), -- placements before it
  until INTEGER CHECK (until >= since) -- placements with its last one; none: it goes on
) {_STRICT};

CREATE TABLE arm_tallies ( -- sums over the placements of a comparison, kept with each
  comparison INTEGER NOT NULL REFERENCES comparisons (number),
  arm TEXT NOT NULL CHECK (arm IN ('writer', 'control')),
  num_settled INTEGER NOT NULL, -- but for those that the world has failed
  num_entered INTEGER NOT NULL, -- the network archive
  num_trained INTEGER NOT NULL,
  objective_sum INTEGER NOT NULL, -- in parts of 100,000, and so are the squares
  objective_squares INTEGER NOT NULL,
  PRIMARY KEY (comparison, arm)
) {"STRICT," if _STRICT else ""} WITHOUT ROWID;
"""


def m001_search(db: "Database") -> None:
    """Make everything that a first search needs."""
    db.executescript(_JOBS)
    db.executescript(_PLACEMENTS)
    for name, query in _VIEWS.items():
        db.create_view(name, query)


def m002_writers(db: "Database") -> None:
    """Keep who wrote a candidate, and every version of the prompts."""
    db.executescript(_WRITERS)
    db.create_view("prompt_credit", _PROMPT_CREDIT)


def m003_audits(db: "Database") -> None:
    """Keep second trainings, and what they say of an elite."""
    db.executescript(_AUDITS)
    for name, query in _AUDITED_VIEWS.items():
        db.create_view(name, query)


def m004_growth(db: "Database") -> None:
    """Keep what a start and a look would otherwise read the whole log for."""
    db.executescript(_GROWTH)
    for name, query in _GROWN_VIEWS.items():
        db.create_view(name, query)


def m005_comparisons(db: "Database") -> None:
    """Keep who wrote by rule, first looks, and what was trained for each candidate."""
    db.executescript(_COMPARISONS)
    for name, query in _GROWN_VIEWS.items():
        db.create_view(name, query)


def m006_arms(db: "Database") -> None:
    """Keep what has become of the candidates of an LLM, and of those of the control arm."""
    db.executescript(_ARMS)


#: In the order in which they are applied. Append only: each is in somebody's database.
_MIGRATIONS: tuple[Callable[["Database"], None], ...] = (
    m001_search,
    m002_writers,
    m003_audits,
    m004_growth,
    m005_comparisons,
    m006_arms,
)

VERSION = len(_MIGRATIONS)


def applied(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Name the migrations that a database has had, without writing to it."""
    known = "SELECT 1 FROM sqlite_master WHERE name = '_sqlite_migrations'"
    if connection.execute(known).fetchone() is None:
        return ()
    names = "SELECT name FROM _sqlite_migrations WHERE migration_set = ? ORDER BY id"
    return tuple(name for (name,) in connection.execute(names, (_SET,)))


def unknown(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Name the applied migrations that this version does not know: a newer one's."""
    ours = {migration.__name__ for migration in _MIGRATIONS}
    return tuple(name for name in applied(connection) if name not in ours)


def migrate(connection: sqlite3.Connection) -> None:
    """Apply what is missing, all in one transaction; nothing is done when nothing is.

    Raises:
        sqlite3.Error: the database is as it was before.
    """
    if len(applied(connection)) == VERSION:
        return
    # Imported here only: it costs a daemon 0.3 s and up to 50 MB, and most starts need none of it.
    from sqlite_utils import Database
    from sqlite_utils.migrations import Migrations

    migrations = Migrations(_SET)
    for migration in _MIGRATIONS:
        migrations()(migration)
    connection.execute("BEGIN IMMEDIATE")
    try:
        migrations.apply(Database(connection))
        connection.execute(f"PRAGMA user_version = {VERSION}")
        failpoints.reached("migration")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
