"""Any model on the benchmarks, without training:

python flows/eval_flow.py run --model PATH|HUB_ID|nano:student|http://host:8000/v1#NAME --suite paper31

start ─ plan ─ evaluate (foreach share of the suite) ─ aggregate ─ end
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

MACHINE = machine(prepare_process("EvalFlow", training=False))

from metaflow import FlowSpec, IncludeFile, Parameter, card, current, resources, step  # noqa: E402

from steps.cards.page import TYPE, register  # noqa: E402
from steps.faults import one_line  # noqa: E402

register()


class EvalFlow(FlowSpec):
    """A checkpoint or an endpoint under the paper's protocol, into the database."""

    model = Parameter("model", required=True, help="folder, hub id, nano:… or http://host/v1#name")
    suite = Parameter("suite", default="", help="paper31, nano, or benchmarks with commas")
    source = Parameter("source", default="", help="folder with the data sets; empty: the hub")
    settings = Parameter("settings", default="", help="{frames = 16}, as in TOML")
    limit = Parameter("limit", default="", help="samples per benchmark; empty or 0: all")
    judge = Parameter("judge", default="none", help="as --model; none: rules decide alone")
    thinking = Parameter("thinking", default="", help="true or false; empty: the preset's")
    scale = Parameter("scale", default="", help="preset with protocol and machine; empty: by model")
    model_name = Parameter("name", default="", help="the model's name in the database")
    config_file = IncludeFile("config", help="a TOML of your own, over the preset and under --set")
    overrides = Parameter(
        "set", type=str, multiple=True, default=(), help="section.field=value; may be repeated"
    )

    @one_line
    @step
    def start(self):
        """Resolve protocol and machine, before a model is loaded."""
        from eval.opening import open_evaluation

        self.setup = open_evaluation(
            model=self.model,
            suite=self.suite,
            source=self.source,
            settings=self.settings,
            limit=self.limit,
            judge=self.judge,
            thinking=self.thinking,
            scale=self.scale,
            name=self.model_name,
            overrides=self.overrides,
            run_id=current.run_id,
            config_file=self.config_file,
        ).artifact()
        self.next(self.plan)

    @one_line
    @step
    def plan(self):
        """The suite's benchmarks dealt out to tasks, `evaluation.tasks` or one for each."""
        from steps.evaluate import plan

        self.items = plan(self.setup)
        self.next(self.evaluate, foreach="items")

    @card(type=TYPE, id="evaluation")
    @resources(**MACHINE.needs)
    @one_line
    @step
    def evaluate(self):
        """The model on some benchmarks; stored scores of the same weights count."""
        from steps.evaluate_model import evaluate_model

        self.scores = evaluate_model(self.setup, self.input, current.card["evaluation"])
        self.next(self.aggregate)

    @card(type=TYPE, id="summary")
    @one_line
    @step
    def aggregate(self, inputs):
        """Into the database; every benchmark, and the mean of each family that is complete."""
        from steps.evaluate_model import aggregate_model

        self.merge_artifacts(inputs, include=["setup"])
        self.text = aggregate_model(self.setup, current.card["summary"])
        self.next(self.end)

    @one_line
    @step
    def end(self):
        """The scores."""
        print(self.text)


if __name__ == "__main__":
    EvalFlow()
