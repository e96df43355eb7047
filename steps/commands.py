"""The subcommands of `zppo`: what each calls, and its line in the overview."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A subcommand. `does`: "module:main" to call, or a flow's file and Metaflow's command."""

    does: str
    summary: str
    example: str


# what a module's own main explains, with its example, is not said again here
COMMANDS = {
    "run": Command("zppo_flow.py run", "train and evaluate", "zppo run --scale 4B --seed 1"),
    "train": Command("steps.train:main", "the same in one process, without Metaflow", ""),
    "resume": Command(
        "zppo_flow.py resume", "go on with the latest run where it failed", "zppo resume"
    ),
    "evaluate": Command(
        "eval_flow.py run",
        "a model on benchmarks, without training",
        "zppo evaluate --model nano:student --suite nano",
    ),
    "sweep": Command(
        "sweep_flow.py run",
        "methods x scales x seeds",
        "zppo sweep --methods zppo,grpo_replay --seeds 0,1,2",
    ),
    "cards": Command("zppo_flow.py card", "the cards of a run", "zppo cards server"),
    "show": Command("steps.show:main", "a run with its transcripts, as one HTML file", ""),
    "doctor": Command(
        "zppo_core.run.doctor:main", "what this machine can run, what is missing", ""
    ),
    "plan": Command("steps.plan:main", "the configuration of a run, before it starts", ""),
    "runs": Command("eval.report.runs:main", "runs of a store and a database", ""),
    "chat": Command("zppo_core.run.chat:main", "talk to a student", ""),
    "table": Command("eval.report.tables:table_main", "a table of the paper by its number", ""),
    "tables": Command("eval.report.tables:main", "tables, and the summary of a run", ""),
    "figures": Command("eval.report.figures:main", "figures of the paper from the database", ""),
    "compare": Command("eval.report.compare:main", "two runs, question by question", ""),
    "cost": Command("eval.report.cost:main", "FLOPs and hours of a run, or of a plan", ""),
    "audit": Command("eval.report.audit:main", "what reformulated prompts give away", ""),
    "evidence": Command("eval.report.evidence:main", "a sweep against the paper's claims", ""),
    "life": Command("eval.report.life:main", "the life of a graduate, in a picture", ""),
    "zone": Command("eval.report.zone:main", "how soon runs learn the zone's hard kinds", ""),
    "database": Command("eval.report.database:main", "take journals in, forget, upgrade", ""),
    "judge": Command("eval.calibrate:main", "how far a judge agrees with labels", ""),
    "verify": Command("zppo_core.run.verify:main", "compute a step again and compare it", ""),
    "export": Command("zppo_core.cli:export_main", "copy a trained student out", ""),
    "cache": Command("zppo_core.cli:cache_main", "look after the teacher cache", ""),
    "memory": Command("zppo_core.models.memory:main", "GiB of each GPU, by preset", ""),
    "completion": Command("steps.completion:main", "completion for bash, zsh or fish", ""),
    "fixtures": Command("eval.fixtures.__main__:main", "small copies of the benchmarks", ""),
    "tasks": Command("eval.lm_eval_task:main", "the benchmarks as lm-eval's task files", ""),
    "nano": Command("zppo_core.models.nano.__main__:main", "build the nano checkpoints", ""),
    "mechanism": Command("eval.report.mechanism:main", "how learning reaches plain prompts", ""),
    "rates": Command("eval.rates:main", "which procedures a model of the zone follows", ""),
}
