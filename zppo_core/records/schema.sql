-- The result database (DuckDB). One file holds any number of runs.
-- The comment after each column is its meaning [unit]; `python -m eval.report.database describe` prints
-- them as docs/database.md. "null: ..." says when a column is empty. Shares and accuracies are
-- fractions in [0, 1]; views multiply by 100 where the paper prints percent. Times are UTC.
-- Every table ends in source_id, the row of `ingested` that brought it.

-- The version of this schema that the file was written with, one row per upgrade.
CREATE TABLE IF NOT EXISTS schema_version (
    version INTEGER NOT NULL,  -- zppo_core.records.schema.SCHEMA_VERSION
    applied_at TIMESTAMP NOT NULL,  -- when the file was brought to it [UTC]
);

-- One row per Parquet file that has been taken in: what makes ingestion idempotent.
CREATE TABLE IF NOT EXISTS ingested (
    source_id BIGINT NOT NULL,  -- number of the file within this database
    run_key VARCHAR NOT NULL,  -- run whose journal held it
    unit VARCHAR NOT NULL,  -- journal unit, e.g. step-000003/plain
    file VARCHAR NOT NULL,  -- file name in the unit, <table>.parquet
    sha256 VARCHAR NOT NULL,  -- of the file's bytes [hex]
    row_count BIGINT NOT NULL,  -- rows it brought [rows]
    ingested_at TIMESTAMP NOT NULL,  -- [UTC]
);

-- One row per training run.
CREATE TABLE IF NOT EXISTS runs (
    run_key VARCHAR NOT NULL,  -- names the run everywhere; made in the flow's start step
    created_at TIMESTAMP NOT NULL,  -- start of the run [UTC]
    scale VARCHAR NOT NULL,  -- preset: nano, zone, 0.8B, 2B, 4B or 9B
    method VARCHAR NOT NULL,  -- a name of zppo_core.config.methods.METHODS
    seed BIGINT NOT NULL,  -- root of every random stream
    config_json VARCHAR NOT NULL,  -- the resolved configuration [canonical JSON]
    code_version VARCHAR NOT NULL,  -- package version and commit
    machine VARCHAR NOT NULL,  -- processor, accelerators, memory, in words
    student_model VARCHAR NOT NULL,  -- folder or id the student started from
    teacher_model VARCHAR,  -- folder or id; null: the method has no teacher
    student_params BIGINT NOT NULL,  -- parameters of the student, N [parameters]
    teacher_params BIGINT,  -- parameters of the teacher [parameters]; null: no teacher
    base_model_key VARCHAR,  -- content key of the untrained student in eval_scores; null: unknown
    teacher_model_key VARCHAR,  -- content key of the teacher in eval_scores; null: no teacher
    source_id BIGINT NOT NULL,  -- row of ingested
);

-- One row per rollout step (Algorithm 1).
CREATE TABLE IF NOT EXISTS steps (
    run_key VARCHAR NOT NULL,  -- run
    step INTEGER NOT NULL,  -- rollout step, from 0
    new_prompts INTEGER NOT NULL,  -- questions drawn from the corpus, |X_new| [questions]
    replay_prompts INTEGER NOT NULL,  -- questions drawn from the buffer, |X_replay| [questions]
    hard INTEGER NOT NULL,  -- of both, with accuracy < tau, |X_hard| [questions]
    hard_in_buffer INTEGER,  -- of the hard, already in the buffer [questions]; null: not recorded
    eligible_bcq INTEGER NOT NULL,  -- could give a BCQ before any cap; all only with teacher.scope=hard [questions]
    eligible_ncq INTEGER NOT NULL,  -- could give an NCQ before any cap [questions]
    used_bcq INTEGER NOT NULL,  -- BCQ prompts trained on, after the cap [prompts]
    used_ncq INTEGER NOT NULL,  -- NCQ prompts trained on, after the cap [prompts]
    used_hint INTEGER NOT NULL,  -- hint prompts trained on [prompts]
    used_prefix INTEGER NOT NULL,  -- prefix prompts trained on [prompts]
    buffer_size INTEGER NOT NULL,  -- |B| after the step's admissions and evictions [questions]
    mismatch_mean DOUBLE,  -- mean |logp of sampler - of trainer| [nats]; null: not measured
    mismatch_max DOUBLE,  -- largest of the same [nats]; null: not measured
    weight_version BIGINT NOT NULL,  -- weights that sampled the step's rollouts
    source_id BIGINT NOT NULL,  -- row of ingested
);

-- One row per rollout step and kind of group.
CREATE TABLE IF NOT EXISTS step_kinds (
    run_key VARCHAR NOT NULL,  -- run
    step INTEGER NOT NULL,  -- rollout step, from 0
    kind VARCHAR NOT NULL,  -- plain, replay, bcq, ncq, hint, prefix, or one of your own
    groups INTEGER NOT NULL,  -- groups of the kind [groups]
    trivial INTEGER NOT NULL,  -- of them, with all rewards equal: their advantages are 0 [groups]
    rollouts INTEGER NOT NULL,  -- completions in them [rollouts]
    positive_advantage INTEGER NOT NULL,  -- of them, with advantage > 0 [rollouts]
    accuracy DOUBLE NOT NULL,  -- mean reward [fraction]
    tokens BIGINT NOT NULL,  -- sampled response tokens [tokens]
    source_id BIGINT NOT NULL,  -- row of ingested
);

-- Wall time per phase of a rollout step, and per stage of the flow.
CREATE TABLE IF NOT EXISTS phases (
    run_key VARCHAR NOT NULL,  -- run
    step INTEGER NOT NULL,  -- rollout step, from 0; -1: a stage of the flow outside the steps
    phase VARCHAR NOT NULL,  -- phase or stage; what stands after a slash names a part of it
    seconds DOUBLE NOT NULL,  -- wall time [s]
    model_seconds DOUBLE,  -- of it, inside generation, scoring or training [s]; null: not measured
    student_seconds DOUBLE,  -- of it, the student's engine at work, else idle [s]; null: not measured
    teacher_seconds DOUBLE,  -- of it, the teacher's engine at work, else idle [s]; null: not measured
    learner_seconds DOUBLE,  -- of it, the trainer at work, else idle [s]; null: not measured
    sync_seconds DOUBLE,  -- of it, giving new weights to the student's engine [s]; null: not there
    sync_bytes BIGINT,  -- weights that were copied for it [bytes]; null: not there
    source_id BIGINT NOT NULL,  -- row of ingested
);

-- One row per group: one prompt whose completions share a baseline.
CREATE TABLE IF NOT EXISTS groups (
    run_key VARCHAR NOT NULL,  -- run
    step INTEGER NOT NULL,  -- rollout step, from 0
    uid VARCHAR NOT NULL,  -- identity of the group within the step
    question_id VARCHAR NOT NULL,  -- question x; plain, BCQ and NCQ groups of one x share it
    kind VARCHAR NOT NULL,  -- plain, replay, bcq, ncq, hint, prefix, or one of your own
    family VARCHAR NOT NULL,  -- VLM, LLM or Video
    category VARCHAR,  -- question kind or sub-dataset; null: none
    prompt_text VARCHAR NOT NULL,  -- what the student was asked (model text: never trust as HTML)
    prompt_digest VARCHAR NOT NULL,  -- SHA-256 over text, images, thinking, forced tokens [hex]
    prompt_tokens INTEGER NOT NULL,  -- length of the prompt with images [tokens]
    accuracy DOUBLE NOT NULL,  -- mean reward of the group [fraction]
    gold VARCHAR NOT NULL,  -- gold answer a*
    positive_answer VARCHAR,  -- boxed answer of the right candidate; null: not a BCQ
    negative_answers VARCHAR[],  -- boxed answers of the wrong candidates; null: not reformulated
    right_first BOOLEAN,  -- the right candidate stands first; null: not a BCQ
    candidate_texts VARCHAR[],  -- candidates in prompt order; null: not reformulated
    source_id BIGINT NOT NULL,  -- row of ingested
);

-- One row per student completion.
CREATE TABLE IF NOT EXISTS rollouts (
    run_key VARCHAR NOT NULL,  -- run
    step INTEGER NOT NULL,  -- rollout step, from 0
    uid VARCHAR NOT NULL,  -- group
    member INTEGER NOT NULL,  -- place in the group, from 0
    text VARCHAR NOT NULL,  -- the completion (model text: never trust as HTML)
    token_ids INTEGER[] NOT NULL,  -- response tokens, forced prefix and end token included
    logp FLOAT[] NOT NULL,  -- the sampler's log-probabilities, 0 where forced [nats]
    reward DOUBLE NOT NULL,  -- outcome reward, 0 or 1
    outcome VARCHAR NOT NULL,  -- correct, wrong, no_box, unfinished or timeout
    answer VARCHAR,  -- last boxed answer; null: none
    finish VARCHAR NOT NULL,  -- stop or length
    forced INTEGER NOT NULL,  -- leading tokens that were given [tokens]
    version BIGINT NOT NULL,  -- weights that sampled it
    source_id BIGINT NOT NULL,  -- row of ingested
);

-- One row per student completion that has an advantage: known only once the step is updated.
CREATE TABLE IF NOT EXISTS advantages (
    run_key VARCHAR NOT NULL,  -- run
    step INTEGER NOT NULL,  -- rollout step, from 0
    uid VARCHAR NOT NULL,  -- group
    member INTEGER NOT NULL,  -- place in the group, from 0
    advantage DOUBLE NOT NULL,  -- after both normalisation steps
    source_id BIGINT NOT NULL,  -- row of ingested
);

-- One row per text of the teacher: rollouts, compressions, hints. Verdicts of a judge are in none.
CREATE TABLE IF NOT EXISTS teacher_draws (
    run_key VARCHAR NOT NULL,  -- run that used it
    step INTEGER NOT NULL,  -- rollout step, from 0; -1: drawn beforehand
    question_id VARCHAR NOT NULL,  -- question
    visit INTEGER NOT NULL,  -- visits of the question before this one
    draw INTEGER NOT NULL,  -- index within (step, question, visit, purpose)
    purpose VARCHAR NOT NULL,  -- draw, compress or hint
    text VARCHAR NOT NULL,  -- what the teacher wrote (model text: never trust as HTML)
    tokens INTEGER NOT NULL,  -- its length [tokens]
    reward DOUBLE,  -- outcome reward, 0 or 1; null: not graded
    outcome VARCHAR,  -- correct, wrong, no_box, unfinished or timeout; null: not graded
    answer VARCHAR,  -- last boxed answer of `text`; null: none
    source_answer VARCHAR,  -- last boxed answer of the text to compress; null: none, or other purposes
    source_tokens INTEGER,  -- length of the text to compress [tokens]; null: not counted
    source_characters INTEGER,  -- length of the text to compress [characters]; null: other purposes, or written before schema 3, when source_answer was the candidate's own
    cached BOOLEAN NOT NULL,  -- read from the teacher cache, so no compute in this run
    fallback BOOLEAN NOT NULL,  -- the deterministic extract stands in for the teacher's text
    attempts INTEGER NOT NULL,  -- generations tried [generations]
    source_id BIGINT NOT NULL,  -- row of ingested
);

-- One row per change, or visit without change, of a question in the prompt replay buffer.
CREATE TABLE IF NOT EXISTS buffer_events (
    run_key VARCHAR NOT NULL,  -- run
    step INTEGER NOT NULL,  -- rollout step, from 0
    question_id VARCHAR NOT NULL,  -- question
    event VARCHAR NOT NULL,  -- admit, stay (seen again, still hard), graduate or evict
    accuracy DOUBLE,  -- of the plain group at this step [fraction]; null: evicted unseen
    entry_accuracy DOUBLE NOT NULL,  -- of the plain group at admission [fraction]
    entry_step INTEGER NOT NULL,  -- rollout step of admission
    visits INTEGER NOT NULL,  -- times seen since admission, this one included [visits]
    replayed BOOLEAN NOT NULL,  -- drawn from the buffer at this step, not new from the corpus
    source_id BIGINT NOT NULL,  -- row of ingested
);

-- One row per gradient update.
CREATE TABLE IF NOT EXISTS updates (
    run_key VARCHAR NOT NULL,  -- run
    step INTEGER NOT NULL,  -- rollout step, from 0
    update_index INTEGER NOT NULL,  -- mini-batch within the step, 0 .. I-1
    loss DOUBLE NOT NULL,  -- sum over the mini-batch's tokens / `divisor`
    grad_norm DOUBLE NOT NULL,  -- before clipping (L2)
    entropy DOUBLE,  -- mean entropy of the student's distribution over `tokens` [nats]; null: not measured
    clip_low_share DOUBLE,  -- of `tokens`, bound by the lower clip [fraction]; null: not a surrogate loss
    clip_high_share DOUBLE,  -- of `tokens`, bound by the upper clip [fraction]; null: as above
    dual_clip_share DOUBLE,  -- of `tokens`, bound by the dual clip [fraction]; null: as above
    ratio_mean DOUBLE,  -- mean probability ratio new / old over `tokens`; null: as above
    tokens BIGINT NOT NULL,  -- sampled tokens that went through the model: of groups with unequal rewards [tokens]
    divisor BIGINT,  -- sampled tokens that the loss is divided by: of all groups [tokens]; null: written before schema 3
    groups INTEGER NOT NULL,  -- groups of the mini-batch [groups]
    skipped_groups INTEGER NOT NULL,  -- of the step's groups, all rewards equal: counted at its first update [groups]
    computed_tokens BIGINT NOT NULL,  -- positions that went through the model [tokens]
    seconds DOUBLE NOT NULL,  -- wall time [s]
    skipped BOOLEAN,  -- its gradient was not finite: no step was taken, and loss and norm are as they came; null: written before schema 4
    sent_bytes BIGINT,  -- groups and old log-probabilities that went to ranks in other processes [bytes]; null: written before schema 5
    source_id BIGINT NOT NULL,  -- row of ingested
);

-- One row per setting that a run changed on its way.
CREATE TABLE IF NOT EXISTS changes (
    run_key VARCHAR NOT NULL,  -- run
    number INTEGER NOT NULL,  -- of the change within the run, from 0: fields changed together share it
    step INTEGER NOT NULL,  -- rollout step, from 0, whose updates were the first with it
    field VARCHAR NOT NULL,  -- section.field of the configuration
    before VARCHAR NOT NULL,  -- its value until then [JSON]
    after VARCHAR NOT NULL,  -- its value from then on [JSON]
    source_id BIGINT NOT NULL,  -- row of ingested
);

-- One row per evaluated sample. Content-keyed: runs that share a model share its rows.
CREATE TABLE IF NOT EXISTS eval_samples (
    model_key VARCHAR NOT NULL,  -- content key of the weights
    run_key VARCHAR,  -- run whose student it is; null: a model outside any run
    role VARCHAR NOT NULL,  -- base, student or teacher; the name of a model outside any run
    suite VARCHAR NOT NULL,  -- names of suites and benchmarks, as asked for
    protocol_key VARCHAR NOT NULL,  -- digest of decoding, prompts, limits and judge
    benchmark VARCHAR NOT NULL,  -- abbreviation as in the paper, or the suite's own
    family VARCHAR NOT NULL,  -- VLM, LLM or Video
    sample_id VARCHAR NOT NULL,  -- row of the benchmark
    prompt_digest VARCHAR NOT NULL,  -- SHA-256 of the prompt with images [hex]
    output VARCHAR NOT NULL,  -- raw completion (model text: never trust as HTML)
    answer VARCHAR,  -- what the extractor found; null: unparsed, and right only if a judge says so
    extractor VARCHAR NOT NULL,  -- path by which the answer was found
    scorer VARCHAR NOT NULL,  -- scorer's name
    scorer_version VARCHAR NOT NULL,  -- its version
    score DOUBLE NOT NULL,  -- [fraction]; partial credit where the benchmark gives it
    outcome VARCHAR NOT NULL,  -- correct, wrong, partial, no_box, unfinished, timeout, unparsed, malformed; or "fault: " and why the rule failed
    tokens INTEGER NOT NULL,  -- generated tokens [tokens]
    seconds DOUBLE,  -- time of its batch / samples of the batch [s]; null: not measured
    judge_reply VARCHAR,  -- raw reply of the judge (model text); null: the rule decided
    cluster VARCHAR,  -- problem, video or digest of the picture that it shares with others; null: it stands alone, or written before schema 7
    source_id BIGINT NOT NULL,  -- row of ingested
);

-- One row per model and benchmark.
CREATE TABLE IF NOT EXISTS eval_scores (
    model_key VARCHAR NOT NULL,  -- content key of the weights
    run_key VARCHAR,  -- run whose student it is; null: a model outside any run
    role VARCHAR NOT NULL,  -- base, student or teacher; the name of a model outside any run
    suite VARCHAR NOT NULL,  -- names of suites and benchmarks, as asked for
    protocol_key VARCHAR NOT NULL,  -- digest of decoding, prompts, limits and judge
    benchmark VARCHAR NOT NULL,  -- abbreviation as in the paper, or the suite's own
    family VARCHAR NOT NULL,  -- VLM, LLM or Video
    n BIGINT NOT NULL,  -- samples scored [samples]
    expected_n BIGINT NOT NULL,  -- samples the benchmark (or the limit) asks for [samples]
    score DOUBLE,  -- the benchmark's metric [fraction]; null: none, see missing_reason
    stderr DOUBLE,  -- its standard error [fraction]; null: none
    low DOUBLE,  -- lower end of the 95 % interval [fraction]; null: none
    high DOUBLE,  -- upper end of the 95 % interval [fraction]; null: none
    unparsed BIGINT NOT NULL,  -- of n, no answer was extracted: wrong by rule; a judge that is shown the response (settings judge_unparsed) may count it right [samples]
    missing_reason VARCHAR,  -- why there is no score or too few samples; null: complete
    malformed BIGINT,  -- of n, judge's replies that were no verdict: counted as wrong; null: no judge
    clusters BIGINT,  -- independent sets of samples that stderr, low and high are of [clusters]; null: written before schema 7, all samples as independent
    source_id BIGINT NOT NULL,  -- row of ingested
);

-- Tokens per model and activity: FLOPs follow in eval.report.cost.
CREATE TABLE IF NOT EXISTS costs (
    run_key VARCHAR NOT NULL,  -- run
    step INTEGER NOT NULL,  -- rollout step, from 0; -1: outside the steps
    role VARCHAR NOT NULL,  -- student or teacher
    activity VARCHAR NOT NULL,  -- generate, rescore, train, or spare: drawn on a guess, without use
    model_params BIGINT NOT NULL,  -- N of the model that computed [parameters]
    tokens BIGINT NOT NULL,  -- tokens truly generated, rescored or trained on [tokens]
    tokens_cap BIGINT NOT NULL,  -- the paper's upper bound: all groups and draws, also those found in a cache, prompt and response at their caps, summaries at theirs [tokens]
    seconds DOUBLE NOT NULL,  -- wall time [s]
    source_id BIGINT NOT NULL,  -- row of ingested
);
