"""Training over several hosts of a cluster; zppo_flow.py of the same --name evaluates:

python flows/hosts_flow.py run --scale 4B@eight-nodes --name NAME --with kubernetes
python flows/zppo_flow.py  run --scale 4B@eight-nodes --name NAME --with kubernetes

start ─ prepare_data ─ train (a task on each of compute.update_hosts) ─ join ─ end
"""

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

SCALE = "4B@eight-nodes"
MACHINE = machine(prepare_process("HostsFlow", scale=SCALE))

from metaflow import FlowSpec, IncludeFile, Parameter, card, current, parallel, resources, step  # noqa: E402

from steps.faults import one_line  # noqa: E402


class HostsFlow(FlowSpec):
    """All rollout steps in one task: the first host takes them, the others sample and update."""

    scale = Parameter("scale", default="", help=f"a scale with many hosts; empty: {SCALE}")
    method = Parameter(
        "method", default="", help="of the paper, or module:NAME; empty: the preset's"
    )
    seed = Parameter("seed", default="", help="seed of every random stream; empty: the preset's")
    run_name = Parameter("name", required=True, help="names the run in store and database")
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
            SCALE,
        )
        self.next(self.prepare_data)

    @one_line
    @step
    def prepare_data(self):
        """Build or check the corpus; one task for each host."""
        from steps.prepare_data import prepare_data, settled
        from zppo_core.run.spec import Run

        self.data = prepare_data(self.setup)
        self.setup = settled(self.setup)
        self.next(self.train, num_parallel=Run.of(self.setup).config.compute.update_hosts)

    @card(type="blank", id="epoch", refresh_interval=2)
    @parallel
    @resources(**MACHINE.needs)
    @one_line
    @step
    def train(self):
        """On the first host all rollout steps, on the others what they need there."""
        from steps.cluster import train

        self.steps_done = train(self.setup, current.parallel, current.card["epoch"])
        self.next(self.join)

    @one_line
    @step
    def join(self, inputs):
        """All hosts have ended."""
        self.steps_done = max(i.steps_done for i in inputs)
        self.next(self.end)

    @one_line
    @step
    def end(self):
        """Say what was done."""
        print(f"{self.run_name}: {self.steps_done} rollout steps; zppo_flow.py evaluates it")


if __name__ == "__main__":
    HostsFlow()
