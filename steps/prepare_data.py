"""The `prepare_data` step: build or check the corpus before anything is spent on it."""

from __future__ import annotations

from typing import Any

from steps.run_setup import Setup, config_of
from steps.stage import record_stage
from zppo_core.config import Config
from zppo_core.data.corpus import ListCorpus
from zppo_core.errors import UserError


def build_corpus(config: Config) -> ListCorpus:
    """The training questions that `data.source` names."""
    if config.data.source == "digits":
        from zppo_core.data.digits import train_questions

        # the same questions for every seed, so that runs share teacher draws; the seed orders them
        return ListCorpus(train_questions(config.data.train_questions, seed=0), config.run.seed)
    if config.data.source == "zppo77k":
        raise UserError(
            "the 77K corpus is not built here yet; give a table of your own as data.source and its "
            "columns as data.columns (docs/customise.md), or use --scale nano"
        )
    from zppo_core.data.table import read_table

    questions, report = read_table(config.data.source, config.data.columns)
    print(f"{config.data.source}: {report.text()}", flush=True)
    return ListCorpus(questions, config.run.seed)


def prepare_data(setup: Setup) -> dict[str, Any]:
    """The corpus's size, hash and make-up; raises UserError if it cannot serve the run."""
    config = config_of(setup)
    corpus = build_corpus(config)
    corpus.new_ids(0, config.rollout.new_prompts)  # too small a corpus fails here
    kinds: dict[str, int] = {}
    for question_id in corpus.ids:
        category = corpus[question_id].category
        kinds[category] = kinds.get(category, 0) + 1
    print(f"corpus: {len(corpus)} questions of {len(kinds)} kinds")
    record_stage(setup, "prepare_data")
    return {"questions": len(corpus), "digest": corpus.digest(), "kinds": kinds}


def steps_in_one_pass(config: Config) -> int:
    """Rollout steps that one pass over the corpus gives."""
    return build_corpus(config).steps_per_pass(config.rollout.new_prompts)
