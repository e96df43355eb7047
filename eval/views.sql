-- Views over the result database; docs/database.md says what each is for.
-- Every writer refreshes them, so they always match the code that wrote last.

-- One score per model, suite, protocol and benchmark: runs that share a model bring it repeatedly.
CREATE OR REPLACE VIEW model_scores AS
SELECT * FROM eval_scores
QUALIFY row_number() OVER (
    PARTITION BY model_key, suite, protocol_key, benchmark ORDER BY source_id
) = 1;
