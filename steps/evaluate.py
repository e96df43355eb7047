"""The `evaluate` step: base, student and teacher on one benchmark of the suite."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eval import harness, settings, suite
from steps.epoch import Heartbeat
from steps.run_setup import Setup, config_of, prefix_of
from steps.stage import record_stage
from steps.world import set_threads
from zppo_core import models
from zppo_core.config import Config
from zppo_core.engines.hf import HfEngine
from zppo_core.errors import UserError
from zppo_core.grading import Grader
from zppo_core.methods import METHODS
from zppo_core.prompts import Templates
from zppo_core.rendering import Renderer
from zppo_core.store.checkpoint import latest_checkpoint, load_weights
from zppo_core.store.journal import Journal
from zppo_core.store.objects import ObjectStore, open_store
from zppo_core.tables_schema import decode, encode

Files = dict[str, bytes]
EXAMPLES = 6


def benchmarks(setup: Setup) -> list[str]:
    """The benchmarks of the run's suite, in its order."""
    return [b.name for b in suite.benchmarks(config_of(setup).evaluation.suite)]


def evaluate(setup: Setup, benchmark: str, card: Any = None) -> list[dict[str, Any]]:
    """Score base, student and teacher on `benchmark`; a row of eval_scores each.

    What the journal holds is not scored again; weights that any run has scored under the same
    protocol are found by their content.
    """
    config, store = config_of(setup), open_store(setup["store"])
    journal = Journal(store, f"{prefix_of(setup)}/journal")
    kept = Journal(open_store(setup["cache"]), "evaluations")
    set_threads(config, alone=False)
    rows, examples = [], []
    for role, model, renderer, thinking in contestants(config, store, prefix_of(setup)):
        unit = f"eval/{role}/{benchmark}"
        files = journal.read(unit)
        if files is None:
            key = models.weights_name(model)
            protocol = harness.protocol_key(
                config.evaluation, thinking, Templates(config.data.prompts)
            )
            place = f"{config.evaluation.suite}/{benchmark}/{protocol}/{key}"
            found = kept.read(place)
            if found is None:
                engine = HfEngine(model, renderer, key)
                found = score(config, benchmark, engine, thinking, protocol)
                found = kept.keep(place, found)  # another run may have been quicker
            files = stamped(found, setup["run_key"], role)
            journal.commit(unit, files)
        row = decode("eval_scores", files["eval_scores.parquet"]).to_pylist()[0]
        rows.append(row)
        if role == "student":
            examples = decode("eval_samples", files["eval_samples.parquet"]).to_pylist()[:EXAMPLES]
        shown = "no score" if row["score"] is None else f"{100 * row['score']:.1f} %"
        missing = f": {row['missing_reason']}" if row["missing_reason"] else ""
        print(f"{benchmark}: {role} {shown} of {row['n']}{missing}", flush=True)
    if card is not None:
        from steps.cards.evaluation import draw

        draw(card, suite.find(config.evaluation.suite, benchmark), rows, examples)
    record_stage(setup, f"evaluate/{benchmark}")
    return rows


def contestants(
    config: Config, store: ObjectStore, prefix: str
) -> Iterator[tuple[str, Any, Renderer, bool]]:
    """(role, model, renderer, thinking) of base, trained student and teacher, one at a time."""
    import torch

    dtype, device = getattr(torch, config.student.dtype), config.compute.device
    model, renderer = models.load(config.student.model, dtype, device)
    yield "base", model, renderer, config.student.thinking
    checkpoint = latest_checkpoint(store, prefix)
    if checkpoint is None:
        raise UserError(f"no checkpoint of the student in {store.url}/{prefix}; run the training")
    with tempfile.TemporaryDirectory() as folder:
        checkpoint.fetch(folder, "student")
        load_weights(Path(folder), model)
    yield "student", model, renderer, config.student.thinking
    if METHODS[config.run.method].uses_teacher:
        model, renderer = models.load(config.teacher.model, dtype, device)
        yield "teacher", model, renderer, config.teacher.thinking


def score(config: Config, benchmark: str, engine: HfEngine, thinking: bool,
          protocol: str) -> Files:  # fmt: skip
    """Ask and score; the tables with no run's name in them, for any run to take."""
    record = suite.find(config.evaluation.suite, benchmark)
    samples, total = harness.evaluate(
        engine, record, config.evaluation, thinking, Templates(config.data.prompts), Grader(),
        config.evaluation.source, Heartbeat().progress(benchmark),
        settings.parse(config.evaluation.settings),
    )  # fmt: skip
    whose = harness.Scored(
        engine.name, "", "", config.evaluation.suite, protocol, record.name, record.family
    )
    sample_rows, score_row = harness.rows_of(whose, samples, total)
    return {
        "eval_samples.parquet": encode("eval_samples", sample_rows),
        "eval_scores.parquet": encode("eval_scores", [score_row]),
    }


def stamped(files: Files, run_key: str, role: str) -> Files:
    """The tables as this run's own."""
    return {
        f"{table}.parquet": encode(
            table,
            [
                row | {"run_key": run_key, "role": role}
                for row in decode(table, files[f"{table}.parquet"]).to_pylist()
            ],
        )
        for table in ("eval_samples", "eval_scores")
    }
