"""ZPPO from data to database: python flows/zppo_flow.py run [--scale 4B] [--method zppo] [--seed 0]
         --dry-run prints the configuration and stops; --config FILE takes a TOML of your own

start ─ prepare_data ─ cache_teacher ─ epoch ⟲ ─ plan_evaluation ─ evaluate (foreach) ─ aggregate ─ end
"""  # noqa: E501 - the picture

import sys

try:
    from steps.launch import prepare_process
    from steps.machine import machine
except ModuleNotFoundError as missing:
    print(
        f"zppo: this Python ({sys.executable}) has no {missing.name}; `make setup`, then use "
        ".venv/bin/python, or `. .venv/bin/activate`",
        file=sys.stderr,
    )
    raise SystemExit(2) from None

MACHINE = machine(ARGUMENTS := prepare_process("ZPPOFlow"))

from metaflow import FlowSpec, IncludeFile, Parameter, card, current, resources, step  # noqa: E402

from steps.cards.page import TYPE, register  # noqa: E402
from steps.faults import one_line  # noqa: E402

register()


class ZPPOFlow(FlowSpec):
    """Zone of Proximal Policy Optimization: the teacher in prompts, never in gradients."""

    scale = Parameter(
        "scale",
        default="",
        help="nano, 0.8B, 2B, 4B, 9B; 4B@one-gpu: that layout; empty: that of --config, or nano",
    )
    method = Parameter(
        "method", default="", help="of the paper, or module:NAME; empty: the preset's"
    )
    seed = Parameter("seed", default="", help="seed of every random stream; empty: the preset's")
    run_name = Parameter(
        "name",
        default="",
        help="names the run in store and database; a run of "
        "this name that died goes on where it was",
    )
    config_file = IncludeFile("config", help="a TOML of your own, over the preset and under --set")
    overrides = Parameter(
        "set", type=str, multiple=True, default=(), help="section.field=value; may be repeated"
    )

    @one_line
    @step
    def start(self):
        """Resolve the configuration and open the run's store."""
        from steps.start import open_run

        self.setup = open_run(
            self.scale,
            self.method,
            self.seed,
            self.overrides,
            current.run_id,
            self.run_name,
            self.config_file,
        )
        self.next(self.prepare_data)

    @card(type=TYPE, id="data")
    @one_line
    @step
    def prepare_data(self):
        """Build or check the corpus; its size and hash become artifacts."""
        from steps.prepare_data import prepare_data, settled

        self.data = prepare_data(self.setup, current.card["data"])
        self.setup = settled(self.setup)
        self.next(self.cache_teacher)

    @card(type=TYPE, id="teacher", refresh_interval=2)
    @resources(**MACHINE.needs)
    @one_line
    @step
    def cache_teacher(self):
        """Draw the teacher's visit-0 rollouts up to the budget, into the shared cache."""
        from steps.cache_teacher import cache_teacher

        self.teacher = cache_teacher(self.setup, current.card["teacher"])
        self.steps_done = 0
        self.next(self.epoch)

    @card(type=TYPE, id="epoch", refresh_interval=2)
    @resources(**MACHINE.needs)
    @one_line
    @step
    def epoch(self):
        """Some rollout steps of Algorithm 1, engines kept alive; loops until all are done."""
        from steps.epoch import epoch

        self.steps_done = epoch(self.setup, self.steps_done, current.card["epoch"])
        self.training = "done" if self.steps_done >= self.setup["rollout_steps"] else "more"
        self.next({"more": self.epoch, "done": self.plan_evaluation}, condition="training")

    @one_line
    @step
    def plan_evaluation(self):
        """The suite's benchmarks dealt out to tasks, `evaluation.tasks` or one for each."""
        from steps.evaluate import plan

        self.items = plan(self.setup)
        self.next(self.evaluate, foreach="items")

    @card(type=TYPE, id="evaluation")
    @resources(**MACHINE.needs)
    @one_line
    @step
    def evaluate(self):
        """Base, student and teacher on some benchmarks; stored scores of equal weights count."""
        from steps.evaluate import evaluate

        self.scores = evaluate(self.setup, self.input, current.card["evaluation"])
        self.next(self.aggregate)

    @card(type=TYPE, id="summary")
    @one_line
    @step
    def aggregate(self, inputs):
        """Ingest the run's journal into DuckDB and draw the summary."""
        from steps.aggregate import aggregate

        self.merge_artifacts(inputs, include=["setup"])
        self.summary = aggregate(self.setup, current.card["summary"])
        self.next(self.end)

    @one_line
    @step
    def end(self):
        """Say where everything lies."""
        print(self.summary["text"])


if __name__ == "__main__":
    ZPPOFlow()
