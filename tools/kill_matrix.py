"""SIGKILL at seeded instants and file operations of every step; what goes on must end the same.

python tools/kill_matrix.py --trials 12 --report docs/reliability.md    # goes on where it stopped

A trial is one small run that is killed up to ten times, on its way through all steps, and begun
again in a new process each time. At its end weights, optimizer, buffer, every checkpoint file,
journal and database are compared with those of a run that was never killed. Trials stand in
results/kill_matrix, a line each. Every process is a fork, so that the imports happen once.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]
import page_tables  # noqa: E402
from heavy import import_heavy  # noqa: E402
from same_run import differing, digests  # noqa: E402

MARK = "ZPPO_KILL_MATRIX"  # in the environment of all that a trial starts
STEPS = ("prepare_data", "cache_teacher", "epoch", "evaluate", "aggregate")
WAY = ("prepare_data", "cache_teacher", *["epoch"] * 4, *["evaluate"] * 2, *["aggregate"] * 2)
SMALL = {
    "run.rollout_steps": 2,
    "run.steps_per_task": 1,
    "data.train_questions": 16,
    "rollout.new_prompts": 8,
    "rollout.group_size": 4,
    "rollout.max_tokens": 32,
    "reformulation.ratio": 0.5,
    "replay.ratio": 0.5,
    "optimizer.updates": 2,
    "store.checkpoint_every": 1,
    "teacher.prefill": 0.5,
    "evaluation.suite": "nano_text",
    "evaluation.limit": 2,
    "evaluation.max_tokens": 16,
    "compute.threads": 1,
}
OPERATIONS = frozenset(
    ("open", "os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir", "os.setxattr")
)
PATIENCE = 600.0  # seconds for one process
LINGER = 20.0  # seconds until nothing that a killed process started may be left
BEGIN, END = "<!-- kill matrix: by `make kill-matrix` -->", "<!-- end of the kill matrix -->"


@dataclass(frozen=True)
class Kill:
    """One kill: in which step, at a share of its file operations or of its CPU time."""

    step: str
    share: float
    by: str  # "operation", "instant", or "actor": a Ray actor is killed, at an instant
    target: str  # "task" or "group"


def way(seed: int, ray: bool = False) -> list[Kill]:
    """The kills of a trial, in the order of the steps."""
    draw = random.Random(f"kill matrix {seed} {ray}")
    kinds = ("instant", "actor") if ray else ("operation", "instant")
    steps = ("epoch", "epoch", "epoch") if ray else WAY
    return [
        Kill(step, draw.random(), draw.choice(kinds), draw.choice(("task", "group")))
        for step in steps
    ]


def pipeline(folder: Path, sets: Mapping[str, object], note: Callable[[str], None]) -> None:
    """A whole run in this process, as the flow has it; `note` hears of each step's beginning."""
    from steps.aggregate import aggregate
    from steps.cache_teacher import cache_teacher
    from steps.epoch import epoch
    from steps.evaluate import evaluate, plan
    from steps.prepare_data import prepare_data, settled
    from steps.start import open_run

    places = {"store.root": folder / "runs", "store.database": folder / "db.duckdb"}
    places["store.cache"] = folder / "cache"
    text = ";".join(f"{k}={v}" for k, v in {**SMALL, **places, **sets}.items())
    note("prepare_data")
    setup = open_run("nano", "zppo", "0", text, "1", "run")
    prepare_data(setup)
    setup = settled(setup)
    note("cache_teacher")
    cache_teacher(setup)
    note("epoch")
    kept = folder / "done"  # as the flow's artifact: a task that dies is begun again, not the loop
    while (done := int(kept.read_text()) if kept.is_file() else 0) < setup["rollout_steps"]:
        after = epoch(setup, done)
        kept.with_suffix(".new").write_text(str(after))
        kept.with_suffix(".new").replace(kept)
    note("evaluate")
    for item in plan(setup):
        evaluate(setup, item)
    note("aggregate")
    aggregate(setup)


class Watch:
    """Counts file operations and CPU time by step, in a child; kills at one of the former."""

    def __init__(self, folder: Path, kill: Kill | None, counts: Mapping[str, Any]) -> None:
        self.folder, self.kill = str(folder), kill
        self.aside = tuple(f"{folder}/{name}" for name in ("step", "done"))  # our own notes
        self.step, self.began = "", 0.0
        self.operations: Counter[str] = Counter()
        self.cpu: dict[str, float] = {}
        self.last = 0
        if kill is not None and kill.by == "operation":
            self.last = 1 + int(kill.share * counts["operations"][kill.step])

    def note(self, step: str) -> None:
        """A step begins, or the last one has ended."""
        now = time.process_time()
        if self.step:
            self.cpu[self.step] = now - self.began
        self.step, self.began = step, now
        (Path(self.folder) / "step").write_text(step)

    def hear(self, event: str, arguments: tuple[object, ...]) -> None:
        """An audit hook: an operation is about to be done."""
        if event not in OPERATIONS or not self.step:
            return
        place = str(arguments[0])
        if not place.startswith(self.folder) or place.startswith(self.aside):
            return
        if event == "open" and not _writes(arguments):
            return
        self.operations[self.step] += 1
        kill = self.kill
        if kill and self.step == kill.step and self.operations[self.step] == self.last:
            (Path(self.folder) / "place").write_text(f"{event} {place}")
            strike(os.getpid(), kill.target)


def _writes(arguments: tuple[object, ...]) -> bool:
    flags = arguments[2] if len(arguments) > 2 else 0
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def strike(pid: int, target: str) -> None:
    """SIGKILL of a task, or of its group: it leads one of its own."""
    if target == "group":
        os.killpg(pid, signal.SIGKILL)
    else:
        os.kill(pid, signal.SIGKILL)


def forked(folder: Path, sets: Mapping[str, object], kill: Kill | None, counts: Any) -> int:
    """The pipeline in a fork that leads a group of its own; its pid."""
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    os.environ[MARK] = str(folder)
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        watch = Watch(folder, kill, counts)
        sys.addaudithook(watch.hear)
        pipeline(folder, sets, watch.note)
        watch.note("")
        found = {"operations": dict(watch.operations), "cpu": watch.cpu}
        (folder / "counts").write_text(json.dumps(found))
        os._exit(0)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)


def cpu_of(pid: int) -> float:
    """Seconds of CPU of a process so far."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def marked(folder: Path, actors: bool = False) -> list[int]:
    """Processes that a trial started and that live; those of its Ray's actors alone."""
    found = []
    for place in Path("/proc").iterdir():
        if not place.name.isdigit():
            continue
        try:
            ours = f"{MARK}={folder}\0".encode() in (place / "environ").read_bytes()
            name = (place / "cmdline").read_bytes()
            dead = (place / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            continue
        if ours and not dead and (not actors or name.startswith(b"ray::Rank")):
            found.append(int(place.name))
    return sorted(found)


def outlived(folder: Path) -> list[int]:
    """Processes of a trial that are still there some time after its end; they are ended."""
    began = time.monotonic()
    while (left := marked(folder)) and time.monotonic() - began < LINGER:
        time.sleep(0.1)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    return left


def wait(pid: int, folder: Path, kill: Kill | None, counts: Any) -> int:
    """The exit status of a fork, which is killed on the way if `kill` is by an instant."""
    at = kill.share * counts["cpu"][kill.step] if kill and kill.by != "operation" else 0.0
    began, start = time.monotonic(), -1.0
    struck = kill is None or kill.by == "operation"
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() - began > PATIENCE:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise SystemExit(f"{folder}: no end after {PATIENCE:.0f} s; see its log")
        if not struck and kill is not None:
            place = folder / "step"
            if start < 0 and place.is_file() and place.read_text() == kill.step:
                start = cpu_of(pid)
            if start >= 0 and cpu_of(pid) - start >= at:
                struck = _strike(pid, folder, kill)
        time.sleep(0.002)


def _strike(pid: int, folder: Path, kill: Kill) -> bool:
    if kill.by != "actor":
        (folder / "place").write_text("an instant")
        strike(pid, kill.target)
        return True
    actors = marked(folder, actors=True)
    if actors:
        (folder / "place").write_text("an actor")
        os.kill(actors[len(actors) // 2], signal.SIGKILL)
    return bool(actors)


def trial(folder: Path, kills: list[Kill], counts: Any, sets: Mapping[str, object]) -> list[Any]:
    """A run that suffers each of `kills` and goes on, then to its end: what happened at each."""
    happened = []
    for kill in [*kills, None]:
        for name in ("step", "place"):
            (folder / name).unlink(missing_ok=True)
        status = wait(forked(folder, sets, kill, counts), folder, kill, counts)
        step = (folder / "step").read_text()
        place = folder / "place"
        if status and (kill is None or not place.is_file()):
            raise SystemExit(f"{folder}: ended with {status}; see its log")
        if not status or kill is None:
            continue  # it was done before the kill came
        happened.append(
            {"step": step, "by": kill.by, "target": kill.target, "status": status}
            | {"at": place.read_text().replace(str(folder), ""), "outlived": len(outlived(folder))}
        )
    return happened


def left_behind(folder: Path) -> list[str]:
    """Files that a killed writer left half done, once a run swept as it does after an hour."""
    from zppo_core.store.objects import LocalStore

    for place in ("runs", "cache"):
        LocalStore(folder / place).sweep(older=0.0)
    return [str(p) for p in folder.rglob(".writing-*")]


def measured(place: Path, sets: Mapping[str, object]) -> tuple[dict[str, str], Any]:
    """The run that is never killed: its digests, and its operations and CPU time by step."""
    folder = place / "whole"
    if not (folder / "counts").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        if status := wait(forked(folder, sets, None, {}), folder, None, {}):
            raise SystemExit(f"{folder}: ended with {status}; see its log")
        outlived(folder)
    return digests(folder), json.loads((folder / "counts").read_text())


def run(base: Path, number: int, ray: bool = False, most: int = 0) -> dict[str, Any]:
    """One trial and its comparison, kept as a line of `base`/trials.jsonl."""
    place, sets = base / ("ray" if ray else "one"), {"compute.update_processes": 2} if ray else {}
    whole, counts = measured(place, sets)
    folder = place / f"trial-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    began = time.monotonic()
    happened = trial(folder, way(number, ray)[: most or None], counts, sets)
    found = {"trial": number, "ray": ray, "kills": happened}
    found["differing"] = differing(whole, digests(folder))
    found["left"] = left_behind(folder)
    found["seconds"] = round(time.monotonic() - began)
    with (base / "trials.jsonl").open("a") as file:
        file.write(json.dumps(found) + "\n")
    if not found["differing"]:
        shutil.rmtree(folder)
    return found


def table(trials: list[dict[str, Any]]) -> str:
    """Kills by step, and how the trials ended, as Markdown."""
    kills = [kill for t in trials for kill in t["kills"] if kill["status"]]
    rows = ["| killed in | at a file operation | at an instant | Ray actor | task | group |"]
    rows.append("| --- | --- | --- | --- | --- | --- |")
    for step in STEPS:
        of = [kill for kill in kills if kill["step"] == step]
        by = Counter(kill["by"] for kill in of) + Counter(k["target"] for k in of)
        cells = [by[c] for c in ("operation", "instant", "actor", "task", "group")]
        rows.append(f"| {step} | {' | '.join(map(str, cells))} |")
    parts = Counter(
        m.group(1) for k in kills if (m := re.search(r"(checkpoints|journal)/", k["at"]))
    )
    equal = sum(not t["differing"] for t in trials)
    words = (
        f"{len(kills)} kills in {len(trials)} runs, {parts['checkpoints']} in a checkpoint and "
        f"{parts['journal']} in a unit of the journal: {equal} of {len(trials)} ended as the run "
        "that was never killed, bit for bit. Processes that outlived their task: "
        f"{sum(k['outlived'] for k in kills)}. Half-written files after a sweep: "
        f"{sum(len(t['left']) for t in trials)}."
    )
    return "\n".join([*rows, "", textwrap.fill(words, 118), ""])


def recorded(base: Path) -> list[dict[str, Any]]:
    """The trials that are done."""
    path = base / "trials.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def warm() -> None:
    """Import what every fork needs, so that a fork begins at once."""
    import torch

    import zppo_core.engines.hf
    import zppo_core.training.updater  # noqa: F401
    from zppo_core import models
    from zppo_core.config import load
    from zppo_core.run.corpus import build_corpus

    import_heavy()
    torch.set_num_threads(1)
    models.load("nano:student", torch.float32)
    build_corpus(load("nano", ["data.train_questions=2"]))


def main() -> int:
    """The command line above; 1 if a trial ended otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--ray", type=int, default=2, help="trials whose update is by Ray actors")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--most", type=int, default=0, help="kills of a trial; 0: all")
    parser.add_argument("--folder", type=Path, default=Path("results/kill_matrix"))
    parser.add_argument("--report", type=Path)
    options = parser.parse_args()
    base = options.folder.resolve()
    base.mkdir(parents=True, exist_ok=True)
    warm()
    done = {(t["trial"], t["ray"]) for t in recorded(base)}
    last = options.first + options.trials
    wanted = [(n, False) for n in range(options.first, last)]
    wanted += [(n, True) for n in range(options.ray)]
    for number, ray in wanted:
        if (number, ray) not in done:
            print(json.dumps(run(base, number, ray, options.most)), flush=True)
    trials = recorded(base)
    if options.report:
        page_tables.put(options.report, BEGIN, END, table(trials))
    print(table(trials))
    return int(any(t["differing"] or t["left"] for t in trials))


if __name__ == "__main__":
    raise SystemExit(main())
