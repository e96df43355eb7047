"""How far is the forecast of `zppo plan --hours` from the clock?

    python benchmarks/bench_hours.py                                # make run, at nano
    python benchmarks/bench_hours.py --methods zppo,grpo_replay     # a sweep, its members in turn
    python benchmarks/bench_hours.py --set run.rollout_steps=12     # a shorter run

It measures, predicts, runs, and measures again, since other work on the machine may have changed.
Each line has the load (jobs that want a core, over one minute) before and after.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import record

from eval.report.hours import calibrated, forecast, measured, sweep_forecast
from zppo_core.config import load

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Predict, run, compare."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--scale", default="nano")
    reader.add_argument("--methods", default="")
    reader.add_argument("--set", action="append", default=[])
    given = reader.parse_args()
    methods = given.methods.split(",") if given.methods else []
    workers = os.cpu_count() or 1
    configs = [load(given.scale, [f"run.method={m}", *given.set]) for m in methods or ["zppo"]]

    def predicted() -> tuple[float, float, float]:
        began, load_before = time.monotonic(), os.getloadavg()[0]
        rates = measured(configs[0])
        known = (
            sweep_forecast(configs, rates)
            if methods
            else forecast(configs[0], rates, workers).seconds
        )
        return known, time.monotonic() - began, load_before

    first, took, load_first = predicted()
    print(f"predicted {first:.0f} s, trial of {took:.0f} s, load {load_first:.1f}", flush=True)
    clock = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        flow = "sweep_flow.py" if methods else "zppo_flow.py"
        command = [sys.executable, str(ROOT / "flows" / flow), "run"]
        places = [f"store.root={folder}/runs", f"store.database={folder}/d.duckdb"]
        command += [word for text in [*places, *given.set] for word in ("--set", text)]
        if methods:
            command += ["--methods", given.methods, "--scales", given.scale, "--max-workers", "1"]
        else:
            command += ["--scale", given.scale]
        subprocess.run(
            command,
            check=True,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        seconds = time.monotonic() - clock
        # what the formula makes of the run's own times: its error without the machine's
        recorded = calibrated(load(given.scale, [*given.set, places[1]]))
        own = forecast(configs[0], recorded, workers).seconds
    second, _, load_last = predicted()
    rows = [
        {"predicted": name, "s": value, "true s": seconds, "ratio": value / seconds, "load": load}
        for name, value, load in (
            ("before", first, load_first),
            ("after", second, load_last),
            ("mean of both", (first + second) / 2, (load_first + load_last) / 2),
            ("from its own record", own, load_last),
        )
        if not (methods and name == "from its own record")
    ]
    settings = {"methods": given.methods or "zppo", "set": given.set, "trial s": took}
    record("bench_hours", settings, rows)


if __name__ == "__main__":
    main()
