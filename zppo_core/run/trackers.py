"""Metrics of each rollout step: `metrics.jsonl` always, and the trackers that `run.trackers` names.

docs/metrics.md lists the names with their units. A tracker's package is imported only if it is
named, and only where the run trains. A tracker hears each step once, also of a resumed run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from zppo_core.algorithm.step_types import StepResult
from zppo_core.errors import UserError
from zppo_core.run.metrics import metrics_of
from zppo_core.run.preflight import TRACKERS
from zppo_core.run.spec import Run
from zppo_core.store.base import join

Metrics = Mapping[str, float]


class Tracker(Protocol):
    """Who is told of a step's metrics."""

    def log(self, metrics: Metrics, step: int) -> None: ...
    def close(self) -> None: ...


class Called:
    """A tracker made of two functions of its package."""

    def __init__(self, log: Callable[[Metrics, int], Any], close: Callable[[], Any]) -> None:
        self.log, self.close = log, close


def opened(name: str, run: Run) -> Tracker:
    """The tracker `name` on `run`; UserError if its package is not installed."""
    package, distribution = TRACKERS[name]
    try:
        module: Any = import_module(package)
    except ImportError:
        raise UserError(
            f"run.trackers={name} needs {package}; pip install {distribution}, or leave it out"
        ) from None
    settings, folder = run.config.to_dict(), log_folder(run)
    if name == "tensorboard":
        writer = module.SummaryWriter(str(folder / "tensorboard"))

        def scalars(metrics: Metrics, step: int) -> None:
            for key, value in metrics.items():
                writer.add_scalar(key, value, step)
            writer.flush()

        return Called(scalars, writer.close)
    if name == "mlflow":
        module.set_experiment("zppo")
        kept = folder / "mlflow.txt"  # a later task goes on with the same run
        run_id = kept.read_text() if kept.exists() else None
        started = module.start_run(run_id=run_id, run_name=None if run_id else run.key)
        kept.write_text(started.info.run_id)
        flat = {
            f"{s}.{f}": v
            for s, held in settings.items()
            if isinstance(held, dict)
            for f, v in held.items()
        }
        module.log_params(flat)
        return Called(lambda m, step: module.log_metrics(dict(m), step=step), module.end_run)
    more = {"id": run.key, "dir": str(folder)} if name == "wandb" else {}
    module.init(project="zppo", name=run.key, config=settings, resume="allow", **more)
    return Called(lambda m, step: module.log(dict(m), step=step), module.finish)


def log_folder(run: Run) -> Path:
    """Where files of trackers lie: beside the run's journal, or in runs/ where that is on S3."""
    root = run.store_url if "://" not in run.store_url else "runs"
    folder = Path(root) / run.key
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Trackers:
    """All that hear of a run's steps; a step that was told of before is not told again.

    `metrics.jsonl` lies in the store beside the journal and is replaced as a whole: a kill leaves
    no half of a line, and a run on S3 writes nothing here.
    """

    def __init__(self, run: Run, names: Sequence[str] = ()) -> None:
        self.store, self.key = run.store, join(run.key, "metrics.jsonl")
        self.lines = self.store.get(self.key) if self.store.exists(self.key) else b""
        self.told = int(json.loads(self.lines.splitlines()[-1])["step"]) if self.lines else -1
        self.trackers = [opened(name, run) for name in names]

    def finished(self, result: StepResult, seconds: Mapping[str, float]) -> None:
        """Tell a step's metrics: a line of metrics.jsonl, and each tracker."""
        if result.step <= self.told:
            return
        metrics = metrics_of(result, seconds)
        self.lines += json.dumps({"step": result.step, **metrics}).encode() + b"\n"
        self.store.put(self.key, self.lines)
        self.told = result.step
        for tracker in self.trackers:
            tracker.log(metrics, result.step)

    def close(self) -> None:
        """Let every tracker write out what it holds."""
        for tracker in self.trackers:
            tracker.close()
