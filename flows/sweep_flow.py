"""Methods x scales x seeds: python flows/sweep_flow.py run --methods zppo,grpo_replay --seeds 0,1,2

start ─ member (foreach: a whole run of zppo_flow.py) ─ collect ─ end

Teacher draws and the scores of base and teacher are shared. Stopped or partly failed, the same
command goes on where it was.
"""

import os
import sys

try:
    from steps.launch import prepare_process
except ModuleNotFoundError as missing:
    print(
        f"zppo: this Python ({sys.executable}) has no {missing.name}; `make setup`, then use "
        ".venv/bin/python, or `. .venv/bin/activate`",
        file=sys.stderr,
    )
    raise SystemExit(2) from None

prepare_process("SweepFlow")

from metaflow import FlowSpec, IncludeFile, Parameter, card, current, step  # noqa: E402

from steps.cards.page import TYPE, register  # noqa: E402
from steps.faults import one_line  # noqa: E402

register()


class SweepFlow(FlowSpec):
    """Many runs, one database."""

    preset = Parameter("preset", default="", help="a sweep of ours: evidence")
    sweep_name = Parameter("name", default="", help="names the sweep; the same name goes on")
    methods = Parameter("methods", default="", help="methods with commas")
    scales = Parameter("scales", default="", help="presets with commas")
    seeds = Parameter("seeds", default="", help="seeds with commas")
    config_file = IncludeFile("config", help="a TOML of your own, over the preset and under --set")
    overrides = Parameter(
        "set", type=str, multiple=True, default=(), help="section.field=value; may be repeated"
    )

    @one_line
    @step
    def start(self):
        """Resolve every member's configuration before the first one runs."""
        from zppo_core.run.sweep import members, plan

        self.folder = os.getcwd()
        self.sweep = plan(
            self.preset,
            self.sweep_name,
            self.methods,
            self.scales,
            self.seeds,
            self.overrides,
            self.config_file or "",
        )
        self.members = members(self.sweep)
        self.next(self.member, foreach="members")

    @card(type=TYPE, id="sweep")
    @one_line
    @step
    def member(self):
        """One run of the ZPPO flow, unless it is done; its card shows the sweep so far."""
        from steps.sweep import run_member
        from steps.sweep_card import draw_sweep

        self.result = run_member(self.input, self.folder)
        draw_sweep(current.card["sweep"], self.sweep, [self.result])
        print(f"{self.result['name']}: {self.result['status']}")
        self.next(self.collect)

    @card(type=TYPE, id="sweep")
    @one_line
    @step
    def collect(self, inputs):
        """Say what is done and what failed; write the preset's page."""
        from steps.sweep import write_page
        from steps.sweep_card import draw_sweep
        from zppo_core.run.sweep import report

        self.merge_artifacts(inputs, include=["sweep", "folder"])
        self.results = [i.result for i in inputs]
        draw_sweep(current.card["sweep"], self.sweep, self.results)
        print(report(self.results))
        if any(r["status"] == "failed" for r in self.results):
            raise RuntimeError("some members failed; their logs are named above")
        print(write_page(self.sweep, self.folder))
        self.next(self.end)

    @one_line
    @step
    def end(self):
        """All members are in the database."""


if __name__ == "__main__":
    SweepFlow()
