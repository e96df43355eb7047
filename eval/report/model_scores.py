"""The scores of one model that no run of ours need have trained: database rows and text."""

from __future__ import annotations

from eval.harness import ScoreRow
from eval.render import MISSING, number, table
from eval.report import database
from eval.scores import conclude
from zppo_core.records.schema import decode
from zppo_core.run.spec import Run


def conclude_model(run: Run) -> list[ScoreRow]:
    """Take the run's journal into its database; every row of eval_scores in the journal."""
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
    return rows


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
        of_family = [r for r in rows if r["family"] == family]
        whole = [
            s for r in of_family if (s := r["score"]) is not None and r["n"] >= r["expected_n"]
        ]
        mean = sum(whole) / len(whole) if len(whole) == len(of_family) else None
        count = f"{len(whole)} of {len(of_family)} benchmarks"
        cells.append([family, "mean", _percent(mean), "", count, "", ""])
    columns = ["family", "benchmark", "score, %", "95 %", "questions", "unparsed", "missing"]
    return f"{name}\n{table(columns, cells, left=2)}"


def _percent(share: float | None) -> str:
    return MISSING if share is None else number(100 * share)
