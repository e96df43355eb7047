-- Views over the result database; docs/database.md says what each is for.
-- Every writer refreshes them, so they always match the code that wrote last.

-- Eight hex digits of everything of a configuration but method, seed, what only says where it runs,
-- and `rest` (fields as null). Of the trainer that is how it packs tokens; what learns (adapters, the
-- vision tower) stays. A field that came after the run was made had its default's value then, and
-- one that is gone decides nothing.
CREATE OR REPLACE MACRO configured(config, rest) AS
    left(md5(from_json(json_merge_patch(
        '$DEFAULTS'::JSON,
        config::JSON,
        '{"run": {"method": null, "seed": null, "steps_per_task": null, "trackers": null},
          "store": null, "compute": null, "evaluation": {"tasks": null},
          "trainer": {"mode": null, "token_budget": null, "checkpointing": null,
                      "max_mismatch": null}}'::JSON,
        rest::JSON
    ), '$FIELDS')::VARCHAR), 8);

-- The knobs of each run. Runs are averaged over seeds within a `variant` alone; runs that differ in
-- one knob and nothing else have the same but_teacher, but_updates, by_update or but_norm.
-- A run that changed settings on its way is a variant of its own, but for runs that changed alike.
CREATE OR REPLACE VIEW run_settings AS
WITH altered AS (
    SELECT run_key, '~' || left(md5(string_agg(
        concat_ws(' ', step, field, after), ';' ORDER BY number, field
    )), 4) AS mark
    FROM changes GROUP BY run_key
), begun AS (
    SELECT runs.*, coalesce(mark, '') AS mark FROM runs LEFT JOIN altered USING (run_key)
)
SELECT
    run_key, created_at, scale, method, seed, student_params, teacher_model, teacher_params,
    base_model_key, teacher_model_key,
    configured(config_json, '{}') || mark AS variant,
    configured(config_json, '{"teacher": {"model": null, "endpoint": null, "api_key_env": null,
        "concurrency": null}}') || mark AS but_teacher,
    configured(config_json, '{"optimizer": {"updates": null}}') || mark AS but_updates,
    -- as the paper varies I: as many new prompts an update, and one pass in as many steps as it takes
    configured(config_json, '{"optimizer": {"updates": null}, "run": {"rollout_steps": null},
        "rollout": {"new_prompts": ' || (config_json ->> '$.rollout.new_prompts')::DOUBLE
        / (config_json ->> '$.optimizer.updates')::DOUBLE || '}}') || mark AS by_update,
    configured(config_json, '{"advantage": {"norm": null}}') || mark AS but_norm,
    config_json ->> '$.teacher.scope' AS teacher_scope,
    (config_json ->> '$.optimizer.updates')::INTEGER AS updates,
    config_json ->> '$.advantage.norm' AS norm,
    (config_json ->> '$.replay.threshold')::DOUBLE AS tau,
    (config_json ->> '$.replay.ratio')::DOUBLE AS rho_replay,
    (config_json ->> '$.reformulation.ratio')::DOUBLE AS rho_aug,
    (config_json ->> '$.replay.capacity')::INTEGER AS capacity,
    (config_json ->> '$.run.rollout_steps')::INTEGER AS rollout_steps,
    config_json ->> '$.evaluation.suite' AS suite,
    -- the paper's recipe in everything that its ablations vary
    coalesce(updates = 4 AND norm = 'nonzero' AND tau = 0.5 AND rho_replay = 0.25
        AND rho_aug = 0.25, false) AS recipe
FROM begun;

-- ---------------------------------------------------------------------------- evaluation

-- One score per model, suite, protocol and benchmark: runs that share a model bring it repeatedly.
CREATE OR REPLACE VIEW model_scores AS
SELECT * FROM eval_scores
QUALIFY row_number() OVER (
    PARTITION BY model_key, suite, protocol_key, benchmark ORDER BY source_id
) = 1;

-- Scores that belong to a run: its student's, its base's and its teacher's. Base and teacher are
-- found by content key, because a run evaluates them only if nobody has.
CREATE OR REPLACE VIEW run_scores_all AS
SELECT r.run_key, s.role, s.* EXCLUDE (run_key, role)
FROM runs r JOIN eval_scores s ON
    (s.role = 'student' AND s.run_key = r.run_key)
    OR (s.role = 'base' AND (s.run_key = r.run_key OR s.model_key = r.base_model_key))
    OR (s.role = 'teacher' AND (s.run_key = r.run_key OR s.model_key = r.teacher_model_key))
QUALIFY row_number() OVER (
    PARTITION BY r.run_key, s.role, s.suite, s.protocol_key, s.benchmark
    ORDER BY s.run_key = r.run_key DESC NULLS LAST, s.source_id
) = 1;

-- The same under one suite and protocol a run: the one with most benchmarks of its student, and
-- of those the latest. Scores in percent.
CREATE OR REPLACE VIEW run_scores AS
WITH main AS (
    SELECT run_key, suite, protocol_key FROM run_scores_all
    GROUP BY run_key, suite, protocol_key
    QUALIFY row_number() OVER (
        PARTITION BY run_key
        ORDER BY count(*) FILTER (role = 'student') DESC, max(source_id) DESC
    ) = 1
)
SELECT
    run_key, role, model_key, suite, protocol_key, family, benchmark, n, expected_n,
    100 * score AS score, 100 * stderr AS stderr, 100 * low AS low, 100 * high AS high,
    unparsed, missing_reason,
    score IS NOT NULL AND n >= expected_n AND missing_reason IS NULL AS complete
FROM run_scores_all JOIN main USING (run_key, suite, protocol_key);

-- Plain mean over the benchmarks of a family. `average` is null unless every benchmark that any
-- model of the run was asked has a score: never a mean over fewer.
CREATE OR REPLACE VIEW run_families AS
WITH asked AS (
    SELECT run_key, family, count(DISTINCT benchmark) AS benchmarks
    FROM run_scores GROUP BY run_key, family
)
SELECT
    s.run_key, s.role, s.family, any_value(a.benchmarks) AS benchmarks, count(s.score) AS scored,
    bool_and(s.complete) AND count(s.score) = any_value(a.benchmarks) AS complete,
    CASE WHEN count(s.score) = any_value(a.benchmarks) THEN avg(s.score) END AS average,
    sum(s.n) AS n, sum(s.unparsed) AS unparsed
FROM run_scores s JOIN asked a USING (run_key, family)
GROUP BY s.run_key, s.role, s.family;

-- Everything that tables compare, one row per run: students under their method, base and teacher
-- under 'base' and 'teacher'. benchmark 'Avg' is the family average.
CREATE OR REPLACE VIEW method_scores AS
WITH cells AS (
    SELECT run_key, role, family, benchmark, score, complete FROM run_scores
    UNION ALL
    SELECT run_key, role, family, 'Avg', average, complete FROM run_families
)
SELECT
    g.scale, g.variant, g.recipe, g.seed, c.run_key,
    CASE c.role WHEN 'student' THEN g.method ELSE c.role END AS method,
    c.family, c.benchmark, c.score, c.complete
FROM cells c JOIN run_settings g USING (run_key);

-- Mean over the runs (seeds) of a method. sd is the sample standard deviation between runs.
CREATE OR REPLACE VIEW scoreboard AS
SELECT
    scale, variant, recipe, method, family, benchmark,
    avg(score) AS score, stddev_samp(score) AS sd, count(score) AS runs,
    bool_and(complete) AS complete
FROM method_scores
GROUP BY ALL;

-- Every model and benchmark, best first, with a 95 % interval: the stored one, else Wilson's.
CREATE OR REPLACE MACRO wilson_low(p, n) AS
    (p + 1.92072941 / n - 1.959963985 * sqrt(p * (1 - p) / n + 0.960364705 / (n * n)))
    / (1 + 3.84145882 / n);
CREATE OR REPLACE MACRO wilson_high(p, n) AS
    (p + 1.92072941 / n + 1.959963985 * sqrt(p * (1 - p) / n + 0.960364705 / (n * n)))
    / (1 + 3.84145882 / n);
CREATE OR REPLACE VIEW leaderboard AS
SELECT
    s.suite, s.protocol_key, s.family, s.benchmark,
    row_number() OVER (
        PARTITION BY s.suite, s.protocol_key, s.benchmark ORDER BY s.score DESC NULLS LAST
    ) AS place,
    coalesce(r.scale || ' ' || r.method || ' s' || r.seed, s.role) AS model,
    s.role, s.model_key, s.run_key, 100 * s.score AS score,
    100 * coalesce(s.low, wilson_low(s.score, nullif(s.n, 0))) AS low,
    100 * coalesce(s.high, wilson_high(s.score, nullif(s.n, 0))) AS high,
    s.n, s.expected_n, s.unparsed, s.missing_reason
FROM model_scores s LEFT JOIN runs r ON s.role = 'student' AND r.run_key = s.run_key;

-- ---------------------------------------------------------------------------- replay buffer

-- One row per stay of a question in the buffer. entry_bin is the accuracy at admission in percent,
-- in steps of one of eight rollouts; fate is graduate, evict, or held (still in at the end).
CREATE OR REPLACE VIEW buffer_entries AS
SELECT
    run_key, question_id, entry_step,
    floor(any_value(entry_accuracy) * 8 + 1e-9) * 12.5 AS entry_bin,
    max(visits) AS visits,
    coalesce(max(event) FILTER (event IN ('graduate', 'evict')), 'held') AS fate,
    max(step) FILTER (event IN ('graduate', 'evict')) AS exit_step
FROM buffer_events GROUP BY run_key, question_id, entry_step;

-- Graduated / admitted by accuracy at admission. `revisited` counts the entries that were asked
-- again at least once, which is the denominator that the paper's Fig. 4 seems to use
-- (eval/report/reference/README.md, inconsistency 4).
CREATE OR REPLACE VIEW graduation AS
SELECT
    run_key, entry_bin, count(*) AS admitted, count(*) FILTER (visits > 0) AS revisited,
    count(*) FILTER (fate = 'graduate') AS graduated, count(*) FILTER (fate = 'evict') AS evicted,
    count(*) FILTER (fate = 'held') AS held
FROM buffer_entries GROUP BY run_key, entry_bin;

-- The same, cumulative over rollout steps, with the buffer's content by accuracy at admission.
CREATE OR REPLACE VIEW graduation_steps AS
WITH changes AS (
    SELECT run_key, entry_step AS step, entry_bin, 1 AS admitted, 0 AS graduated, 0 AS evicted
    FROM buffer_entries
    UNION ALL
    SELECT run_key, exit_step, entry_bin, 0, (fate = 'graduate')::INT, (fate = 'evict')::INT
    FROM buffer_entries WHERE exit_step IS NOT NULL
), dense AS (
    SELECT run_key, step, entry_bin, 0 AS admitted, 0 AS graduated, 0 AS evicted
    FROM (SELECT DISTINCT run_key, step FROM steps)
    JOIN (SELECT DISTINCT run_key, entry_bin FROM buffer_entries) USING (run_key)
), sums AS (
    SELECT run_key, step, entry_bin, sum(admitted) AS a, sum(graduated) AS g, sum(evicted) AS e
    FROM (FROM changes UNION ALL FROM dense) GROUP BY run_key, step, entry_bin
)
SELECT
    run_key, step, entry_bin,
    sum(a) OVER so_far AS admitted, sum(g) OVER so_far AS graduated, sum(e) OVER so_far AS evicted,
    sum(a - g - e) OVER so_far AS held
FROM sums
WINDOW so_far AS (PARTITION BY run_key, entry_bin ORDER BY step);

-- ---------------------------------------------------------------------------- rollout steps

-- Composition of the batch before and after the cap, as shares of the questions asked.
CREATE OR REPLACE VIEW batch_composition AS
SELECT
    run_key, step, new_prompts + replay_prompts AS asked, hard,
    (new_prompts + replay_prompts - hard) / (new_prompts + replay_prompts) AS easy_share,
    eligible_bcq / (new_prompts + replay_prompts) AS bcq_share,
    eligible_ncq / (new_prompts + replay_prompts) AS ncq_share,
    used_bcq, used_ncq, used_hint, used_prefix, buffer_size
FROM steps;

-- Share of rollouts with positive advantage and share of trivial groups, all kinds together.
CREATE OR REPLACE VIEW learning_signal AS
SELECT
    run_key, step, sum(positive_advantage) / sum(rollouts) AS positive_share,
    sum(trivial) / sum(groups) AS trivial_share, sum(rollouts) AS rollouts, sum(tokens) AS tokens
FROM step_kinds GROUP BY run_key, step;

-- Per rollout step: accuracy of plain rollouts (new and replayed apart) and of reformulated ones.
CREATE OR REPLACE VIEW step_accuracy AS
SELECT run_key, step, kind, accuracy, rollouts, groups, trivial FROM step_kinds;

-- Means over a step's updates: the loss weighted by the tokens it was divided by, all else by the
-- tokens that went through the model. Skipped updates are counted and in no mean: their loss and
-- norm are not finite.
CREATE OR REPLACE VIEW step_updates AS
WITH told AS (
    SELECT u.* REPLACE (
        if(skipped, NULL, loss) AS loss, if(skipped, NULL, grad_norm) AS grad_norm,
        if(skipped, NULL, entropy) AS entropy, if(skipped, NULL, clip_low_share) AS clip_low_share,
        if(skipped, NULL, clip_high_share) AS clip_high_share,
        if(skipped, NULL, dual_clip_share) AS dual_clip_share,
        if(skipped, NULL, ratio_mean) AS ratio_mean
    ) FROM updates u
)
SELECT
    run_key, step, count(*) AS updates, sum(tokens) AS tokens,
    sum(loss * coalesce(divisor, tokens))
        / nullif(sum(coalesce(divisor, tokens)) FILTER (loss IS NOT NULL), 0) AS loss,
    sum(divisor)::BIGINT AS divisor,
    sum(entropy * tokens) / nullif(sum(tokens) FILTER (entropy IS NOT NULL), 0) AS entropy,
    avg(grad_norm) AS grad_norm, sum(computed_tokens) AS computed_tokens, sum(seconds) AS seconds,
    sum(clip_low_share * tokens) / nullif(sum(tokens) FILTER (clip_low_share IS NOT NULL), 0)
        AS clip_low_share,
    sum(clip_high_share * tokens) / nullif(sum(tokens) FILTER (clip_high_share IS NOT NULL), 0)
        AS clip_high_share,
    sum(dual_clip_share * tokens) / nullif(sum(tokens) FILTER (dual_clip_share IS NOT NULL), 0)
        AS dual_clip_share,
    sum(ratio_mean * tokens) / nullif(sum(tokens) FILTER (ratio_mean IS NOT NULL), 0)
        AS ratio_mean,
    count(*) FILTER (skipped) AS skipped
FROM told GROUP BY run_key, step;

-- One row per rollout step, counted from 1 as people do: what is watched while a run trains. Shares
-- are fractions; tokens are sampled ones, of all groups; seconds are those of the step's phases.
CREATE OR REPLACE VIEW run_progress AS
WITH cut AS (
    SELECT run_key, step, avg((finish = 'length')::INT) AS truncated_share,
        avg((outcome = 'no_box')::INT) AS no_box_share
    FROM rollouts GROUP BY run_key, step
), kinds AS (
    SELECT run_key, step, sum(groups) AS groups, sum(trivial) AS trivial,
        sum(rollouts) AS rollouts, sum(positive_advantage) AS positive, sum(tokens) AS tokens
    FROM step_kinds GROUP BY run_key, step
), moves AS (
    SELECT run_key, step, count(*) FILTER (event = 'admit') AS admitted,
        count(*) FILTER (event = 'graduate') AS graduated,
        count(*) FILTER (event = 'evict') AS evicted
    FROM buffer_events GROUP BY run_key, step
), spent AS (
    SELECT run_key, step, sum(seconds) AS seconds FROM phases WHERE step >= 0
    GROUP BY run_key, step
)
SELECT
    s.run_key, s.step + 1 AS step, s.buffer_size, s.mismatch_mean, s.mismatch_max,
    k.groups, k.trivial, k.trivial / k.groups AS trivial_share,
    k.positive / k.rollouts AS positive_share, k.rollouts,
    k.tokens / k.rollouts AS response_tokens, c.truncated_share, c.no_box_share,
    coalesce(m.admitted, 0) AS admitted, coalesce(m.graduated, 0) AS graduated,
    coalesce(m.evicted, 0) AS evicted,
    u.loss, u.entropy, u.grad_norm, u.clip_low_share, u.clip_high_share, u.dual_clip_share,
    u.ratio_mean, u.skipped, t.seconds, k.tokens / nullif(t.seconds, 0) AS tokens_per_second
FROM steps s
LEFT JOIN kinds k USING (run_key, step)
LEFT JOIN cut c USING (run_key, step)
LEFT JOIN moves m USING (run_key, step)
LEFT JOIN step_updates u USING (run_key, step)
LEFT JOIN spent t USING (run_key, step);

-- Wall time per stage of the flow (step -1) and per phase of the rollout steps.
CREATE OR REPLACE VIEW phase_times AS
SELECT
    run_key, CASE WHEN step < 0 THEN 'stage' ELSE 'phase' END AS level,
    split_part(phase, '/', 1) AS phase, count(*) AS times, sum(seconds) AS seconds,
    sum(model_seconds) AS model_seconds, sum(student_seconds) AS student_seconds,
    sum(teacher_seconds) AS teacher_seconds, sum(learner_seconds) AS learner_seconds,
    sum(sync_seconds) AS sync_seconds, sum(sync_bytes)::BIGINT AS sync_bytes
FROM phases GROUP BY ALL;

-- ---------------------------------------------------------------------------- cost

-- FLOPs by model and activity: 2N per generated or rescored token, 6N per trained token.
-- flops_true: tokens as they were, each trained on once. flops_paper: the paper's upper bound
-- (App. D.3): every sequence at its longest, and a trained token counted once per update of its step.
CREATE OR REPLACE VIEW run_costs AS
WITH factor AS (
    SELECT run_key, count(*) / count(DISTINCT step) AS updates_per_step
    FROM updates GROUP BY run_key
)
SELECT
    c.run_key, c.role, c.activity, c.model_params, sum(c.tokens)::BIGINT AS tokens,
    sum(c.tokens_cap)::BIGINT AS tokens_cap, sum(c.seconds) AS seconds,
    c.model_params::DOUBLE * sum(c.tokens) * if(c.activity = 'train', 6, 2) AS flops_true,
    c.model_params::DOUBLE * sum(c.tokens_cap)
        * if(c.activity = 'train', 6 * any_value(coalesce(f.updates_per_step, 1)), 2) AS flops_paper
FROM costs c LEFT JOIN factor f USING (run_key)
GROUP BY c.run_key, c.role, c.activity, c.model_params;

-- What the teacher wrote for a rollout step, also what another run had left in the cache; what the
-- run draws beforehand counts where it is used. A summary counts where the run first has it.
CREATE OR REPLACE VIEW teacher_written AS
WITH texts AS (
    SELECT run_key, step, tokens FROM teacher_draws WHERE purpose = 'draw' AND step >= 0
    UNION ALL
    SELECT run_key, min(step), max(tokens) FROM teacher_draws WHERE purpose <> 'draw' AND step >= 0
    GROUP BY run_key, purpose, text, source_answer, source_characters, attempts
)
SELECT run_key, step, sum(tokens)::BIGINT AS tokens FROM texts GROUP BY run_key, step;

-- Per run: hours of training, which are the stages cache_teacher and epoch, and FLOPs. Of the
-- rollout steps the longer of stage and phases counts: a task that was killed, or still works, has
-- phases alone. The corpus and the evaluation are in neither. `used` counts of the teacher what the
-- run made use of, drawn by it or found, so that runs compare whichever came first and however much
-- was drawn beforehand; the others are what the run spent.
CREATE OR REPLACE VIEW run_cost_totals AS
WITH spent AS (
    SELECT run_key,
        sum(seconds) FILTER (level = 'stage' AND phase = 'cache_teacher') AS drawing,
        sum(seconds) FILTER (level = 'stage' AND phase = 'epoch') AS epochs,
        sum(seconds) FILTER (level = 'phase') AS phases
    FROM phase_times GROUP BY run_key
), hours AS (
    SELECT run_key, CASE WHEN coalesce(drawing, epochs, phases) IS NOT NULL THEN
        (coalesce(drawing, 0) + coalesce(greatest(epochs, phases), 0)) / 3600 END AS hours
    FROM spent
), drawn AS (
    SELECT run_key, sum(tokens) AS tokens FROM teacher_written GROUP BY run_key
), totals AS (
    SELECT run_key, sum(flops_true) AS flops_true, sum(flops_paper) AS flops_paper,
        sum(tokens)::BIGINT AS tokens,
        coalesce(sum(tokens) FILTER (NOT drawn), 0) AS others,
        coalesce(sum(flops_true) FILTER (NOT drawn), 0) AS flops_of_others,
        max(model_params) FILTER (role = 'teacher') AS teacher_params
    FROM (
        SELECT *, role = 'teacher' AND activity IN ('generate', 'spare') AS drawn FROM run_costs
    ) GROUP BY run_key
)
SELECT
    r.run_key, h.hours, t.flops_true, t.flops_paper, t.tokens,
    (t.others + coalesce(d.tokens, 0))::BIGINT AS tokens_used,
    t.flops_of_others + 2 * coalesce(d.tokens * t.teacher_params::DOUBLE, 0) AS flops_used
FROM runs r
LEFT JOIN hours h USING (run_key)
LEFT JOIN totals t USING (run_key)
LEFT JOIN drawn d USING (run_key);

-- ---------------------------------------------------------------------------- audits

-- An answer as the candidate audits compare it: \text{...} and its kin unwrapped, lower case,
-- white space collapsed.
CREATE OR REPLACE MACRO normal_answer(answer) AS
    trim(regexp_replace(lower(regexp_replace(
        answer, '\\(?:text|textbf|textit|textrm|texttt|mathrm|mathbf|mathit|mathsf|mbox|operatorname)\s*\{([^{}]*)\}',
        '\1', 'g')), '\s+', ' ', 'g'));

-- One row per BCQ or NCQ rollout: does its boxed answer match the positive, a negative, or neither?
-- The positive of an NCQ, which its prompt does not show, is that of the BCQ of the same question
-- and step, else the gold answer.
CREATE OR REPLACE VIEW candidate_matches AS
WITH positives AS (
    SELECT run_key, step, question_id, any_value(positive_answer) AS answer
    FROM groups WHERE kind = 'bcq' GROUP BY ALL
)
SELECT
    g.run_key, g.step, g.uid, g.question_id, g.kind, r.member, r.reward,
    CASE
        WHEN r.answer IS NULL THEN 'other'
        WHEN normal_answer(r.answer) = normal_answer(
            coalesce(g.positive_answer, p.answer, g.gold)) THEN 'positive'
        WHEN list_contains(
            list_transform(g.negative_answers, lambda a: normal_answer(a)),
            normal_answer(r.answer)) THEN 'negative'
        ELSE 'other'
    END AS match
FROM groups g
JOIN rollouts r USING (run_key, step, uid)
LEFT JOIN positives p USING (run_key, step, question_id)
WHERE g.kind IN ('bcq', 'ncq');

-- Tables 16 and 17: shares in percent. BCQ split by verdict, NCQ as a whole.
CREATE OR REPLACE VIEW candidate_audit AS
SELECT
    run_key, kind,
    CASE WHEN kind = 'ncq' THEN 'all' WHEN reward > 0 THEN 'correct' ELSE 'wrong' END AS subset,
    count(*) AS n,
    100 * avg((match = 'positive')::INT) AS match_pos,
    100 * avg((match = 'negative')::INT) AS match_neg,
    100 * avg((match = 'other')::INT) AS other,
    100 * avg(reward) AS accuracy
FROM candidate_matches GROUP BY ALL;
