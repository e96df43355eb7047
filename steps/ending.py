"""The last lines of a run: what was gained, what it cost, where things lie, what to do next."""

from __future__ import annotations

from eval.render import duration, number, scientific, signed
from eval.report.rows import Summary
from zppo_core.run.spec import Run


def ending(run: Run, summary: Summary) -> str:
    """Five lines, of which each stands by itself."""
    gains = [
        f"{r['family']} {signed(r['gain'])} points "
        f"({number(r['base'])} to {number(r['student'])} %)"
        for r in summary["accuracy"]
    ]
    spent = sum(t["seconds"] for t in summary["times"] if t["level"] == "stage")
    tokens = sum(r["tokens"] for r in summary["cost"])
    flops = scientific(sum(r["flops_true"] for r in summary["cost"]))
    database = f"--database {run.database}"
    return "\n".join(
        [
            f"gained:  {', '.join(gains) or 'not evaluated'}",
            f"cost:    {duration(spent)}, {tokens:,} tokens, {flops} FLOPs",
            f"student: zppo export --checkpoint {run.store_url}/{run.key} --to models/student",
            f"records: {run.database} and {run.store_url}/{run.key}",
            f"next:    zppo show {run.key} {database}; zppo cards server",
        ]
    )
