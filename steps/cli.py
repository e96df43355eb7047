"""The `zppo` command: everything that this project does from a shell, by subcommands."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from zppo_core.errors import UserError, suggestion
from zppo_core.processes.command_line import Main, reported

FLOWS = Path(__file__).resolve().parents[1] / "flows"


@dataclass(frozen=True)
class Command:
    """A subcommand. `does`: "module:main" to call, or a flow's file and Metaflow's command."""

    does: str
    about: str
    example: str


# what a module's own main explains, with its example, is not said again here
COMMANDS = {
    "run": Command("zppo_flow.py run", "train and evaluate", "zppo run --scale 4B --seed 1"),
    "resume": Command(
        "zppo_flow.py resume", "go on with the latest run where it failed", "zppo resume"
    ),
    "hosts": Command(
        "hosts_flow.py run",
        "train over several hosts of a cluster",
        "zppo hosts --scale 4B@eight-nodes --name NAME --with kubernetes",
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
    "launch": Command("zppo_core.cluster.launch:main", "update ranks of one host, by hand", ""),
}


@reported
def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; its exit code, or 2 with a line for each fault."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    name, *rest = given
    if name not in COMMANDS:
        raise UserError(f"unknown command {name!r}; {suggestion(name, COMMANDS, _shown)}")
    called = COMMANDS[name]
    module, colon, function = called.does.partition(":")
    if not colon:
        return start_flow(called, rest)
    run: Main = getattr(import_module(module), function)
    return run(rest)


def overview() -> str:
    """The subcommands, a line each."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.about}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: zppo COMMAND ...",
            "",
            *lines,
            "",
            "zppo COMMAND --help says more",
            "example: zppo run --scale nano",
        ]
    )


def start_flow(called: Command, rest: Sequence[str]) -> int:
    """Become the flow's process, so that signals and the exit code are its own."""
    file, command = called.does.split()
    if {"-h", "--help"} & set(rest):
        print(f"zppo: {called.about}\nexample: {called.example}\n", flush=True)
    os.execv(sys.executable, [sys.executable, str(FLOWS / file), command, *rest])


def _shown(name: str) -> str:
    return f"zppo {name}"


if __name__ == "__main__":
    sys.exit(main())
