-- Views of the log, the archives and the sums: made anew after each migration, which itself knows none.

CREATE VIEW evaluations AS
SELECT number, job, operator, prompt, temperature, objective, test_accuracy, test_loss,
  num_parameters, flops, width, depth, 1.0 * width / max(1, depth) AS width_to_depth,
  cell, status, train_s, elapsed_s, settled_at, source_digest, network_digest
FROM placements WHERE outcome = 'trained';

-- Objective and test accuracy are means of two trainings where there is a verdict.
CREATE VIEW elites AS
SELECT network_elites.cell, network_elites.job, network_elites.objective,
  network_elites.test_accuracy, num_parameters, flops, width, depth,
  1.0 * width / max(1, depth) AS width_to_depth, operator, prompt, temperature, writer, model,
  placements.train_s, source_digest, network_digest, sources.text AS source, audits.verdict
FROM network_elites JOIN placements ON placements.job = network_elites.job
  LEFT JOIN sources ON sources.digest = placements.source_digest
  LEFT JOIN audits ON audits.job = network_elites.job;

-- Only from the elites: the ancestors of every job would be millions of rows.
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
