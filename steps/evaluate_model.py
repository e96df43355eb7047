"""The steps of eval_flow.py: one model, which no run of ours need have trained."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from eval.engines import LazyEngine
from eval.harness import ScoreRow
from eval.models import Contestant, endpoint, exam_of, name_of
from eval.preflight import check_suite
from eval.render import MISSING, number, table
from eval.report import database
from eval.scores import Item, conclude, run_item
from steps.cards.page import Card
from steps.cards.scores import draw
from steps.early import scale_of
from steps.evaluate import drawing
from zppo_core.config import Config, Source
from zppo_core.config.load import resolved, scale_named
from zppo_core.config.overrides import named, split_overrides
from zppo_core.engines.base import is_address
from zppo_core.engines.factory import evaluation_engine
from zppo_core.models.threads import set_threads
from zppo_core.records.schema import decode
from zppo_core.run.preflight import check_checkpoint, check_evaluation_device, check_store
from zppo_core.run.setup import absolute, places
from zppo_core.run.spec import Artifact, Run


def open_evaluation(
    *,
    model: str,
    suite: str,
    source: str,
    settings: str,
    limit: str,
    judge: str,
    thinking: str,
    scale: str,
    name: str,
    overrides: str | Iterable[str],
    run_id: str,
    config_file: str | None = None,
) -> Artifact:
    """What the later steps need; UserError before anything is loaded.

    Without a scale, nano models take the nano preset (CPU, its decoding), others that of 4B.
    """
    given = {
        "model": model,
        "suite": suite,
        "source": source,
        "settings": settings,
        "limit": limit,
        "judge": judge,
        "thinking": thinking,
    }
    file = Source("--config", config_file) if config_file else None
    preset = scale_named(scale, file) or scale_of(model)
    config = resolved(preset, split_overrides(overrides), file, named(given)).config
    check_suite(config)
    check_store(config)
    if not is_address(model):
        check_checkpoint("student", model)
        check_evaluation_device(config)
    return Run(
        f"evaluation-{run_id}",
        config,
        datetime.now(UTC).replace(tzinfo=None).isoformat(),
        *places(config),
        absolute(config.store.database),
        name=name or model,
    ).artifact()


def evaluate_model(setup: Artifact, item: Item, card: Card | None = None) -> list[ScoreRow]:
    """The model's row of eval_scores for the item."""
    run = Run.of(setup)
    set_threads(run.config, alone=False)
    exam, _ = exam_of(run.config, run.cache)
    rival = rival_of(run.name, run.config)
    return run_item(run, exam, iter([rival]), item, drawing(card, item, run))


def rival_of(name: str, config: Config) -> Contestant:
    """The model as the configuration names it: an endpoint, or weights on the student's GPUs."""
    import torch

    model, thinking = config.student.model, config.student.thinking
    if is_address(model):
        engine = LazyEngine(endpoint(config, model).open)
        return Contestant(name, engine.name, thinking, engine)
    key = name_of(model, getattr(torch, config.student.dtype))
    return Contestant(name, key, thinking, LazyEngine(lambda: evaluation_engine(config)))


def aggregate_model(setup: Artifact, card: Card | None = None) -> str:
    """Take the journal into the database; the scores as text."""
    run = Run.of(setup)
    conclude(run)
    journal = run.journal
    database.ingest(journal, run.key, run.database)
    rows: list[ScoreRow] = [
        row
        for unit in journal.units("eval/")
        for row in decode(
            "eval_scores", (journal.read(unit) or {})["eval_scores.parquet"]
        ).to_pylist()
    ]
    text = scores_text(run.name, rows)
    if card is not None:
        draw(card, run.name, rows, run.database)
    return f"{text}\ndatabase: {run.database}"


def scores_text(name: str, rows: list[ScoreRow]) -> str:
    """A line for each benchmark, and for each family the plain mean if none is missing."""
    cells = [
        [
            r["family"],
            r["benchmark"],
            _percent(r["score"]),
            f"[{_percent(r['low'])}, {_percent(r['high'])}]",
            f"{r['n']:,} of {r['expected_n']:,}",
            str(r["unparsed"]),
            r["missing_reason"] or "",
        ]
        for r in sorted(rows, key=lambda r: (r["family"], r["benchmark"]))
    ]
    for family in sorted({r["family"] for r in rows}):
        own = [r for r in rows if r["family"] == family]
        there = [s for r in own if (s := r["score"]) is not None and r["n"] >= r["expected_n"]]
        mean = sum(there) / len(there) if len(there) == len(own) else None
        cells.append(
            [family, "mean", _percent(mean), "", f"{len(there)} of {len(own)} benchmarks", "", ""]
        )
    columns = ["family", "benchmark", "score, %", "95 %", "questions", "unparsed", "missing"]
    return f"{name}\n{table(columns, cells, left=2)}"


def _percent(share: float | None) -> str:
    return MISSING if share is None else number(100 * share)
